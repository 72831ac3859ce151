//! Who may write what of a ManagedCluster: the rules of OCM's admission webhook that double opt-in rests on.

use crate::registration::may_register;
use api::Object;
use serde_json::Value;

/// Namespaces of an ITS that are no mailboxes, so that no cluster may have their name.
const RESERVED: [&str; 6] =
    ["customization-properties", "default", "kube-node-lease", "kube-public", "kube-system", "open-cluster-management"];
const RESERVED_PREFIXES: [&str; 2] = ["kube-", "open-cluster-management-"];

/// Why a write of a ManagedCluster is refused, if it is. `groups` are those of who writes: a bootstrap token that is for
/// one cluster brings no other in, see [`may_register`]. `may_accept` tells whether who writes has the right to `update`
/// `managedclusters/accept` of `register.open-cluster-management.io` for this cluster.
///
/// # Errors
/// A text for the user.
pub fn admit(
    old: Option<&Object>,
    new: &Object,
    groups: &[String],
    may_accept: impl FnOnce() -> bool,
) -> Result<(), String> {
    let name = new.name();
    may_register(groups, name)?;
    if old.is_none() {
        if RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(format!("{name:?} is the name of a namespace that is no mailbox: choose another"));
        }
        if !machinery::name::dns_label(name).is_empty() {
            return Err(format!("{name:?} cannot be the name of a namespace, and so not of a mailbox"));
        }
    }
    let accepts = |object: &Object| object.pointer("/spec/hubAcceptsClient").and_then(Value::as_bool).unwrap_or(false);
    let before = old.is_some_and(accepts);
    if accepts(new) != before && !may_accept() {
        return Err("changing spec.hubAcceptsClient takes the right to update managedclusters/accept".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(name: &str, old: Option<bool>, new: bool, may: bool, expected: &str) {
        let cluster = |accepts: bool| -> Object {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"hubAcceptsClient": accepts}})).unwrap()
        };
        let seen = admit(old.map(cluster).as_ref(), &cluster(new), &[], || may);
        assert!(seen.clone().err().unwrap_or_default().contains(expected), "{seen:?}");
        assert_eq!(seen.is_ok(), expected.is_empty(), "{seen:?}");
    }

    #[test]
    fn nobody_accepts_itself() {
        check("edge", None, false, false, "");
        check("edge", None, true, false, "managedclusters/accept");
        check("edge", None, true, true, "");
        check("edge", Some(false), true, false, "managedclusters/accept");
        check("edge", Some(false), true, true, "");
        check("edge", Some(true), true, false, "");
        check("edge", Some(true), false, false, "managedclusters/accept");
        for name in ["kube-system", "default", "open-cluster-management-hub", "customization-properties"] {
            check(name, None, false, true, "no mailbox");
        }
        check("a.b", None, false, true, "cannot be the name");
        check("kube-system", Some(false), false, false, "");
    }

    #[test]
    fn a_token_of_one_cluster_brings_no_other() {
        #[track_caller]
        fn check(groups: &[&str], name: &str, admitted: bool) {
            let cluster: Object = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {}})).unwrap();
            let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
            assert_eq!(admit(None, &cluster, &groups, || false).is_ok(), admitted, "{groups:?} {name}");
        }
        let its_wide = "system:bootstrappers:managedcluster";
        check(&[its_wide], "c1", true);
        check(&[its_wide, "system:bootstrappers:managedcluster:c1"], "c1", true);
        check(&[its_wide, "system:bootstrappers:managedcluster:c1"], "c2", false);
    }
}
