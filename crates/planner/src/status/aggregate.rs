//! Several statuses of one object as one status.

use serde_json::{Map, Value, json};

/// How one number of the result comes from the numbers of the clusters.
#[derive(Clone, Copy)]
enum Fold {
    Least,
    Most,
}

struct Rule {
    least: &'static [&'static str],
    most: &'static [&'static str],
    /// The condition type that is kept, with the reason that it must have, if one is asked.
    condition: Option<(&'static str, Option<&'static str>)>,
}

const DEPLOYMENT: Rule = Rule {
    least: &["availableReplicas", "observedGeneration", "readyReplicas", "replicas", "updatedReplicas"],
    most: &["unavailableReplicas"],
    condition: Some(("Progressing", Some("ProgressDeadlineExceeded"))),
};
const REPLICA_SET: Rule = Rule {
    least: &["availableReplicas", "fullyLabeledReplicas", "observedGeneration", "readyReplicas", "replicas"],
    most: &[],
    condition: Some(("ReplicaFailure", None)),
};
const DAEMON_SET: Rule = Rule {
    least: &[
        "currentNumberScheduled",
        "desiredNumberScheduled",
        "numberAvailable",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
    ],
    most: &["numberMisscheduled"],
    condition: None,
};
const STATEFUL_SET: Rule = Rule {
    least: &[
        "availableReplicas",
        "currentReplicas",
        "observedGeneration",
        "readyReplicas",
        "replicas",
        "updatedReplicas",
    ],
    most: &[],
    condition: None,
};

/// One status made of several, or nothing for a kind that has no rule. The result promises no more than the cluster that
/// is farthest behind; a number that a cluster leaves out is its 0.
pub fn aggregate(group: &str, kind: &str, statuses: &[&Value]) -> Option<Value> {
    let rule = match (group, kind) {
        ("apps", "Deployment") => DEPLOYMENT,
        ("apps", "ReplicaSet") => REPLICA_SET,
        ("apps", "DaemonSet") => DAEMON_SET,
        ("apps", "StatefulSet") => STATEFUL_SET,
        _ => return None,
    };
    let mut result = Map::new();
    let fields = rule.least.iter().map(|field| (field, Fold::Least)).chain(rule.most.iter().map(|f| (f, Fold::Most)));
    for (field, fold) in fields {
        let numbers = statuses.iter().map(|status| status.get(*field).and_then(Value::as_i64).unwrap_or(0));
        let number = match fold {
            Fold::Least => numbers.min(),
            Fold::Most => numbers.max(),
        };
        result.insert((*field).to_owned(), number.unwrap_or(0).into());
    }
    if let Some((type_, reason)) = rule.condition {
        let conditions = statuses.iter().filter_map(|status| status.get("conditions")?.as_array()).flatten();
        let mut told = conditions.filter(|condition| {
            condition["type"] == type_ && reason.is_none_or(|reason| condition["reason"] == reason)
        });
        result.insert("conditions".into(), told.next().map_or_else(|| json!([]), |condition| json!([condition])));
    }
    Some(result.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_that_is_behind_decides() {
        let stuck = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
        let one = json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 3, "observedGeneration": 2,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]});
        let other = json!({"replicas": 3, "unavailableReplicas": 3, "observedGeneration": 1, "conditions": [stuck]});
        assert_eq!(
            aggregate("apps", "Deployment", &[&one, &other]),
            Some(json!({"replicas": 3, "readyReplicas": 0, "availableReplicas": 0, "updatedReplicas": 0,
                        "observedGeneration": 1, "unavailableReplicas": 3, "conditions": [stuck]}))
        );
        assert_eq!(aggregate("", "Pod", &[&one, &other]), None);
    }
}
