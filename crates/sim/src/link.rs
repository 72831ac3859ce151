//! The way from a process to a space, and what can go wrong on it.
//!
//! Requests are refused, late, or carried out without an answer that arrives; each event of a watch is late by itself, so
//! that two watches of one process show what happened in different orders; and watches are cut.

use crate::Random;
use apiserver::Server;
use apiserver::identity::Identity;
use bytes::Bytes;
use client::{Body, BoxError, BoxFuture, Transport, TransportError};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::Visibility;
use tokio::sync::watch;

/// What is wrong with the network, by the name of the process.
pub(crate) struct Network {
    state: Mutex<State>,
    /// Counts moments at which watches are cut.
    cuts: watch::Sender<u64>,
    /// Writes to leases: signs of life, which never end.
    beats: AtomicU64,
    /// Requests that wrote ManifestWorks.
    work_writes: AtomicU64,
}

struct State {
    random: Random,
    /// Who cannot reach which space.
    apart: BTreeSet<(String, String)>,
    /// How long each request and event takes at most.
    slow: BTreeMap<String, Duration>,
    /// How many of a hundred requests fail, for everybody.
    losses: usize,
}

impl Network {
    pub(crate) fn new(random: Random) -> Arc<Self> {
        let state = State { random, apart: BTreeSet::new(), slow: BTreeMap::new(), losses: 0 };
        Arc::new(Self {
            state: Mutex::new(state),
            cuts: watch::Sender::new(0),
            beats: AtomicU64::new(0),
            work_writes: AtomicU64::new(0),
        })
    }

    pub(crate) fn part(&self, process: &str, space: &str) {
        self.state.lock().apart.insert((process.to_owned(), space.to_owned()));
        self.cut();
    }

    pub(crate) fn slow(&self, process: &str, most: Duration) {
        self.state.lock().slow.insert(process.to_owned(), most);
    }

    pub(crate) fn lose(&self, percent: usize) {
        self.state.lock().losses = percent;
    }

    /// Ends every watch.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// All is well again.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock();
        state.apart.clear();
        state.slow.clear();
        state.losses = 0;
    }

    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// How many requests wrote ManifestWorks.
    pub(crate) fn work_writes(&self) -> u64 {
        self.work_writes.load(Ordering::Relaxed)
    }

    fn is_apart(&self, process: &str, space: &str) -> bool {
        self.state.lock().apart.contains(&(process.to_owned(), space.to_owned()))
    }

    fn delay(&self, process: &str) -> Duration {
        let mut state = self.state.lock();
        let most = state.slow.get(process).copied().unwrap_or_default();
        let Ok(most) = usize::try_from(most.as_millis()) else { return Duration::ZERO };
        if most == 0 { Duration::ZERO } else { Duration::from_millis(state.random.below(most) as u64) }
    }

    fn loses(&self) -> bool {
        let mut state = self.state.lock();
        let losses = state.losses;
        losses > 0 && state.random.chance(losses)
    }
}

/// One process's way to one space.
pub(crate) struct Link {
    pub(crate) server: Server,
    pub(crate) space: String,
    pub(crate) process: String,
    pub(crate) identity: Identity,
    pub(crate) network: Arc<Network>,
    /// Ends with the process: what is dead writes nothing.
    pub(crate) life: controller::Shutdown,
}

impl Link {
    fn lost(&self, cause: &str) -> TransportError {
        TransportError::Lost { server: self.space.clone(), cause: cause.into() }
    }
}

impl Transport for Link {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(async move {
            let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let writes_work = request.method() != http::Method::GET
                && request.uri().path().contains("/v1/namespaces/")
                && request.uri().path().contains("/manifestworks");
            let beats = request.method() != http::Method::GET && request.uri().path().contains("/leases");
            tokio::time::sleep(self.network.delay(&self.process)).await;
            if self.life.is_cancelled() {
                std::future::pending::<()>().await;
            }
            if self.network.is_apart(&self.process, &self.space) || self.network.loses() {
                return Err(TransportError::Connect { server: self.space.clone(), cause: "as the fault says".into() });
            }
            let before = self.server.store().head();
            let space = self.space.as_str().into();
            let handled = self.server.handle(&space, self.identity.clone(), Visibility::Appended, request);
            let response = handled.await;
            if writes_work && response.status().is_success() {
                self.network.work_writes.fetch_add(1, Ordering::Relaxed);
            }
            if beats && self.server.store().head() != before {
                self.network.beats.fetch_add(1, Ordering::Relaxed);
            }
            if watches {
                return Ok(response.map(|body| self.watched(body)));
            }
            tokio::time::sleep(self.network.delay(&self.process)).await;
            if self.network.is_apart(&self.process, &self.space) || self.network.loses() {
                return Err(self.lost("the answer did not arrive"));
            }
            Ok(response)
        })
    }
}

impl Link {
    /// The events of a watch, each as late as chance has it, until it is cut.
    fn watched(&self, body: Body) -> Body {
        let (network, process) = (self.network.clone(), self.process.clone());
        let cuts = self.network.cuts.subscribe();
        let events = stream::unfold(Some((body, cuts)), move |open| {
            let (network, process) = (network.clone(), process.clone());
            async move {
                let (mut body, mut cuts) = open?;
                let frame = tokio::select! {
                    biased;
                    _ = cuts.changed() => {
                        let cut: BoxError = "the connection was cut".into();
                        return Some((Err(cut), None));
                    }
                    frame = body.frame() => frame?,
                };
                let delay = network.delay(&process);
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Some((frame, Some((body, cuts))))
            }
        });
        StreamBody::new(events).boxed_unsync()
    }
}
