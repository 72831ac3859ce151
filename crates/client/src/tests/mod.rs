//! The client against the real server: in-process over the memory engine, and by HTTPS.

mod https;
mod objects;
mod reflectors;

use crate::transport::{Body, BoxFuture, Transport, TransportError};
use crate::{BoxError, Client};
use api::{Object, ObjectName, Resource, SpaceName};
use apiserver::identity::Identity;
use apiserver::{Config, Server};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::json;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use store::{Limits, Visibility};
use tokio_util::sync::{CancellationToken, DropGuard};

static CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
static NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

/// A server with one space.
struct World {
    server: Server,
    space: SpaceName,
    line: Arc<Line>,
    _controllers: DropGuard,
}

impl World {
    fn new() -> Self {
        Self::with_limits(Limits::with_clock(clock::system()))
    }

    fn with_limits(limits: Limits) -> Self {
        let server = Server::open(Config {
            engine: store::memory(),
            limits,
            advertised: "https://127.0.0.1:9443".into(),
            serving_authority: String::new(),
            hosting: "host".into(),
        })
        .unwrap();
        let space = SpaceName::from("s1");
        server.create_space(&space).unwrap();
        let shutdown = CancellationToken::new();
        let (running, ended) = (server.clone(), shutdown.clone());
        tokio::spawn(async move { running.run_controllers(ended).await });
        let line = Arc::new(Line { server: server.clone(), space: space.clone(), state: Mutex::default() });
        Self { server, space, line, _controllers: shutdown.drop_guard() }
    }

    fn client(&self) -> Client {
        Client::new(self.line.clone(), "")
    }

    async fn put(&self, name: &str, value: &str) -> Object {
        let object = config_map(name, value);
        let held: Option<Object> = self.client().find(&CONFIG_MAPS, &named(name)).await.unwrap();
        match held {
            None => self.client().create(&CONFIG_MAPS, "default", &object).await.unwrap(),
            Some(_) => self.client().update(&CONFIG_MAPS, &named(name), &object).await.unwrap(),
        }
    }

    async fn delete(&self, name: &str) {
        self.client().delete(&CONFIG_MAPS, &named(name), &Default::default()).await.unwrap();
    }
}

fn named(name: &str) -> ObjectName {
    ObjectName::namespaced("default", name)
}

/// A ConfigMap in `default` with a label that tests select by.
fn config_map(name: &str, value: &str) -> Object {
    let mut object = Object::new("v1", "ConfigMap", &named(name));
    object.0.insert("data".into(), json!({"v": value}));
    object.set_label("test", "yes");
    object.set_label("value", value);
    object
}

/// The way to an in-process server, which a test can cut.
struct Line {
    server: Server,
    space: SpaceName,
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    /// No request gets through.
    down: bool,
    /// Answer WatchList requests as a server without them does.
    no_watch_list: bool,
    /// Answer discovery as a server without aggregation does.
    plain_discovery: bool,
    /// Method, path and query of every request.
    log: Vec<String>,
    /// Cuts the bodies that are open.
    cuts: Vec<Arc<Mutex<Cut>>>,
}

#[derive(Default)]
struct Cut {
    done: bool,
    waker: Option<Waker>,
}

impl Line {
    /// Breaks all open watches; until [`Self::up`] nothing gets through.
    fn down(&self) {
        self.state.lock().down = true;
        self.cut();
    }

    fn up(&self) {
        self.state.lock().down = false;
    }

    /// Breaks all open watches.
    fn cut(&self) {
        for cut in self.state.lock().cuts.drain(..) {
            let mut cut = cut.lock();
            cut.done = true;
            if let Some(waker) = cut.waker.take() {
                waker.wake();
            }
        }
    }

    /// How many requests so far contain a text.
    fn count(&self, text: &str) -> usize {
        self.state.lock().log.iter().filter(|line| line.contains(text)).count()
    }
}

impl Transport for Line {
    fn send(&self, mut request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(async move {
            {
                let mut state = self.state.lock();
                if state.down {
                    return Err(TransportError::Connect { server: "test".into(), cause: "the line is down".into() });
                }
                state.log.push(format!("{} {}", request.method(), request.uri()));
                if state.no_watch_list && request.uri().query().is_some_and(|query| query.contains("sendInitialEvents"))
                {
                    let status = api::Status::failure(api::Reason::Invalid, "sendInitialEvents is forbidden for watch");
                    let body = crate::body(serde_json::to_vec(&status).unwrap());
                    return Ok(http::Response::builder().status(422).body(body).unwrap());
                }
                if state.plain_discovery {
                    request.headers_mut().insert("accept", "application/json".parse().unwrap());
                }
            }
            let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let identity = Identity::system("test");
            let response = self.server.handle(&self.space, identity, Visibility::Durable, request).await;
            if !watch {
                return Ok(response);
            }
            let cut = Arc::new(Mutex::new(Cut::default()));
            self.state.lock().cuts.push(cut.clone());
            Ok(response.map(|body| Cuttable { body, cut }.boxed_unsync()))
        })
    }
}

/// A body that can break.
struct Cuttable {
    body: Body,
    cut: Arc<Mutex<Cut>>,
}

impl http_body::Body for Cuttable {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut cut = this.cut.lock();
        if cut.done {
            return Poll::Ready(Some(Err("the line was cut".into())));
        }
        cut.waker = Some(cx.waker().clone());
        drop(cut);
        Pin::new(&mut this.body).poll_frame(cx)
    }
}
