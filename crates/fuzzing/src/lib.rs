//! What is done with one input of a fuzz target: it is read as the server reads it, and what came of it has to keep what
//! the parser promises. `fuzz/` calls these functions with inputs that libFuzzer makes up (docs/fuzzing.md); a test
//! calls them with the inputs that are kept in `fuzz/corpus` and `fuzz/crashes`.
//!
//! A function returns when the input was refused or all that is promised was kept. It panics otherwise.

mod bodies;
mod cel;
mod jsonpath;
mod patches;
mod protobuf;
mod quantities;
mod selectors;

/// Longest input in bytes that a target is run with: `-max_len` of libFuzzer. Long enough to nest as deep as any limit.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

/// What is done with an input.
pub type Target = fn(&[u8]);

/// All targets by name, which is also the name of their folders of inputs.
pub const TARGETS: [(&str, Target); 8] = [
    ("cel", cel::run),
    ("json", bodies::json),
    ("jsonpath", jsonpath::run),
    ("patches", patches::run),
    ("protobuf", protobuf::run),
    ("quantities", quantities::run),
    ("selectors", selectors::run),
    ("yaml", bodies::yaml),
];

/// Runs the target of a name.
///
/// # Panics
/// If there is no such target, or the input shows a defect.
pub fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(held, _)| *held == name);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no fuzz target {name:?}"));
    target(input);
}

/// The parts of an input that are separated by NUL bytes, if it is text.
fn parts<const N: usize>(input: &[u8]) -> Option<[&str; N]> {
    let text = std::str::from_utf8(input).ok()?;
    text.splitn(N, '\0').collect::<Vec<_>>().try_into().ok()
}
