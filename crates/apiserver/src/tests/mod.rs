//! The API, asked in-process over the memory engine.

mod admission;
mod builtins;
mod controllers;
mod conversion;
mod definitions;
mod identity;
mod listener;
mod objects;
mod oidc;
mod patches;
mod policies;
mod restarts;
mod services;
mod settled;
mod watches;
mod webhooks;

use crate::identity::Identity;
use crate::{Config, Server};
use api::{SpaceName, Timestamp};
use bytes::Bytes;
use clock::{Manual, SharedClock};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Limits, Visibility};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server with one space, asked as its administrator.
struct World {
    server: Server,
    space: SpaceName,
    clock: Arc<Manual>,
}

/// An answer, read.
struct Answer {
    code: StatusCode,
    body: Value,
    warnings: Vec<String>,
    content_type: String,
    text: Bytes,
}

impl World {
    fn new() -> Self {
        Self::over(store::memory())
    }

    fn over(engine: Box<dyn store::Engine>) -> Self {
        let clock = Manual::at(Timestamp::from_seconds(1_795_382_640));
        let server = Server::open(Config {
            engine,
            limits: Limits::with_clock(Arc::clone(&clock) as SharedClock),
            advertised: "https://127.0.0.1:9443".into(),
            serving_authority: String::new(),
            hosting: "host".into(),
        })
        .unwrap();
        let space = SpaceName::from("s1");
        server.create_space(&space).unwrap();
        Self { server, space, clock }
    }

    /// The time, as a field of an object has it.
    fn clock_text(&self) -> String {
        clock::Clock::now(&*self.clock).rfc3339_micros()
    }

    async fn send(&self, request: Request<Bytes>) -> Response<crate::Body> {
        let identity = Identity::system("test");
        self.server.handle(&self.space, identity, Visibility::Durable, request).await
    }

    /// Sends a request whose body is JSON; `headers` are `name: value` lines.
    async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(self.send(request.body(body.into()).unwrap()).await).await
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.raw(method, path, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.json("POST", path, body).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.json("PUT", path, body).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.raw("DELETE", path, &[], "").await
    }

    async fn patch(&self, path: &str, kind: &str, body: Value) -> Answer {
        let media = format!("application/{kind}");
        self.raw("PATCH", path, &[("content-type", &media)], body.to_string()).await
    }

    /// Creates the account of Pods in `default`, as the controllers would.
    async fn account(&self) {
        let account = json!({"metadata": {"name": "default"}});
        self.post("/api/v1/namespaces/default/serviceaccounts", account).await.is(201);
    }

    /// Creates a ConfigMap in `default`.
    async fn config_map(&self, name: &str) -> Value {
        let answer = self.post(CONFIG_MAPS, config_map(name)).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
        answer.body
    }

    /// Opens a watch.
    async fn watch(&self, path: &str) -> Events {
        self.watch_as(path, "application/json").await
    }

    async fn watch_as(&self, path: &str, accept: &str) -> Events {
        let request = Request::builder().uri(path).header("accept", accept).body(Bytes::new()).unwrap();
        let response = self.send(request).await;
        assert_eq!(response.status(), 200);
        Events { body: response.into_body(), held: Vec::new() }
    }
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": name}})
}

async fn read(response: Response<crate::Body>) -> Answer {
    let code = response.status();
    let headers = response.headers().clone();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        code,
        body: serde_json::from_slice(&text).unwrap_or_default(),
        warnings: headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect(),
        content_type: headers.get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default(),
        text,
    }
}

impl Answer {
    #[track_caller]
    fn is(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", String::from_utf8_lossy(&self.text));
        self.body
    }

    /// A failure with this code, reason and part of its message.
    #[track_caller]
    fn fails(self, code: u16, reason: &str, message: &str) -> Value {
        let body = self.is(code);
        assert_eq!(
            (&body["kind"], &body["status"], &body["code"]),
            (&json!("Status"), &json!("Failure"), &json!(code))
        );
        assert_eq!(body["reason"], reason, "{body}");
        assert!(body["message"].as_str().unwrap().contains(message), "{body}");
        body
    }
}

/// A watch that is open.
struct Events {
    body: crate::Body,
    held: Vec<u8>,
}

impl Events {
    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.held.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    async fn line(&mut self) -> String {
        match self.next().await {
            None => "END".into(),
            Some(event) => {
                let name = event["object"]["metadata"]["name"].as_str().unwrap_or("");
                format!("{} {name}", event["type"].as_str().unwrap())
            }
        }
    }
}
