//! Plays a script against both servers, step by step, and compares what they answer.

use crate::compare::{Answer, Difference, compare, covers};
use crate::document::{Variables, bytes, fill};
use crate::normalise::{Place, normalise};
use crate::peers::Peers;
use crate::peers::issuer::Issuers;
use crate::script::{Capture, Script, Source, Step, Until};
use crate::server::{As, Raw, Server, Stream};
use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clock::Stopwatch;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a step waits for what it wants to become true.
const UNTIL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it waits for our server when the stock one has come to it: what is not served is not waited for long.
const UNTIL_BEHIND: Duration = Duration::from_secs(4);
const UNTIL_INTERVAL: Duration = Duration::from_millis(100);

/// What a step showed.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) script: String,
    pub(crate) step: String,
    /// Method and path, as the script has them.
    pub(crate) request: String,
    pub(crate) differences: Vec<Difference>,
}

/// One of the two sides: a server, and what the script has kept of its answers.
struct Side<'a> {
    server: &'a Server,
    variables: Variables,
    streams: BTreeMap<String, Stream>,
    /// Keys that the script made.
    keys: BTreeMap<String, pki::PrivateKey>,
    issuers: &'a Issuers,
}

/// Plays a script in a namespace of its own, which is made on both servers.
///
/// # Errors
/// If the namespace cannot be made, or a body cannot be read.
pub(crate) async fn play(
    script: &Script,
    variables: &Variables,
    servers: [&Server; 2],
    peers: &Peers,
    namespace: &str,
) -> Result<Vec<Outcome>> {
    let side = |server| {
        let mut variables = variables.clone();
        variables.extend(peers.variables());
        variables.insert("ns".to_owned(), json!(namespace));
        Side { server, variables, streams: BTreeMap::new(), keys: BTreeMap::new(), issuers: &peers.issuers }
    };
    let mut sides = servers.map(side);
    let [stock, ours] = &mut sides;
    let made = tokio::join!(stock.make_namespace(namespace), ours.make_namespace(namespace));
    made.0?;
    made.1?;
    let mut outcomes = Vec::new();
    for step in &script.steps {
        let reached = Cell::new(None);
        let (stock, ours) =
            tokio::join!(stock.step(step, &reached, UNTIL_TIMEOUT), ours.step(step, &reached, UNTIL_BEHIND));
        let (stock, ours) = (stock?, ours?);
        if let Some(wanted) = step.stock.filter(|wanted| *wanted != stock.status) {
            let said = stock.body["message"].as_str().unwrap_or_default();
            return Err(anyhow!("{:?}: the stock server answers {} and not {wanted}: {said}", step.name, stock.status));
        }
        let mut differences = compare(&stock, &ours, step.status_only);
        differences.retain(|one| !step.ignore.iter().any(|pattern| covers(pattern, &one.path)));
        outcomes.push(Outcome {
            script: script.name.clone(),
            step: step.name.clone(),
            request: format!("{} {}", step.method, step.path),
            differences,
        });
    }
    Ok(outcomes)
}

