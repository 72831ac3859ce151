//! Wraps the objects of a Binding into ManifestWorks: which objects go together, and what the work is called.

use super::claims::object_of;
use super::handling::Handling;
use crate::binding::ObjectId;
use crate::customize::{expand, may_expand};
use crate::digest::{Digest, Digester};
use api::work::{BINDING_LABEL, MAX_MANIFESTS_BYTES, ManifestConfig, ResourceIdentifier, UpdateStrategy, WDS_LABEL};
use api::{BindingName, ClusterName};
use machinery::template::Properties;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// How much goes into one ManifestWork.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most objects. With 1, the default, a work is named after its object and never holds another.
    pub max_objects: usize,
    /// The most bytes of all manifests.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_objects: 1, max_bytes: MAX_MANIFESTS_BYTES }
    }
}

/// Whose works they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The name of the WDS.
    pub wds: Arc<str>,
    /// The Binding.
    pub binding: BindingName,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// One object as it is sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// Which object.
    pub id: Arc<ObjectId>,
    /// Its uid in the WDS.
    pub uid: String,
    /// The object as JSON text, cleaned and transformed.
    pub manifest: Arc<str>,
    /// Digest of the manifest.
    pub digest: Digest,
    /// How it is handled there.
    pub handling: Handling,
}

/// Which objects go together: for each object, by the short digest of its uid, the number of its work. Kept from one
/// bundling to the next, so that objects never move between works.
pub type Packing = BTreeMap<String, usize>;

/// One ManifestWork, without the cluster that it is for.
#[derive(Clone, PartialEq, Debug)]
pub struct Bundle {
    /// `metadata.name`
    pub name: String,
    origin: Origin,
    members: Option<String>,
    manifests: Vec<Arc<str>>,
    ids: Vec<Arc<ObjectId>>,
    /// What the manifests are, as claims name them; read when it is first asked.
    objects: OnceLock<Box<[Box<str>]>>,
    configs: Vec<ManifestConfig>,
    orphans: Vec<ResourceIdentifier>,
    /// Digest of the spec.
    pub digest: Digest,
}

impl Bundle {
    fn new(name: String, origin: &Origin, items: &[&Item], tell_members: bool) -> Self {
        let configs = items.iter().filter_map(|item| Some(config(&item.id, item.handling.strategy()?)));
        let configs: Vec<_> = configs.collect();
        let orphans = items.iter().filter(|item| item.handling.orphan).map(|item| identifier(&item.id)).collect();
        let mut digester = Digester::default();
        for item in items {
            digester.add(item.digest.to_string());
            digester.add([item.handling.bits()]);
        }
        let members = tell_members.then(|| items.iter().map(|item| member(item)).collect::<Vec<_>>().join(","));
        let manifests = items.iter().map(|item| item.manifest.clone()).collect();
        let ids = items.iter().map(|item| item.id.clone()).collect();
        let (origin, objects) = (origin.clone(), OnceLock::new());
        Self { name, origin, members, manifests, ids, objects, configs, orphans, digest: digester.finish() }
    }

    /// The objects in it, as in `Deployment.apps default/web`.
    pub(super) fn objects(&self) -> &[Box<str>] {
        self.objects.get_or_init(|| {
            let manifests = self.manifests.iter();
            let read = manifests.map(|text| serde_json::from_str(text).expect("manifests are written by us, as JSON"));
            read.map(|manifest| object_of(&manifest)).collect()
        })
    }

    /// The same, but that the manifests at these places are only created: others decide about them.
    pub(super) fn yielding(&self, places: &BTreeSet<usize>) -> Self {
        let mut bundle = self.clone();
        let mut digester = Digester::default();
        digester.add(self.digest.to_string());
        for place in places {
            digester.add(place.to_le_bytes());
            let strategy = UpdateStrategy { type_: "CreateOnly".into(), server_side_apply: None };
            let config = config(&self.ids[*place], strategy);
            let only_seen = |held: &ManifestConfig| {
                let strategy = held.update_strategy.as_ref();
                held.resource_identifier == config.resource_identifier
                    && strategy.is_some_and(|s| s.type_ == "ReadOnly")
            };
            if bundle.configs.iter().any(only_seen) {
                continue;
            }
            bundle.configs.retain(|held| held.resource_identifier != config.resource_identifier);
            bundle.configs.push(config);
        }
        bundle.digest = digester.finish();
        bundle
    }

    /// The digest of this bundle with objects in it that are to be let go of later.
    pub(super) fn digest_carrying(&self, objects: &BTreeSet<Box<str>>) -> Digest {
        let mut digester = Digester::default();
        digester.add(self.digest.to_string());
        digester.add("keeps");
        objects.iter().for_each(|object| digester.add(object.as_bytes()));
        digester.finish()
    }

