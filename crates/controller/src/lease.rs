//! Leader election by a Lease (`coordination.k8s.io/v1`): of many processes, one leads.
//!
//! The holder renews; others wait until the lease has not been renewed for its whole duration *by their own clock*, so
//! that clocks that differ between machines do no harm. A holder that cannot renew gives up before others may take over.

use crate::Shutdown;
use api::{Object, ObjectName, Resource, Timestamp};
use client::Client;
use clock::SharedClock;
use serde_json::{Value, json};
use std::time::Duration;

static LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "leases", "Lease");

/// How long a lease that is not renewed stays its holder's. Together with the next two, the defaults of client-go.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// A holder that could not renew for this long has lost: before [`LEASE_DURATION`], so that two never lead at once.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// How often a lease is renewed, or looked at.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// The lead, as long as it is held. Give it back with [`Self::release`]; dropping it stops renewing, and others take
/// over when the lease runs out.
pub struct Leadership {
    lost: Shutdown,
    stop: Shutdown,
    renewing: tokio::task::JoinHandle<()>,
}

impl Leadership {
    /// Is cancelled when the lead is lost: whoever leads must end at once.
    pub const fn lost(&self) -> &Shutdown {
        &self.lost
    }

    /// Gives the lead back, so that another can take it now.
    pub async fn release(self) {
        self.stop.cancel();
        let mut renewing = self.renewing;
        let _ = (&mut renewing).await;
    }
}

/// Waits until this process leads. `identity` must differ between processes. Nothing, if told to stop before.
pub async fn lead(
    client: Client,
    clock: SharedClock,
    lease: ObjectName,
    identity: &str,
    shutdown: &Shutdown,
) -> Option<Leadership> {
    let mut candidate = Candidate { client, clock, lease, identity: identity.into(), observed: None };
    loop {
        match candidate.attempt().await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::warn!("lease {}: {error}", candidate.lease),
        }
        shutdown.run_until_cancelled(tokio::time::sleep(RETRY_PERIOD)).await?;
    }
    tracing::info!("{} leads by lease {}", candidate.identity, candidate.lease);
    let (lost, stop) = (Shutdown::new(), Shutdown::new());
    let renewing = tokio::spawn(renew(candidate, lost.clone(), stop.clone()));
    Some(Leadership { lost, stop, renewing })
}

async fn renew(mut candidate: Candidate, lost: Shutdown, stop: Shutdown) {
    let _guard = lost.clone().drop_guard();
    let mut renewed = candidate.clock.monotonic();
    while stop.run_until_cancelled(tokio::time::sleep(RETRY_PERIOD)).await.is_some() {
        let left = RENEW_DEADLINE.saturating_sub(candidate.clock.monotonic().saturating_sub(renewed));
        match tokio::time::timeout(left, candidate.attempt()).await {
            Ok(Ok(true)) => renewed = candidate.clock.monotonic(),
            Ok(Ok(false)) => {
                tracing::error!("lease {}: another has taken the lead", candidate.lease);
                return;
            }
            Ok(Err(error)) => tracing::warn!("lease {}: not renewed: {error}", candidate.lease),
            Err(_) => {}
        }
        if candidate.clock.monotonic().saturating_sub(renewed) >= RENEW_DEADLINE {
            tracing::error!("lease {}: not renewed within {RENEW_DEADLINE:?}, so the lead is lost", candidate.lease);
            return;
        }
    }
    candidate.release().await;
}

struct Candidate {
    client: Client,
    clock: SharedClock,
    lease: ObjectName,
    identity: String,
    /// The last state of the lease that differed from the one before, and when we saw it, by our own clock.
    observed: Option<(Value, Duration)>,
}

