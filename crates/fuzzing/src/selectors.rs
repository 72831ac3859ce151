//! Selectors of labels and of fields, as queries have them.

use machinery::selector::{FieldSelector, Selector};

/// A selector of labels that is written reads as the same, and selects the same.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(selector) = Selector::parse(text) {
        let written = selector.to_string();
        let again = Selector::parse(&written).expect("what is written can be read");
        assert_eq!(again.to_string(), written, "of {text:?}");
        // A label for each key: one that its requirement may want, one of no use, and none.
        let wanted = |key: &str| selector.requirements().iter().any(|held| held.key == key).then_some("1");
        assert_eq!(selector.matches_by(wanted), again.matches_by(wanted), "{text:?} with labels");
        assert_eq!(selector.matches_by(|_| Some("")), again.matches_by(|_| Some("")), "{text:?} with empty labels");
        assert_eq!(selector.matches_by(|_| None), again.matches_by(|_| None), "{text:?} without labels");
        assert_eq!(selector.is_everything(), again.is_everything(), "of {text:?}");
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let exact = selector.exact("metadata.name").map(str::to_owned);
        if selector.matches(|field| if field == "metadata.name" { "a" } else { "" }) {
            assert!(exact.is_none_or(|name| name == "a"), "{text:?} selects what is not of its name");
        }
    }
}
