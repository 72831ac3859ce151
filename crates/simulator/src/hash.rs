//! Names and numbers that follow from what they are for: the same plan twice asks for the same objects.

use serde_json::Value;

/// Letters and digits of generated names, as Kubernetes chooses them: none that make words, none that look alike.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a, 64 bits.
pub(crate) fn fnv(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain(std::iter::once(0)));
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

fn letters(mut number: u64, count: usize) -> String {
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        text.push(char::from(LETTERS[usize::try_from(number % 27).expect("less than 27")]));
        number /= 27;
    }
    text
}

/// The hash of a pod template, as it appears in names and in the label `pod-template-hash`.
pub(crate) fn template_hash(template: &Value) -> String {
    // serde_json keeps keys sorted, so equal templates have equal texts.
    letters(fnv(&[&template.to_string()]), 9)
}

/// The five letters at the end of a generated name.
pub(crate) fn suffix(uid: &str, index: usize) -> String {
    letters(fnv(&[uid, &index.to_string()]), 5)
}

/// As many hexadecimal digits as a digest has.
pub(crate) fn digest(parts: &[&str]) -> String {
    let seed = fnv(parts).to_string();
    (0..4).map(|index| format!("{:016x}", fnv(&[&seed, &index.to_string()]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_follow_from_content() {
        assert_eq!(template_hash(&json!({"a": 1, "b": 2})), template_hash(&json!({"b": 2, "a": 1})));
        assert_ne!(template_hash(&json!({"a": 1})), template_hash(&json!({"a": 2})));
        assert_eq!(template_hash(&json!({})).len(), 9);
        assert_ne!(suffix("u", 0), suffix("u", 1));
        assert_eq!(digest(&["x"]).len(), 64);
        assert_ne!(fnv(&["a", "b"]), fnv(&["ab"]));
    }
}
