//! Which role the space of a context has, told by what it serves: so that a wrong context is named as such.

use crate::{Error, Result, Session, contexts};
use api::Resource;
use api::space::{CONTROL_PLANES, ControlPlane, ROLE_LABEL};
use client::kubeconfig::KubeconfigSet;
use client::{Client, ListParams};
use std::time::Duration;

/// How long the hosting space may take to name better contexts: they only make a hint better.
const HINT_TIMEOUT: Duration = Duration::from_secs(3);

/// A role, as people call it and as labels have it, and what a space serves that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    article: &'static str,
    name: &'static str,
    label: &'static str,
    serves: &'static Resource,
    objects: &'static str,
}

/// An inventory and transport space.
pub(crate) const ITS: Role = Role {
    article: "an",
    name: "ITS",
    label: "its",
    serves: &crate::clusters::MANAGED_CLUSTERS,
    objects: "ManagedClusters",
};

/// A workload description space.
pub(crate) const WDS: Role =
    Role { article: "a", name: "WDS", label: "wds", serves: &api::control::BINDINGS, objects: "Bindings" };

/// Refuses a context whose space does not have a role. `client` is for it; without a name it is the current context.
///
/// # Errors
/// If it does not have the role, or does not answer.
pub(crate) async fn check(session: &Session, client: &Client, context: Option<&str>, role: Role) -> Result<()> {
    let wanted = role.serves.group_resource();
    if client.resources().await?.iter().any(|found| found.resource.group_resource() == wanted) {
        return Ok(());
    }
    let set = session.kubeconfig()?;
    let context = context.or_else(|| set.current_context()).unwrap_or_default();
    let spaces = tokio::time::timeout(HINT_TIMEOUT, spaces_of(session, role)).await.unwrap_or_default();
    if contexts::contexts_of(&set, &spaces).contains(&context) {
        // It is one, and so new that it is still being set up.
        return Ok(client.wait_established(&wanted.to_string()).await?);
    }
    Err(refusal(&set, context, role, &spaces))
}

/// The spaces of a role, as far as that can be found out.
async fn spaces_of(session: &Session, role: Role) -> Vec<String> {
    let Ok((_, hosting)) = session.hosting().await else { return Vec::new() };
    let params = ListParams::labels(format!("{ROLE_LABEL}={}", role.label));
    let Ok(planes) = hosting.list::<ControlPlane>(&CONTROL_PLANES, "", &params).await else { return Vec::new() };
    planes.items.into_iter().map(|plane| plane.metadata.name).collect()
}

fn refusal(set: &KubeconfigSet, context: &str, role: Role, spaces: &[String]) -> Error {
    let Role { article, name, objects, .. } = role;
    let error = Error::new(format!("context {context} is not {article} {name}: it does not serve {objects}"));
    let known = contexts::contexts_of(set, spaces);
    match known.as_slice() {
        [] => error.hint("kflex list shows the spaces"),
        [one] => error.hint(format!("context {one} is {article} {name}")),
        several => error.hint(format!("these contexts are: {}", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::kubeconfig::Kubeconfig;

    #[track_caller]
    fn check(spaces: &[&str], role: Role, message: &str, hint: &str) {
        let ours = |name: &str| {
            format!(
                "{{name: {name}, context: {{cluster: c, user: u, extensions: [{{name: kubeflex, extension: \
                 {{data: {{controlplane-name: {name}}}}}}}]}}}}"
            )
        };
        let text = format!("contexts: [{}, {}, {}]", ours("its1"), ours("its2"), ours("wds1"));
        let set = KubeconfigSet::from_documents(vec![("/k".into(), Kubeconfig::parse(&text).unwrap())]);
        let spaces: Vec<String> = spaces.iter().map(|&space| space.to_owned()).collect();
        let error = refusal(&set, "x", role, &spaces);
        assert_eq!((error.to_string().as_str(), error.hint_text()), (message, Some(hint)));
    }

    #[test]
    fn a_wrong_context_is_named_and_better_ones_too() {
        let no_its = "context x is not an ITS: it does not serve ManagedClusters";
        check(&[], ITS, no_its, "kflex list shows the spaces");
        check(&["its9"], ITS, no_its, "kflex list shows the spaces");
        check(&["its2"], ITS, no_its, "context its2 is an ITS");
        check(&["its1", "its2"], ITS, no_its, "these contexts are: its1, its2");
        check(&["wds1"], WDS, "context x is not a WDS: it does not serve Bindings", "context wds1 is a WDS");
    }
}
