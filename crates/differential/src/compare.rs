//! What differs between two answers, field by field.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What of an answer is compared: its status code, headers that clients read, its body or events.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// Of a watch.
    pub(crate) events: Option<Vec<Value>>,
}

/// How a field differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The stock server has it, ours has not.
    Missing,
    /// Ours has it, the stock server has not.
    Extra,
    /// Both have it.
    Differs,
    /// A list has the same items in another order.
    Order,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Differs => "differs",
            Self::Order => "order",
        })
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) stock: Value,
    pub(crate) ours: Value,
}

/// Compares two normalised answers. Answers with different status codes are not compared further: the rest follows.
pub(crate) fn compare(stock: &Answer, ours: &Answer, status_only: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    if stock.status != ours.status {
        let [stock, ours] = [stock, ours].map(|answer| Value::String(summary(answer)));
        found.push(Difference { path: "status".into(), kind: Kind::Differs, stock, ours });
        return found;
    }
    if status_only {
        return found;
    }
    for name in stock.headers.keys().chain(ours.headers.keys().filter(|name| !stock.headers.contains_key(*name))) {
        let header = |answer: &Answer| answer.headers.get(name).map(|text| Value::String(text.clone()));
        field(&format!("header/{name}"), header(stock).as_ref(), header(ours).as_ref(), &mut found);
    }
    match (&stock.events, &ours.events) {
        (Some(stock), Some(ours)) => {
            for index in 0..stock.len().max(ours.len()) {
                field(&format!("events[{index}]"), stock.get(index), ours.get(index), &mut found);
            }
        }
        _ => values("body", &stock.body, &ours.body, &mut found),
    }
    found
}

/// The status code with the reason and message, where there are any.
fn summary(answer: &Answer) -> String {
    let is_status = answer.body["kind"] == "Status";
    let text = |key| answer.body.get(key).and_then(Value::as_str).filter(|_| is_status).unwrap_or_default();
    let plain = answer.body.as_str().unwrap_or_default();
    format!("{} {} {}{plain}", answer.status, text("reason"), text("message")).trim_end().to_owned()
}

fn field(path: &str, stock: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Difference>) {
    let mut push = |kind, stock: Option<&Value>, ours: Option<&Value>| {
        let [stock, ours] = [stock, ours].map(|value| value.cloned().unwrap_or(Value::Null));
        found.push(Difference { path: path.to_owned(), kind, stock, ours });
    };
    match (stock, ours) {
        (Some(stock), Some(ours)) => values(path, stock, ours, found),
        (Some(_), None) => push(Kind::Missing, stock, None),
        (None, Some(_)) => push(Kind::Extra, None, ours),
        (None, None) => {}
    }
}

fn values(path: &str, stock: &Value, ours: &Value, found: &mut Vec<Difference>) {
    match (stock, ours) {
        (Value::Object(stock), Value::Object(ours)) => {
            for key in stock.keys().chain(ours.keys().filter(|key| !stock.contains_key(*key))) {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                field(&format!("{path}/{escaped}"), stock.get(key), ours.get(key), found);
            }
        }
        (Value::Array(stock), Value::Array(ours)) => lists(path, stock, ours, found),
        _ if stock == ours => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            kind: Kind::Differs,
            stock: stock.clone(),
            ours: ours.clone(),
        }),
    }
}

/// Items with an identity are compared with the item of the same identity; others with the one at the same place.
fn lists(path: &str, stock: &[Value], ours: &[Value], found: &mut Vec<Difference>) {
    let (Some(stock_ids), Some(our_ids)) = (identities(stock), identities(ours)) else {
        for index in 0..stock.len().max(ours.len()) {
            field(&format!("{path}[{index}]"), stock.get(index), ours.get(index), found);
        }
        return;
    };
    for (id, item) in stock_ids.iter().zip(stock) {
        let other = our_ids.iter().position(|other| other == id).map(|index| &ours[index]);
        field(&format!("{path}[{id}]"), Some(item), other, found);
    }
    for (id, item) in our_ids.iter().zip(ours).filter(|(id, _)| !stock_ids.contains(id)) {
        field(&format!("{path}[{id}]"), None, Some(item), found);
    }
    let common = |ids: &[String], others: &[String]| -> Vec<Value> {
        ids.iter().filter(|id| others.contains(id)).cloned().map(Value::String).collect()
    };
    let [stock, ours] = [common(&stock_ids, &our_ids), common(&our_ids, &stock_ids)];
    if stock != ours {
        let [stock, ours] = [stock, ours].map(Value::Array);
        found.push(Difference { path: path.to_owned(), kind: Kind::Order, stock, ours });
    }
}

