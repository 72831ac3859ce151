//! What must not be guessed or repeat: uids and generated names.

use std::cell::RefCell;

/// Bytes that a thread asks of the machine's random source at a time: a call for each uid would be one for each request.
const POOL_BYTES: usize = 1024;

/// What is left of the bytes that were asked for last.
struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

/// Bytes from the machine's random source, each handed out once. None of them is a key: keys are asked for where they are
/// made, and not kept here before.
fn bytes<const N: usize>() -> [u8; N] {
    POOL.with_borrow_mut(|pool| {
        if pool.used + N > POOL_BYTES {
            getrandom::fill(&mut pool.bytes).expect("the machine's random source works, or nothing here is safe");
            pool.used = 0;
        }
        let taken = &mut pool.bytes[pool.used..pool.used + N];
        pool.used += N;
        let mut bytes = [0; N];
        bytes.swap_with_slice(taken);
        bytes
    })
}

/// A UUID of version 4.
pub(crate) fn uid() -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = bytes::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
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
