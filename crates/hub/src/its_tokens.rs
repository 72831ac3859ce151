//! Removes bootstrap tokens that are over: expired ones on time, and those that were made for one cluster once it does
//! not need them any more. `planner::registration` decides.

use crate::inventory::Lease;
use api::cluster::LEASE_NAME;
use api::{Object, ObjectName, Op, Resource, Timestamp, Write};
use client::{Client, Reflector, Selection};
use clock::SharedClock;
use controller::{Action, Queue, Reconcile, Result, execute};
use parking_lot::Mutex;
use planner::registration::{BOOTSTRAP_USER_PREFIX, BootstrapToken, Fate, Use, fate};
use serde_json::Value;
use std::collections::HashMap;

const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");
const NAMESPACE: &str = "kube-system";

/// The bootstrap tokens, and what is known of their use.
///
/// An agent that got its certificate has to fetch it, with the token, before it can do without. So a token stays until
/// its cluster renews its lease, which takes the certificate. What a restart forgets is learned from the requests that
/// are still there and from the next renewal.
pub(crate) struct Tokens {
    pub(crate) queue: Queue<String>,
    its: Client,
    clock: SharedClock,
    secrets: Reflector<Object>,
    requests: Reflector<Object>,
    leases: Reflector<Lease>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Ids of tokens whose holders got a certificate, and when the newest of these was asked for, as long as the
    /// requests are kept.
    issued: HashMap<String, Timestamp>,
    /// By cluster, the Secret of the token with which it got a certificate, and whether it was heard since.
    joining: HashMap<String, (String, bool)>,
}

impl Tokens {
    pub(crate) fn start(
        its: Client,
        clock: SharedClock,
        requests: Reflector<Object>,
        leases: Reflector<Lease>,
    ) -> Self {
        let selection = Selection::namespace(NAMESPACE).with_fields("type=bootstrap.kubernetes.io/token");
        let secrets = Reflector::start(its.clone(), SECRETS, selection);
        Self { queue: Queue::new(), its, clock, secrets, requests, leases, seen: Mutex::default() }
    }

    /// Tells the queue which tokens to look at. Does not end.
    pub(crate) async fn follow(&self) {
        let (mut secrets, mut requests) = (self.secrets.subscribe(), self.requests.subscribe());
        let mut leases = self.leases.subscribe();
        loop {
            tokio::select! {
                change = secrets.next() => {
                    if change.after.is_none() {
                        self.seen.lock().joining.retain(|_, (secret, _)| *secret != change.name.name);
                    }
                    self.queue.add(change.name.name);
                }
                change = requests.next() => {
                    let issued_to = |request: &Object| issued_to(request).map(str::to_owned);
                    match (change.before.as_deref().and_then(issued_to), change.after.as_deref().and_then(issued_to)) {
                        (_, Some(id)) => {
                            self.queue.add(secret_name(&id));
                            let asked = change.after.as_deref().and_then(created).unwrap_or_default();
                            let mut seen = self.seen.lock();
                            let newest = seen.issued.entry(id).or_default();
                            *newest = asked.max(*newest);
                        }
                        (Some(id), None) => {
                            self.seen.lock().issued.remove(&id);
                        }
                        (None, None) => {}
                    }
                }
                change = leases.next() => {
                    let time = |lease: &Lease| lease.spec.renew_time;
                    let (before, after) = (change.before.as_deref().map(time), change.after.as_deref().map(time));
                    if change.name.name == LEASE_NAME && before.is_some() && after.is_some() && before != after {
                        self.heard(&change.name.namespace);
                    }
                }
            }
        }
    }

    fn heard(&self, cluster: &str) {
        if let Some((secret, heard)) = self.seen.lock().joining.get_mut(cluster) {
            *heard = true;
            self.queue.add(secret.clone());
        }
    }
}

impl Seen {
    /// Notes that a cluster is awaited, once it can have its certificate, and tells how far it has come.
    ///
    /// A certificate that was asked for before the Secret was made is of another token that had the id.
    fn used(&mut self, secret: &Object, token: &BootstrapToken) -> Use {
        let issued = self.issued.get(&token.id).is_some_and(|&asked| Some(asked) >= created(secret));
        let (secret, Some(cluster)) = (secret.name(), token.once_for.as_ref().filter(|_| issued)) else {
            return Use::Unused;
        };
        let (awaited, heard) = self.joining.entry(cluster.clone()).or_insert_with(|| (secret.to_owned(), false));
        if awaited != secret {
            // Of several tokens for a cluster, the one that was used last.
            (*awaited, *heard) = (secret.to_owned(), false);
        }
        if *heard { Use::Heard } else { Use::Issued }
    }
}

fn created(object: &Object) -> Option<Timestamp> {
    object.object_meta().creation_timestamp
}

/// The id of the token with which somebody got a certificate.
fn issued_to(request: &Object) -> Option<&str> {
    request.pointer("/status/certificate").and_then(Value::as_str).filter(|text| !text.is_empty())?;
    request.pointer("/spec/username")?.as_str()?.strip_prefix(BOOTSTRAP_USER_PREFIX)
}

fn secret_name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

impl Reconcile for Tokens {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Action> {
        let Some(secret) = self.secrets.get(&ObjectName::namespaced(NAMESPACE, name.as_str())) else {
            return Ok(Action::AwaitChange);
        };
        let Some(token) = BootstrapToken::read(&secret) else { return Ok(Action::AwaitChange) };
        if secret.is_deleting() {
            return Ok(Action::AwaitChange);
        }
        let used = self.seen.lock().used(&secret, &token);
        match fate(&token, used, self.clock.now()) {
            Fate::Stays => Ok(Action::AwaitChange),
            Fate::StaysFor(left) => Ok(Action::After(left)),
            Fate::Goes(why) => {
                tracing::info!("bootstrap token {}: removed, since {why}", token.id);
                // As it was judged: somebody may have prolonged it meanwhile.
                let (uid, version) = (secret.uid().to_owned(), secret.object_meta().resource_version);
                let delete = Write::Delete { uid: Some(uid), resource_version: Some(version), propagation: None };
                execute(&self.its, &Op::new(SECRETS, secret.object_name(), delete)).await?;
                Ok(Action::AwaitChange)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_certificate_counts_for_the_token_that_was_there_when_it_was_asked_for() {
        let mut seen = Seen::default();
        seen.issued.insert("abcdef".into(), "2026-01-01T00:00:10Z".parse().unwrap());
        let token = BootstrapToken { id: "abcdef".into(), expires: None, once_for: Some("c1".into()) };
        #[track_caller]
        fn check(seen: &mut Seen, token: &BootstrapToken, made: &str, expected: Use) {
            let meta = json!({"metadata": {"name": "bootstrap-token-abcdef", "creationTimestamp": made}});
            assert_eq!(seen.used(&serde_json::from_value(meta).unwrap(), token), expected, "{made}");
        }
        check(&mut seen, &token, "2026-01-01T00:00:09Z", Use::Issued);
        check(&mut seen, &token, "2026-01-01T00:00:11Z", Use::Unused);
        seen.joining.get_mut("c1").unwrap().1 = true;
        check(&mut seen, &token, "2026-01-01T00:00:09Z", Use::Heard);
        check(&mut seen, &token, "2026-01-01T00:00:11Z", Use::Unused);
        check(&mut seen, &BootstrapToken { once_for: None, ..token.clone() }, "2026-01-01T00:00:09Z", Use::Unused);
    }
}
