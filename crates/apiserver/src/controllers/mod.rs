//! What API machinery does inside every space by itself: namespaces are furnished and emptied, dependents of deleted
//! owners are collected, approved signing requests are signed, old Events are forgotten.
//!
//! One task follows the log of all spaces, so that a space costs nothing here while nothing happens in it. Each kind of
//! work is a key; what is to be done is found out when its turn comes. Spaces take turns, a few at once, and a piece of
//! work is short: a space with much to do delays no other. Writes go through [`Server::handle`] like anybody's.

mod aggregation;
mod approver;
mod call;
mod cleaner;
mod conditions;
mod expiry;
mod garbage;
mod lanes;
mod namespace;
mod protection;
mod quota;
mod signer;
mod tokens;

pub(crate) use conditions::{CONSUMER, dangling, local};

use crate::Server;
use crate::certificates;
use crate::header::Header;
use api::{Object, SpaceName};
use call::{Caller, Failure};
use expiry::Expiry;
use futures_util::FutureExt;
use garbage::Owners;
use lanes::Lanes;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use store::{Change, Event, Key, Lost, Revision, Visibility};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long work that failed waits for its next try.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Spaces that are worked on at once. The work is of the processor and waits for nothing but webhooks, so more would only
/// take turns on it with the requests of users.
const RUNNING_MAX: usize = 8;

/// How soon it is looked whether those that are worked on wait for webhooks, while others have work.
const TURN_AGAIN: Duration = Duration::from_millis(20);

/// One piece of work; what it needs is read when it is done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Work {
    /// Furnish a namespace, or empty a terminating one.
    Namespace(Arc<str>),
    /// An object has owners that came or went: see whether they are there.
    Dependent(Key),
    /// An object waits for its dependents (finalizer `foregroundDeletion` or `orphan`).
    Waiting(Key),
    /// Write the rules of ClusterRoles that are made of others.
    Aggregate,
    /// Fill a Secret with a token of its service account, or take it away.
    Token(Key),
    /// A service account is gone: take its tokens away.
    AccountGone(Arc<str>),
    /// See whether a signing request is ready to be signed.
    Sign(Arc<str>),
    /// Count what is used of the quotas of a namespace.
    Quota(Arc<str>),
    /// Let a claim or volume that is being deleted go, if nothing uses it.
    Unused(Key),
    /// See what is to be said of an object, by others that it names.
    Condition(Key),
    /// An Event has ended, if it is still at this revision.
    Expired(Key, Revision),
}

/// What became of a piece of work.
struct Finished {
    space: Arc<str>,
    work: Work,
    outcome: Result<Outcome, Failure>,
}

enum Outcome {
    /// Until something happens.
    Done,
    /// A namespace waits for what is still in it.
    Emptying,
    /// There is more of it.
    More,
}

/// Runs until `shutdown`, or until the store closes.
pub(crate) async fn run(server: Server, shutdown: CancellationToken) {
    let mut state = State::new(server.clone());
    let mut running = JoinSet::new();
    let mut retry = Retry::default();
    'read: loop {
        // What is being done finds dependents in the index of owners, which is made anew now: half of it would look like
        // an owner without dependents, and what was to be orphaned would be collected.
        while let Some(finished) = running.join_next().await {
            state.finish(finished.expect("work catches its panics and is not cancelled"));
        }
        let head = server.store().head();
        let Ok(mut follow) = server.store().follow(head, Visibility::Appended) else {
            tokio::task::yield_now().await;
            continue;
        };
        state.read_all();
        loop {
            if retry.due(!state.failed.is_empty()) {
                state.retry();
            }
            // Before work begins, so that the index of owners is never behind what the work finds.
            match state.take(&mut follow) {
                Ok(()) => {}
                Err(Lost::Closed(_)) => return,
                // Fell out of the history: what was missed is found by reading all anew.
                Err(_) => continue 'read,
            }
            state.expire();
            // Work that waits for somebody's webhook keeps no other from its turn.
            while running.len() < RUNNING_MAX + crate::admission::webhooks::under_way()
                && let Some((space, work)) = state.begin()
            {
                running.spawn(perform(server.clone(), Arc::clone(&state.owners), space, work));
            }
            let turn = state.lanes.has_turn().then_some(TURN_AGAIN);
            let next_end = state.expiry.wait(server.now()).map(|wait| wait.min(expiry::LOOK_AGAIN));
            let events = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(finished) = running.join_next() => {
                    state.finish(finished.expect("work catches its panics and is not cancelled"));
                    continue;
                }
                () = retry.wait() => {
                    state.retry();
                    continue;
                }
                () = sleep(turn.or(next_end)) => continue,
                events = follow.next() => events,
            };
            match events {
                Ok(events) => events.iter().for_each(|event| state.notice(event)),
                Err(Lost::Closed(_)) => return,
                Err(_) => continue 'read,
            }
        }
    }
}

