//! The stock server's built-in plugins, carried out: the pure steps of [`machinery::admission`] on what the space holds.

use super::{Operation, Review};
use crate::call::Call;
use crate::respond::Result;
use crate::{priorities, random};
use api::{Object, Status};
use machinery::admission::{self, Lookup, MUTATING, Row, Subject, VALIDATING};
use std::time::Duration;
use store::{Revision, Visibility};

/// How long a Pod waits for the account `default` of its namespace, which is made right after the namespace: as long as
/// a stock server tries.
const ACCOUNT_WAIT: Duration = Duration::from_secs(1);

/// Whether any plugin looks at such a write.
pub(super) fn interested(call: &Call, operation: Operation) -> bool {
    [MUTATING, VALIDATING].into_iter().any(|table| steps(table, call, operation).next().is_some())
}

fn steps<'c>(
    table: &'static [Row],
    call: &'c Call,
    operation: Operation,
) -> impl Iterator<Item = &'static Row> + use<'c> {
    let steps = admission::steps(table, &call.kind.collection, &call.target.subresource, operation);
    steps.filter(|row| !row.of_labelled || is_labelled(call))
}

/// Whether the namespace of a request says anything of the security of its Pods.
fn is_labelled(call: &Call) -> bool {
    const LABEL: &[u8] = b"\"pod-security.kubernetes.io/";
    let key = call.space.key(&"namespaces".into(), "", &call.target.namespace);
    call.store().get(&key).is_some_and(|held| held.value.windows(LABEL.len()).any(|window| window == LABEL))
}

/// The steps that change an object.
pub(super) async fn mutate(review: &mut Review<'_>) -> Result<()> {
    if &*review.call.kind.collection == "pods" && review.operation == Operation::Create {
        default_account(review).await;
    }
    run(MUTATING, review)
}

/// The steps that look at what would be stored.
pub(super) fn validate(review: &mut Review<'_>) -> Result<()> {
    run(VALIDATING, review)
}

fn run(table: &'static [Row], review: &mut Review<'_>) -> Result<()> {
    let call = review.call;
    let Some(object) = &mut review.object else { return Ok(()) };
    let mut steps = steps(table, call, review.operation).peekable();
    if steps.peek().is_none() {
        return Ok(());
    }
    let token_volume = random::name(admission::pods::TOKEN_VOLUME_PREFIX);
    for row in steps {
        let mut subject = Subject {
            object: &mut *object,
            old: review.old,
            operation: review.operation,
            namespace: &call.target.namespace,
            warnings: Vec::new(),
            token_volume: &token_volume,
        };
        let done = (row.step)(&mut subject, &Held(call));
        review.warnings.append(&mut subject.warnings);
        done.map_err(|why| forbidden(call, object, why))?;
    }
    Ok(())
}

/// 403 on the object of a review, in the words of the stock server.
pub(super) fn forbidden(call: &Call, object: &Object, why: impl std::fmt::Display) -> Status {
    let generated = || object.meta("generateName").and_then(serde_json::Value::as_str).unwrap_or("");
    let name = [call.target.name.as_str(), object.name(), generated()].into_iter().find(|name| !name.is_empty());
    Status::forbidden(&call.kind.group_resource, name.unwrap_or("Unknown"), why)
}

/// Waits until the account of a Pod that names none is there, if it comes soon.
async fn default_account(review: &Review<'_>) {
    let named = review.object.as_ref().and_then(|pod| pod.pointer("/spec/serviceAccountName")?.as_str());
    if !matches!(named, None | Some("" | "default")) {
        return;
    }
    let call = review.call;
    let key = call.space.key(&"serviceaccounts".into(), &call.target.namespace, "default");
    let after = call.store().head();
    if call.store().get(&key).is_some() {
        return;
    }
    let namespace = Some(call.target.namespace.as_str());
    let Ok(mut watch) = call.store().watch(&key.collection, namespace, after, Visibility::Appended) else { return };
    let comes = async { while call.store().get(&key).is_none() && watch.next().await.is_ok() {} };
    // If it does not come, the plugin says so.
    drop(tokio::time::timeout(ACCOUNT_WAIT, comes).await);
}

/// What a space holds.
struct Held<'a>(&'a Call);

impl Lookup for Held<'_> {
    fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Object> {
        let entry = self.0.store().get(&self.0.space.key(&collection.into(), namespace, name));
        match entry {
            Some(entry) => serde_json::from_slice(&entry.value).ok(),
            None if collection == priorities::COLLECTION => priorities::get(name),
            None => None,
        }
    }

    fn list(&self, collection: &str, namespace: &str) -> Vec<Object> {
        let collection = self.0.space.collection(&collection.into());
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        let page = self.0.store().page(&collection, namespace, None, usize::MAX, None::<Revision>);
        let entries = page.map(|page| page.entries).unwrap_or_default();
        entries.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok()).collect()
    }
}
