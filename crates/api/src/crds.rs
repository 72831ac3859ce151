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

/// What an inventory and transport space needs: the inventory, the works, the add-ons, and what is returned.
pub const ITS: &[&str] = &[
    crd!("addondeploymentconfigs.addon.open-cluster-management.io"),
    crd!("clustermanagementaddons.addon.open-cluster-management.io"),
    crd!("managedclusteraddons.addon.open-cluster-management.io"),
    crd!("managedclusters.cluster.open-cluster-management.io"),
    crd!("managedclustersetbindings.cluster.open-cluster-management.io"),
    crd!("managedclustersets.cluster.open-cluster-management.io"),
    crd!("manifestworks.work.open-cluster-management.io"),
    crd!("placementdecisions.cluster.open-cluster-management.io"),
    crd!("placements.cluster.open-cluster-management.io"),
    crd!("workstatuses.control.kubestellar.io"),
];

/// What an agent needs in its cluster.
pub const WEC: &[&str] = &[
    crd!("appliedmanifestworks.work.open-cluster-management.io"),
    crd!("clusterclaims.cluster.open-cluster-management.io"),
];

/// What the hosting space needs.
pub const HOSTING: &[&str] =
    &[crd!("controlplanes.tenancy.kflex.kubestellar.org"), crd!("postcreatehooks.tenancy.kflex.kubestellar.org")];
