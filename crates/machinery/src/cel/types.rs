//! Types of expressions, and what is declared of the data that they read.

use crate::schema::ListType;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of a value.
#[derive(Clone, Debug)]
pub enum Type {
    /// Anything: what is done with it is checked when it is done.
    Dyn,
    /// Of an expression that has been complained about.
    Error,
    /// `null_type`
    Null,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `uint`
    Uint,
    /// `double`
    Double,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// `list`
    List(Arc<Type>),
    /// `map`
    Map(Arc<Type>, Arc<Type>),
    /// An object with declared fields.
    Object(Arc<Record>),
    /// A kind of value that only functions look into.
    Opaque(&'static str),
    /// `optional_type`
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// A variable of a signature, or one that the checker made.
    Param(u32),
}

/// Names of opaque types.
pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const IP: &str = "net.IP";
pub(crate) const CIDR: &str = "net.CIDR";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";
/// The authorizer of policies.
pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(crate) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(crate) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(crate) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(crate) const DECISION: &str = "kubernetes.authorization.Decision";

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b))
            | (Self::Optional(a), Self::Optional(b))
            | (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Map(a, b), Self::Map(c, d)) => a == c && b == d,
            (Self::Object(a), Self::Object(b)) => a.name == b.name,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (Self::Param(a), Self::Param(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Type {
    /// A list of these.
    pub fn list(of: Type) -> Self {
        Self::List(Arc::new(of))
    }

    /// A map from text to these.
    pub fn map(of: Type) -> Self {
        Self::Map(Arc::new(Type::String), Arc::new(of))
    }

    /// An optional one of these.
    pub fn optional(of: Type) -> Self {
        Self::Optional(Arc::new(of))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// Whether its values have no size.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Double | Self::Duration | Self::Int | Self::Timestamp | Self::Uint => true,
            Self::Optional(inner) => inner.is_scalar(),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Object(record) => f.write_str(&record.name),
            Self::Opaque(name) => f.write_str(name),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Param(index) => write!(f, "_var{index}"),
        }
    }
}

/// The fields of an object.
#[derive(Debug)]
pub struct Record {
    /// Told in messages, and what makes two objects of the same type.
    pub name: Arc<str>,
    /// By the name that expressions use.
    pub fields: BTreeMap<Box<str>, Arc<Decl>>,
    /// Whether other fields may be there too: they are anything.
    pub open: bool,
}

impl Record {
    /// The field that an expression means: words of the language need not be escaped after a dot.
    pub(crate) fn field(&self, name: &str) -> Option<&Arc<Decl>> {
        self.fields.get(name).or_else(|| self.fields.get(format!("__{name}__").as_str()))
    }
}

/// What is declared of a piece of data: its type, and how large it can be.
#[derive(Clone, Debug)]
pub struct Decl {
    /// Its type.
    pub ty: Type,
    /// Of a list or map: what its elements are.
    pub elem: Option<Arc<Decl>>,
    /// Most characters, elements or entries.
    pub(crate) max: u64,
    /// Fewest bytes as JSON.
    pub(crate) min_size: i64,
    /// How a list sees its elements.
    pub(crate) list: Option<ListType>,
}

impl Decl {
    /// Something that is only of a type.
    pub fn of(ty: Type) -> Self {
        Self { ty, elem: None, max: 0, min_size: 1, list: None }
    }

    /// An object.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Decl)>) -> Self {
        let fields = fields.into_iter().map(|(name, decl)| (name.into(), Arc::new(decl))).collect();
        Self::of(Type::Object(Arc::new(Record { name: name.into(), fields, open: false })))
    }

    /// A list.
    pub fn list(of: Decl) -> Self {
        let ty = Type::list(of.ty.clone());
        Self { elem: Some(Arc::new(of)), ..Self::of(ty) }
    }

    /// A map from text.
    pub fn map(of: Decl) -> Self {
        let ty = Type::map(of.ty.clone());
        Self { elem: Some(Arc::new(of)), ..Self::of(ty) }
    }

    pub(crate) fn record(&self) -> Option<&Arc<Record>> {
        match &self.ty {
            Type::Object(record) => Some(record),
            _ => None,
        }
    }
}