impl Candidate {
    /// Looks at the lease and takes or renews it if that is possible. Whether it is ours.
    async fn attempt(&mut self) -> client::Result<bool> {
        let held: Option<Object> = self.client.find(&LEASES, &self.lease).await?;
        let now = self.clock.monotonic();
        let spec = held.as_ref().and_then(|object| object.0.get("spec")).cloned().unwrap_or(Value::Null);
        let seen = match &self.observed {
            Some((state, since)) if *state == spec => *since,
            _ => {
                self.observed = Some((spec.clone(), now));
                now
            }
        };
        let Some(next) = next_spec(&spec, &self.identity, now.saturating_sub(seen), self.clock.now()) else {
            return Ok(false);
        };
        let done = match held {
            None => {
                let mut object = Object::new("coordination.k8s.io/v1", "Lease", &self.lease);
                object.0.insert("spec".into(), next.clone());
                self.client.create::<Object>(&LEASES, &self.lease.namespace, &object).await
            }
            // The resourceVersion in the object makes sure that nobody else took it meanwhile.
            Some(mut object) => {
                object.0.insert("spec".into(), next.clone());
                self.client.update::<Object>(&LEASES, &self.lease, &object).await
            }
        };
        match done {
            Ok(_) => {
                self.observed = Some((next, now));
                Ok(true)
            }
            Err(error) if error.is_conflict() || error.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn release(&self) {
        let identity = self.identity.clone();
        let released = self.client.edit(&LEASES, &self.lease, move |object| {
            if object.pointer("/spec/holderIdentity").and_then(Value::as_str) == Some(&identity)
                && let Some(Value::Object(spec)) = object.0.get_mut("spec")
            {
                spec.insert("holderIdentity".into(), "".into());
                spec.insert("leaseDurationSeconds".into(), 1.into());
            }
        });
        if let Err(error) = released.await {
            tracing::debug!("lease {}: not released: {error}", self.lease);
        }
    }
}

/// What the lease should say if `identity` may have it: it is free, ours, or not renewed for its duration.
fn next_spec(held: &Value, identity: &str, unchanged_for: Duration, now: Timestamp) -> Option<Value> {
    let holder = held.get("holderIdentity").and_then(Value::as_str).unwrap_or("");
    let duration = held.get("leaseDurationSeconds").and_then(Value::as_u64).map(Duration::from_secs);
    if holder != identity && !holder.is_empty() && unchanged_for < duration.unwrap_or(LEASE_DURATION) {
        return None;
    }
    let mut next = match held {
        Value::Object(fields) => fields.clone(),
        _ => serde_json::Map::new(),
    };
    let time = json!(now.rfc3339_micros());
    if holder != identity {
        let transitions = held.get("leaseTransitions").and_then(Value::as_i64).map_or(0, |count| count + 1);
        next.insert("holderIdentity".into(), identity.into());
        next.insert("acquireTime".into(), time.clone());
        next.insert("leaseTransitions".into(), transitions.into());
    }
    next.insert("leaseDurationSeconds".into(), LEASE_DURATION.as_secs().into());
    next.insert("renewTime".into(), time);
    Some(next.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(held: Value, unchanged_seconds: u64, expected: Option<(&str, i64)>) {
        let next = next_spec(&held, "me", Duration::from_secs(unchanged_seconds), Timestamp::from_seconds(100));
        let seen = next
            .as_ref()
            .map(|spec| (spec["holderIdentity"].as_str().unwrap(), spec["leaseTransitions"].as_i64().unwrap_or(-1)));
        assert_eq!(seen, expected, "{held}");
    }

    #[test]
    fn who_may_have_the_lease() {
        let held = |holder: &str| json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3});
        check(Value::Null, 0, Some(("me", 0)));
        check(held("me"), 0, Some(("me", 3)));
        check(held("other"), 0, None);
        check(held("other"), 14, None);
        check(held("other"), 15, Some(("me", 4)));
        check(held(""), 0, Some(("me", 4)));
        check(json!({"holderIdentity": "other"}), 14, None);
    }

    #[test]
    fn renewing_keeps_when_it_was_acquired() {
        let first = next_spec(&Value::Null, "me", Duration::ZERO, Timestamp::from_seconds(1)).unwrap();
        let second = next_spec(&first, "me", Duration::ZERO, Timestamp::from_seconds(2)).unwrap();
        assert_eq!(second["acquireTime"], first["acquireTime"]);
        assert_ne!(second["renewTime"], first["renewTime"]);
    }
}
