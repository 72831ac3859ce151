//! PEM (RFC 7468): base64 of DER between two lines.

use crate::Error;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Writes one PEM block.
pub fn der_to_pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Reads the first PEM block with this label.
///
/// # Errors
/// If there is none, or it is not base64.
pub fn pem_to_der(label: &'static str, pem: &str) -> Result<Vec<u8>, Error> {
    let missing = || Error::Pem { expected: label };
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----")).ok_or_else(missing)?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or_else(missing)?;
    let text: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(text).map_err(|_| missing())
}
