//! What those who stand beside the spaces ask of the server: the listener, and the controllers of API machinery.

use crate::identity::Identity;
use crate::{Server, authn, builtin, controllers};
use api::{GroupVersionKind, Resource, SpaceName};
use std::borrow::Cow;
use store::{Collection, Key};
use tokio_util::sync::CancellationToken;

impl Server {
    /// Who holds a bearer token of a space, if it is one.
    pub(crate) fn identity_of_token(&self, space: &SpaceName, token: &str) -> Option<Identity> {
        let Some((secret, _)) = authn::bootstrap_token(token) else {
            return crate::tokens::identity(self, &self.space(space)?, token);
        };
        let key = Key::new(Collection::new(space.as_str(), "secrets"), "kube-system", secret.as_str());
        let secret = serde_json::from_slice(&self.store().get(&key)?.value).ok()?;
        authn::bootstrap_identity(&secret, token, self.now())
    }

    /// The resource under which a space serves a kind.
    pub(crate) fn resource_of(&self, space: &SpaceName, kind: &GroupVersionKind) -> Option<Resource> {
        let resource = |version: &str, plural: &str, namespaced| Resource {
            group: Cow::Owned(kind.group.clone()),
            version: Cow::Owned(version.into()),
            plural: Cow::Owned(plural.into()),
            kind: Cow::Owned(kind.kind.clone()),
            namespaced,
        };
        if let Some(row) = builtin::by_kind(&kind.group, &kind.version, &kind.kind) {
            return Some(resource(&kind.version, &row.served.plural, row.served.namespaced));
        }
        let customs = self.space(space)?.customs(self.store());
        let found =
            customs.kinds().find(|custom| custom.served.group == kind.group && custom.served.kind == kind.kind)?;
        Some(resource(&found.served.version, &found.served.plural, found.served.namespaced))
    }

    /// Runs the controllers of API machinery for all spaces, until `shutdown` or until the store closes.
    pub async fn run_controllers(&self, shutdown: CancellationToken) {
        crate::crd::resume(self);
        controllers::run(self.clone(), shutdown).await;
    }
}
