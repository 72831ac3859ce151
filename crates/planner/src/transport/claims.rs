//! Who asks for which object in which cluster. Where two ManifestWorks hold the same object, the older one decides what it
//! is like, whichever policy, Binding or WDS they are made from. Ages are in seconds: with the same age, one that holds the
//! object as create-only already comes after one that does not, and then the uid decides. The
//! others hold the object as create-only: so their AppliedManifestWorks own it too, and it stays in the cluster when the
//! one that decides goes, and the next oldest decides from then on. Agents of OCM do the same, since all of this is said in
//! terms of ManifestWorks.

use super::bundle::Bundle;
use super::held::HeldWork;
use crate::digest::{Digest, Digester};
use api::control::{Binding, ObjectReference};
use api::work::{ManifestConfig, ResourceIdentifier};
use api::{ClusterName, ObjectName, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// An object in a cluster, by digest.
type Place = Digest;

fn place(cluster: &str, object: &str) -> Place {
    let mut digester = Digester::default();
    digester.add(cluster);
    digester.add(object);
    digester.finish()
}

/// What tells objects of one cluster apart, as people write it: `Deployment.apps default/web`.
pub(super) fn object_of(manifest: &Manifest) -> Box<str> {
    let group = manifest.api_version.split_once('/').map_or("", |(group, _)| group);
    let name = ObjectName::namespaced(manifest.metadata.namespace.clone(), manifest.metadata.name.clone());
    object_text(&manifest.kind, group, &name)
}

/// What [`object_text`] was made from: kind, group, name.
pub fn read_object_text(text: &str) -> Option<(&str, &str, ObjectName)> {
    let (kind, name) = text.split_once(' ')?;
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    Some((kind, group, ObjectName::namespaced(namespace, name)))
}

/// An object as claims name it.
pub fn object_text(kind: &str, group: &str, name: &ObjectName) -> Box<str> {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group} {name}").into()
}

/// What of a manifest says which object it is.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Manifest {
    api_version: String,
    kind: String,
    metadata: Named,
}

impl Manifest {
    /// Whether a configuration is about it, as far as that can be told without knowing its resource.
    pub(super) fn is(&self, named: &ResourceIdentifier) -> bool {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        (named.group.as_str(), named.namespace.as_str(), named.name.as_str())
            == (group, self.metadata.namespace.as_str(), self.metadata.name.as_str())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    #[serde(deserialize_with = "text_or_nothing")]
    name: String,
    #[serde(deserialize_with = "text_or_nothing")]
    namespace: String,
}

/// Anything that is no text is no name: such a manifest is refused by the cluster, and claims nothing here.
fn text_or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Is(String),
        IsNot(IgnoredAny),
    }
    Ok(match Text::deserialize(deserializer)? {
        Text::Is(text) => text,
        Text::IsNot(_) => String::new(),
    })
}

/// One object that a work holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// As in `Deployment.apps default/web`.
    pub object: Box<str>,
    /// Whether it is only created, because that is asked or because another work decides about it.
    pub only_created: bool,
    /// Whether the cluster has reported that it is applied, for the present content of the work: then the
    /// AppliedManifestWork of this work is among its owners.
    pub applied: bool,
}

/// What a work holds. `applied` tells whether a manifest is reported as applied.
pub(super) fn claims(
    manifests: &[Manifest],
    configs: &[ManifestConfig],
    applied: impl Fn(&str, &str, &ObjectName) -> bool,
) -> Box<[Claim]> {
    let only_created = |manifest: &Manifest| {
        let about = configs.iter().filter(|config| manifest.is(&config.resource_identifier));
        let mut strategies = about.filter_map(|config| config.update_strategy.as_ref());
        strategies.any(|strategy| strategy.type_ == "CreateOnly")
    };
    let is_applied = |manifest: &Manifest| {
        let group = manifest.api_version.split_once('/').map_or("", |(group, _)| group);
        let name = ObjectName::namespaced(manifest.metadata.namespace.clone(), manifest.metadata.name.clone());
        applied(group, &manifest.kind, &name)
    };
    let claim = |manifest| Claim {
        object: object_of(manifest),
        only_created: only_created(manifest),
        applied: is_applied(manifest),
    };
    manifests.iter().map(claim).collect()
}

