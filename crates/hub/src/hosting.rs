//! Beside the hosting space: makes a space of each ControlPlane, says how it is reached, and starts what runs beside it.

use api::space::{
    ADMIN_SECRET, ADMIN_SECRET_IN_CLUSTER_KEY, ADMIN_SECRET_KEY, CONTROL_PLANES, ControlPlane, SecretReference,
    system_namespace,
};
use api::{Object, ObjectName, Op, OwnerReference, PartialObject, Resource, SpaceName, Timestamp};
use base64::Engine as _;
use client::{Client, Reflector, Selection};
use clock::SharedClock;
use controller::{Action, Error, Queue, Reconcile, Result, Shutdown, execute};
use planner::space::{Outcome, its_of, place, plan_metadata, plan_release, role, status};
pub use planner::space::{Place, Role};
use serde_json::json;
use std::fmt::Display;
use std::sync::Arc;

const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");

/// Spaces are made a few at a time: each costs a key pair, and then nothing.
const WORKERS: usize = 4;

/// On the Secret with kubeconfigs: when its credentials are to be replaced.
const RENEW_ANNOTATION: &str = "kubestellar.io/renew-after";

/// How a space is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// The server's address with the path of the space: a Secret with another one is written anew.
    pub server: String,
    /// A kubeconfig for use from outside.
    pub kubeconfig: String,
    /// A kubeconfig for use beside the server.
    pub kubeconfig_in_cluster: String,
    /// When the credentials in them are to be replaced; never, if absent.
    pub renew_after: Option<Timestamp>,
}

