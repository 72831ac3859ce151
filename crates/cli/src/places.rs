//! `kubestellar get where`: which object is in which cluster, and how far it has come.
//!
//! The answer joins what the WDS resolved with what the ITS holds: a pair of object and cluster is *resolved* when its
//! Binding names it, *sent* when a ManifestWork in the cluster's mailbox holds it, *done* when the cluster's agent says
//! that it applied it, *seen* when its status has come back.

use crate::{Error, Result, Session, contexts, kind_of_space, table};
use api::control::{BINDINGS, Binding};
use api::space::{CONTROL_PLANES, ControlPlane};
use api::work::{BINDING_LABEL, MANIFEST_WORKS, ManifestCondition, ManifestWork, WDS_LABEL, WORK_STATUSES, WorkStatus};
use client::{Client, ListParams};
use std::collections::BTreeMap;
use std::fmt;

/// Shows things that kubectl does not
#[derive(Clone, Debug, clap::Subcommand)]
pub enum GetCommand {
    /// Which object is in which cluster
    Where(Where),
}

impl GetCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for the user.
    pub async fn run(self, session: &Session) -> Result<()> {
        match self {
            Self::Where(command) => command.run(session).await,
        }
    }
}

/// Shows which object is in which cluster
#[derive(Clone, Debug, clap::Args)]
pub struct Where {
    /// The context of the WDS; the current one if not given
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The context of the ITS; found through the hosting space if not given
    #[arg(long, value_name = "CONTEXT")]
    pub its_context: Option<String>,
    /// The name of the WDS, if its context has another
    #[arg(long, value_name = "NAME")]
    pub wds: Option<String>,
    /// Only what this policy chose
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
}

/// How far an object has come on its way to a cluster and back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Resolved,
    Sent,
    Failed,
    Done,
    Seen,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolved => "resolved",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Seen => "seen",
        })
    }
}

/// An object of a policy in a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Pair {
    cluster: String,
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

/// Where every pair of the Bindings is.
fn places(bindings: &[Binding], works: &[ManifestWork], statuses: &[WorkStatus]) -> Vec<(Pair, String, Stage, String)> {
    let mut reports: BTreeMap<(Pair, &str), (Stage, String)> = BTreeMap::new();
    for work in works {
        let Some(binding) = work.metadata.labels.get(BINDING_LABEL) else { continue };
        for manifest in &work.status.resource_status.manifests {
            let meta = &manifest.resource_meta;
            let pair = Pair {
                cluster: work.metadata.namespace.clone(),
                group: meta.group.clone(),
                resource: meta.resource.clone(),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
            };
            reports.insert((pair, binding), progress(manifest));
        }
    }
    let sent = |cluster: &str, binding: &str, namespace: &str, name: &str, group: &str| {
        works.iter().any(|work| {
            work.metadata.namespace == cluster
                && work.metadata.labels.get(BINDING_LABEL).is_some_and(|held| held == binding)
                && work.spec.workload.manifests.iter().any(|manifest| {
                    let meta = &manifest["metadata"];
                    let api_version = manifest["apiVersion"].as_str().unwrap_or("");
                    meta["name"] == name
                        && meta["namespace"].as_str().unwrap_or("") == namespace
                        && api_version.rsplit_once('/').map_or("", |(group, _)| group) == group
                })
        })
    };
    let mut found = Vec::new();
    for binding in bindings {
        let policy = &binding.metadata.name;
        for destination in &binding.spec.destinations {
            for object in binding.spec.workload.iter() {
                let pair = Pair {
                    cluster: destination.cluster_id.clone(),
                    group: object.group.clone(),
                    resource: object.resource.clone(),
                    namespace: object.namespace.clone(),
                    name: object.name.clone(),
                };
                let (mut stage, note) = match reports.get(&(pair.clone(), policy.as_str())) {
                    Some((stage, note)) => (*stage, note.clone()),
                    None if sent(&pair.cluster, policy, &pair.namespace, &pair.name, &pair.group) => {
                        (Stage::Sent, String::new())
                    }
                    None => (Stage::Resolved, String::new()),
                };
                if stage == Stage::Done && statuses.iter().any(|status| is_of(status, &pair)) {
                    stage = Stage::Seen;
                }
                found.push((pair, policy.clone(), stage, note));
            }
        }
    }
    found.sort();
    found
}

