//! The escapes of `html`, `js` and `urlquery`.

use super::quote::{decode, printable};

pub(super) fn html(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => escaped.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => escaped.extend_from_slice(b"&#34;"),
            b'\'' => escaped.extend_from_slice(b"&#39;"),
            b'&' => escaped.extend_from_slice(b"&amp;"),
            b'<' => escaped.extend_from_slice(b"&lt;"),
            b'>' => escaped.extend_from_slice(b"&gt;"),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

pub(super) fn javascript(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(byte) = rest.first() {
        let (c, length) = decode(rest);
        match byte {
            b'\\' | b'\'' | b'"' => escaped.extend([b'\\', *byte]),
            b'<' | b'>' | b'&' | b'=' | 0..=0x1f => escaped.extend(format!("\\u00{byte:02X}").bytes()),
            0..=0x7f => escaped.push(*byte),
            _ => match c.unwrap_or(char::REPLACEMENT_CHARACTER) {
                c if printable(c) => escaped.extend_from_slice(&rest[..length]),
                c => escaped.extend(format!("\\u{:04X}", u32::from(c)).bytes()),
            },
        }
        rest = &rest[length..];
    }
    escaped
}

pub(super) fn query(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => escaped.push(b'+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) => escaped.push(*byte),
            byte => escaped.extend(format!("%{byte:02X}").bytes()),
        }
    }
    escaped
}
