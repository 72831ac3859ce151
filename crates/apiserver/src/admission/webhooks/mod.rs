//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: writes are shown to others, who may change or refuse them.
//!
//! A webhook is reached by its URL; services cannot be reached in a space. Whatever goes wrong with a call is answered by
//! the webhook's failure policy. The objects that configure admission are never shown to webhooks, so that a bad one can
//! always be removed.

mod client;

use super::builtin::forbidden;
use super::policies::ask::{Ask, fields};
use super::{Operation, Review};
use crate::call::Call;
use crate::convert::convert;
use crate::header::Header;
use crate::registry::Kind;
use crate::respond::Result;
use crate::{Store, builtin, random};
use api::{Cause, Details, Labels, Object, Status};
use base64::Engine;
use client::Client;
pub(crate) use client::under_way;
use futures_util::future::join_all;
use machinery::admission::webhook::{self, Address, Answer, Hook, Phase, Place, Question};
use machinery::cel::policy::{Inputs, Matched};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use store::{Collection, Lost, Visibility, Watch};

const GROUP: &str = "admissionregistration.k8s.io";

/// The webhooks of one space. Nothing is read before a space has any.
pub(crate) struct Hooks {
    store: Store,
    /// Of both phases.
    configurations: [Collection; 2],
    state: Mutex<Option<State>>,
    pub(crate) client: Client,
}

struct State {
    watches: Vec<Watch<Header>>,
    compiled: Arc<Compiled>,
}

/// The webhooks in the order in which they are called: by name of the configuration, and then as it lists them.
#[derive(Default)]
struct Compiled {
    mutating: Vec<Hook>,
    validating: Vec<Hook>,
}

impl Hooks {
    /// Of a space.
    pub(crate) fn new(store: Store, space: &Arc<str>) -> Self {
        let plurals = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
        let configurations = plurals.map(|plural| Collection::new(space.clone(), format!("{plural}.{GROUP}")));
        Self { store, configurations, state: Mutex::new(None), client: Client::default() }
    }

    /// The webhooks as they are now; `None` if there are none.
    fn current(&self) -> Option<Arc<Compiled>> {
        if self.configurations.iter().all(|collection| self.store.count(collection) == 0) {
            return None;
        }
        let mut state = self.state.lock();
        let held = state.take().and_then(|mut held| held.is_current().ok()?.then_some(held));
        let held = held.unwrap_or_else(|| self.load());
        Some(Arc::clone(&state.insert(held).compiled))
    }

    fn load(&self) -> State {
        'again: loop {
            let mut state = State { watches: Vec::new(), compiled: Arc::default() };
            let mut lists = Vec::new();
            for collection in &self.configurations {
                let page = self.store.page(collection, None, None, usize::MAX, None).expect("the present is kept");
                let watch = self.store.watch(collection, None, page.revision, Visibility::Appended);
                let Ok(watch) = watch else { continue 'again };
                state.watches.push(watch);
                let objects =
                    page.entries.iter().filter_map(|entry| serde_json::from_slice::<Object>(&entry.value).ok());
                lists.push(objects.flat_map(|object| webhook::hooks(&object)).collect::<Vec<_>>());
            }
            let validating = lists.pop().unwrap_or_default();
            let mutating = lists.pop().unwrap_or_default();
            state.compiled = Arc::new(Compiled { mutating, validating });
            return state;
        }
    }
}

impl State {
    /// Whether nothing was written since.
    fn is_current(&mut self) -> Result<bool, Lost> {
        let mut current = true;
        for watch in &mut self.watches {
            current &= watch.try_next()?.is_empty();
        }
        Ok(current)
    }
}

/// Whether any webhook may want to see such a write.
pub(super) fn interested(call: &Call, operation: Operation) -> bool {
    if is_exempt(call) {
        return false;
    }
    let Some(hooks) = call.space.hooks.current() else { return false };
    let places = places(call);
    let wants = |hook: &Hook| hook.place(&places, &call.target.subresource, operation).is_some();
    hooks.mutating.iter().any(wants) || hooks.validating.iter().any(wants)
}

/// Nobody but who may write them has a say in what configures admission.
fn is_exempt(call: &Call) -> bool {
    call.kind.served.group == GROUP
}

/// The versions at which the objects of a request are served, first that of the request.
fn places(call: &Call) -> Vec<Place> {
    let of = |kind: &crate::discovery::ServedKind| Place {
        group: kind.group.to_string(),
        version: kind.version.to_string(),
        plural: kind.plural.to_string(),
        kind: kind.kind.to_string(),
        namespaced: kind.namespaced,
    };
    let own = of(&call.kind.served);
    let mut places = vec![own];
    let same = |kind: &Kind| kind.collection == call.kind.collection && kind.api_version != call.kind.api_version;
    if call.kind.custom.is_some() {
        let customs = call.space.customs(call.store());
        places.extend(customs.kinds().filter(|kind| same(kind)).map(|kind| of(&kind.served)));
    } else if !call.kind.collection.is_empty() {
        let rows = builtin::kinds().iter().filter(|row| *row.collection == *call.kind.collection);
        places.extend(rows.map(|row| of(&row.served)).filter(|place| place.api_version() != call.kind.api_version));
    }
    places
}

