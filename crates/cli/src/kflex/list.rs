//! `kflex list`: the spaces that there are.

use super::condition;
use crate::{Result, Session, go_age, table};
use api::Timestamp;
use api::space::{CONTROL_PLANES, ControlPlane, READY, ROLE_LABEL, SYNCED};
use client::ListParams;

/// Runs the command.
pub(super) async fn run(session: &Session) -> Result<()> {
    let (_, client) = session.hosting().await?;
    let list = client.list::<ControlPlane>(&CONTROL_PLANES, "", &ListParams::default()).await?;
    if list.items.is_empty() {
        session.output.line("No control planes found.");
        return Ok(());
    }
    session.output.line("Control Planes:");
    session.output.text(table(&COLUMNS, &rows(&list.items, session.now())));
    Ok(())
}

/// As KubeFlex has them; the role is ours, at the end, so that scripts find the others where they were.
const COLUMNS: [(&str, usize); 6] =
    [("NAME", 20), ("SYNCED", 10), ("READY", 10), ("TYPE", 10), ("AGE", 10), ("ROLE", 0)];

fn rows(planes: &[ControlPlane], now: Timestamp) -> Vec<Vec<String>> {
    let row = |plane: &ControlPlane| {
        vec![
            plane.metadata.name.clone(),
            condition(plane, SYNCED).0.to_owned(),
            condition(plane, READY).0.to_owned(),
            plane.spec.type_.clone(),
            go_age(plane.metadata.creation_timestamp, now),
            plane.metadata.labels.get(ROLE_LABEL).cloned().unwrap_or_default(),
        ]
    };
    planes.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_per_space() {
        let planes: Vec<ControlPlane> = serde_json::from_value(json!([
            {"metadata": {"name": "its1", "labels": {ROLE_LABEL: "its"}, "creationTimestamp": "1970-01-01T00:00:00Z"},
             "spec": {"type": "k8s"},
             "status": {"observedGeneration": 1, "conditions": [
                {"type": "Ready", "status": "True", "lastUpdateTime": "1970-01-01T00:00:00Z",
                 "lastTransitionTime": "1970-01-01T00:00:00Z", "reason": "Available", "message": ""}]}},
            {"metadata": {"name": "new"}, "spec": {"type": "host"}},
        ]))
        .unwrap();
        let text = table(&COLUMNS, &rows(&planes, Timestamp::from_seconds(65)));
        assert_eq!(
            text,
            "NAME                SYNCED    READY     TYPE      AGE       ROLE\n\
             its1                Unknown   True      k8s       1m5s      its\n\
             new                 Unknown   Unknown   host      Unknown\n"
        );
    }
}
