//! The roles and bindings of the stock server's bootstrap policy, as objects of a space that are stored nowhere: a space
//! inherits them from the program until somebody writes one, and that one is stored from then on.
//!
//! An inherited object is a function of the space and of the policy: its uid, time and revision are made of those of the
//! space, so that it is the same each time it is asked for, also after a restart. An empty space pays nothing for them.
//!
//! What is deleted must not come back: a mark is left first, and an object counts as inherited before the revision of
//! its mark only. When a server starts, what was deleted is made anew and what was changed gets back the rights that
//! are missing, as a stock server does (`rbac.authorization.kubernetes.io/autoupdate`).

use super::policy::Kind;
use super::reconcile::reconciled;
use super::{GROUP, bootstrap};
use crate::header::Header;
use crate::space::Space;
use crate::{Entry, Event, Store, encode};
use api::{Object, Timestamp};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use store::{Change, Collection, CommitError, Compacted, Expect, Key, Meta, Page, Revision, Write};

/// The collection of marks: `PLURAL/NAMESPACE/NAME` of what was deleted.
const MARKS: &str = "/bootstrap-rbac-deleted";

/// What stands in a template where a space has a uid, a time and a revision.
const UID: &str = "@uid@";
const TIME: &str = "@time@";
const REVISION: &str = "@revision@";

/// Texts of all objects of the policy, by collection (`roles.rbac...`), then by namespace and name.
type Templates = BTreeMap<String, BTreeMap<(String, String), Template>>;

struct Template {
    object: Object,
    /// As it is stored, with [`UID`], [`TIME`] and [`REVISION`] in it.
    text: String,
}

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    let mut templates = Templates::new();
    for (kind, plural) in Kind::ALL {
        let of_kind = templates.entry(format!("{plural}.{GROUP}")).or_default();
        for object in bootstrap::objects(kind) {
            let stamped = encode::stamped(&object.0);
            let mut text = String::from_utf8_lossy(&stamped.head).into_owned();
            text.push_str(REVISION);
            text.push_str(&String::from_utf8_lossy(&stamped.tail));
            let name = object.object_name();
            of_kind.insert((name.namespace, name.name), Template { object, text });
        }
    }
    templates
});

/// Where the inherited objects of a space have their revision and time from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    revision: Revision,
    time: Timestamp,
}

impl Origin {
    /// A namespace that every space has from the beginning, and that cannot be deleted.
    fn of(store: &Store, space: &Space) -> Option<Self> {
        let entry = store.get(&space.key(&"namespaces".into(), "", "kube-system"))?;
        let object: Object = serde_json::from_slice(&entry.value).ok()?;
        let time = object.meta("creationTimestamp")?.as_str()?.parse().ok()?;
        Some(Self { revision: entry.created, time })
    }
}

/// The inherited objects of one collection of a space.
#[derive(Clone)]
pub(crate) struct Inherited {
    store: Store,
    space: Arc<Space>,
    collection: Collection,
    origin: Origin,
}

impl Inherited {
    /// `None` for collections that inherit nothing, which are nearly all.
    pub(crate) fn of(store: &Store, space: &Arc<Space>, collection: &Collection) -> Option<Self> {
        if !collection.resource.ends_with(GROUP) || !TEMPLATES.contains_key(&*collection.resource) {
            return None;
        }
        let origin = space.origin.get().copied().or_else(|| {
            let origin = Origin::of(store, space)?;
            Some(*space.origin.get_or_init(|| origin))
        })?;
        Some(Self { store: store.clone(), space: space.clone(), collection: collection.clone(), origin })
    }