/// Calls the mutating webhooks, one after the other. Says whether they changed anything.
pub(super) async fn mutate(review: &mut Review<'_>, rounds: &mut super::Rounds) -> Result<bool> {
    let call = review.call;
    let Some(hooks) = call.space.hooks.current().filter(|_| !is_exempt(call)) else { return Ok(false) };
    let places = places(call);
    let mut changed = false;
    rounds.begin(review.object.as_ref());
    for (index, hook) in hooks.mutating.iter().enumerate() {
        let name = format!("{index} {}", hook.name);
        if rounds.skips(&name) {
            continue;
        }
        let Some(answer) = ask(review, &places, hook, Phase::Mutating).await? else { continue };
        let patched = patched(review, &places, hook, &answer)?;
        let round = usize::from(rounds.second);
        let noted = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": patched.is_some()});
        let key = format!("mutation.webhook.admission.k8s.io/round_{round}_index_{index}");
        review.annotations.insert(key, noted.to_string());
        take_in(review, hook, answer)?;
        if let Some(patched) = patched {
            review.object = Some(patched);
            changed = true;
            rounds.changed();
        }
        if hook.reinvoked {
            rounds.called.push(name);
        }
    }
    rounds.end(review.object.as_ref());
    Ok(changed)
}

/// Calls the validating webhooks, all at once.
pub(super) async fn validate(review: &mut Review<'_>) -> Result<()> {
    let call = review.call;
    let Some(hooks) = call.space.hooks.current().filter(|_| !is_exempt(call)) else { return Ok(()) };
    let places = places(call);
    let asked = {
        let review = &*review;
        join_all(hooks.validating.iter().map(|hook| ask(review, &places, hook, Phase::Validating))).await
    };
    for (hook, answer) in hooks.validating.iter().zip(asked) {
        if let Some(answer) = answer? {
            take_in(review, hook, answer)?;
        }
    }
    Ok(())
}

/// What an answer means beside its patch: warnings and annotations, and a refusal.
fn take_in(review: &mut Review<'_>, hook: &Hook, answer: Answer) -> Result<()> {
    // Said beside a refusal too.
    answer.warnings.into_iter().for_each(|warning| review.call.warnings.add(warning));
    for (key, value) in answer.annotations {
        review.annotations.insert(format!("{}/{key}", hook.name), value);
    }
    if answer.allowed {
        return Ok(());
    }
    let refusal = webhook::refusal(&hook.name, &answer.status);
    let message = refusal["message"].as_str().unwrap_or("").to_owned();
    let status: Result<Status, _> = serde_json::from_value(refusal);
    // A status that is none is as good as none.
    Err(status.unwrap_or_else(|_| Status::bad_request(message)).into())
}

/// Asks one webhook. `None`: it is not interested, or failed and may be ignored.
async fn ask(review: &Review<'_>, places: &[Place], hook: &Hook, phase: Phase) -> Result<Option<Answer>> {
    let call = review.call;
    let Some(place) = hook.place(places, &call.target.subresource, review.operation) else { return Ok(None) };
    if !hook.selects(namespace_labels(review).as_ref(), review.object.as_ref(), review.old) {
        return Ok(None);
    }
    if !hook.conditions.is_empty() && !fits(review, place, hook)? {
        return Ok(None);
    }
    if review.dry_run && !hook.dry_runs {
        return Err(Status::bad_request(format!("admission webhook {:?} does not support dry run", hook.name)).into());
    }
    let asked = put(review, place, &places[0], hook, phase).await;
    let why = match asked {
        Ok(answer) => return Ok(Some(answer)),
        Err(why) => format!("failed calling webhook {:?}: {why}", hook.name),
    };
    if hook.ignores_failure {
        tracing::warn!(space = %call.space.name, configuration = %hook.configuration, %why, "a failed webhook is ignored");
        return Ok(None);
    }
    Err(internal(why).into())
}