    /// The same, and these objects, which are to be let go of later.
    pub(super) fn carrying(
        &self,
        manifests: Vec<Arc<str>>,
        configs: Vec<ManifestConfig>,
        objects: &BTreeSet<Box<str>>,
    ) -> Self {
        let mut bundle = self.clone();
        bundle.digest = self.digest_carrying(objects);
        bundle.manifests.extend(manifests);
        bundle.configs.extend(configs);
        bundle.objects = OnceLock::new();
        bundle
    }

    /// Whether it may differ from cluster to cluster.
    pub fn may_differ(&self) -> bool {
        self.manifests.iter().any(|manifest| may_expand(manifest))
    }

    /// The bundle as it is for one cluster. `None` if it is the same for all.
    ///
    /// # Errors
    /// Why it cannot be made for that cluster, in sentences for the user.
    pub fn customized(
        &self,
        cluster: &ClusterName,
        properties: &Properties,
        max_bytes: usize,
    ) -> Result<Option<Self>, Vec<String>> {
        let mut bundle = self.clone();
        let mut errors = Vec::new();
        let mut digester = Digester::default();
        digester.add(self.digest.to_string());
        let mut differs = false;
        for manifest in &mut bundle.manifests {
            match expand(manifest, cluster, properties) {
                Ok(None) => {}
                Ok(Some(expanded)) => {
                    differs = true;
                    digester.add(&expanded);
                    *manifest = expanded.into();
                }
                Err(more) => errors.extend(more),
            }
        }
        let bytes: usize = bundle.manifests.iter().map(|manifest| manifest.len()).sum();
        if differs && bytes > max_bytes {
            errors.push(format!(
                "{} expanded for cluster {cluster} is {bytes} bytes long, and one ManifestWork takes {max_bytes}",
                self.ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            ));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        bundle.digest = digester.finish();
        bundle.objects = OnceLock::new();
        Ok(differs.then_some(bundle))
    }

    /// The labels that we own on the work.
    pub fn labels(&self) -> [(&'static str, String); 2] {
        [(BINDING_LABEL, label_value(self.origin.binding.as_str())), (WDS_LABEL, label_value(&self.origin.wds))]
    }

    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn members(&self) -> Option<&str> {
        self.members.as_deref()
    }

    /// The spec as it is written; with its empty lists, so that a merge empties them.
    pub(super) fn spec(&self) -> Value {
        let manifests = self.manifests.iter();
        let manifests = manifests.map(|text| serde_json::from_str(text).expect("manifests are written by us, as JSON"));
        let mut spec =
            json!({"workload": {"manifests": manifests.collect::<Vec<Value>>()}, "manifestConfigs": self.configs});
        if !self.orphans.is_empty() {
            spec["deleteOption"] = json!({
                "propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": self.orphans},
            });
        }
        spec
    }
}

fn identifier(id: &ObjectId) -> ResourceIdentifier {
    ResourceIdentifier {
        group: id.resource.group.clone(),
        resource: id.resource.resource.clone(),
        namespace: id.name.namespace.clone(),
        name: id.name.name.clone(),
    }
}

fn config(id: &ObjectId, strategy: UpdateStrategy) -> ManifestConfig {
    let update_strategy = Some(strategy);
    ManifestConfig { resource_identifier: identifier(id), update_strategy, ..ManifestConfig::default() }
}

fn member(item: &Item) -> String {
    Digest::of(item.uid.as_bytes()).short()
}

/// What a Binding needs in each of its mailboxes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bundles {
    /// The works.
    pub works: Vec<Arc<Bundle>>,
    /// Names of works that stay as they are, since what they should hold cannot be sent.
    pub keep: BTreeSet<String>,
    /// Which objects went together.
    pub packing: Packing,
    /// Objects that cannot be sent, in sentences for the user.
    pub problems: Vec<String>,
}

impl Bundles {
    /// Has these works stay as they are, whatever they hold.
    pub fn keep_all(&mut self, names: &BTreeSet<String>) {
        self.works.retain(|work| !names.contains(&work.name));
        self.keep.extend(names.iter().cloned());
    }
}

