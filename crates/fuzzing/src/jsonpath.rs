//! JSONPath: a path, and behind a NUL byte what it is looked for in.

use machinery::jsonpath::{MAX_RESULTS, Path, Removal};
use serde_json::{Value, json};

/// A path yields no more than it may, and its first value first. What is removed is counted.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (path, tree) = text.split_once('\0').unwrap_or((text, ""));
    let tree: Value = serde_json::from_str(tree)
        .unwrap_or_else(|_| json!({"a": [{"b": 1}, {"b": [2, "c"]}], "d": {"e.f": null, "g": [[], {}, -1.5]}}));
    match Path::parse(path) {
        Ok(path) => {
            let found = path.select(&tree);
            assert!(found.len() <= MAX_RESULTS, "{} values", found.len());
            assert_eq!(path.first(&tree), found.first().copied(), "the first value");
            path.fields();
        }
        Err(why) => assert!(why.at <= text.len() && !why.problem.is_empty(), "a refusal says why, and where"),
    }
    if let Ok(query) = Removal::parse(path) {
        let mut rest = tree.clone();
        let removed = query.remove(&mut rest);
        assert_eq!(removed == 0, rest == tree, "{removed} values were removed");
    }
}