/// All ManifestWorks that KubeStellar has made in an ITS, by the objects that they hold.
#[derive(Default)]
pub struct Claims {
    by_place: HashMap<Place, Vec<Arc<HeldWork>>>,
    /// Places with several works, by the WDS and Binding of each.
    contested: BTreeMap<(String, String), BTreeSet<Place>>,
}

/// One work among those that hold the same object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Claimant {
    /// The label value that stands for the WDS.
    pub wds: String,
    /// The label value that stands for the Binding.
    pub binding: String,
}

/// An object that several works hold in one cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Contest {
    /// The cluster.
    pub cluster: ClusterName,
    /// The object, as in `Deployment.apps default/web`.
    pub object: Box<str>,
    /// Who holds it; the first one decides.
    pub claimants: Vec<Claimant>,
}

impl Claims {
    /// A work is there, or no longer. Gives the other works that hold one of its objects, and may have to change.
    pub fn set(&mut self, before: Option<&Arc<HeldWork>>, after: Option<&Arc<HeldWork>>) -> Vec<Arc<HeldWork>> {
        let claims = |work: Option<&Arc<HeldWork>>| work.filter(|work| !work.deleting).cloned();
        let (before, after) = (claims(before), claims(after));
        let mut rivals: BTreeMap<ObjectName, Arc<HeldWork>> = BTreeMap::new();
        let places =
            |work: &Option<Arc<HeldWork>>| -> BTreeSet<Place> { work.iter().flat_map(|w| w.places()).collect() };
        let (left, taken) = (places(&before), places(&after));
        for place in left.union(&taken) {
            let was = self.by_place.get(place).map_or(0, Vec::len);
            let claimants = self.by_place.entry(*place).or_default();
            if let Some(before) = &before {
                claimants.retain(|work| work.name != before.name);
            }
            // Others may decide now, or be let go of, or not yet.
            let rank_of = |work: &Option<Arc<HeldWork>>| {
                work.as_ref().and_then(|work| Some((rank(work, place)?, claim_of(work, place)?.applied)))
            };
            if rank_of(&before) != rank_of(&after) {
                rivals.extend(claimants.iter().map(|work| (work.name.clone(), work.clone())));
            }
            let others: Vec<_> = claimants.iter().map(|work| key(work)).collect();
            if let Some(after) = after.as_ref().filter(|_| taken.contains(place)) {
                claimants.push(after.clone());
                claimants.sort_by_cached_key(|work| rank(work, place));
            }
            let now = claimants.len();
            if claimants.is_empty() {
                self.by_place.remove(place);
            }
            if was > 1 || now > 1 {
                let of_before = before.iter().map(|work| key(work));
                for key in of_before.chain(others) {
                    self.uncontest(&key, place);
                }
            }
            if now > 1 {
                for work in &self.by_place[place] {
                    self.contested.entry(key(work)).or_default().insert(*place);
                }
            }
        }
        rivals.into_values().collect()
    }

    fn uncontest(&mut self, key: &(String, String), place: &Place) {
        if let Some(places) = self.contested.get_mut(key) {
            places.remove(place);
            if places.is_empty() {
                self.contested.remove(key);
            }
        }
    }

    /// The other works that hold an object of this one, each with whether it comes after this one: it decides about the
    /// object later.
    pub(super) fn others(&self, work: &HeldWork, object: &str) -> impl Iterator<Item = (&Arc<HeldWork>, bool)> {
        let place = place(&work.name.namespace, object);
        let own = rank(work, &place);
        let holding = self.by_place.get(&place).map_or(&[][..], Vec::as_slice);
        let others = holding.iter().filter(|other| other.name != work.name);
        others.map(move |other| (other, rank(other, &place) > own))
    }

    /// The work as it is to be in this mailbox: objects that an older work decides about are only created.
    pub fn settle(&self, cluster: &ClusterName, bundle: &Arc<Bundle>) -> Arc<Bundle> {
        let yields = |object: &str| {
            let first = self.by_place.get(&place(cluster.as_str(), object)).and_then(|works| works.first());
            first.is_some_and(|work| work.name.name != bundle.name)
        };
        let objects = bundle.objects().iter().enumerate();
        let yielded: BTreeSet<usize> = objects.filter(|(_, object)| yields(object)).map(|(at, _)| at).collect();
        if yielded.is_empty() { bundle.clone() } else { Arc::new(bundle.yielding(&yielded)) }
    }

