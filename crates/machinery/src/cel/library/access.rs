//! The authorizer of policies: whether somebody may do something.

use super::Row;
use super::strings::text;
use crate::cel::error::Error;
use crate::cel::types;
use crate::cel::value::Value;
use std::fmt;
use std::rc::Rc;

type Result<'a> = std::result::Result<Value<'a>, Error>;

/// What is asked of an authorizer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Question {
    /// Namespace and name of a service account; otherwise it is about whoever makes the request.
    pub service_account: Option<(String, String)>,
    pub path: Option<String>,
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

/// Decides.
pub trait Authorizer {
    /// Whether it is allowed, and why.
    fn decide(&self, question: &Question) -> (bool, String);
}

/// An authorizer, with as much of a question as there is, or with its answer.
#[derive(Clone)]
pub struct Access<'a> {
    authorizer: &'a dyn Authorizer,
    question: Question,
    stage: Stage,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decision { allowed: bool, reason: String },
}

impl fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.stage, self.question)
    }
}

impl<'a> Access<'a> {
    /// The variable `authorizer`.
    pub fn new(authorizer: &'a dyn Authorizer) -> Self {
        Self { authorizer, question: Question::default(), stage: Stage::Authorizer }
    }

    /// The variable `authorizer.requestResource`.
    pub fn of_resource(authorizer: &'a dyn Authorizer, question: Question) -> Self {
        Self { authorizer, question, stage: Stage::Resource }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => types::AUTHORIZER,
            Stage::Path => types::PATH_CHECK,
            Stage::Group => types::GROUP_CHECK,
            Stage::Resource => types::RESOURCE_CHECK,
            Stage::Decision { .. } => types::DECISION,
        }
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "path",
        call: |args| further(args, &Stage::Authorizer, Stage::Path, |question, text| question.path = Some(text)),
        overloads: &["authorizer_path: authorizer.(string) path_check"],
    },
    Row {
        name: "group",
        call: |args| further(args, &Stage::Authorizer, Stage::Group, |question, text| question.group = text),
        overloads: &["authorizer_group: authorizer.(string) group_check"],
    },
    Row {
        name: "serviceAccount",
        call: service_account,
        overloads: &["authorizer_serviceaccount: authorizer.(string, string) authorizer"],
    },
    Row {
        name: "resource",
        call: |args| further(args, &Stage::Group, Stage::Resource, |question, text| question.resource = text),
        overloads: &["groupcheck_resource: group_check.(string) resource_check"],
    },
    Row {
        name: "subresource",
        call: |args| further(args, &Stage::Resource, Stage::Resource, |question, text| question.subresource = text),
        overloads: &["resourcecheck_subresource: resource_check.(string) resource_check"],
    },
    Row {
        name: "namespace",
        call: |args| further(args, &Stage::Resource, Stage::Resource, |question, text| question.namespace = text),
        overloads: &["resourcecheck_namespace: resource_check.(string) resource_check"],
    },
    Row {
        name: "name",
        call: |args| further(args, &Stage::Resource, Stage::Resource, |question, text| question.name = text),
        overloads: &["resourcecheck_name: resource_check.(string) resource_check"],
    },
    // Selectors narrow what is asked; RBAC decides without them.
    Row {
        name: "fieldSelector",
        call: |args| further(args, &Stage::Resource, Stage::Resource, |_, _| {}),
        overloads: &["authorizer_fieldselector: resource_check.(string) resource_check"],
    },
    Row {
        name: "labelSelector",
        call: |args| further(args, &Stage::Resource, Stage::Resource, |_, _| {}),
        overloads: &["authorizer_labelselector: resource_check.(string) resource_check"],
    },
    Row {
        name: "check",
        call: check,
        overloads: &[
            "pathcheck_check: path_check.(string) decision",
            "resourcecheck_check: resource_check.(string) decision",
        ],
    },
    Row { name: "errored", call: errored, overloads: &["decision_errored: decision.() bool"] },
    Row { name: "error", call: error, overloads: &["decision_error: decision.() string"] },
    Row { name: "allowed", call: allowed, overloads: &["decision_allowed: decision.() bool"] },
    Row { name: "reason", call: reason, overloads: &["decision_reason: decision.() string"] },
];

fn access<'v, 'a>(args: &'v [Value<'a>]) -> std::result::Result<&'v Access<'a>, Error> {
    match args.first() {
        Some(Value::Access(access)) => Ok(access),
        _ => Err(Error::no_overload()),
    }
}

fn further<'a>(args: &[Value<'a>], from: &Stage, to: Stage, set: fn(&mut Question, String)) -> Result<'a> {
    let mut next = access(args)?.clone();
    if next.stage != *from {
        return Err(Error::no_overload());
    }
    set(&mut next.question, text(args, 1)?.to_owned());
    next.stage = to;
    Ok(Value::Access(Rc::new(next)))
}

fn service_account<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut next = access(args)?.clone();
    next.question.service_account = Some((text(args, 1)?.to_owned(), text(args, 2)?.to_owned()));
    Ok(Value::Access(Rc::new(next)))
}

fn check<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut next = access(args)?.clone();
    if !matches!(next.stage, Stage::Path | Stage::Resource) {
        return Err(Error::no_overload());
    }
    next.question.verb = text(args, 1)?.to_owned();
    let (allowed, reason) = next.authorizer.decide(&next.question);
    next.stage = Stage::Decision { allowed, reason };
    Ok(Value::Access(Rc::new(next)))
}

fn decision(args: &[Value<'_>]) -> std::result::Result<(bool, String), Error> {
    match &access(args)?.stage {
        Stage::Decision { allowed, reason } => Ok((*allowed, reason.clone())),
        _ => Err(Error::no_overload()),
    }
}

fn allowed<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(decision(args)?.0))
}

fn reason<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::text(decision(args)?.1))
}

fn errored<'a>(args: &[Value<'a>]) -> Result<'a> {
    decision(args).map(|_| Value::Bool(false))
}

fn error<'a>(args: &[Value<'a>]) -> Result<'a> {
    decision(args).map(|_| Value::text(""))
}