/// Whether the write is one that the conditions of a webhook are for. What cannot be evaluated is decided by its
/// failure policy.
fn fits(review: &Review<'_>, place: &Place, hook: &Hook) -> Result<bool> {
    let ask = Ask::new(review).at(place);
    let object = review.object.as_ref().map(|object| shown(object, place)).transpose().map_err(internal)?;
    let old = review.old.map(|old| shown(old, place)).transpose().map_err(internal)?;
    let matched = hook.conditions.matched(&Inputs {
        object: fields(object.as_deref()),
        old: fields(old.as_deref()),
        request: &ask.request,
        namespace: None,
        params: None,
        authorizer: Some(&ask.rights),
        question: &ask.question,
    });
    match matched {
        Matched::Yes => Ok(true),
        Matched::No(_) => Ok(false),
        Matched::Failed(why) if hook.ignores_failure => {
            tracing::warn!(space = %review.call.space.name, webhook = %hook.name, %why, "failed match conditions are ignored");
            Ok(false)
        }
        Matched::Failed(why) => {
            let nothing = Object::default();
            Err(forbidden(review.call, review.object.as_ref().or(review.old).unwrap_or(&nothing), why).into())
        }
    }
}

/// 500 with its cause.
fn internal(why: String) -> Status {
    let mut status = Status::internal(&why);
    let causes = vec![Cause { message: why, ..Cause::default() }];
    status.details = Some(Box::new(Details { causes, ..Details::default() }));
    status
}

/// The labels of the namespace of a write; of a namespace, its own; `None` for everything else in none.
fn namespace_labels(review: &Review<'_>) -> Option<Labels> {
    let call = review.call;
    if &*call.kind.collection == "namespaces" {
        return review.object.as_ref().or(review.old).map(Object::labels);
    }
    if call.target.namespace.is_empty() {
        return None;
    }
    let entry = call.store().get(&call.space.key(&"namespaces".into(), "", &call.target.namespace));
    let labels = entry.iter().flat_map(|entry| entry.meta.labels());
    Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Puts the question to a webhook and reads its answer.
async fn put(review: &Review<'_>, place: &Place, asked: &Place, hook: &Hook, phase: Phase) -> Result<Answer, String> {
    let call = review.call;
    let url = match &hook.address {
        Address::Url(url) => url,
        Address::Service(service) => {
            return Err(format!(
                "failed to call webhook: service {service:?} cannot be reached: a space runs no services; give the \
                 webhook a url"
            ));
        }
    };
    let mut object = review.object.as_ref().map(|object| shown(object, place)).transpose()?;
    if let Some(object) = object.as_mut().filter(|_| phase == Phase::Mutating && review.operation == Operation::Create)
    {
        // They are given after the last change.
        for field in ["uid", "creationTimestamp"] {
            object.to_mut().metadata_mut().remove(field);
        }
    }
    let old = review.old.map(|old| shown(old, place)).transpose()?;
    let identity = &call.identity;
    let mut user = json!({"username": identity.user, "groups": identity.groups});
    if !identity.uid.is_empty() {
        user["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        user["extra"] = json!(identity.extra);
    }
    let uid = random::uid();
    let question = Question {
        uid: &uid,
        place,
        asked,
        subresource: &call.target.subresource,
        namespace: review.namespace(),
        name: review.name(),
        operation: review.operation,
        user,
        object: object.as_deref(),
        old: old.as_deref(),
        dry_run: review.dry_run,
        options: &review.options,
    };
    let body = question.review(hook.version);
    let answered = call.space.hooks.client.post(url, &hook.authorities, hook.timeout_seconds, &body).await;
    let answered = answered.map_err(|why| format!("failed to call webhook: {why}"))?;
    webhook::answer(&answered, hook.version, &uid, phase)
        .map_err(|why| format!("received invalid webhook response: {why}"))
}

/// An object as a webhook sees it: at the version of its rule.
fn shown<'o>(object: &'o Object, place: &Place) -> Result<Cow<'o, Object>, String> {
    let version = place.api_version();
    if object.api_version() == version {
        return Ok(Cow::Borrowed(object));
    }
    let mut object = object.clone();
    if builtin::by_kind(&place.group, &place.version, &place.kind).is_some() {
        convert(&mut object, &version).map_err(|error| error.to_string())?;
    } else {
        object.0.insert("apiVersion".into(), version.into());
    }
    Ok(Cow::Owned(object))
}

/// The object as a webhook's patch makes it, if it changes anything.
fn patched(review: &Review<'_>, places: &[Place], hook: &Hook, answer: &Answer) -> Result<Option<Object>> {
    let (Some(patch), Some(object)) = (&answer.patch, &review.object) else { return Ok(None) };
    if !answer.allowed {
        return Ok(None);
    }
    let Some(place) = hook.place(places, &review.call.target.subresource, review.operation) else { return Ok(None) };
    let decoded =
        base64::engine::general_purpose::STANDARD.decode(patch).map_err(|error| internal(error.to_string()))?;
    let patch: Value = serde_json::from_slice(&decoded).map_err(|error| internal(error.to_string()))?;
    let mut seen = shown(object, place).map_err(internal)?.into_owned();
    machinery::patch::json::apply(&mut seen, &patch).map_err(|error| internal(error.status().message))?;
    let back = shown(&seen, &places[0]).map_err(internal)?.into_owned();
    Ok((back != *object).then_some(back))
}
