//! What is unknown or written twice in a body: told in the order of the body, or with the lines of it.

use crate::decode::{At, Key, Step, from_yaml, path};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Lines that are told of one YAML body; a body full of them is no use to the reader.
const LINES_MAX: usize = 50;

/// What the stock server's reader of YAML begins its problems with.
const PROBLEMS: &str = "yaml: unmarshal errors:\n";

/// An unknown field, as it is told of.
pub(crate) fn unknown(path: &str) -> String {
    format!("unknown field {path:?}")
}

/// A field that is written twice, as it is told of.
pub(crate) fn duplicate(path: &str) -> String {
    format!("duplicate field {path:?}")
}

/// Sorts such texts by where a JSON body has what they tell of: an unknown field where it is first, a field that is
/// written twice where it is again. A body that is no JSON leaves them as they are.
pub(crate) fn by_place(bytes: &[u8], problems: &mut [String]) {
    let mut wanted: HashMap<&str, usize> = problems.iter().map(|text| (text.as_str(), usize::MAX)).collect();
    let mut found = 0;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    if (Places { at: None, found: &mut found, wanted: &mut wanted }).deserialize(&mut reader).is_ok() {
        let places: HashMap<String, usize> = wanted.into_iter().map(|(text, place)| (text.to_owned(), place)).collect();
        problems.sort_by_key(|text| places.get(text).copied().unwrap_or(usize::MAX));
    }
}

/// Notes where the wanted problems are met.
struct Places<'a, 'w> {
    at: Option<&'a At<'a>>,
    found: &'a mut usize,
    wanted: &'a mut HashMap<&'w str, usize>,
}

impl Places<'_, '_> {
    fn note(&mut self, problem: &str) {
        if let Some(place) = self.wanted.get_mut(problem).filter(|place| **place == usize::MAX) {
            *place = *self.found;
            *self.found += 1;
        }
    }
}

impl<'de> DeserializeSeed<'de> for Places<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Places<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let at = At { above: self.at, step: Step::Index(index) };
            if items.next_element_seed(Places { at: Some(&at), found: self.found, wanted: self.wanted })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let mut met = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            let here = path(self.at, &key);
            if !met.insert(key.clone()) {
                self.note(&duplicate(&here));
            }
            self.note(&unknown(&here));
            let at = At { above: self.at, step: Step::Key(&key) };
            members.next_value_seed(Places { at: Some(&at), found: self.found, wanted: self.wanted })?;
        }
        Ok(())
    }
}

/// What a stock server's reader of YAML says of a body in which keys are written twice.
pub(crate) fn repeated_keys(bytes: &[u8]) -> Option<String> {
    let Repeated(lines) = from_yaml(bytes).ok()?;
    (!lines.is_empty()).then(|| format!("{PROBLEMS}  {}", lines.join("\n  ")))
}

/// A problem as warnings: one for each line of a YAML body.
pub(crate) fn warnings(problem: &str) -> Vec<String> {
    match problem.strip_prefix(PROBLEMS) {
        Some(lines) => lines.lines().map(|line| line.trim().to_owned()).collect(),
        None => vec![problem.to_owned()],
    }
}

/// The keys of a YAML document that are written twice, with the lines of their values.
struct Repeated(Vec<String>);

impl<'de> de::Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Keys).map(Self)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_str<E>(self, _: &str) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_none<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
        let mut lines = Vec::new();
        while let Some(Repeated(inner)) = items.next_element()? {
            lines.extend(inner);
        }
        lines.truncate(LINES_MAX);
        Ok(lines)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<String>, A::Error> {
        let mut lines = Vec::new();
        let mut met = HashSet::new();
        while let Some(Key { text, quoted }) = members.next_key()? {
            let value: Spanned<Repeated> = members.next_value()?;
            lines.extend(value.value.0);
            if met.contains(&text) {
                let key = if quoted { format!("{text:?}") } else { text.clone() };
                lines.push(format!("line {}: key {key} already set in map", value.referenced.line()));
            }
            met.insert(text);
        }
        lines.truncate(LINES_MAX);
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, sorted: &[&str]) {
        let mut problems: Vec<String> = sorted.iter().map(|&text| text.to_owned()).collect();
        problems.sort();
        by_place(body.as_bytes(), &mut problems);
        assert_eq!(problems, sorted, "{body}");
    }

    #[test]
    fn in_the_order_of_the_body() {
        check(
            r#"{"spec":{"a":[{},{"b":1}]},"metadata":{"foo":1},"bar":2}"#,
            &[r#"unknown field "spec.a[1].b""#, r#"unknown field "metadata.foo""#, r#"unknown field "bar""#],
        );
        check(
            r#"{"spec":{"odd":1,"replicas":2,"replicas":3}}"#,
            &[r#"unknown field "spec.odd""#, r#"duplicate field "spec.replicas""#],
        );
        check(
            r#"{"spec":{"replicas":2,"odd":1,"replicas":3,"z":1}}"#,
            &[r#"unknown field "spec.odd""#, r#"duplicate field "spec.replicas""#, r#"unknown field "spec.z""#],
        );
    }

    #[test]
    fn lines_of_yaml() {
        let text = repeated_keys(b"a: 1\nb:\n  c: x\n  c:\n    d: 1\n    d: 2\na: 2\n").unwrap();
        let lines = ["line 6: key \"d\" already set in map", "line 5: key \"c\" already set in map"];
        let lines = [lines[0], lines[1], "line 7: key \"a\" already set in map"];
        assert_eq!(text, format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")));
        assert_eq!(warnings(&text), lines);
        assert_eq!(warnings("unknown field \"x\""), ["unknown field \"x\""]);
        assert_eq!(repeated_keys(b"a: 1\nb: {a: 1}\n"), None);
    }
}