    /// The other Bindings of the same WDS, by their label values, that hold an object which this one holds.
    pub fn contenders(&self, wds: &str, binding: &str) -> BTreeSet<String> {
        let places = self.contested.get(&(wds.to_owned(), binding.to_owned()));
        let works = places.into_iter().flatten().filter_map(|place| self.by_place.get(place)).flatten();
        let others = works.filter(|work| work.wds == wds && work.binding != binding);
        others.map(|work| work.binding.clone()).collect()
    }

    /// The objects that a Binding holds beside others: how many, and the first `most`.
    pub fn contests(&self, wds: &str, binding: &str, most: usize) -> Vec<Contest> {
        let places = self.contested.get(&(wds.to_owned(), binding.to_owned()));
        let contests = places.into_iter().flatten().take(most).filter_map(|place| {
            let works = self.by_place.get(place)?;
            let first = works.first()?;
            let object = &claim_of(first, place)?.object;
            let claimant = |work: &Arc<HeldWork>| Claimant { wds: work.wds.clone(), binding: work.binding.clone() };
            Some(Contest {
                cluster: first.cluster(),
                object: object.clone(),
                claimants: works.iter().map(claimant).collect(),
            })
        });
        let mut contests: Vec<_> = contests.collect();
        contests.sort();
        contests
    }
}

impl HeldWork {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.objects.iter().map(|claim| place(&self.name.namespace, &claim.object))
    }
}

fn key(work: &HeldWork) -> (String, String) {
    (work.wds.clone(), work.binding.clone())
}

fn claim_of<'a>(work: &'a HeldWork, at: &Place) -> Option<&'a Claim> {
    work.objects.iter().find(|claim| place(&work.name.namespace, &claim.object) == *at)
}

/// The first one decides.
type Rank = (Option<Timestamp>, bool, String);

fn rank(work: &HeldWork, place: &Place) -> Option<Rank> {
    claim_of(work, place).map(|claim| (work.created, claim.only_created, work.uid.clone()))
}

/// What a Binding says of the objects that it holds beside others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Objects that others decide about, in sentences for the user.
    pub lost: Vec<String>,
    /// Objects that it decides about, and others would have otherwise.
    pub won: Vec<String>,
}

/// The references that two Bindings of one WDS have in common and handle differently.
pub fn handled_differently<'a>(one: &'a Binding, other: &Binding) -> Vec<&'a ObjectReference> {
    type Which<'a> = (&'a str, &'a str, &'a str, &'a str);
    const fn which(reference: &ObjectReference) -> Which<'_> {
        (reference.group.as_str(), reference.resource.as_str(), reference.namespace.as_str(), reference.name.as_str())
    }
    let others: HashMap<Which<'_>, &ObjectReference> =
        other.spec.workload.iter().map(|reference| (which(reference), reference)).collect();
    let differs = |mine: &&ObjectReference| {
        others.get(&which(mine)).is_some_and(|other| !mine.modulation.is_carried_out_as(&other.modulation))
    };
    one.spec.workload.iter().filter(differs).collect()
}

