//! How a clause wants its objects handled in the clusters, in the words of a ManifestWork: update strategies and the delete
//! option, which every agent of Open Cluster Management follows, and marks on the object for what those cannot say.

use super::bundle::Item;
use crate::digest::Digest;
use api::control::{Modulation, TakeOver};
use api::work::{ORPHAN_ANNOTATION, ServerSideApply, TAKE_OVER_ANNOTATION, UpdateStrategy};
use serde_json::{Map, Value, json};

/// How one object is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Handling {
    /// Create it and never update it.
    pub create_only: bool,
    /// Only look at it.
    pub read_only: bool,
    /// Leave it in the cluster when it is withdrawn.
    pub orphan: bool,
    /// What becomes of an object that is there already.
    pub take_over: TakeOver,
}

impl From<&Modulation> for Handling {
    fn from(modulation: &Modulation) -> Self {
        Self {
            create_only: modulation.create_only,
            read_only: modulation.read_only,
            orphan: modulation.orphan_on_removal,
            take_over: modulation.take_over,
        }
    }
}

impl Handling {
    /// For the digest of a work. Objects that are handled as in the original have the digests that they always had.
    pub(super) fn bits(self) -> u8 {
        let take_over = match self.take_over {
            TakeOver::Always => 0,
            TakeOver::IfNoDiff => 1,
            TakeOver::Never => 2,
        };
        u8::from(self.create_only) | u8::from(self.read_only) << 1 | u8::from(self.orphan) << 2 | take_over << 3
    }

    /// OCM's update strategy, where it is not the default. Server-side apply without force refuses to change what others
    /// have set: the nearest to not taking over that a stock agent can do.
    pub(super) fn strategy(self) -> Option<UpdateStrategy> {
        let named = |type_: &str| UpdateStrategy { type_: type_.into(), server_side_apply: None };
        if self.read_only {
            return Some(named("ReadOnly"));
        }
        if self.create_only {
            return Some(named("CreateOnly"));
        }
        let options = ServerSideApply::default();
        (self.take_over != TakeOver::Always)
            .then(|| UpdateStrategy { server_side_apply: Some(options), ..named("ServerSideApply") })
    }

    /// What the agent reads on the object itself.
    fn marks(self) -> Vec<(&'static str, &'static str)> {
        let take_over = match self.take_over {
            _ if self.read_only => None,
            TakeOver::Always => None,
            TakeOver::IfNoDiff => Some("IfNoDiff"),
            TakeOver::Never => Some("Never"),
        };
        let orphan = (self.orphan && !self.read_only).then_some((ORPHAN_ANNOTATION, "true"));
        take_over.map(|how| (TAKE_OVER_ANNOTATION, how)).into_iter().chain(orphan).collect()
    }
}

impl Item {
    /// The object, handled as its Binding says.
    #[must_use]
    pub fn handled(&self, modulation: &Modulation) -> Self {
        let handling = Handling::from(modulation);
        let mut item = Self { handling, ..self.clone() };
        let marks = handling.marks();
        if marks.is_empty() {
            return item;
        }
        let mut manifest: Value = serde_json::from_str(&item.manifest).expect("manifests are written by us, as JSON");
        if let Some(Value::Object(metadata)) = manifest.get_mut("metadata") {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if !annotations.is_object() {
                *annotations = Value::Object(Map::new());
            }
            for (key, value) in marks {
                annotations[key] = value.into();
            }
        }
        item.manifest = manifest.to_string().into();
        item.digest = Digest::of(item.manifest.as_bytes());
        item
    }
}
