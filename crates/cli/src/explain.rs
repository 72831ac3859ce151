//! `kubestellar explain`: why an object is in a cluster, or is not.

use crate::clusters::MANAGED_CLUSTERS;
use crate::{Error, Result, Session, places};
use api::control::{BINDING_POLICIES, BINDINGS};
use api::work::{MANIFEST_WORKS, WDS_LABEL, WORK_STATUSES};
use api::{Condition, ObjectMeta, ObjectName, PartialObject, Resource};
use client::{Client, Discovered, ListParams};
use planner::binding::{ClusterHeader, WorkloadHeader};
use planner::explain::{Explanation, Facts, explain};
use serde::Deserialize;
use std::fmt::Write as _;

static NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

/// Says why an object is in a cluster, or is not
#[derive(Clone, Debug, clap::Args)]
pub struct Explain {
    /// The object: deployment/web, or with its group deployments.apps/web
    #[arg(value_name = "TYPE/NAME")]
    pub object: String,
    /// The namespace of the object
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Only this cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
    /// The context of the WDS; the current one if not given
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The context of the ITS; found through the hosting space if not given
    #[arg(long, value_name = "CONTEXT")]
    pub its_context: Option<String>,
    /// The name of the WDS, if its context has another
    #[arg(long, value_name = "NAME")]
    pub wds: Option<String>,
}

/// How an answer is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ManagedCluster {
    metadata: ObjectMeta,
    status: ClusterStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClusterStatus {
    conditions: Option<Vec<Condition>>,
}

impl Explain {
    /// Runs the command.
    ///
    /// # Errors
    /// If a space does not answer, or there is no such object or cluster.
    pub async fn run(self, session: &Session) -> Result<()> {
        let (context, its) = (self.context.as_deref(), self.its_context.as_deref());
        let (wds, its, wds_name) = places::connect(session, context, its, self.wds.as_deref()).await?;
        let explanation = self.explanation(&wds, &its, &wds_name).await?;
        match self.output {
            Form::Text => session.output.text(shown(&explanation)),
            Form::Json => {
                let json = serde_json::to_string_pretty(&explanation).expect("an explanation is text and numbers");
                session.output.line(json);
            }
        }
        Ok(())
    }

    pub(crate) async fn explanation(&self, wds: &Client, its: &Client, wds_name: &str) -> Result<Explanation> {
        let (kind, name) = self.object.split_once('/').ok_or_else(|| {
            Error::new(format!("{:?} names no object", self.object)).hint("name it as TYPE/NAME: deployment/web")
        })?;
        let resource = resource_of(&wds.resources().await?, kind)?;
        let object_name = match resource.namespaced {
            true => ObjectName::namespaced(&self.namespace, name),
            false => ObjectName::cluster(name),
        };
        let object: PartialObject = wds.find(&resource, &object_name).await?.ok_or_else(|| {
            Error::new(format!("{} {object_name} is not in the WDS {wds_name}", resource.group_resource()))
                .hint("another namespace is named with -n, another WDS with --context")
        })?;
        let namespace = match object_name.namespace.as_str() {
            "" => None,
            name => wds.find::<PartialObject>(&NAMESPACES, &ObjectName::cluster(name)).await?,
        };
        let everything = ListParams::default();
        let policies = wds.list(&BINDING_POLICIES, "", &everything).await?.items;
        let bindings = wds.list(&BINDINGS, "", &everything).await?.items;
        let clusters = its.list::<ManagedCluster>(&MANAGED_CLUSTERS, "", &everything).await?.items;
        if let Some(name) = &self.cluster {
            known(name, clusters.iter().map(|held| held.metadata.name.as_str()))?;
        }
        let clusters = clusters.into_iter().filter(|held| self.cluster.iter().all(|name| held.metadata.name == *name));
        let clusters: Vec<_> = clusters
            .map(|held| {
                let meta = held.metadata;
                let header = ClusterHeader {
                    deleting: meta.is_deleting(),
                    name: meta.name,
                    labels: meta.labels,
                    annotations: meta.annotations,
                };
                (header, held.status.conditions.unwrap_or_default())
            })
            .collect();
        let ours = ListParams::labels(format!("{WDS_LABEL}={wds_name}"));
        let mailbox = self.cluster.as_deref().unwrap_or_default();
        let works = its.list(&MANIFEST_WORKS, mailbox, &ours).await?.items;
        let statuses = match its.list(&WORK_STATUSES, mailbox, &ours).await {
            Ok(list) => list.items,
            // An ITS without the status add-on.
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let group_resource = resource.group_resource();
        let argument = match object_name.namespace.as_str() {
            "" => format!("{group_resource}/{name}"),
            namespace => format!("{group_resource}/{name} -n {namespace}"),
        };
        Ok(explain(&Facts {
            resource: &group_resource,
            object: &WorkloadHeader::from(object),
            namespace: namespace.as_ref().map(|namespace| &namespace.metadata.labels),
            argument: &argument,
            policies: &policies,
            bindings: &bindings,
            clusters: &clusters,
            works: &works,
            statuses: &statuses,
        }))
    }
}

/// How many clusters a hint names.
const CLUSTERS_NAMED: usize = 5;

/// Refuses a cluster that the inventory does not have.
fn known<'a>(name: &str, clusters: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    if clusters.clone().any(|held| held == name) {
        return Ok(());
    }
    let named: Vec<_> = clusters.clone().take(CLUSTERS_NAMED).collect();
    let hint = match (named.len(), clusters.count()) {
        (0, _) => "it has none: `kubestellar join` brings one in".to_owned(),
        (some, all) if some == all => format!("it has {}", named.join(", ")),
        (_, all) => format!("`kubestellar clusters` lists the {all} that it has, such as {}", named.join(", ")),
    };
    Err(Error::new(format!("the inventory has no cluster {name}")).hint(hint))
}