/// Sleeps for so long; for ever if there is nothing to wait for.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
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
    /// Read by work that goes on.
    owners: Arc<Mutex<Owners>>,
    lanes: Lanes<Work>,
    failed: HashSet<(Arc<str>, Work)>,
    /// Namespaces that may be terminating with content, by space and name: whatever goes from them is looked at.
    emptying: HashSet<(Arc<str>, Arc<str>)>,
    /// How many quotas a namespace has, by space and name: of those that have any, every change may change a count.
    quotas: HashMap<(Arc<str>, Arc<str>), usize>,
    /// Claims that wait until no Pod uses them, and classes until no claim or volume is of them.
    in_use: HashSet<Key>,
    /// Objects of which others decide what is said.
    decided: HashSet<Key>,
    expiry: Expiry,
}

impl State {
    fn new(server: Server) -> Self {
        Self {
            server,
            owners: Arc::default(),
            lanes: Lanes::new(),
            failed: HashSet::new(),
            emptying: HashSet::new(),
            quotas: HashMap::new(),
            in_use: HashSet::new(),
            decided: HashSet::new(),
            expiry: Expiry::default(),
        }
    }

    /// Everything that is there, as if it had just come.
    fn read_all(&mut self) {
        *self.owners.lock() = Owners::default();
        self.quotas.clear();
        self.in_use.clear();
        self.decided.clear();
        self.expiry = Expiry::default();
        let now = self.server.now();
        for space in self.server.spaces() {
            for collection in self.server.store().collections(space.as_str()) {
                let Ok(page) = self.server.store().page(&collection, None, None, usize::MAX, None) else { continue };
                for entry in &page.entries {
                    self.came(&entry.key, &entry.meta, true);
                    if &*collection.resource == quota::QUOTAS {
                        *self.quotas.entry(namespace_of(&entry.key)).or_default() += 1;
                        self.count(&entry.key);
                    }
                    self.came_with(&entry.key, entry.modified, &entry.value);
                    if &*collection.resource == expiry::EVENTS {
                        let event = serde_json::from_slice::<Object>(&entry.value).unwrap_or_default();
                        self.expiry.written(&entry.key, entry.modified, expiry::last_written(&event, now));
                    }
                }
            }
        }
    }

    /// Takes in what happened meanwhile.
    fn take(&mut self, follow: &mut store::Watch<Header>) -> Result<(), Lost> {
        loop {
            let events = follow.try_next()?;
            if events.is_empty() {
                return Ok(());
            }
            events.iter().for_each(|event| self.notice(event));
        }
    }

    fn notice(&mut self, event: &Event<Header>) {
        let (key, meta) = (&event.entry.key, &event.entry.meta);
        if &*key.collection.resource == expiry::EVENTS {
            match event.change {
                Change::Created | Change::Updated => {
                    self.expiry.written(key, event.entry.modified, self.server.now());
                }
                Change::Deleted => self.expiry.gone(key),
            }
        }
        if !self.quotas.is_empty() {
            self.count(key);
        }
        if !self.in_use.is_empty() {
            let by_pods = &*key.collection.resource == protection::PODS;
            let by_storage = matches!(&*key.collection.resource, protection::CLAIMS | protection::VOLUMES);
            let beside = self.in_use.iter().filter(|used| {
                let of_claim = &*used.collection.resource == protection::CLAIMS;
                let near = if of_claim { by_pods && used.namespace == key.namespace } else { by_storage };
                near && used.collection.space == key.collection.space
            });
            for used in beside {
                self.lanes.add(&key.collection.space, Work::Unused(used.clone()));
            }
        }
        if !self.decided.is_empty() && conditions::decides_any(&key.collection.resource) {
            let resource = &*key.collection.resource;
            let of = |held: &&Key| {
                held.collection.space == key.collection.space
                    && conditions::decides(resource, &held.collection.resource)
            };
            for held in self.decided.iter().filter(of) {
                self.lanes.add(&key.collection.space, Work::Condition(held.clone()));
            }
        }
        if event.change != Change::Deleted {
            self.came_with(key, event.entry.modified, &event.entry.value);
        }
        match event.change {
            Change::Created => {
                if &*key.collection.resource == quota::QUOTAS {
                    *self.quotas.entry(namespace_of(key)).or_default() += 1;
                    self.count(key);
                }
                self.came(key, meta, true);
            }
            Change::Updated => {
                let owners_changed = event.previous.as_ref().is_none_or(|held| held.meta.owners != meta.owners);
                if let Some(previous) = event.previous.as_ref().filter(|_| owners_changed) {
                    self.owners.lock().remove(&previous.key, &previous.meta.owners);
                }
                self.came(key, meta, owners_changed);
            }
            Change::Deleted => self.went(key, meta),
        }
    }

