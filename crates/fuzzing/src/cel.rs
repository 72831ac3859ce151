//! CEL: an expression, and behind a NUL byte the object that it is about.

use machinery::cel::{Declarations, Error, Map, Meter, Program, Type, Value};
use serde_json::{Map as Json, Value as Tree};

/// Cost that an evaluation may have. Long ones find nothing that short ones do not, and this is a tenth of what the
/// server allows.
const COST_MAX: u64 = 100_000;

/// An expression is compiled, its cost estimated, and it is evaluated within its budget, twice at the same cost.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (source, json) = text.split_once('\0').unwrap_or((text, "{}"));
    let declared = Declarations::default().with("self", Type::Dyn).with("words", Type::list(Type::String));
    let program = match Program::compile(source, &declared) {
        Ok(program) => program,
        Err(why) => return assert!(!why.is_empty(), "a refusal says why"),
    };
    program.estimate(None);
    let object = match serde_json::from_str(json) {
        Ok(Tree::Object(object)) => object,
        _ => Json::new(),
    };
    let first = evaluate(&program, &object);
    assert_eq!(first, evaluate(&program, &object), "{source} for the second time");
}

/// What it comes to, and at what cost.
fn evaluate(program: &Program, object: &Json<String, Tree>) -> (Result<Option<Tree>, Error>, u64) {
    let scope = [("self", Value::Map(Map::Json(object, None)))];
    let mut meter = Meter::new(COST_MAX);
    let result = program.evaluate(&&scope[..], &mut meter).map(|value| value.to_json());
    match &result {
        Err(Error::TooCostly) => assert!(meter.used() > COST_MAX, "stopped at a cost of {}", meter.used()),
        _ => assert!(meter.used() <= COST_MAX, "not stopped at a cost of {}", meter.used()),
    }
    (result, meter.used())
}