/// The resource that a word means, as kubectl reads it: plural, singular, short name or kind, and perhaps its group.
fn resource_of(served: &[Discovered], word: &str) -> Result<Resource> {
    let word = word.to_lowercase();
    let (name, group) = word.split_once('.').map_or((word.as_str(), None), |(name, group)| (name, Some(group)));
    let found = served.iter().find(|held| {
        let resource = &held.resource;
        let named = resource.plural == name
            || held.singular == name
            || resource.kind.to_lowercase() == name
            || held.short_names.iter().any(|short| short == name);
        named && group.is_none_or(|group| resource.group == group)
    });
    found.map(|held| held.resource.clone()).ok_or_else(|| {
        Error::new(format!("the WDS has no resource {word}")).hint("kubectl api-resources lists what it has")
    })
}

fn shown(explanation: &Explanation) -> String {
    let mut text = String::new();
    for remark in &explanation.remarks {
        writeln!(text, "{remark}").ok();
    }
    for chain in &explanation.chains {
        writeln!(text, "cluster {}, policy {}", chain.cluster, chain.policy).ok();
        for step in &chain.steps {
            let mark = if step.reached { "yes" } else { "no" };
            let since = step.since.map(|since| format!(" (since {since})")).unwrap_or_default();
            writeln!(text, "  {:<8}  {mark:<3}  {}{since}", step.stage, step.why).ok();
            for change in &step.changes {
                writeln!(text, "                 do: {change}").ok();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use planner::explain::{Chain, Step};

    #[test]
    fn words_for_resources_are_those_of_kubectl() {
        let deployments = Discovered {
            resource: Resource::namespaced("apps", "v1", "deployments", "Deployment"),
            verbs: Vec::new(),
            subresources: Vec::new(),
            short_names: vec!["deploy".into()],
            singular: "deployment".into(),
            categories: Vec::new(),
            versions: vec!["v1".into()],
        };
        let served = [deployments];
        for word in ["deployments", "deployment", "deploy", "Deployment", "deployments.apps"] {
            assert_eq!(resource_of(&served, word).unwrap().plural, "deployments", "{word}");
        }
        let refused = resource_of(&served, "deployments.batch").unwrap_err();
        assert_eq!(refused.to_string(), "the WDS has no resource deployments.batch");
    }

    #[test]
    fn a_cluster_that_nobody_knows_is_refused() {
        for (clusters, hint) in [
            (&[][..], "it has none"),
            (&["c1", "c2"], "it has c1, c2"),
            (&["c1", "c2", "c3", "c4", "c5", "c6"], "the 6 that it has, such as c1, c2, c3, c4, c5"),
        ] {
            let refused = known("c9", clusters.iter().copied()).unwrap_err();
            assert_eq!(refused.to_string(), "the inventory has no cluster c9");
            assert!(refused.hint_text().unwrap().contains(hint), "{refused:?}");
        }
        assert!(known("c9", ["c1", "c9"].into_iter()).is_ok());
    }

    #[test]
    fn a_line_per_step() {
        let step = |stage, reached, why: &str, changes| Step { stage, reached, since: None, why: why.into(), changes };
        let steps = vec![step("asked", false, "no label", vec!["kubectl label x".into()])];
        let chains = vec![Chain { cluster: "c1".into(), policy: "p".into(), steps }];
        assert_eq!(
            shown(&Explanation { remarks: vec!["all is new".into()], policies: Vec::new(), chains }),
            "all is new\ncluster c1, policy p\n  asked     no   no label\n                 do: kubectl label x\n"
        );
    }
}
