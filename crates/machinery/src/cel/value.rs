//! Values of expressions. What comes from an object is borrowed from it and read only as far as an expression looks.

use super::error::Error;
use super::library::access::Access;
use super::library::formats::Format;
use super::library::network::Url;
use super::library::semver::Semver;
use super::time::{Duration, Timestamp};
use super::types::{Decl, Record, Type};
use crate::quantity::Quantity;
use crate::schema::ListType;
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Text: borrowed, or made.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Of an object.
    Borrowed(&'a str),
    /// Made by the expression.
    Owned(Arc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Of an object, with what is declared of its elements.
    Json(&'a [Json], Option<Arc<Decl>>),
    /// Made by the expression.
    Made(Rc<Vec<Value<'a>>>),
}

/// A map, or an object.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Of an object, with what is declared of it.
    Json(&'a serde_json::Map<String, Json>, Option<Arc<Decl>>),
    /// Made by the expression.
    Made(Rc<Vec<(Value<'a>, Value<'a>)>>),
    /// An object made by the expression, and its type.
    Struct(Rc<Vec<(Box<str>, Value<'a>)>>, Arc<str>),
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `uint`
    Uint(u64),
    /// `double`
    Double(f64),
    /// `string`
    String(Text<'a>),
    /// `bytes`
    Bytes(Arc<[u8]>),
    /// `duration`
    Duration(Duration),
    /// `timestamp`
    Timestamp(Timestamp),
    /// `list`
    List(List<'a>),
    /// `map`, or an object
    Map(Map<'a>),
    /// `optional_type`
    Optional(Option<Rc<Value<'a>>>),
    /// A type.
    Type(Type),
    /// `quantity(..)`
    Quantity(Quantity),
    /// `url(..)`
    Url(Rc<Url>),
    /// `ip(..)`
    Ip(IpAddr),
    /// `cidr(..)`
    Cidr(IpAddr, u8),
    /// `semver(..)`
    Semver(Rc<Semver>),
    /// `format.dns1123Label()`
    Format(&'static Format),
    /// The authorizer, and what is asked of it.
    Access(Rc<Access<'a>>),
}

impl<'a> Value<'a> {
    /// Text that the expression made.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Owned(text.into()))
    }

    pub(crate) fn list(list: Vec<Value<'a>>) -> Self {
        Self::List(List::Made(Rc::new(list)))
    }

    pub(crate) fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Rc::new(value)))
    }

    /// What JSON means to an expression, by what is declared of it.
    ///
    /// # Errors
    /// If text is not of its declared format.
    pub fn read(json: &'a Json, decl: Option<&Arc<Decl>>) -> Result<Self, Error> {
        let ty = decl.map_or(&Type::Dyn, |decl| &decl.ty);
        Ok(match (json, ty) {
            (Json::Null, _) => Self::Null,
            (Json::Bool(value), _) => Self::Bool(*value),
            (Json::Number(number), Type::Double) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            (Json::Number(number), _) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(value), ..) => Self::Int(value),
                (_, Some(value), _) => Self::Uint(value),
                (.., value) => {
                    let value = value.unwrap_or(f64::NAN);
                    #[allow(clippy::cast_possible_truncation)] // checked to be whole and in range
                    if matches!(ty, Type::Int) && value.fract() == 0.0 && value.abs() < 9e18 {
                        Self::Int(value as i64)
                    } else {
                        Self::Double(value)
                    }
                }
            },
            (Json::String(text), Type::Bytes) => {
                use base64::Engine;
                let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                Self::Bytes(decoded.map_err(|error| Error::new(format!("failed to decode base64: {error}")))?.into())
            }
            (Json::String(text), Type::Duration) => Self::Duration(
                Duration::parse(text).ok_or_else(|| Error::new(format!("time: invalid duration {text:?}")))?,
            ),
            (Json::String(text), Type::Timestamp) => Self::Timestamp(
                Timestamp::parse(text)
                    .or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
                    .ok_or_else(|| Error::new(format!("parsing time {text:?}: not a timestamp")))?,
            ),
            (Json::String(text), _) => Self::String(Text::Borrowed(text)),
            (Json::Array(list), _) => Self::List(List::Json(list, decl.cloned())),
            (Json::Object(map), _) => Self::Map(Map::Json(map, decl.cloned())),
        })
    }

    /// The type, as `type(..)` gives it.
    pub(crate) fn ty(&self) -> Type {
        use super::types;
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(Map::Json(_, Some(decl))) if decl.record().is_some() => decl.ty.clone(),
            Self::Map(Map::Struct(_, name)) => Type::Object(Arc::new(Record {
                name: Arc::clone(name),
                fields: std::collections::BTreeMap::new(),
                open: true,
            })),
            Self::Map(_) => Type::Map(Arc::new(Type::Dyn), Arc::new(Type::Dyn)),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Quantity(_) => Type::Opaque(types::QUANTITY),
            Self::Url(_) => Type::Opaque(types::URL),
            Self::Ip(_) => Type::Opaque(types::IP),
            Self::Cidr(..) => Type::Opaque(types::CIDR),
            Self::Semver(_) => Type::Opaque(types::SEMVER),
            Self::Format(_) => Type::Opaque(types::FORMAT),
            Self::Access(access) => Type::Opaque(access.type_name()),
        }
    }

    /// Characters, bytes, elements or entries; 1 of what has no size. Costs are counted in it.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Url(url) => url.text.len(),
            Self::Cidr(_, bits) => usize::from(*bits).div_ceil(8),
            Self::Ip(ip) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Optional(Some(inner)) => return inner.size(),
            _ => 1,
        };
        size as u64
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text of a `string`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether two values are the same; numbers are, whatever their types, if their amounts are.
    pub(crate) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::String(a), Value::String(b)) => **a == **b,
            (Self::Bytes(a), Value::Bytes(b)) => a == b,
            (Self::Duration(a), Value::Duration(b)) => a == b,
            (Self::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Self::List(a), Value::List(b)) => a.equals(b),
            (Self::Map(a), Value::Map(b)) => a.equals(b),
            (Self::Optional(a), Value::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.equals(b),
                _ => false,
            },
            (Self::Type(a), Value::Type(b)) => {
                std::mem::discriminant(a) == std::mem::discriminant(b) && same_type(a, b)
            }
            (Self::Quantity(a), Value::Quantity(b)) => a.nanos() == b.nanos(),
            (Self::Url(a), Value::Url(b)) => a.text == b.text,
            (Self::Ip(a), Value::Ip(b)) => a == b,
            (Self::Cidr(a, m), Value::Cidr(b, n)) => a == b && m == n,
            (Self::Semver(a), Value::Semver(b)) => a.compare(b) == Ordering::Equal,
            (Self::Format(a), Value::Format(b)) => a.name == b.name,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// The order of two values; `None` if there is none.
    pub(crate) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Int(a), Value::Int(b)) => a.cmp(b),
            (Self::Uint(a), Value::Uint(b)) => a.cmp(b),
            (Self::Int(a), Value::Uint(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Self::Uint(a), Value::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Self::Double(a), Value::Double(b)) => return a.partial_cmp(b),
            (Self::Double(a), Value::Int(b)) => return compare_double(*a, i128::from(*b)),
            (Self::Double(a), Value::Uint(b)) => return compare_double(*a, i128::from(*b)),
            (Self::Int(a), Value::Double(b)) => return compare_double(*b, i128::from(*a)).map(Ordering::reverse),
            (Self::Uint(a), Value::Double(b)) => return compare_double(*b, i128::from(*a)).map(Ordering::reverse),
            (Self::String(a), Value::String(b)) => (**a).cmp(&**b),
            (Self::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Self::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Self::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Self::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            _ => return None,
        })
    }

    /// As JSON, if it has such a form.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Double(value) => serde_json::Number::from_f64(*value)?.into(),
            Self::String(text) => (**text).into(),
            Self::Bytes(bytes) => {
                use base64::Engine;
                base64::engine::general_purpose::STANDARD.encode(bytes).into()
            }
            Self::Duration(duration) => duration.to_string().into(),
            Self::Timestamp(time) => time.to_string().into(),
            Self::List(List::Json(list, _)) => Json::Array(list.to_vec()),
            Self::List(List::Made(list)) => Json::Array(list.iter().map(Value::to_json).collect::<Option<_>>()?),
            Self::Map(Map::Json(map, _)) => Json::Object((*map).clone()),
            Self::Map(Map::Made(pairs)) => {
                let entry = |(key, value): &(Value<'_>, Value<'_>)| Some((key.as_str()?.to_owned(), value.to_json()?));
                Json::Object(pairs.iter().map(entry).collect::<Option<_>>()?)
            }
            Self::Map(Map::Struct(fields, _)) => {
                let entry = |(name, value): &(Box<str>, Value<'_>)| Some((name.to_string(), value.to_json()?));
                Json::Object(fields.iter().map(entry).collect::<Option<_>>()?)
            }
            Self::Quantity(quantity) => quantity.to_string().into(),
            Self::Ip(ip) => ip.to_string().into(),
            Self::Cidr(ip, bits) => format!("{ip}/{bits}").into(),
            Self::Optional(Some(inner)) => inner.to_json()?,
            _ => return None,
        })
    }
}