/// Fields that together tell an item of a list from others, the first set that all items have and that is unique.
const IDENTITIES: [&[&str]; 14] = [
    &["manager", "operation", "apiVersion", "subresource"],
    &["metadata/namespace", "metadata/name"],
    &["metadata/name"],
    &["object/metadata/namespace", "object/metadata/name"],
    &["object/metadata/name"],
    &["group", "version", "kind"],
    &["groupVersion"],
    &["field", "reason"],
    &["field", "reason", "message"],
    &["name"],
    &["type"],
    &["subresource"],
    &["resource"],
    &["version"],
];

/// The identities of the items, if they all have one and no two share it. Strings are their own.
fn identities(items: &[Value]) -> Option<Vec<String>> {
    let unique = |ids: Vec<String>| {
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        (sorted.len() == ids.len()).then_some(ids)
    };
    let of = |keys: &[&str]| -> Option<Vec<String>> {
        let id = |item: &Value| -> Option<String> {
            let mut words = Vec::new();
            for (index, key) in keys.iter().enumerate() {
                match item.pointer(&format!("/{key}")).and_then(Value::as_str) {
                    Some(word) => words.push(word.to_owned()),
                    // What only some have does not make the rest nameless, but without the first there is no name.
                    None if index == 0 => return None,
                    None => {}
                }
            }
            Some(words.join(","))
        };
        unique(items.iter().map(id).collect::<Option<_>>()?)
    };
    if items.is_empty() {
        return Some(Vec::new());
    }
    if items.iter().all(Value::is_string) {
        return unique(items.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    IDENTITIES.iter().find_map(|keys| of(keys))
}

/// Whether a path is the pattern or below it; `*` stands for any text.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    fn at(pattern: &str, path: &str) -> bool {
        match pattern.split_once('*') {
            None => path.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '['])),
            Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| {
                rest.char_indices().map(|(index, _)| index).chain([rest.len()]).any(|index| at(tail, &rest[index..]))
            }),
        }
    }
    at(pattern, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(stock: Value, ours: Value, wanted: &[&str]) {
        let answer = |body| Answer { status: 200, body, ..Answer::default() };
        let found = compare(&answer(stock), &answer(ours), false);
        let found: Vec<String> = found.iter().map(|one| format!("{} {}", one.kind, one.path)).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn finds_fields() {
        check(json!({"a": 1, "b": {"c": 2}}), json!({"a": 1, "b": {"c": 2}}), &[]);
        check(
            json!({"a": 1, "b": {"c": 2}}),
            json!({"a": 2, "b": {"d": 2}}),
            &["differs body/a", "missing body/b/c", "extra body/b/d"],
        );
        check(json!({"a/b": 1}), json!({}), &["missing body/a~1b"]);
    }

    #[test]
    fn finds_items_by_identity() {
        check(
            json!({"l": [{"name": "a", "x": 1}, {"name": "b"}]}),
            json!({"l": [{"name": "b"}, {"name": "a", "x": 2}, {"name": "c"}]}),
            &["differs body/l[a]/x", "extra body/l[c]", "order body/l"],
        );
        check(json!([1, 2]), json!([1, 3, 4]), &["differs body[1]", "extra body[2]"]);
        check(json!(["a", "b"]), json!(["b"]), &["missing body[a]"]);
        check(
            json!([{"manager": "m", "operation": "Update", "subresource": "status"}, {"manager": "m", "operation": "Update"}]),
            json!([{"manager": "m", "operation": "Update"}]),
            &["missing body[m,Update,status]"],
        );
    }

    #[test]
    fn stops_at_the_status_code() {
        let answer = |status, body| Answer { status, body, ..Answer::default() };
        let found = compare(
            &answer(422, json!({"kind": "Status", "reason": "Invalid", "message": "no"})),
            &answer(201, json!({})),
            false,
        );
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].stock.clone(), found[0].ours.clone()), (json!("422 Invalid no"), json!("201")));
    }

    #[test]
    fn compares_headers_and_events() {
        let mut stock = Answer { status: 200, events: Some(vec![json!({"type": "ADDED"})]), ..Answer::default() };
        stock.headers.insert("warning".into(), "w".into());
        let ours = Answer { status: 200, events: Some(Vec::new()), ..Answer::default() };
        let paths: Vec<String> = compare(&stock, &ours, false).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["header/warning", "events[0]"]);
        assert!(compare(&stock, &ours, true).is_empty());
    }

    #[test]
    fn patterns_cover_what_is_below() {
        for (pattern, path, wanted) in [
            ("body/a", "body/a", true),
            ("body/a", "body/a/b", true),
            ("body/a", "body/a[0]", true),
            ("body/a", "body/ab", false),
            ("body/*/uid", "body/metadata/uid", true),
            ("body/*/uid", "body/items[a]/metadata/uid/x", true),
            ("body/*/uid", "body/name", false),
            ("*", "anything/at all", true),
        ] {
            assert_eq!(covers(pattern, path), wanted, "{pattern} {path}");
        }
    }
}