/// Puts contests into words for one Binding. Two Bindings of one WDS that handle an object alike want the same of it: they
/// hold it together, and nothing is to be said. `alike` tells so of a Binding, by its label value, and an object.
pub fn standing(contests: &[Contest], wds: &str, binding: &str, alike: &dyn Fn(&str, &str) -> bool) -> Standing {
    let mut standing = Standing::default();
    for Contest { cluster, object, claimants } in contests {
        let Some((first, others)) = claimants.split_first() else { continue };
        let us = |one: &Claimant| one.wds == wds && one.binding == binding;
        let harmless = |one: &Claimant| us(one) || one.wds == wds && alike(&one.binding, object);
        let whose = |one: &Claimant| format!("Binding {} of WDS {}", one.binding, one.wds);
        if us(first) {
            for other in others.iter().filter(|one| !harmless(one)) {
                standing.won.push(format!(
                    "{object} in cluster {cluster} is also asked for by {}, whose ManifestWork is younger and gives way",
                    whose(other)
                ));
            }
        } else if !harmless(first) {
            standing.lost.push(format!(
                "{object} in cluster {cluster} is as {} asks, whose ManifestWork is older; it will be as asked here when \
                 that one goes",
                whose(first)
            ));
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn work(name: &str, wds: &str, binding: &str, created: &str, objects: &[&str]) -> Arc<HeldWork> {
        let manifests = objects.iter().map(|object| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": object, "namespace": "n"}})
        });
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {
                    "namespace": "edge", "name": name, "uid": name, "creationTimestamp": created,
                    "labels": {api::work::WDS_LABEL: wds, api::work::BINDING_LABEL: binding},
                },
                "spec": {"workload": {"manifests": manifests.collect::<Vec<_>>()}},
            }))
            .unwrap(),
        )
    }

    fn names(works: &[Arc<HeldWork>]) -> String {
        works.iter().map(|work| work.name.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn told(claims: &Claims, wds: &str, binding: &str) -> String {
        let contests = claims.contests(wds, binding, 10);
        let told = standing(&contests, wds, binding, &|_, _| false);
        let short = |list: &[String], mark: &str| {
            list.iter().map(|text| format!("{mark}{}", text.split_whitespace().nth(1).unwrap())).collect::<Vec<_>>()
        };
        [short(&told.won, "+"), short(&told.lost, "-")].concat().join(" ")
    }

    #[test]
    fn the_oldest_work_decides_and_hands_over() {
        let mut claims = Claims::default();
        let old = work("old", "wds1", "a", "2026-01-01T00:00:00Z", &["x", "y"]);
        let young = work("young", "wds2", "b", "2026-01-02T00:00:00Z", &["y", "z"]);
        assert_eq!(names(&claims.set(None, Some(&young))), "");
        assert_eq!(names(&claims.set(None, Some(&old))), "young", "the one that was there first is told");
        assert_eq!(told(&claims, "wds1", "a"), "+n/y");
        assert_eq!(told(&claims, "wds2", "b"), "-n/y");
        // What the cluster reports changes nothing.
        assert_eq!(names(&claims.set(Some(&old), Some(&old))), "");
        assert_eq!(told(&claims, "wds1", "a"), "+n/y");
        // With a third of the same age, the uid decides.
        let third = work("third", "wds1", "c", "2026-01-02T00:00:00Z", &["z"]);
        assert_eq!(names(&claims.set(None, Some(&third))), "young");
        assert_eq!((told(&claims, "wds1", "c"), told(&claims, "wds2", "b")), ("+n/z".into(), "-n/y -n/z".into()));
        // The oldest goes: from the moment that it is being deleted.
        let mut going = (*old).clone();
        going.deleting = true;
        let going = Arc::new(going);
        assert_eq!(names(&claims.set(Some(&old), Some(&going))), "young");
        assert_eq!((told(&claims, "wds1", "a"), told(&claims, "wds2", "b")), (String::new(), "-n/z".into()));
        assert_eq!(names(&claims.set(Some(&going), None)), "");
        claims.set(Some(&third), None);
        claims.set(Some(&young), None);
        assert!(claims.by_place.is_empty() && claims.contested.is_empty());
    }

    #[test]
    fn policies_that_want_the_same_hold_it_together() {
        let mut claims = Claims::default();
        claims.set(None, Some(&work("one", "wds1", "a", "2026-01-01T00:00:00Z", &["x"])));
        claims.set(None, Some(&work("two", "wds1", "b", "2026-01-01T00:00:00Z", &["x"])));
        let contests = claims.contests("wds1", "b", 10);
        assert_eq!(claims.contenders("wds1", "b"), ["a".to_owned()].into());
        assert_eq!(claims.contenders("wds1", "c"), [].into());
        assert_eq!(standing(&contests, "wds1", "b", &|_, _| true), Standing::default());
        let said = standing(&contests, "wds1", "b", &|_, _| false).lost;
        assert_eq!(
            said,
            [
                "Deployment.apps n/x in cluster edge is as Binding a of WDS wds1 asks, whose ManifestWork is older; it will \
              be as asked here when that one goes"
            ]
        );
    }
}
