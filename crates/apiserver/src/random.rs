//! What must not be guessed or repeat: uids and generated names.

/// Bytes from the machine's random source.
fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the machine's random source works, or nothing here is safe");
    bytes
}

/// A UUID of version 4.
pub(crate) fn uid() -> String {
    let mut bytes = bytes::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |range: std::ops::Range<usize>| -> String { bytes[range].iter().map(|b| format!("{b:02x}")).collect() };
    format!("{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16))
}

/// The longest base of a generated name, so that the whole is a label.
const BASE_CHARS_MAX: usize = 58;
const SUFFIX_CHARS: usize = 5;
/// No vowels and no look-alikes, as the stock server has it.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A name from a base: `web-` becomes `web-x4k2z`.
pub(crate) fn name(base: &str) -> String {
    let base: String = base.chars().take(BASE_CHARS_MAX).collect();
    let suffix = bytes::<SUFFIX_CHARS>().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    base + &suffix.iter().collect::<String>()
}

/// A number below `bound`.
pub(crate) fn below(bound: u64) -> u64 {
    u64::from_le_bytes(bytes()) % bound.max(1)
}
