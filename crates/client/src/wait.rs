//! Waiting for an object by watching it, never by asking again and again.

use crate::{Client, Error, Reflector, Result, Selection};
use api::{Condition, ObjectName, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// How long a CustomResourceDefinition may take to be served: stock servers take up to five seconds.
const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) static CRDS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");

/// The conditions of any object that has them; what has another shape reads as none.
#[derive(Deserialize, Default)]
pub(crate) struct Conditions {
    #[serde(default)]
    status: ConditionsStatus,
}

#[derive(Deserialize, Default)]
struct ConditionsStatus {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

impl Client {
    /// Watches one object until `answer` gives something, and returns that. `answer` is asked first with what is there
    /// (nothing, if the object does not exist), then after each change.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the text of `waiting_for`, and the reason why the server could not be watched, if so.
    pub async fn until<T, R>(
        &self,
        resource: &Resource,
        name: &ObjectName,
        timeout: Duration,
        waiting_for: &str,
        mut answer: impl FnMut(Option<&T>) -> Option<R> + Send,
    ) -> Result<R>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let selection = Selection {
            namespace: name.namespace.clone(),
            fields: format!("metadata.name={}", name.name),
            ..Selection::default()
        };
        let reflector = Reflector::<T>::start(self.clone(), resource.clone(), selection);
        let mut changes = reflector.subscribe();
        let watching = async {
            reflector.synced().await;
            let mut held: Option<Arc<T>> = reflector.get(name);
            loop {
                if let Some(result) = answer(held.as_deref()) {
                    return result;
                }
                held = changes.next().await.after;
            }
        };
        tokio::time::timeout(timeout, watching).await.map_err(|_| {
            let because = reflector.error().map(|error| format!(": {error}")).unwrap_or_default();
            Error::Timeout(format!("{waiting_for}: not within {} s{because}", timeout.as_secs()))
        })
    }

    /// Waits until a condition of an object is true.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_condition(
        &self,
        resource: &Resource,
        name: &ObjectName,
        condition: &str,
        timeout: Duration,
    ) -> Result<()> {
        let waiting_for = format!("waiting for condition {condition} of {} {name}", resource.kind);
        self.until(resource, name, timeout, &waiting_for, |object: Option<&Conditions>| {
            let conditions = object?.status.conditions.as_ref()?;
            conditions.iter().any(|held| held.type_ == condition && held.is_true()).then_some(())
        })
        .await
    }

    /// Waits until a CustomResourceDefinition is established: its objects can be created.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn wait_established(&self, crd: &str) -> Result<()> {
        self.until_condition(&CRDS, &ObjectName::cluster(crd), "Established", ESTABLISH_TIMEOUT).await
    }
}