impl Side<'_> {
    /// Makes the namespace, and waits until what every namespace is given is there.
    async fn make_namespace(&mut self, name: &str) -> Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
        let made = self.server.ask("POST", "/api/v1/namespaces", &headers, body.into_bytes(), As::Admin, None).await?;
        if !matches!(made.answer.status, 201 | 409) {
            return Err(anyhow!("namespace {name}: {}", made.answer.body));
        }
        for path in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            let watch = Stopwatch::start();
            while watch.elapsed() < UNTIL_TIMEOUT {
                let path = format!("/api/v1/namespaces/{name}/{path}");
                if self.server.ask("GET", &path, &[], Vec::new(), As::Admin, None).await?.answer.status == 200 {
                    break;
                }
                tokio::time::sleep(UNTIL_INTERVAL).await;
            }
        }
        Ok(())
    }

    /// Plays a step. `first` is set when one of the servers has come to what is waited for; `behind` is how long this one
    /// may take from then on.
    async fn step(&mut self, step: &Step, first: &Cell<Option<Stopwatch>>, behind: Duration) -> Result<Answer> {
        for (name, value) in &step.variables {
            self.variables.insert(name.clone(), json!(value));
        }
        let watch = Stopwatch::start();
        let waits = || watch.elapsed() < UNTIL_TIMEOUT && first.get().is_none_or(|reached| reached.elapsed() < behind);
        let mut raw = loop {
            let raw = match self.request(step).await {
                Ok(raw) => raw,
                // A server that does not answer is a difference, and no reason to stop.
                Err(error) => Raw {
                    answer: Answer { body: json!(format!("no answer: {error:#}")), ..Answer::default() },
                    headers: http::HeaderMap::new(),
                },
            };
            match &step.until {
                Some(until) if !reached(until, &raw.answer) => {
                    if !waits() {
                        break raw;
                    }
                    tokio::time::sleep(UNTIL_INTERVAL).await;
                }
                _ => {
                    first.set(first.get().or_else(|| Some(Stopwatch::start())));
                    break raw;
                }
            }
        };
        for pointer in &step.sorted {
            if let Some(list) = raw.answer.body.pointer_mut(pointer).and_then(Value::as_array_mut) {
                list.sort_by_key(ToString::to_string);
            }
        }
        for capture in &step.captures {
            self.capture(capture, &raw);
        }
        Ok(normalised(raw.answer, &self.server.place))
    }

    async fn request(&mut self, step: &Step) -> Result<Raw> {
        let path = fill(&step.path, &self.variables);
        if step.method == "KEY" {
            self.make_key(&path)?;
            return Ok(Raw { answer: Answer::default(), headers: http::HeaderMap::new() });
        }
        if step.method == "TOKEN" {
            self.make_token(&path, step)?;
            return Ok(Raw { answer: Answer::default(), headers: http::HeaderMap::new() });
        }
        if step.method == "TURN" {
            self.issuers.turn(path.parse().map_err(|_| anyhow!("{path:?} is not the number of a key"))?);
            return Ok(Raw { answer: Answer::default(), headers: http::HeaderMap::new() });
        }
        if step.method == "READ" {
            let stream = self.streams.get_mut(&path).ok_or_else(|| anyhow!("no watch named {path:?} is open"))?;
            let events = Some(stream.events(step.events.unwrap_or(usize::MAX), false).await?);
            return Ok(Raw {
                answer: Answer { status: 200, events, ..Answer::default() },
                headers: http::HeaderMap::new(),
            });
        }
        let mut headers: Vec<(String, String)> =
            step.headers.iter().map(|(name, value)| (name.clone(), fill(value, &self.variables))).collect();
        let mut body = Vec::new();
        if let Some(template) = &step.body {
            let (filled, media) = bytes(template, &self.variables).map_err(|why| anyhow!("{:?}: {why}", step.name))?;
            body = filled;
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("Content-Type".to_owned(), media.to_owned()));
            }
        }
        let holder = step.certificate.as_ref().map(|(key, variable)| self.holder(key, variable)).transpose()?;
        let who = match &holder {
            Some(holder) => As::Holder(holder),
            None if step.anonymous => As::Nobody,
            None => As::Admin,
        };
        if let Some(name) = &step.open {
            let (raw, stream) = self.server.open(&step.method, &path, &headers, body, who).await?;
            self.streams.insert(name.clone(), stream);
            return Ok(raw);
        }
        let watches = path.contains("watch=true") || path.contains("watch=1") || path.contains("/v1/watch/");
        let events = step.events.or(watches.then_some(usize::MAX));
        self.server.ask(&step.method, &path, &headers, body, who, events).await
    }

    /// `NAME CN[/GROUP...] [HOST...]`: makes a key, and sets `$NAME` to its signing request (base64 of PEM).
    fn make_key(&mut self, text: &str) -> Result<()> {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let name = words.next().unwrap_or_default().to_owned();
        let mut parts = words.next().unwrap_or_default().split('/').map(str::to_owned);
        let subject = pki::Subject { common_name: parts.next().unwrap_or_default(), organizations: parts.collect() };
        let hosts: Vec<String> = words.map(str::to_owned).collect();
        let key = pki::PrivateKey::generate()?;
        let request = pki::new_request(&key, &subject, &hosts)?;
        self.variables.insert(name.clone(), json!(STANDARD.encode(request)));
        self.keys.insert(name, key);
        Ok(())
    }

    /// `NAME ISSUER KEY/ALGORITHM [ID]`: sets `$NAME` to a token with the claims of the body.
    fn make_token(&mut self, text: &str, step: &Step) -> Result<()> {
        let (name, order) = text.split_once(' ').ok_or_else(|| anyhow!("TOKEN NAME ISSUER KEY/ALGORITHM"))?;
        let claims = match &step.body {
            Some(body) => bytes(body, &self.variables).map_err(|why| anyhow!("{:?}: {why}", step.name))?.0,
            None => b"{}".to_vec(),
        };
        let claims: Value = serde_json::from_slice(&claims).with_context(|| format!("{:?}: claims", step.name))?;
        let token = self.issuers.token(order, &claims).with_context(|| format!("{:?}", step.name))?;
        self.variables.insert(name.to_owned(), json!(token));
        Ok(())
    }

    /// A connection with a certificate that was captured in base64.
    fn holder(&self, key: &str, variable: &str) -> Result<client::Https> {
        let key = self.keys.get(key).ok_or_else(|| anyhow!("no key named {key:?} was made"))?;
        let text = self.variables.get(variable).and_then(Value::as_str).unwrap_or_default();
        let certificate = STANDARD.decode(text).map_err(|error| anyhow!("${variable}: {error}"))?;
        self.server.holder(certificate, key.to_pem().into_bytes())
    }

    fn capture(&mut self, capture: &Capture, raw: &Raw) {
        let value = match &capture.source {
            Source::Header(name) => {
                raw.headers.get(name.as_str()).and_then(|value| value.to_str().ok()).map(|text| json!(text))
            }
            Source::Pointer(pointer) => match &raw.answer.events {
                Some(events) => json!(events).pointer(pointer).cloned(),
                None => raw.answer.body.pointer(pointer).cloned(),
            },
        };
        match value {
            Some(value) => drop(self.variables.insert(capture.name.clone(), value)),
            None => drop(self.variables.remove(&capture.name)),
        }
    }
}

fn reached(until: &Until, answer: &Answer) -> bool {
    match until {
        Until::Status(code) => answer.status == *code,
        Until::Value { pointer, value } => answer.body.pointer(pointer) == Some(value),
        Until::Present { pointer } => answer.body.pointer(pointer).is_some(),
        Until::Absent { pointer } => answer.body.pointer(pointer).is_none(),
    }
}

/// Everything of an answer in one document, so that a name generated in one part is known in all.
fn normalised(answer: Answer, place: &Place) -> Answer {
    let Answer { status, headers, body, events } = answer;
    let mut whole = json!({"headers": headers, "body": body, "events": events});
    normalise(&mut whole, place);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = whole["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| (name.clone(), text(value))).collect();
    Answer { status, headers, body: whole["body"].take(), events: whole["events"].as_array().cloned() }
}
