//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: those of the space that a write matches are asked.

pub(super) mod ask;
mod cache;
mod mutate;
mod validate;

pub(crate) use cache::Cache;
pub(super) use mutate::mutate;
pub(super) use validate::validate;

use crate::call::Call;
use store::Collection;

const GROUP: &str = "admissionregistration.k8s.io";

/// Kinds that no policy is asked about: a wrong one could not be taken back.
const EXEMPT: [&str; 6] = [
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// The two kinds of policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    Validating,
    Mutating,
}

impl Family {
    /// Collections of policies and of their bindings.
    const fn collections(self) -> [&'static str; 2] {
        match self {
            Self::Validating => [
                "validatingadmissionpolicies.admissionregistration.k8s.io",
                "validatingadmissionpolicybindings.admissionregistration.k8s.io",
            ],
            Self::Mutating => [
                "mutatingadmissionpolicies.admissionregistration.k8s.io",
                "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
            ],
        }
    }
}

/// Whether the space has any binding, and the write is of a kind that policies are asked about.
pub(super) fn interested(call: &Call) -> bool {
    let served = &call.kind.served;
    if served.group == GROUP && EXEMPT.contains(&&*served.plural) {
        return false;
    }
    [Family::Validating, Family::Mutating].into_iter().any(|family| is_used(call, family))
}

fn is_used(call: &Call, family: Family) -> bool {
    let [_, bindings] = family.collections();
    call.store().count(&Collection::new(call.space.prefix.clone(), bindings)) > 0
}

/// Whether the collection holds policies, whose expressions are looked at when they are written.
pub(crate) fn holds_policies(collection: &str) -> bool {
    [Family::Validating, Family::Mutating].into_iter().any(|family| family.collections()[0] == collection)
}
