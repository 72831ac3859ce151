//! What those who stand beside the spaces ask of the server: the listener, and the controllers of API machinery.

use crate::identity::Identity;
use crate::space::Space;
use crate::{Server, authn, builtin, controllers};
use api::{GroupVersionKind, Resource, SpaceName};
use std::borrow::Cow;
use std::sync::Arc;
use store::{Collection, Key};
use tokio_util::sync::CancellationToken;

impl Server {
    /// Who holds a bearer token of a space, if it is one and good for that space.
    pub(crate) async fn identity_of_token(&self, space: &SpaceName, token: &str) -> Option<Identity> {
        self.authenticate(&self.space(space)?, token, &[]).await.ok().map(|(identity, _)| identity)
    }

    /// Who holds a bearer token, and for which of the wanted audiences it is good; none wanted is the space itself.
    ///
    /// # Errors
    /// Why it is not good, in the stock server's words.
    pub(crate) async fn authenticate(
        &self,
        space: &Arc<Space>,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), String> {
        let why = match self.authenticate_own(space, token, audiences) {
            Ok(known) => return Ok(known),
            Err(why) => why,
        };
        match crate::oidc::identity(self, space, token, audiences).await {
            None => Err(why),
            Some(known) => known.map_err(|other| format!("[{why}, {other}]")),
        }
    }

    /// The same of tokens that the space has given itself.
    fn authenticate_own(
        &self,
        space: &Arc<Space>,
        token: &str,
        audiences: &[String],
    ) -> Result<(Identity, Vec<String>), String> {
        const INVALID: &str = "invalid bearer token";
        if let Some((secret, _)) = authn::bootstrap_token(token) {
            let key = Key::new(Collection::new(space.name.as_str(), "secrets"), "kube-system", secret.as_str());
            let held = self.store().get(&key);
            let held = held.and_then(|held| serde_json::from_slice(&held.value).ok()).unwrap_or_default();
            let identity = authn::bootstrap_identity(&held, token, self.now()).ok_or(INVALID)?;
            // It is for the space, and for nobody else.
            let ours = audiences.is_empty() || audiences.contains(&space.issuer);
            return if ours { Ok((identity, vec![space.issuer.clone()])) } else { Err(INVALID.into()) };
        }
        crate::tokens::identity(self, space, token, audiences)
            .map_err(|why| why.map_or_else(|| INVALID.to_owned(), |why| format!("[{INVALID}, {why}]")))
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
