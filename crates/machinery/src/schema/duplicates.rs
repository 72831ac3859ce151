//! Keys that a JSON text says twice.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt::{self, Write as _};

/// Paths of the keys that appear more than once in the same object, in the order in which they are met, each path once:
/// `spec.foo`, `spec.list[0].foo`. A parser keeps only the last of them, so this reads the text itself. Text that is
/// not JSON has no duplicates: parsing reports it.
pub fn duplicate_keys(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut path = String::new();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    match (Finder { path: &mut path, found: &mut found }).deserialize(&mut deserializer) {
        Ok(()) => found,
        Err(_) => Vec::new(),
    }
}

struct Finder<'a> {
    path: &'a mut String,
    found: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Finder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<(), E> {
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let length = self.path.len();
        for index in 0.. {
            let start = self.path.len();
            write!(self.path, "[{index}]").expect("writing to a String does not fail");
            let more = elements.next_element_seed(Finder { path: self.path, found: self.found })?.is_some();
            self.path.truncate(start);
            if !more {
                break;
            }
        }
        self.path.truncate(length);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen: HashSet<Key> = HashSet::new();
        let length = self.path.len();
        while let Some(key) = entries.next_key::<Key>()? {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key.0);
            if seen.contains(&key) {
                if !self.found.contains(self.path) {
                    self.found.push(self.path.clone());
                }
                entries.next_value::<IgnoredAny>()?;
            } else {
                seen.insert(key);
                entries.next_value_seed(Finder { path: self.path, found: self.found })?;
            }
            self.path.truncate(length);
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Key(Box<str>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(duplicate_keys(text.as_bytes()), expected);
    }

    #[test]
    fn finds_keys_said_twice() {
        check(r#"{"a": 1, "b": {"a": 1}}"#, &[]);
        check(r#"{"spec": {"foo": 1, "foo": 2, "foo": 3}}"#, &["spec.foo"]);
        check(r#"{"a": [{"x": null, "x": "s", "y": true, "y": -1.5}], "a": {}}"#, &["a[0].x", "a[0].y", "a"]);
        check("{\"a\": 1, \"\\u0061\": 2}", &["a"]);
        check("not json", &[]);
    }
}