/// Wraps objects, given in the order of the Binding. `missing` are uids of objects that belong to the Binding and could
/// not be read: where they are, they stay.
pub fn bundle(origin: &Origin, items: &[Item], missing: &[String], limits: Limits, held: &Packing) -> Bundles {
    let mut bundles = Bundles::default();
    let single = limits.max_objects == 1;
    let single_name = |uid: &str| format!("{}-{}-{uid}", origin.uid, origin.wds);
    let shard_name = |number: usize| format!("{}-{}-{number}", shortened(origin.binding.as_str()), origin.wds);

    let mut sendable = Vec::new();
    let mut stuck: Vec<String> = missing.to_vec();
    for item in items {
        if item.manifest.len() > limits.max_bytes {
            bundles.problems.push(format!(
                "{} is not sent: it is {} bytes long, and one ManifestWork takes {}. What was sent of it before stays.",
                item.id,
                item.manifest.len(),
                limits.max_bytes
            ));
            stuck.push(item.uid.clone());
        } else {
            sendable.push(item);
        }
    }
    if single {
        bundles.keep.extend(stuck.iter().map(|uid| single_name(uid)));
        let works = sendable.iter().map(|item| Bundle::new(single_name(&item.uid), origin, &[item], false));
        bundles.works = works.map(Arc::new).collect();
        return bundles;
    }

    let mut shards: BTreeMap<usize, Shard> = BTreeMap::new();
    for uid in &stuck {
        let member = Digest::of(uid.as_bytes()).short();
        if let Some(number) = held.get(&member) {
            shards.entry(*number).or_default().stuck = true;
            bundles.packing.insert(member, *number);
        }
    }
    let (placed, new): (Vec<_>, Vec<_>) = sendable.into_iter().partition(|item| held.contains_key(&member(item)));
    let mut homeless = Vec::new();
    for item in placed {
        let shard = shards.entry(held[&member(item)]).or_default();
        if !shard.stuck && !shard.add(item, limits) {
            homeless.push(item);
        } else if shard.stuck {
            shard.items.push(item);
        }
    }
    for item in homeless.into_iter().chain(new) {
        // Objects come in an order that leaves neighbours together; so does filling the first shard with room.
        let room = shards.values_mut().filter(|shard| !shard.stuck).any(|shard| shard.add(item, limits));
        if !room {
            let number = (0..).find(|number| !shards.contains_key(number)).expect("there is always another number");
            shards.entry(number).or_default().add(item, limits);
        }
    }
    for (number, shard) in shards {
        bundles.packing.extend(shard.items.iter().map(|item| (member(item), number)));
        if shard.stuck {
            bundles.keep.insert(shard_name(number));
        } else {
            // In the order of the Binding, whenever each of them came: the same members are the same content.
            let members: Vec<_> = items.iter().filter(|item| shard.holds(item)).collect();
            bundles.works.push(Arc::new(Bundle::new(shard_name(number), origin, &members, true)));
        }
    }
    bundles
}

#[derive(Default)]
struct Shard<'a> {
    items: Vec<&'a Item>,
    uids: BTreeSet<&'a str>,
    bytes: usize,
    stuck: bool,
}

impl<'a> Shard<'a> {
    /// Takes the object if there is room.
    fn add(&mut self, item: &'a Item, limits: Limits) -> bool {
        let bytes = self.bytes + item.manifest.len();
        let room = self.items.len() < limits.max_objects && bytes <= limits.max_bytes;
        if room {
            self.items.push(item);
            self.uids.insert(&item.uid);
            self.bytes = bytes;
        }
        room
    }

    fn holds(&self, item: &Item) -> bool {
        self.uids.contains(item.uid.as_str())
    }
}

/// The longest value of a label.
const LABEL_BYTES: usize = 63;
/// How much of a name is kept for people when all of it does not fit.
const KEPT_BYTES: usize = 48;

/// A name as the value of a label: itself if it can be one, otherwise its beginning and a digest.
pub fn label_value(name: &str) -> String {
    let fits = name.len() <= LABEL_BYTES && name.bytes().all(in_label) && !name.is_empty();
    let edges = name.bytes().next().zip(name.bytes().last());
    if fits && edges.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    let kept: String = name.chars().map(|c| if u8::try_from(c).is_ok_and(in_label) { c } else { '_' }).collect();
    let kept = kept.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let digest = Digest::of(name.as_bytes()).short();
    if kept.is_empty() { digest } else { format!("{}-{digest}", &kept[..kept.len().min(KEPT_BYTES)]) }
}

const fn in_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The most of a Binding's name that fits into the name of a work, beside the WDS and a number.
const BINDING_NAME_BYTES: usize = 180;

fn shortened(binding: &str) -> String {
    if binding.len() <= BINDING_NAME_BYTES {
        return binding.to_owned();
    }
    // Names of Bindings are ASCII.
    let kept = binding.get(..BINDING_NAME_BYTES).unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{kept}-{}", Digest::of(binding.as_bytes()).short())
}
