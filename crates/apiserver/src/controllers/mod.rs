//! What API machinery does inside every space by itself: namespaces are furnished and emptied, dependents of deleted
//! owners are collected, approved signing requests are signed.
//!
//! One task follows the log of all spaces, so that a space costs nothing here. Each kind of work is a key; what is to be
//! done is found out when its turn comes. Writes go through [`Server::handle`] like anybody's.

mod call;
mod garbage;
mod namespace;
mod signer;

use crate::Server;
use crate::header::{Header, Uid};
use api::SpaceName;
use call::Caller;
use futures_util::FutureExt;
use garbage::Owners;
use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{Change, Event, Key, Lost, Visibility};
use tokio_util::sync::CancellationToken;

/// How long work that failed waits for its next try.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// One piece of work; what it needs is read when it is done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Work {
    /// Furnish a namespace, or empty a terminating one.
    Namespace(SpaceName, Arc<str>),
    /// The owner with this uid is gone: collect its dependents.
    OwnerGone(SpaceName, Uid),
    /// An object came with owners: see whether they are there.
    Dependent(Key),
    /// An object waits for its dependents (finalizer `foregroundDeletion` or `orphan`).
    Waiting(Key),
    /// See whether a signing request is ready to be signed.
    Sign(SpaceName, Arc<str>),
}

/// Runs until `shutdown`, or until the store closes.
pub(crate) async fn run(server: Server, shutdown: CancellationToken) {
    let mut state = State { server: server.clone(), owners: Owners::default(), queue: Queue::default() };
    let mut retry = Retry::default();
    'read: loop {
        let head = server.store().head();
        let Ok(mut follow) = server.store().follow(head, Visibility::Appended) else { continue };
        state.read_all();
        loop {
            if retry.due(!state.queue.failed.is_empty()) {
                state.queue.retry();
            }
            if let Some(work) = state.queue.next() {
                state.take(&mut follow);
                state.perform(work).await;
                continue;
            }
            let events = tokio::select! {
                () = shutdown.cancelled() => return,
                () = retry.wait() => {
                    state.queue.retry();
                    continue;
                }
                events = follow.next() => events,
            };
            match events {
                Ok(events) => events.iter().for_each(|event| state.notice(event)),
                Err(Lost::Closed(_)) => return,
                // Fell out of the history: what was missed is found by reading all anew.
                Err(_) => continue 'read,
            }
        }
    }
}

/// When failed work is due again: counted from the first failure, whatever else there is to do meanwhile.
#[derive(Default)]
struct Retry(Option<Pin<Box<tokio::time::Sleep>>>);

impl Retry {
    /// Whether the time is up. Starts to count if work has failed and nothing is counted yet.
    fn due(&mut self, failed: bool) -> bool {
        if self.0.is_none() && failed {
            self.0 = Some(Box::pin(tokio::time::sleep(RETRY_AFTER)));
        }
        let due = self.0.as_mut().is_some_and(|sleep| sleep.as_mut().now_or_never().is_some());
        if due {
            self.0 = None;
        }
        due
    }