fn same_type(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::List(_), Type::List(_))
        | (Type::Map(..), Type::Map(..))
        | (Type::Type(_), Type::Type(_))
        | (Type::Optional(_), Type::Optional(_)) => true,
        _ => a == b,
    }
}

#[allow(clippy::cast_possible_truncation)] // the range is looked at first
fn compare_double(a: f64, b: i128) -> Option<Ordering> {
    const BEYOND: f64 = 1e30;
    if a.is_nan() {
        return None;
    }
    if a.abs() > BEYOND {
        return Some(if a > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let whole = (a.trunc() as i128).cmp(&b);
    Some(whole.then(a.fract().partial_cmp(&0.0)?))
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(list, _) => list.len(),
            Self::Made(list) => list.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Result<Option<Value<'a>>, Error> {
        match self {
            Self::Json(list, decl) => {
                let elem = decl.as_ref().and_then(|decl| decl.elem.as_ref());
                list.get(index).map(|json| Value::read(json, elem)).transpose()
            }
            Self::Made(list) => Ok(list.get(index).cloned()),
        }
    }

    pub(crate) fn values(&self) -> Result<Vec<Value<'a>>, Error> {
        (0..self.len()).map(|index| self.get(index).map(|value| value.unwrap_or(Value::Null))).collect()
    }

    /// How elements are told apart, where their order means nothing.
    fn kind(&self) -> Option<&ListType> {
        match self {
            Self::Json(_, Some(decl)) => decl.list.as_ref().filter(|kind| **kind != ListType::Atomic),
            _ => None,
        }
    }

    pub(crate) fn equals(&self, other: &List<'_>) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let (Ok(a), Ok(b)) = (self.values(), other.values()) else { return false };
        if self.kind().is_some() || other.kind().is_some() {
            return a.iter().all(|value| b.iter().any(|held| held.equals(value)));
        }
        a.iter().zip(&b).all(|(a, b)| a.equals(b))
    }

    /// `a + b`: elements of sets are kept once, those of maps are replaced by their keys.
    pub(crate) fn plus(&self, other: &List<'a>) -> Result<Vec<Value<'a>>, Error> {
        let mut all = self.values()?;
        let more = other.values()?;
        match self.kind() {
            Some(ListType::Set) => {
                for value in more {
                    if !all.iter().any(|held| held.equals(&value)) {
                        all.push(value);
                    }
                }
            }
            Some(ListType::Map(keys)) => {
                let keys = keys.clone();
                for value in more {
                    match all.iter_mut().find(|held| same_key(held, &value, &keys)) {
                        Some(held) => *held = value,
                        None => all.push(value),
                    }
                }
            }
            _ => all.extend(more),
        }
        Ok(all)
    }
}

fn same_key(a: &Value<'_>, b: &Value<'_>, keys: &[String]) -> bool {
    let (Value::Map(a), Value::Map(b)) = (a, b) else { return false };
    keys.iter().all(|key| match (a.field(key), b.field(key)) {
        (Ok(Some(a)), Ok(Some(b))) => a.equals(&b),
        (Ok(None), Ok(None)) => true,
        _ => false,
    })
}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Made(pairs) => pairs.len(),
            Self::Struct(fields, _) => fields.len(),
        }
    }

    /// The value of a field or a key.
    pub(crate) fn field(&self, name: &str) -> Result<Option<Value<'a>>, Error> {
        match self {
            Self::Json(map, Some(decl)) => match &decl.ty {
                Type::Object(record) => match record.field(name) {
                    Some(field) => {
                        let found = map.get(&*super::escape::unescape(name));
                        found.map(|json| Value::read(json, Some(field))).transpose()
                    }
                    None if record.open => map.get(name).map(|json| Value::read(json, None)).transpose(),
                    None => Ok(None),
                },
                _ => map.get(name).map(|json| Value::read(json, decl.elem.as_ref())).transpose(),
            },
            Self::Json(map, None) => map.get(name).map(|json| Value::read(json, None)).transpose(),
            Self::Made(pairs) => {
                Ok(pairs.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value.clone()))
            }
            Self::Struct(fields, _) => {
                Ok(fields.iter().find(|(held, _)| &**held == name).map(|(_, value)| value.clone()))
            }
        }
    }

    /// The value of a key of any type.
    pub(crate) fn get(&self, key: &Value<'a>) -> Result<Option<Value<'a>>, Error> {
        match (self, key) {
            (_, Value::String(name)) => self.field(name),
            (Self::Made(pairs), key) => {
                Ok(pairs.iter().find(|(held, _)| held.equals(key)).map(|(_, value)| value.clone()))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json(map, _) => map.keys().map(|key| Value::String(Text::Borrowed(key))).collect(),
            Self::Made(pairs) => pairs.iter().map(|(key, _)| key.clone()).collect(),
            Self::Struct(fields, _) => fields.iter().map(|(name, _)| Value::text(&**name)).collect(),
        }
    }

    fn equals(&self, other: &Map<'_>) -> bool {
        if self.len() != other.len() {
            return false;
        }
        self.keys().iter().all(|key| {
            let Ok(Some(mine)) = self.get(key) else {
                return other_has_no(other, key);
            };
            match key {
                Value::String(name) => matches!(other.field(name), Ok(Some(theirs)) if mine.equals(&theirs)),
                key => match other {
                    Map::Made(pairs) => pairs.iter().any(|(held, value)| held.equals(key) && mine.equals(value)),
                    _ => false,
                },
            }
        })
    }
}

/// A field that is null or not declared is as absent in the one as in the other.
fn other_has_no(other: &Map<'_>, key: &Value<'_>) -> bool {
    key.as_str().is_some_and(|name| matches!(other.field(name), Ok(None)))
}