/// Where spaces come from, and what runs beside them. Whoever wires the process knows; every call may come again.
pub trait Spaces: Send + Sync + 'static {
    /// What may go wrong, in a sentence for the user.
    type Error: Display + Send;

    /// Makes the space unless it is there, marks it for good as made for the ControlPlane with the uid `owner`, and tells
    /// how it is reached. With [`Place::Hosting`] nothing is made or marked.
    fn ensure(
        &self,
        space: &SpaceName,
        place: Place,
        owner: &str,
    ) -> impl Future<Output = Result<Access, Self::Error>> + Send;

    /// The uid that a space is marked with; nothing if it is not marked, or not there.
    fn owner(&self, space: &SpaceName) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;

    /// All spaces that could have been made for ControlPlanes, marked or not.
    fn held(&self) -> impl Future<Output = Result<Vec<SpaceName>, Self::Error>> + Send;

    /// Has what the space did elsewhere undone, ends what runs beside it, and drops it with everything in it.
    fn remove(&self, space: &SpaceName) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Has what the role needs run beside the space, from now on; `its` is where a WDS sends to, and what a simulated
    /// cluster joins. A WDS without one takes policies, and nothing more. With another role or ITS than before, what ran
    /// before ends.
    fn start_role(
        &self,
        space: &SpaceName,
        place: Place,
        role: Role,
        its: Option<&SpaceName>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Ends what runs beside the space.
    fn stop_role(&self, space: &SpaceName) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Reconciles the ControlPlanes of the hosting space until told to stop.
///
/// # Errors
/// If the CustomResourceDefinitions cannot be applied.
pub async fn run<S: Spaces>(hosting: Client, spaces: Arc<S>, clock: SharedClock, shutdown: Shutdown) -> Result<()> {
    let hosting = hosting.with_field_manager("kubeflex");
    let Some(ready) = shutdown.run_until_cancelled(crate::apply_crds(&hosting, api::crds::HOSTING)).await else {
        return Ok(());
    };
    ready?;
    let planes = Reflector::start(hosting.clone(), CONTROL_PLANES, Selection::all());
    // Before all is known, an ITS that is there would look as if it were not.
    if shutdown.run_until_cancelled(planes.synced()).await.is_none() {
        return Ok(());
    }
    let queue = Queue::new();
    let feeding = tokio::spawn(feed(planes.clone(), queue.clone(), shutdown.clone()));
    // What went while nobody watched.
    match spaces.held().await {
        Ok(held) => held.into_iter().for_each(|space| queue.add(space)),
        Err(error) => tracing::warn!(%error, "spaces whose ControlPlane has gone are not looked for"),
    }
    let host = Arc::new(Hosting { hosting, planes, spaces, clock });
    controller::run(host, queue, WORKERS, shutdown).await;
    feeding.abort();
    Ok(())
}

/// An ITS that comes or goes concerns every WDS and every simulated cluster.
async fn feed(planes: Reflector<ControlPlane>, queue: Queue<SpaceName>, shutdown: Shutdown) {
    let mut changes = planes.subscribe();
    while let Some(change) = shutdown.run_until_cancelled(changes.next()).await {
        queue.add(change.name.name.into());
        let is_its = |plane: &Option<Arc<ControlPlane>>| {
            plane.as_ref().is_some_and(|plane| role(plane) == Role::Its && !plane.metadata.is_deleting())
        };
        if is_its(&change.before) != is_its(&change.after) {
            let using = planes.all().into_iter().filter(|plane| matches!(role(plane), Role::Wds | Role::Wec));
            using.for_each(|plane| queue.add(plane.metadata.name.as_str().into()));
        }
    }
}

struct Hosting<S> {
    hosting: Client,
    planes: Reflector<ControlPlane>,
    spaces: Arc<S>,
    clock: SharedClock,
}

impl<S: Spaces> Reconcile for Hosting<S> {
    type Key = SpaceName;

    async fn reconcile(&self, name: &SpaceName) -> Result<Action> {
        let Some(plane) = self.planes.get(&ObjectName::cluster(name.as_str())) else { return self.clear(name).await };
        let patch = |patch| Op::merge_patch(CONTROL_PLANES, ObjectName::cluster(name.as_str()), patch);
        if plane.metadata.is_deleting() {
            if let Some(release) = plan_release(&plane) {
                self.remove(name, &plane).await?;
                execute(&self.hosting, &patch(release)).await?;
            }
            return Ok(Action::AwaitChange);
        }
        if let Some(completed) = plan_metadata(&plane) {
            // What comes next sees the ControlPlane with its finalizer.
            execute(&self.hosting, &patch(completed)).await?;
            return Ok(Action::AwaitChange);
        }
        let (outcome, retry) = match self.bring_up(name, &plane).await {
            Ok(outcome) => (outcome, None),
            Err(Failure::User(error)) => (Outcome { secret: None, error: Some(error), waiting: None }, None),
            Err(Failure::Later(error)) => {
                (Outcome { secret: None, error: Some(error.to_string()), waiting: None }, Some(error))
            }
        };
        if let Some(status) = status(&plane, &outcome, self.clock.now()) {
            execute(&self.hosting, &patch(json!({"status": status})).on_status()).await?;
        }
        retry.map_or(Ok(Action::AwaitChange), Err)
    }
}

/// Why a space could not be brought up.
enum Failure {
    /// The ControlPlane has to change first.
    User(String),
    /// It may pass.
    Later(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Later(error)
    }
}

impl<S: Spaces> Hosting<S> {
    async fn bring_up(&self, name: &SpaceName, plane: &ControlPlane) -> Result<Outcome, Failure> {
        let place = place(plane).map_err(Failure::User)?;
        let later = |doing: &str, cause: S::Error| Failure::Later(Error::Later(format!("{doing}: {cause}")));
        let access = self
            .spaces
            .ensure(name, place, &plane.metadata.uid)
            .await
            .map_err(|cause| later("make the space", cause))?;
        let secret = self.publish(plane, &access).await?;
        let role = role(plane);
        let (its, waiting) = match role {
            Role::Wds => match its_of(plane, self.planes.all().iter().map(|plane| &**plane)) {
                Ok(its) => (Some(its), None),
                Err(missing) => (None, Some(missing)),
            },
            // A simulated cluster without an ITS is a cluster all the same: it joins when there is one.
            Role::Wec => (its_of(plane, self.planes.all().iter().map(|plane| &**plane)).ok(), None),
            Role::Its | Role::Plain => (None, None),
        };
        let done = if role != Role::Plain {
            self.spaces.start_role(name, place, role, its.as_ref()).await
        } else {
            self.spaces.stop_role(name).await
        };
        done.map_err(|cause| later("start what runs beside the space", cause))?;
        Ok(Outcome { secret: Some(secret), error: None, waiting })
    }

    /// Removes the space of a ControlPlane that is gone, if it is still there: somebody took the finalizer away by force,
    /// and nobody else would ever remove it.
    ///
    /// A space is never removed by surprise. All of this has to hold: the space is marked as made for a ControlPlane (one
    /// that was made in another way, or before there were marks, stays, and the log says so); the deletion was watched,
    /// or a complete list at the start did not have the ControlPlane; and the API server, asked now, has none of that
    /// name. If somebody made another ControlPlane of that name meanwhile, it takes the space over as it is.
    async fn clear(&self, name: &SpaceName) -> Result<Action> {
        let later = |doing: &str, cause: S::Error| Error::Later(format!("{doing}: {cause}"));
        let place = ObjectName::cluster(name.as_str());
        if self.hosting.find::<PartialObject>(&CONTROL_PLANES, &place).await?.is_some() {
            return Ok(Action::AwaitChange); // the watch is behind
        }
        // Of a ControlPlane without a space of its own, this is all there is.
        self.spaces.stop_role(name).await.map_err(|cause| later("stop what runs beside the space", cause))?;
        match self.spaces.owner(name).await.map_err(|cause| later("see whose the space is", cause))? {
            Some(owner) => {
                tracing::warn!(
                    "space {name}: removed with everything in it, since ControlPlane {name} (uid {owner}), which it was \
                     made for, was deleted and its finalizer taken away by force"
                );
                self.spaces.remove(name).await.map_err(|cause| later("remove the space", cause))?;
            }
            None if self.spaces.held().await.is_ok_and(|held| held.contains(name)) => tracing::warn!(
                "space {name}: no ControlPlane has it, and it is not marked as made for one, so it stays; a \
                 ControlPlane {name} takes it over"
            ),
            None => {}
        }
        Ok(Action::AwaitChange)
    }

    async fn remove(&self, name: &SpaceName, plane: &ControlPlane) -> Result<()> {
        let later = |doing: &str, cause: S::Error| Error::Later(format!("{doing}: {cause}"));
        // A type that is not served never had a space.
        if place(plane) == Ok(Place::Own) {
            return self.spaces.remove(name).await.map_err(|cause| later("remove the space", cause));
        }
        self.spaces.stop_role(name).await.map_err(|cause| later("stop what runs beside the space", cause))
    }

    /// Writes the kubeconfigs into the namespace of the ControlPlane, unless they are there.
    async fn publish(&self, plane: &ControlPlane, access: &Access) -> Result<SecretReference> {
        let namespace = system_namespace(&plane.metadata.name);
        let owner = json!([OwnerReference {
            api_version: format!("{}/v1alpha1", api::space::GROUP),
            kind: "ControlPlane".into(),
            name: plane.metadata.name.clone(),
            uid: plane.metadata.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]);
        let place = ObjectName::cluster(namespace.as_str());
        if self.hosting.find::<Object>(&NAMESPACES, &place).await?.is_none() {
            let mut object = Object::new("v1", "Namespace", &place);
            object.set_meta("ownerReferences", owner);
            execute(&self.hosting, &Op::create(NAMESPACES, object)).await?;
        }
        let name = ObjectName::namespaced(namespace.as_str(), ADMIN_SECRET);
        let held = self.hosting.find::<Object>(&SECRETS, &name).await?;
        let wanted = secret(&name, access);
        match held {
            None => execute(&self.hosting, &Op::create(SECRETS, wanted)).await?,
            Some(held) if is_current(&held, access, self.clock.now()) => {}
            Some(_) => execute(&self.hosting, &Op::apply(SECRETS, wanted)).await?,
        }
        Ok(SecretReference {
            namespace,
            name: ADMIN_SECRET.into(),
            key: ADMIN_SECRET_KEY.into(),
            in_cluster_key: ADMIN_SECRET_IN_CLUSTER_KEY.into(),
        })
    }
}

/// On the Secret: the server that its kubeconfigs lead to.
const SERVER_ANNOTATION: &str = "kubestellar.io/server";

fn secret(name: &ObjectName, access: &Access) -> Object {
    let mut secret = Object::new("v1", "Secret", name);
    secret.set_annotation(SERVER_ANNOTATION, &access.server);
    if let Some(renew_after) = access.renew_after {
        secret.set_annotation(RENEW_ANNOTATION, &renew_after.to_string());
    }
    secret.0.insert("type".into(), "Opaque".into());
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let data = json!({
        ADMIN_SECRET_KEY: encode(&access.kubeconfig),
        ADMIN_SECRET_IN_CLUSTER_KEY: encode(&access.kubeconfig_in_cluster),
    });
    secret.0.insert("data".into(), data);
    secret
}

/// Credentials are made anew with every answer, so a Secret is kept as long as what is in it works.
fn is_current(held: &Object, access: &Access, now: Timestamp) -> bool {
    let has = |key: &str| held.pointer(&format!("/data/{key}")).is_some();
    let renew_after = held.annotation(RENEW_ANNOTATION).map(str::parse::<Timestamp>);
    has(ADMIN_SECRET_KEY)
        && has(ADMIN_SECRET_IN_CLUSTER_KEY)
        && held.annotation(SERVER_ANNOTATION) == Some(&access.server)
        && renew_after.is_none_or(|time| time.is_ok_and(|time| now < time))
}
