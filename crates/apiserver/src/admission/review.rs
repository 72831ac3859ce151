//! One write, as admission sees it.

use crate::call::Call;
use api::Object;
pub(crate) use machinery::admission::Operation;
use serde_json::Value;
use std::collections::BTreeMap;

/// One write on its way: what is asked, what it makes of the object, and what the steps have to say of it.
pub(crate) struct Review<'a> {
    /// Who asks, and for which resource, subresource, namespace and name (empty while a name is yet to be generated).
    pub(crate) call: &'a Call,
    pub(crate) operation: Operation,
    /// What is to be stored, at the version of the request; `None` for a delete.
    pub(crate) object: Option<Object>,
    /// What is there, at the version of the request; `None` for a create.
    pub(crate) old: Option<&'a Object>,
    pub(crate) dry_run: bool,
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions` as an object.
    pub(crate) options: Value,
    /// Goes to the client as `Warning` headers.
    pub(crate) warnings: Vec<String>,
    /// Goes into the audit event.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl<'a> Review<'a> {
    /// A review of a write by `call`.
    pub(crate) fn new(call: &'a Call, operation: Operation, dry_run: bool, options: Value) -> Self {
        Self {
            call,
            operation,
            object: None,
            old: None,
            dry_run,
            options,
            warnings: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// The namespace of the request; that of a namespace is itself.
    pub(crate) fn namespace(&self) -> &str {
        if &*self.call.kind.collection == "namespaces" { self.name() } else { &self.call.target.namespace }
    }

    /// The name of the object, as far as it is known.
    pub(crate) fn name(&self) -> &str {
        let of_object = || self.object.as_ref().or(self.old).map_or("", Object::name);
        if self.call.target.name.is_empty() { of_object() } else { &self.call.target.name }
    }
}
