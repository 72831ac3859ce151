//! What containers, and Pods as a whole, ask for: sums of requests and limits as a scheduler counts them.

use crate::field;
use crate::quantity::Quantity;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Amounts by name of resource (`cpu`, `requests.storage`).
pub type Amounts = BTreeMap<String, Quantity>;

type Fields = Map<String, Value>;

/// Reads a map of quantities; what is none is left out.
pub fn amounts(map: Option<&Value>) -> Amounts {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value)?))).collect()
}

/// Adds amounts to others.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let held = to.entry(name.clone()).or_insert(Quantity::ZERO);
        *held = *held + *amount;
    }
}

/// Raises amounts to at least others.
fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let held = to.entry(name.clone()).or_insert(*amount);
        if *amount > *held {
            *held = *amount;
        }
    }
}

/// What a Pod asks for: `which` is `requests` or `limits`. Containers run together; init containers run before them, one
/// after the other, beside those that go on.
pub fn of_pod(pod: &Fields, which: &str) -> Amounts {
    let of = |container: &Fields| amounts(container.get("resources").and_then(|resources| resources.get(which)));
    let mut total = Amounts::new();
    for container in field::objects_at(pod, "spec.containers") {
        add(&mut total, &of(container));
    }
    let (mut going_on, mut most) = (Amounts::new(), Amounts::new());
    for container in field::objects_at(pod, "spec.initContainers") {
        let mut asked = of(container);
        if field::text_at(container, "restartPolicy") == "Always" {
            add(&mut total, &asked);
            add(&mut going_on, &asked);
            asked = going_on.clone();
        } else {
            add(&mut asked, &going_on);
        }
        raise(&mut most, &asked);
    }
    raise(&mut total, &most);
    // What is said of the Pod as a whole counts in place of what its containers say.
    let whole = amounts(field::at(pod, "spec.resources").and_then(|resources| resources.get(which)));
    total.extend(whole.into_iter().filter(|(name, _)| is_of_whole_pods(name)));
    let overhead = amounts(field::at(pod, "spec.overhead"));
    if which == "requests" {
        add(&mut total, &overhead);
    } else {
        let limited = |(name, _): &(&String, &Quantity)| total.get(*name).is_some_and(|held| *held != Quantity::ZERO);
        let counted = overhead.iter().filter(limited).map(|(name, amount)| (name.clone(), *amount)).collect();
        add(&mut total, &counted);
    }
    total
}

/// Whether a resource can be asked for by a Pod as a whole.
pub fn is_of_whole_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}
