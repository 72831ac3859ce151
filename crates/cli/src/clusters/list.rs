//! `kubestellar clusters`: the inventory.

use super::{ACCEPTED, AVAILABLE, JOINED, MANAGED_CLUSTERS};
use crate::{Result, Session, age, kind_of_space, table};
use api::{Condition, ConditionStatus, ObjectMeta, Timestamp};
use client::ListParams;
use serde::Deserialize;

/// Lists the clusters of an ITS
#[derive(Clone, Debug, clap::Args)]
pub struct Clusters {
    /// The context of the ITS; the current one if not given
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// Only clusters with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "")]
    pub selector: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ManagedCluster {
    metadata: ObjectMeta,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
    version: Option<Version>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Version {
    kubernetes: String,
}

impl Clusters {
    /// Runs the command.
    ///
    /// # Errors
    /// If the ITS does not answer.
    pub async fn run(self, session: &Session) -> Result<()> {
        let client = session.client(self.context.as_deref())?;
        kind_of_space::check(session, &client, self.context.as_deref(), kind_of_space::ITS).await?;
        let params = ListParams::labels(self.selector);
        let list = client.list::<ManagedCluster>(&MANAGED_CLUSTERS, "", &params).await?;
        if list.items.is_empty() {
            session.output.line("No clusters found.");
        } else {
            session.output.text(shown(&list.items, session.now()));
        }
        Ok(())
    }
}

fn shown(clusters: &[ManagedCluster], now: Timestamp) -> String {
    let truth = |cluster: &ManagedCluster, type_: &str| {
        let held = cluster.status.conditions.iter().flatten().find(|held| held.type_ == type_);
        match held.map(|held| held.status) {
            Some(ConditionStatus::True) => "yes",
            Some(ConditionStatus::False) => "no",
            Some(ConditionStatus::Unknown) => "unknown",
            None => "-",
        }
    };
    let row = |cluster: &ManagedCluster| {
        let meta = &cluster.metadata;
        let labels: Vec<String> = meta
            .labels
            .iter()
            .filter(|(key, _)| !key.contains("open-cluster-management.io/"))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        vec![
            meta.name.clone(),
            truth(cluster, ACCEPTED).to_owned(),
            truth(cluster, JOINED).to_owned(),
            truth(cluster, AVAILABLE).to_owned(),
            cluster.status.version.as_ref().map(|version| version.kubernetes.clone()).unwrap_or_default(),
            age(meta.creation_timestamp, now),
            labels.join(","),
        ]
    };
    let columns =
        [("NAME", 0), ("ACCEPTED", 0), ("JOINED", 0), ("AVAILABLE", 0), ("VERSION", 0), ("AGE", 0), ("LABELS", 0)];
    table(&columns, &clusters.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_per_cluster() {
        let clusters: Vec<ManagedCluster> = serde_json::from_value(json!([
            {"metadata": {"name": "c1", "creationTimestamp": "1970-01-01T00:00:00Z",
                          "labels": {"location-group": "edge", "cluster.open-cluster-management.io/clusterset": "default"}},
             "status": {"version": {"kubernetes": "v1.36.3"}, "conditions": [
                {"type": ACCEPTED, "status": "True"}, {"type": JOINED, "status": "True"},
                {"type": AVAILABLE, "status": "Unknown"}]}},
            {"metadata": {"name": "c2"}, "status": {"conditions": null, "version": {}}},
        ]))
        .unwrap();
        assert_eq!(
            shown(&clusters, Timestamp::from_seconds(60)),
            "NAME   ACCEPTED   JOINED   AVAILABLE   VERSION   AGE         LABELS\n\
             c1     yes        yes      unknown     v1.36.3   60s         location-group=edge\n\
             c2     -          -        -                     <unknown>\n"
        );
    }
}
