//! The CustomResourceDefinitions that we bring, as YAML text, by the role of the space that needs them.

macro_rules! crd {
    ($file:literal) => {
        include_str!(concat!("../crds/", $file, ".yaml"))
    };
}

/// What a workload description space needs.
pub const WDS: &[&str] = &[
    crd!("bindingpolicies.control.kubestellar.io"),
    crd!("bindings.control.kubestellar.io"),
    crd!("combinedstatuses.control.kubestellar.io"),
    crd!("customtransforms.control.kubestellar.io"),
    crd!("statuscollectors.control.kubestellar.io"),
];

/// What an inventory and transport space needs for KubeStellar.
pub const ITS: &[&str] = &[crd!("workstatuses.control.kubestellar.io")];

/// What the hosting space needs.
pub const HOSTING: &[&str] =
    &[crd!("controlplanes.tenancy.kflex.kubestellar.org"), crd!("postcreatehooks.tenancy.kflex.kubestellar.org")];