    /// What changed may be counted by a quota of its namespace.
    fn count(&mut self, key: &Key) {
        let place = namespace_of(key);
        if self.quotas.contains_key(&place) {
            self.lanes.add(&place.0, Work::Quota(place.1));
        }
    }

    fn came(&mut self, key: &Key, meta: &Header, owners_changed: bool) {
        let space = &key.collection.space;
        match &*key.collection.resource {
            "namespaces" if owners_changed || meta.deleting => {
                self.lanes.add(space, Work::Namespace(key.name.clone()));
            }
            certificates::COLLECTION => self.lanes.add(space, Work::Sign(key.name.clone())),
            aggregation::COLLECTION => self.lanes.add(space, Work::Aggregate),
            "configmaps" if &*key.name == namespace::ROOT_CA => {
                self.lanes.add(space, Work::Namespace(key.namespace.clone()));
            }
            _ => {}
        }
        if conditions::are_decided_by_others(&key.collection.resource) {
            self.decided.insert(key.clone());
            self.lanes.add(space, Work::Condition(key.clone()));
        }
        if owners_changed && !meta.owners.is_empty() {
            self.owners.lock().add(key, &meta.owners);
            self.lanes.add(space, Work::Dependent(key.clone()));
        }
        let resource = &*key.collection.resource;
        let protected = matches!(resource, protection::CLAIMS | protection::VOLUMES | protection::ATTRIBUTES);
        if protected && meta.deleting && meta.finalizers {
            if resource != protection::VOLUMES {
                self.in_use.insert(key.clone());
            }
            self.lanes.add(space, Work::Unused(key.clone()));
        }
        if meta.deleting && meta.finalizers {
            self.lanes.add(space, Work::Waiting(key.clone()));
        }
    }

    /// What is decided by more than the header of an object.
    fn came_with(&mut self, key: &Key, revision: Revision, value: &[u8]) {
        if &*key.collection.resource == certificates::COLLECTION
            && let Some(end) = cleaner::end(value)
        {
            self.expiry.ends(key, revision, end);
        }
        if &*key.collection.resource == "secrets" && contains(value, tokens::TYPE.as_bytes()) {
            self.lanes.add(&key.collection.space, Work::Token(key.clone()));
        }
    }

    fn went(&mut self, key: &Key, meta: &Header) {
        let space = &key.collection.space;
        match &*key.collection.resource {
            aggregation::COLLECTION => self.lanes.add(space, Work::Aggregate),
            certificates::COLLECTION => self.expiry.gone(key),
            "serviceaccounts" => self.lanes.add(space, Work::AccountGone(key.namespace.clone())),
            _ => {}
        }
        let (woken, orphaned) = {
            let mut owners = self.owners.lock();
            owners.waits_no_more(meta.uid);
            (owners.remove(key, &meta.owners), owners.of(meta.uid))
        };
        for waiting in woken {
            self.lanes.add(space, Work::Waiting(waiting));
        }
        for dependent in orphaned {
            self.lanes.add(space, Work::Dependent(dependent));
        }
        match &*key.collection.resource {
            quota::QUOTAS => {
                if let Entry::Occupied(mut held) = self.quotas.entry(namespace_of(key)) {
                    *held.get_mut() -= 1;
                    if *held.get() == 0 {
                        held.remove();
                    }
                }
            }
            conditions::API_SERVICES | conditions::FLOW_SCHEMAS => drop(self.decided.remove(key)),
            protection::CLAIMS | protection::ATTRIBUTES => drop(self.in_use.remove(key)),
            _ => {}
        }
        let furniture = (&*key.collection.resource, &*key.name);
        let furniture = matches!(furniture, ("configmaps", namespace::ROOT_CA) | ("serviceaccounts", "default"));
        if !key.namespace.is_empty() && (furniture || self.emptying.contains(&(space.clone(), key.namespace.clone()))) {
            self.lanes.add(space, Work::Namespace(key.namespace.clone()));
        }
    }