fn is_of(status: &WorkStatus, pair: &Pair) -> bool {
    let source = &status.spec.source_ref;
    status.metadata.namespace == pair.cluster
        && source.group == pair.group
        && source.resource == pair.resource
        && source.namespace == pair.namespace
        && source.name == pair.name
        && status.status.is_some()
}

/// What an agent reports of one manifest.
fn progress(manifest: &ManifestCondition) -> (Stage, String) {
    let Some(applied) = manifest.conditions.iter().find(|condition| condition.type_ == "Applied") else {
        return (Stage::Sent, String::new());
    };
    if applied.is_true() { (Stage::Done, String::new()) } else { (Stage::Failed, applied.message.clone()) }
}

fn shown(places: &[(Pair, String, Stage, String)]) -> String {
    let columns = [("OBJECT", 0), ("NAMESPACE", 0), ("POLICY", 0), ("CLUSTER", 0), ("STAGE", 0), ("MESSAGE", 0)];
    let rows: Vec<Vec<String>> = places
        .iter()
        .map(|(pair, policy, stage, note)| {
            let group = if pair.group.is_empty() { String::new() } else { format!(".{}", pair.group) };
            vec![
                format!("{}{group}/{}", pair.resource, pair.name),
                pair.namespace.clone(),
                policy.clone(),
                pair.cluster.clone(),
                stage.to_string(),
                note.lines().next().unwrap_or("").to_owned(),
            ]
        })
        .collect();
    table(&columns, &rows)
}

impl Where {
    /// Runs the command.
    ///
    /// # Errors
    /// If a space does not answer, or it is not clear which ITS goes with the WDS.
    pub async fn run(self, session: &Session) -> Result<()> {
        let (wds, its_client, wds_name) =
            connect(session, self.context.as_deref(), self.its_context.as_deref(), self.wds.as_deref()).await?;
        let text = table_of(&wds, &its_client, &wds_name, self.policy.as_deref()).await?;
        session.output.text(text.unwrap_or_else(|| "Nothing is bound to any cluster.\n".to_owned()));
        Ok(())
    }
}

/// Clients for a WDS and its ITS, and the name of the WDS: from the flags `--context`, `--its-context` and `--wds`.
///
/// # Errors
/// If a space does not answer or has another role, or it is not clear which ITS goes with the WDS.
pub(crate) async fn connect(
    session: &Session,
    context: Option<&str>,
    its_context: Option<&str>,
    wds_name: Option<&str>,
) -> Result<(Client, Client, String)> {
    let set = session.kubeconfig()?;
    let context = context.or_else(|| set.current_context());
    let context = context.ok_or_else(|| Error::new("the kubeconfig has no current context").hint("give --context"))?;
    let wds = session.client(Some(context))?;
    kind_of_space::check(session, &wds, Some(context), kind_of_space::WDS).await?;
    let wds_name = wds_name.or_else(|| contexts::space_of(&set, context)).unwrap_or(context).to_owned();
    let its = match its_context {
        Some(its) => its.to_owned(),
        None => its_of(session, &wds_name).await?,
    };
    let its_client = session.client(Some(&its))?;
    kind_of_space::check(session, &its_client, Some(&its), kind_of_space::ITS).await?;
    Ok((wds, its_client, wds_name))
}

