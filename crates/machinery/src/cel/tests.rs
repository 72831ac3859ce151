//! Expressions and what becomes of them.

use super::*;
use serde_json::{Value as Json, json};

fn run(source: &str, data: &Json) -> Result<Json, String> {
    let declared = Declarations::default().with("self", Type::Dyn);
    let program = Program::compile(source, &declared)?;
    let variables = [("self", Value::read(data, None).unwrap())];
    let result = program.evaluate(&variables.as_slice(), &mut Meter::of_call()).map_err(|error| error.to_string())?;
    result.to_json().ok_or_else(|| format!("{result:?}"))
}

#[track_caller]
fn check(source: &str, expected: Json) {
    assert_eq!(
        run(source, &json!({"a": 1, "s": "text", "l": [1, 2, 3], "m": {"x": "y"}, "f": 1.5})),
        Ok(expected),
        "{source}"
    );
}

#[track_caller]
fn fails(source: &str, expected: &str) {
    let data = json!({"a": 1, "s": "text", "l": [1, 2, 3]});
    assert_eq!(run(source, &data).unwrap_err(), expected, "{source}");
}

#[test]
fn operators() {
    check("1 + 2 * 3", json!(7));
    check("(1 + 2) * 3 == 9 && !false", json!(true));
    check("self.a + 1", json!(2));
    check("self.f * 2.0 > self.a", json!(true));
    check("-5 / 2", json!(-2));
    check("5 % 3 in [2]", json!(true));
    check("'a' < 'b' ? 'yes' : 'no'", json!("yes"));
    check("'x' in self.m && self.m['x'] == 'y'", json!(true));
    check("dyn(1) == 1.0 && dyn(1u) == 1", json!(true));
    check("[1] + [2, 3]", json!([1, 2, 3]));
    check("has(self.m.x) && !has(self.m.y) && !has(self.none)", json!(true));
    check("self.nothing.at.all == 1 || true", json!(true));
    check("type(self.a) == int && type('') == string", json!(true));
    check("{'a': 1, ?'b': optional.none(), ?'c': self.?s}", json!({"a": 1, "c": "text"}));
    check("self.?m.?x.orValue('') + self.?q.?r.orValue('z')", json!("yz"));
    check("b'abc' == bytes('abc') && size(b'\\xff') == 1", json!(true));
    check(r#"r'\d' + "\n\u00e9" + '''q'"'''"#, json!("\\d\né".to_owned() + "q'\""));
    check("-9223372036854775808 < 0", json!(true));
}

#[test]
fn macros() {
    check("self.l.all(x, x > 0) && self.l.exists(x, x == 2) && self.l.exists_one(x, x > 2)", json!(true));
    check("self.l.map(x, x * 2).filter(x, x > 2)", json!([4, 6]));
    check("self.l.map(x, x > 1, x * 10)", json!([20, 30]));
    check("self.m.all(k, k == 'x')", json!(true));
    check("[1, 'a'.size(), 0].exists(x, 1 / x == 1)", json!(true));
    check("self.l.all(i, v, v == i + 1)", json!(true));
    check("self.l.transformList(i, v, i * v)", json!([0, 2, 6]));
    check("self.m.transformMap(k, v, k + v)", json!({"x": "xy"}));
    check("optional.of(3).optMap(x, x + 1).value()", json!(4));
    check("['bb', 'a'].sortBy(x, x.size())", json!(["a", "bb"]));
}

#[test]
fn functions() {
    check("'hello world'.split(' ').map(x, x.upperAscii()).join('-')", json!("HELLO-WORLD"));
    check("'a%sb%d'.format([dyn('x'), dyn(3)])", json!("axb3"));
    check("'tacocat'.substring(1, 4) + 'x'.replace('x', 'y') + ' z '.trim()", json!("acoyz"));
    check("'abcabc'.indexOf('c') + 'abcabc'.lastIndexOf('a')", json!(5));
    check("'abc 123'.find('[0-9]+') + string('a1b2'.findAll('[0-9]').size())", json!("1232"));
    check(
        "'foo'.matches('^f.o$') && 'foo'.startsWith('f') && 'foo'.endsWith('oo') && 'foo'.contains('o')",
        json!(true),
    );
    check("[3, 1, 2].sort() == [1, 2, 3] && [1, 2].sum() == 3 && [1, 2].max() == 2 && ![2, 1].isSorted()", json!(true));
    check("sets.contains([1, 2], [2]) && sets.intersects([1], [1, 3]) && sets.equivalent([1, 1], [1])", json!(true));
    check(
        "quantity('1Gi').isGreaterThan(quantity('1000Mi')) && quantity('500m').add(quantity('500m')).asInteger() == 1",
        json!(true),
    );
    check("isQuantity('1x') || isIP('::1') && ip('10.0.0.1').family() == 4", json!(true));
    check("cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsCIDR('11.0.0.0/16')", json!(true));
    check("url('https://a.b:80/c?d=e').getHost() + url('https://a.b:80/c?d=e').getPort()", json!("a.b:8080"));
    check("semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.2.3').minor() == 2", json!(true));
    check("format.dns1123Label().validate('a-b').hasValue()", json!(false));
    check("format.named('uuid').value().validate('x').value()[0]", json!("does not match the UUID format"));
    check("duration('1h') + duration('30m') == duration('90m')", json!(true));
    check("timestamp('2024-02-29T12:00:00Z').getMonth() + timestamp('2024-02-29T12:00:00Z').getDate()", json!(30));
    check("int('12') + int(2.9) + size('é')", json!(15));
    check("string(1.5) + string(1e30) + string(duration('90s'))", json!("1.51e+3090s"));
    check("[[1], [2, 3]].flatten().reverse().distinct().slice(0, 2)", json!([3, 2]));
}

#[test]
fn failures() {
    fails("1 / 0 == 1", "division by zero");
    fails("self.b", "no such key: b");
    fails("self.l[9]", "index out of bounds: 9");
    fails("self.s + 1", "no such overload");
    fails("9223372036854775807 + 1", "integer overflow");
    fails(
        "self.l.map(x, self.l.map(y, lists.range(200000))).size()",
        "operation cancelled: actual cost limit exceeded",
    );
}

#[test]
fn problems_are_printed_with_their_place() {
    fails(
        "self.a +",
        "ERROR: <input>:1:9: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | self.a +\n | ........^",
    );
    fails("a.b", "ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a.b\n | ^");
    fails(
        "1 + 'a'",
        "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^",
    );
    fails("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^");
    fails(
        "'a'.nope()",
        "ERROR: <input>:1:9: undeclared reference to 'nope' (in container '')\n | 'a'.nope()\n | ........^",
    );
    fails(
        "'a'.size(1)",
        "ERROR: <input>:1:9: found no matching overload for 'size' applied to 'string.(int)'\n | 'a'.size(1)\n | ........^",
    );
    fails("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument\n | 'a'.matches('(')\n | ............^");
}

#[test]
fn hostile_expressions_are_refused() {
    for source in [
        "(".repeat(100_000),
        "1".to_owned() + &"+1".repeat(50_000),
        "[".repeat(5_000),
        "!".repeat(90_001),
        "a".repeat(200_000),
        "-".repeat(2) + &"{1:".repeat(3_000),
        "self".to_owned() + &".a".repeat(20_000),
        "1?".repeat(4_000),
    ] {
        assert!(run(&source, &json!({})).is_err());
    }
    let long = vec!["self.a == 1"; 2_000].join(" && ");
    check(&long, json!(true));
}