    /// Waits until the time is up; for ever if nothing is counted.
    async fn wait(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

struct State {
    server: Server,
    owners: Owners,
    queue: Queue,
}

impl State {
    /// Everything that is there, as if it had just come.
    fn read_all(&mut self) {
        self.owners = Owners::default();
        for space in self.server.spaces() {
            for collection in self.server.store().collections(space.as_str()) {
                let Ok(page) = self.server.store().page(&collection, None, None, usize::MAX, None) else { continue };
                for entry in &page.entries {
                    self.came(&entry.key, &entry.meta, true);
                }
            }
        }
    }

    /// Takes in what happened while work was done, so that the index of owners is never far behind.
    fn take(&mut self, follow: &mut store::Watch<Header>) {
        while let Ok(events) = follow.try_next() {
            if events.is_empty() {
                break;
            }
            events.iter().for_each(|event| self.notice(event));
        }
    }

    fn notice(&mut self, event: &Event<Header>) {
        let (key, meta) = (&event.entry.key, &event.entry.meta);
        match event.change {
            Change::Created => self.came(key, meta, true),
            Change::Updated => {
                let owners_changed = event.previous.as_ref().is_none_or(|held| held.meta.owners != meta.owners);
                if let Some(previous) = event.previous.as_ref().filter(|_| owners_changed) {
                    self.owners.remove(&previous.key, &previous.meta.owners);
                }
                self.came(key, meta, owners_changed);
            }
            Change::Deleted => self.went(key, meta),
        }
    }

    fn came(&mut self, key: &Key, meta: &Header, owners_changed: bool) {
        let space = || SpaceName::from(&*key.collection.space);
        match &*key.collection.resource {
            "namespaces" if owners_changed || meta.deleting => {
                self.queue.add(Work::Namespace(space(), key.name.clone()));
            }
            "certificatesigningrequests.certificates.k8s.io" => {
                self.queue.add(Work::Sign(space(), key.name.clone()));
            }
            "configmaps" if &*key.name == namespace::ROOT_CA => {
                self.queue.add(Work::Namespace(space(), key.namespace.clone()));
            }
            _ => {}
        }
        if owners_changed && !meta.owners.is_empty() {
            self.owners.add(key, &meta.owners);
            self.queue.add(Work::Dependent(key.clone()));
        }
        if meta.deleting && meta.finalizers {
            self.queue.add(Work::Waiting(key.clone()));
        }
    }

    fn went(&mut self, key: &Key, meta: &Header) {
        let space = || SpaceName::from(&*key.collection.space);
        if !meta.owners.is_empty() {
            for waiting in self.owners.remove(key, &meta.owners) {
                self.queue.add(Work::Waiting(waiting));
            }
        }
        if self.owners.has_dependents(meta.uid) {
            self.queue.add(Work::OwnerGone(space(), meta.uid));
        }
        let furniture = (&*key.collection.resource, &*key.name);
        let furniture = matches!(furniture, ("configmaps", namespace::ROOT_CA) | ("serviceaccounts", "default"));
        if !key.namespace.is_empty() && (furniture || self.queue.emptying.contains(&(space(), key.namespace.clone()))) {
            self.queue.add(Work::Namespace(space(), key.namespace.clone()));
        }
    }

    async fn perform(&mut self, work: Work) {
        let done = match &work {
            Work::Namespace(space, name) => {
                let caller = Caller::new(&self.server, space, "namespace-controller");
                match namespace::reconcile(&caller, &self.server, name).await {
                    Ok(state) => {
                        let key = (space.clone(), name.clone());
                        match state {
                            namespace::State::Emptying => self.queue.emptying.insert(key),
                            namespace::State::Settled => self.queue.emptying.remove(&key),
                        };
                        Ok(())
                    }
                    Err(failure) => Err(failure),
                }
            }
            Work::OwnerGone(space, uid) => {
                let caller = Caller::new(&self.server, space, "generic-garbage-collector");
                garbage::collect(&caller, &self.server, &self.owners, *uid).await
            }
            Work::Dependent(key) => {
                let space = SpaceName::from(&*key.collection.space);
                let caller = Caller::new(&self.server, &space, "generic-garbage-collector");
                garbage::check(&caller, &self.server, key).await
            }
            Work::Waiting(key) => {
                let space = SpaceName::from(&*key.collection.space);
                let caller = Caller::new(&self.server, &space, "generic-garbage-collector");
                match garbage::release(&caller, &self.server, &self.owners, key).await {
                    Ok(waiting_for) => {
                        self.owners.wait(key, waiting_for);
                        Ok(())
                    }
                    Err(failure) => Err(failure),
                }
            }
            Work::Sign(space, name) => {
                let caller = Caller::new(&self.server, space, "certificate-controller");
                signer::sign(&caller, &self.server, name).await
            }
        };
        match done {
            Ok(()) => {}
            // The space went away, and with it the work.
            Err(_) if !self.server.has_space(&work.space()) => {}
            Err(failure) => {
                tracing::debug!(?work, %failure, "will try again");
                self.queue.failed.insert(work);
            }
        }
    }
}

impl Work {
    fn space(&self) -> SpaceName {
        match self {
            Self::Namespace(space, _) | Self::OwnerGone(space, _) | Self::Sign(space, _) => space.clone(),
            Self::Dependent(key) | Self::Waiting(key) => SpaceName::from(&*key.collection.space),
        }
    }
}

/// Work that is due, each piece once. Bounded by the number of objects.
#[derive(Default)]
struct Queue {
    order: VecDeque<Work>,
    due: HashSet<Work>,
    failed: HashSet<Work>,
    /// Terminating namespaces that still have content: whatever goes from them is looked at.
    emptying: HashSet<(SpaceName, Arc<str>)>,
}

impl Queue {
    fn add(&mut self, work: Work) {
        if self.due.insert(work.clone()) {
            self.order.push_back(work);
        }
    }

    fn next(&mut self) -> Option<Work> {
        let work = self.order.pop_front()?;
        self.due.remove(&work);
        Some(work)
    }

    fn retry(&mut self) {
        for work in std::mem::take(&mut self.failed) {
            self.add(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failed_work_is_due_however_busy_the_loop_is() {
        let mut retry = Retry::default();
        assert!(!retry.due(false) && !retry.due(true));
        for _ in 0..4 {
            tokio::time::advance(RETRY_AFTER / 5).await;
            // An event came first.
            tokio::select! { biased; () = std::future::ready(()) => {} () = retry.wait() => unreachable!() }
            assert!(!retry.due(true));
        }
        tokio::time::advance(RETRY_AFTER / 4).await;
        assert!(retry.due(true), "counted from the first failure");
        assert!(!retry.due(false), "counts anew only after another failure");
    }
}