    /// Makes work of what has ended by now.
    fn expire(&mut self) {
        while let Some((key, revision)) = self.expiry.ended(self.server.now()) {
            let space = key.collection.space.clone();
            self.lanes.add(&space, Work::Expired(key, revision));
        }
    }

    fn retry(&mut self) {
        for (space, work) in std::mem::take(&mut self.failed) {
            self.lanes.add(&space, work);
        }
    }

    /// The next piece of work.
    fn begin(&mut self) -> Option<(Arc<str>, Work)> {
        let (space, work) = self.lanes.next()?;
        if let Work::Namespace(name) = &work {
            // From now on: what goes while it is looked at must not be overlooked.
            self.emptying.insert((space.clone(), name.clone()));
        }
        Some((space, work))
    }

    fn finish(&mut self, finished: Finished) {
        let Finished { space, work, outcome } = finished;
        self.lanes.done(&space);
        if let (Work::Namespace(name), Ok(Outcome::Done)) = (&work, &outcome) {
            self.emptying.remove(&(space.clone(), name.clone()));
        }
        match outcome {
            Ok(Outcome::Done | Outcome::Emptying) => {}
            Ok(Outcome::More) => self.lanes.add(&space, work),
            // The space went away, and with it the work.
            Err(_) if !self.server.has_space(&SpaceName::from(&*space)) => {
                self.emptying.retain(|(held, _)| *held != space);
                self.quotas.retain(|(held, _), _| *held != space);
                self.in_use.retain(|claim| claim.collection.space != space);
                self.decided.retain(|held| held.collection.space != space);
            }
            Err(failure) => {
                tracing::debug!(%space, ?work, %failure, "will try again");
                self.failed.insert((space, work));
            }
        }
    }
}

/// The space and the namespace of an object.
fn namespace_of(key: &Key) -> (Arc<str>, Arc<str>) {
    (key.collection.space.clone(), key.namespace.clone())
}

/// Who lets claims, volumes and classes go, as a stock server names it.
fn protector(key: &Key) -> &'static str {
    match &*key.collection.resource {
        protection::CLAIMS => "pvc-protection-controller",
        protection::ATTRIBUTES => "volumeattributesclass-protection-controller",
        _ => "pv-protection-controller",
    }
}

/// Whether bytes contain others.
fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Does one piece of work.
async fn perform(server: Server, owners: Arc<Mutex<Owners>>, space: Arc<str>, work: Work) -> Finished {
    let attempt = AssertUnwindSafe(attempt(&server, &owners, &space, &work)).catch_unwind();
    let outcome = attempt.await.unwrap_or(Err(Failure::Panic));
    Finished { space, work, outcome }
}

async fn attempt(server: &Server, owners: &Mutex<Owners>, space: &str, work: &Work) -> Result<Outcome, Failure> {
    let space = SpaceName::from(space);
    let caller = |name| Caller::new(server, &space, name);
    match work {
        Work::Namespace(name) => return namespace::reconcile(&caller("namespace-controller"), server, name).await,
        Work::Dependent(key) => garbage::check(&caller("generic-garbage-collector"), server, key).await?,
        Work::Waiting(key) => garbage::release(&caller("generic-garbage-collector"), server, owners, key).await?,
        Work::Aggregate => aggregation::reconcile(&caller("clusterrole-aggregation-controller")).await?,
        Work::Token(key) => tokens::reconcile(&caller("service-account-token-controller"), server, key).await?,
        Work::AccountGone(namespace) => {
            tokens::reconcile_all(&caller("service-account-token-controller"), server, namespace).await?;
        }
        Work::Sign(name) if approver::approve(&caller("certificate-controller"), server, name).await? => {}
        Work::Sign(name) => signer::sign(&caller("certificate-controller"), server, name).await?,
        Work::Quota(namespace) => quota::count(&caller("resourcequota-controller"), server, namespace).await?,
        Work::Unused(key) => protection::release(&caller(protector(key)), server, key).await?,
        Work::Condition(key) => conditions::write(&caller("conditions"), server, key).await?,
        Work::Expired(key, revision) => expiry::expire(server, key, *revision)?,
    }
    Ok(Outcome::Done)
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
