//! How much an expression may be, take and say. Figures that clients see are those of the stock server.

/// Code points of one expression, as the stock server's parser has it.
pub const EXPRESSION_CHARS_MAX: usize = 100_000;

/// How deep an expression may nest. Parsing, checking and evaluation recurse, so this bounds the stack that a user can
/// make them take: a level costs under 4 KiB in builds without optimisation.
pub const DEPTH_MAX: usize = 160;

/// Nodes of one parsed expression, with macros expanded. Only generated expressions come near; the estimate of their
/// cost walks them.
pub const NODES_MAX: usize = 50_000;

/// Cost of one evaluation.
pub const CALL_COST_MAX: u64 = 1_000_000;

/// Cost of all rules of one object, or of one binding of a policy.
pub const OBJECT_COST_MAX: u64 = 10_000_000;

/// Cost of all match conditions of one webhook or binding.
pub const MATCH_COST_MAX: u64 = 2_500_000;

/// Estimated worst cost of one rule of a CRD.
pub const RULE_ESTIMATE_MAX: u64 = 10_000_000;

/// Estimated worst cost of all rules of a version of a CRD.
pub const CRD_ESTIMATE_MAX: u64 = 100_000_000;

/// Bytes of a request that estimates of sizes assume.
pub const REQUEST_BYTES: i64 = 3 * 1024 * 1024;

/// Bytes of an evaluated message.
pub const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// Errors that are reported of one expression.
pub const ERRORS_MAX: usize = 100;

/// Bytes that a value made by an evaluation may take: strings can be doubled by a few cheap calls, and the cost alone
/// would let one grow to megabytes before it stops.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
