//! The roles and bindings that hold in every space from the beginning: the stock server's bootstrap policy.
//!
//! They are data of the binary and not objects of the store, so that an empty space stays small.

use super::policy::{Kind, Policy};
use crate::builtin::inflate;
use api::Object;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The bootstrap policy. Made once; a space's own policy looks here for what it does not have itself.
pub(super) static BOOTSTRAP: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let text = inflate(include_bytes!("../../data/bootstrap-rbac.json.z"));
    let objects: BTreeMap<String, Vec<Object>> = serde_json::from_str(&text).expect("the generator writes objects");
    let mut policy = Policy::default();
    for (kind, plural) in Kind::ALL {
        for object in objects.get(plural).into_iter().flatten() {
            policy.put(kind, object);
        }
    }
    Arc::new(policy)
});