/// The ITS of a WDS, whose context has the same name.
async fn its_of(session: &Session, wds: &str) -> Result<String> {
    let (_, hosting) = session.hosting().await?;
    let planes = hosting.list::<ControlPlane>(&CONTROL_PLANES, "", &ListParams::default()).await?.items;
    let plane = planes.iter().find(|plane| plane.metadata.name == wds).ok_or_else(|| {
        Error::new(format!("there is no space {wds}"))
            .hint("name the WDS with --context or --wds, or the ITS with --its-context")
    })?;
    let its = planner::space::its_of(plane, &planes).map_err(|why| Error::new(why).hint("give --its-context"))?;
    Ok(its.to_string())
}

/// The table of what is where; nothing if no object is bound to a cluster.
///
/// # Errors
/// If a space does not answer.
pub async fn table_of(wds: &Client, its: &Client, wds_name: &str, policy: Option<&str>) -> Result<Option<String>> {
    let mut bindings = wds.list::<Binding>(&BINDINGS, "", &ListParams::default()).await?.items;
    bindings.retain(|binding| policy.is_none_or(|policy| binding.metadata.name == policy));
    let ours = ListParams::labels(format!("{WDS_LABEL}={wds_name}"));
    let works = its.list::<ManifestWork>(&MANIFEST_WORKS, "", &ours).await?.items;
    let statuses = match its.list::<WorkStatus>(&WORK_STATUSES, "", &ours).await {
        Ok(list) => list.items,
        // An ITS without the status add-on.
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let places = places(&bindings, &works, &statuses);
    Ok((!places.is_empty()).then(|| shown(&places)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn work(cluster: &str, manifests: Value, reports: Value) -> ManifestWork {
        serde_json::from_value(json!({
            "metadata": {"name": "w", "namespace": cluster, "labels": {BINDING_LABEL: "p"}},
            "spec": {"workload": {"manifests": manifests}},
            "status": {"resourceStatus": {"manifests": reports}},
        }))
        .unwrap()
    }

    #[test]
    fn stages() {
        let binding: Binding = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {
                "workload": {
                    "clusterScope": [{"group": "", "version": "v1", "resource": "namespaces", "name": "n", "resourceVersion": "1"}],
                    "namespaceScope": [{"group": "apps", "version": "v1", "resource": "deployments", "namespace": "n",
                                        "name": "web", "resourceVersion": "2"}],
                },
                "destinations": [{"clusterId": "c1"}, {"clusterId": "c2"}],
            },
        }))
        .unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        let report = |group: &str, resource: &str, namespace: &str, name: &str, status: &str| {
            json!({"resourceMeta": {"ordinal": 0, "group": group, "version": "v1", "kind": "", "resource": resource,
                                    "namespace": namespace, "name": name},
                   "conditions": [{"type": "Applied", "status": status, "message": "no room\nat all"}]})
        };
        let works = [
            work(
                "c1",
                json!([namespace]),
                json!([report("", "namespaces", "", "n", "True"), report("apps", "deployments", "n", "web", "True"),]),
            ),
            work("c2", json!([namespace]), json!([report("apps", "deployments", "n", "web", "False")])),
        ];
        let status: WorkStatus = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "c1"},
            "spec": {"sourceRef": {"group": "apps", "version": "v1", "resource": "deployments", "kind": "Deployment",
                                   "namespace": "n", "name": "web"}},
            "status": {"replicas": 1},
        }))
        .unwrap();
        assert_eq!(
            shown(&places(std::slice::from_ref(&binding), &works, &[status])),
            "OBJECT                 NAMESPACE   POLICY   CLUSTER   STAGE    MESSAGE\n\
             namespaces/n                       p        c1        done\n\
             deployments.apps/web   n           p        c1        seen\n\
             namespaces/n                       p        c2        sent\n\
             deployments.apps/web   n           p        c2        failed   no room\n"
        );
        let nothing = places(&[binding], &[], &[]);
        assert!(nothing.iter().all(|(_, _, stage, _)| *stage == Stage::Resolved));
    }
}