    fn templates(&self) -> &'static BTreeMap<(String, String), Template> {
        &TEMPLATES[&*self.collection.resource]
    }

    fn template(&self, key: &Key) -> Option<&'static Template> {
        self.templates().get(&(key.namespace.to_string(), key.name.to_string()))
    }

    fn mark(&self, key: &Key) -> Key {
        self.space.key(&MARKS.into(), "", &format!("{}/{}/{}", self.collection.resource, key.namespace, key.name))
    }

    /// The object of a template in this space.
    fn entry(&self, key: Key, template: &Template) -> Arc<Entry> {
        let mut hash = Sha256::new();
        for part in [self.space.authority.certificate.as_str(), &self.collection.resource, &key.namespace, &key.name] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest = hash.finalize();
        let mut bytes: [u8; 16] = digest[..16].try_into().expect("the digest is longer");
        bytes[6] = bytes[6] & 0x0f | 0x40; // version 4
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let uid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let text = template.text.replace(UID, &uid).replace(TIME, &self.origin.time.to_string());
        let value = Bytes::from(text.replace(REVISION, &self.origin.revision.to_string()));
        let meta = Header::read(&key, &value);
        Arc::new(Entry { key, value, meta, created: self.origin.revision, modified: self.origin.revision })
    }

    /// What is inherited under a key, whether or not it still is.
    fn original(&self, key: &Key) -> Option<Arc<Entry>> {
        Some(self.entry(key.clone(), self.template(key)?))
    }

    /// What is inherited under a key that the store does not have.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let template = self.template(key)?;
        self.store.get(&self.mark(key)).is_none().then(|| self.entry(key.clone(), template))
    }

    /// [`store::Store::page`] with what is inherited.
    pub(crate) fn page(
        &self,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page<Header>, Compacted> {
        let stored = self.store.page(&self.collection, namespace, None, usize::MAX, at)?;
        let revision = stored.revision;
        let marks = Collection { space: self.collection.space.clone(), resource: MARKS.into() };
        let marks = self.store.page(&marks, None, None, usize::MAX, Some(revision))?.entries;
        let mut all: BTreeMap<(Arc<str>, Arc<str>), Arc<Entry>> = BTreeMap::new();
        for ((of, name), template) in self.templates() {
            let key = Key::new(self.collection.clone(), of.as_str(), name.as_str());
            let mark = self.mark(&key);
            if namespace.is_none_or(|wanted| wanted == of) && !marks.iter().any(|held| held.key.name == mark.name) {
                all.insert((key.namespace.clone(), key.name.clone()), self.entry(key, template));
            }
        }
        all.extend(
            stored.entries.into_iter().map(|entry| ((entry.key.namespace.clone(), entry.key.name.clone()), entry)),
        );
        let is_after = |entry: &Arc<Entry>| after.is_none_or(|after| (&*entry.key.namespace, &*entry.key.name) > after);
        let mut entries: Vec<_> = all.into_values().filter(is_after).collect();
        let remaining = entries.len().saturating_sub(limit);
        entries.truncate(limit);
        Ok(Page { entries, revision, remaining })
    }

    /// What a write must expect of the store when the client's view includes what is inherited.
    ///
    /// # Errors
    /// A conflict, if something is created that is inherited.
    pub(crate) fn expect(&self, key: &Key, expect: Expect) -> Result<Expect, CommitError<Header>> {
        match expect {
            Expect::At(revision) if revision == self.origin.revision && self.template(key).is_some() => {
                Ok(Expect::Absent)
            }
            Expect::Absent if self.store.get(key).is_none() => match self.get(key) {
                Some(held) => Err(CommitError::Conflict { key: key.clone(), held: Some(held) }),
                None => Ok(expect),
            },
            _ => Ok(expect),
        }
    }

    /// Makes ready for a deletion: leaves the mark, and stores what is only inherited, so that there is something to
    /// delete. Returns what is live then.
    ///
    /// # Errors
    /// If the store refuses.
    pub(crate) fn depart(&self, live: Arc<Entry>) -> Result<Arc<Entry>, CommitError<Header>> {
        if self.template(&live.key).is_none() {
            return Ok(live);
        }
        let entry = if live.modified == self.origin.revision {
            let write = Write::Put(encode::restamped(&live));
            self.store.commit(live.key.clone(), Expect::Absent, write)?.entry
        } else {
            live
        };
        let mark = self.mark(&entry.key);
        if self.store.get(&mark).is_none() {
            let record = serde_json::json!({"apiVersion": "internal/v1", "kind": "Mark", "metadata": {}});
            let record = record.as_object().expect("it is one");
            self.store.commit(mark, Expect::Any, Write::Put(encode::stamped(record)))?;
        }
        Ok(entry)
    }

    /// For an event in which an inherited object is stored for the first time: what it was before. To a client that is
    /// a change and no creation.
    pub(crate) fn before(&self, event: &Event) -> Option<Arc<Entry>> {
        if event.change != Change::Created {
            return None;
        }
        let original = self.original(&event.entry.key)?;
        let mark = self.store.get(&self.mark(&event.entry.key));
        mark.is_none_or(|mark| mark.created > event.revision).then_some(original)
    }
}

/// Names of what was inherited in a space and deleted.
pub(super) fn deleted<M: Meta>(store: &store::Store<M>, space: &Arc<str>) -> Vec<(Kind, String, String)> {
    let marks = Collection { space: space.clone(), resource: MARKS.into() };
    let marks = store.page(&marks, None, None, usize::MAX, None).map(|page| page.entries).unwrap_or_default();
    let read = |name: &str| {
        let mut words = name.splitn(3, '/');
        let (resource, namespace, name) = (words.next()?, words.next()?, words.next()?);
        let (kind, _) = Kind::ALL.into_iter().find(|(_, plural)| resource.starts_with(&format!("{plural}.")))?;
        Some((kind, namespace.to_owned(), name.to_owned()))
    };
    marks.iter().filter_map(|mark| read(&mark.key.name)).collect()
}

/// What a server does for each space when it starts: what is stored of the policy gets back what it lacks.
pub(crate) fn reconcile(store: &Store, space: &Arc<Space>, now: Timestamp) {
    // Most spaces have nothing of it, and this is all that it costs.
    let collections = Kind::ALL.map(|(_, plural)| space.collection(&format!("{plural}.{GROUP}").into()));
    let marked = !deleted(store, &space.prefix).is_empty();
    if !marked && collections.iter().all(|collection| store.count(collection) == 0) {
        return;
    }
    for collection in collections {
        let templates = &TEMPLATES[&*collection.resource];
        let Some(inherited) = Inherited::of(store, space, &collection) else { continue };
        for ((namespace, name), template) in templates {
            let key = Key::new(collection.clone(), namespace.as_str(), name.as_str());
            let held = store.get(&key);
            if held.is_none() && store.get(&inherited.mark(&key)).is_none() {
                continue;
            }
            let live = held.as_ref().and_then(|held| serde_json::from_slice::<Object>(&held.value).ok());
            let Some(mut object) = reconciled(&template.object, live.as_ref()) else { continue };
            if live.is_none() {
                object.set_meta("uid", crate::random::uid());
                object.set_meta("creationTimestamp", now.to_string());
                object.metadata_mut().remove("managedFields");
                bootstrap::own(&mut object, now);
            }
            let expect = held.as_ref().map_or(Expect::Absent, |held| Expect::At(held.modified));
            if let Err(error) = store.commit(key, expect, Write::Put(encode::stamped(&object.0))) {
                tracing::warn!(space = %space.name, name, %error, "a bootstrap role or binding is not as it should be");
            }
        }
    }
}
