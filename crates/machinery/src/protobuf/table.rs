//! The table of messages.

use std::collections::HashMap;

/// A line of a table that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TableError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What a message becomes in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// An object with the message's fields.
    Object,
    /// RFC 3339 with whole seconds; nothing when the message is empty.
    Time,
    /// RFC 3339 with microseconds; nothing when the message is empty.
    MicroTime,
    /// The JSON in its bytes; nothing when there are none.
    Raw,
    /// The text of a quantity; an unset one is zero.
    Quantity,
    /// Field 2, or field 3 where field 1 is 1.
    IntOrString,
    /// Field 2, a list, unless it is empty: then field 1.
    FirstOrList,
    /// Field 2, or, without one, field 1, a boolean.
    SecondOrBool,
    /// The list that it wraps.
    Items,
}

/// Type of one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    String,
    Bool,
    Int,
    Double,
    Bytes,
    /// Index of a message.
    Message(usize),
}

/// How many values a field has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// One; if it is a scalar and zero it is kept only when `zero`.
    One { zero: bool },
    /// Any number.
    List,
    /// By text.
    Map,
    /// One message, whose fields belong to the object around it.
    Inline,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: Box<str>,
    pub(super) shape: Shape,
    pub(super) of: Type,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) form: Form,
    /// By number, ascending.
    pub(super) fields: Box<[Field]>,
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|at| &self.fields[at])
    }
}

/// Decodes Kubernetes protobuf bodies.
#[derive(Debug)]
pub struct Transcoder {
    pub(super) messages: Vec<Message>,
    /// Message by `GROUP/VERSION/KIND`.
    kinds: HashMap<Box<str>, usize>,
}

impl Transcoder {
    /// Reads a table: lines `kind GROUP VERSION KIND MESSAGE` (`-` is the core group) and `message NAME [FORM]`, each of
    /// the latter followed by its fields, `NUMBER NAME [list|map] TYPE [zero|inline]`.
    ///
    /// # Errors
    /// If a line is not one of these, or names a message that the table does not have.
    pub fn new(table: &str) -> Result<Self, TableError> {
        let mut indexes: HashMap<&str, usize> = HashMap::new();
        for name in table.lines().filter_map(|line| line.strip_prefix("message ")) {
            let at = indexes.len();
            indexes.insert(name.split(' ').next().unwrap_or(name), at);
        }
        let mut transcoder = Self { messages: Vec::with_capacity(indexes.len()), kinds: HashMap::new() };
        let mut open: Option<(Form, Vec<Field>)> = None;
        for (at, line) in table.lines().enumerate() {
            let error = |problem| TableError { line: at + 1, problem };
            let mut words = line.split(' ');
            match words.next().unwrap_or("") {
                "kind" => {
                    let (Some(group), Some(version), Some(kind)) = (words.next(), words.next(), words.next()) else {
                        return Err(error("a kind has a group, a version and a name"));
                    };
                    let message = words.next().and_then(|name| indexes.get(name)).ok_or(error("no such message"))?;
                    let group = if group == "-" { "" } else { group };
                    transcoder.kinds.insert(key(group, version, kind).into(), *message);
                }
                "message" => {
                    transcoder.close(open.take());
                    open = Some((form(words.nth(1)).ok_or(error("no such form"))?, Vec::new()));
                }
                number => {
                    let number = number.parse().map_err(|_| error("neither a kind, nor a message, nor a field"))?;
                    let (_, fields) = open.as_mut().ok_or(error("a field of no message"))?;
                    fields.push(field(number, words, &indexes).map_err(error)?);
                }
            }
        }
        transcoder.close(open);
        Ok(transcoder)
    }

    /// The message of a kind. Kinds that every group shares (`DeleteOptions`) are those of the core group wherever else
    /// they are not listed.
    pub(super) fn message_of(&self, api_version: &str, kind: &str) -> Option<usize> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let listed = self.kinds.get(key(group, version, kind).as_str());
        let shared = || kind.ends_with("Options").then(|| self.kinds.get(key("", "v1", kind).as_str()))?;
        listed.or_else(shared).copied()
    }

    fn close(&mut self, open: Option<(Form, Vec<Field>)>) {
        if let Some((form, mut fields)) = open {
            fields.sort_by_key(|field| field.number);
            self.messages.push(Message { form, fields: fields.into() });
        }
    }
}

fn key(group: &str, version: &str, kind: &str) -> String {
    format!("{group}/{version}/{kind}")
}

fn form(word: Option<&str>) -> Option<Form> {
    Some(match word {
        None => Form::Object,
        Some("time") => Form::Time,
        Some("micro-time") => Form::MicroTime,
        Some("raw") => Form::Raw,
        Some("quantity") => Form::Quantity,
        Some("int-or-string") => Form::IntOrString,
        Some("first-or-list") => Form::FirstOrList,
        Some("second-or-bool") => Form::SecondOrBool,
        Some("items") => Form::Items,
        Some(_) => return None,
    })
}

fn field<'a>(
    number: u32,
    mut words: impl Iterator<Item = &'a str>,
    messages: &HashMap<&str, usize>,
) -> Result<Field, &'static str> {
    let name = words.next().ok_or("a field has a name")?.into();
    let word = words.next().ok_or("a field has a type")?;
    let (mut shape, word) = match word {
        "list" => (Shape::List, words.next().ok_or("a list has a type")?),
        "map" => (Shape::Map, words.next().ok_or("a map has a type")?),
        word => (Shape::One { zero: false }, word),
    };
    let of = match word {
        "string" => Type::String,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        name => Type::Message(*messages.get(name).ok_or("no such message")?),
    };
    match (words.next(), shape) {
        (None, _) => {}
        (Some("zero"), Shape::One { .. }) => shape = Shape::One { zero: true },
        (Some("inline"), Shape::One { .. }) if matches!(of, Type::Message(_)) => shape = Shape::Inline,
        _ => return Err("`zero` is for one value and `inline` for one message"),
    }
    Ok(Field { number, name, shape, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, line: usize) {
        assert_eq!(Transcoder::new(table).unwrap_err().line, line);
    }

    #[test]
    fn says_which_line_is_wrong() {
        check("kind - v1 Pod Pod", 1);
        check("kind - v1", 1);
        check("message A\n1 x nowhere", 2);
        check("message A odd", 1);
        check("1 x string", 1);
        check("message A\n1 x list string zero", 2);
        check("message A\nx", 2);
    }

    #[test]
    fn options_are_shared_by_all_groups() {
        let table = Transcoder::new("kind - v1 DeleteOptions D\nkind - v1 Pod P\nmessage D\nmessage P").unwrap();
        assert_eq!(table.message_of("v1", "DeleteOptions"), Some(0));
        assert_eq!(table.message_of("example.com/v1", "DeleteOptions"), Some(0));
        assert_eq!(table.message_of("v1", "Pod"), Some(1));
        assert_eq!(table.message_of("example.com/v1", "Pod"), None);
    }
}
