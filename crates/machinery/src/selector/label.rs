//! Label selectors: `env in (dev,test),tier!=gold,!legacy`.

use super::ParseError;
use crate::name;
use api::{Cause, LabelSelector, Labels, Operator};
use std::fmt;

/// What a requirement asks of the value of its key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Test {
    /// `key=value`
    Equals(String),
    /// `key!=value`; holds too if the key is absent.
    Differs(String),
    /// `key in (a,b)`; sorted, without duplicates.
    In(Vec<String>),
    /// `key notin (a,b)`; holds too if the key is absent.
    NotIn(Vec<String>),
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>5`; the label must be an integer.
    GreaterThan(i64),
    /// `key<5`; the label must be an integer.
    LessThan(i64),
}

/// One requirement of a selector.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Requirement {
    /// The label key.
    pub key: String,
    /// What is asked of its value.
    pub test: Test,
}

/// A label selector ready to match; all requirements must hold. The default selects everything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Selector {
    /// Sorted by key.
    requirements: Vec<Requirement>,
}

impl Selector {
    /// Reads the `labelSelector` of a request.
    ///
    /// # Errors
    /// If the text is not a selector, in the words of the stock server.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Parser { tokens: tokens(text), at: 0 }.selector()
    }

    /// Compiles a `metav1.LabelSelector` that stands at `field` (`spec.selector`) of an object.
    ///
    /// # Errors
    /// Every problem, each with its field, as [`check_selector`] finds them.
    pub fn compile(selector: &LabelSelector, field: &str) -> Result<Self, Vec<Cause>> {
        let problems = check_selector(selector, field);
        if !problems.is_empty() {
            return Err(problems);
        }
        let labels = selector.match_labels.iter().map(|(key, value)| (key, Test::Equals(value.clone())));
        let expressions = selector.match_expressions.iter().filter_map(|required| {
            let test = match Operator::parse(&required.operator)? {
                Operator::In => Test::In(sorted(required.values.clone())),
                Operator::NotIn => Test::NotIn(sorted(required.values.clone())),
                Operator::Exists => Test::Exists,
                Operator::DoesNotExist => Test::DoesNotExist,
            };
            Some((&required.key, test))
        });
        Ok(Self::of(labels.chain(expressions).map(|(key, test)| Requirement { key: key.clone(), test }).collect()))
    }

    /// The selector of these requirements.
    pub fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements }
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether nothing is required.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels satisfy all requirements.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// As [`Selector::matches`], for labels held in another form.
    pub fn matches_by<'a>(&self, read: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|required| required.test.holds(read(&required.key)))
    }
}

impl Test {
    /// Whether a label's value (`None` if absent) passes.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let is_in = |values: &[String]| value.is_some_and(|value| values.iter().any(|held| held == value));
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Equals(wanted) => value == Some(wanted),
            Self::Differs(unwanted) => value != Some(unwanted),
            Self::In(values) => is_in(values),
            Self::NotIn(values) => !is_in(values),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Self::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            Test::Equals(value) => write!(f, "{key}={value}"),
            Test::Differs(value) => write!(f, "{key}!={value}"),
            Test::In(values) => write!(f, "{key} in ({})", values.join(",")),
            Test::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            Test::Exists => f.write_str(key),
            Test::DoesNotExist => write!(f, "!{key}"),
            Test::GreaterThan(bound) => write!(f, "{key}>{bound}"),
            Test::LessThan(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, required) in self.requirements.iter().enumerate() {
            write!(f, "{}{required}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a `metav1.LabelSelector` that stands at `field`.
pub fn check_selector(selector: &LabelSelector, field: &str) -> Vec<Cause> {
    let cause = |reason: &str, field: String, message: String| Cause { reason: reason.into(), message, field };
    let invalid = |field: String, value: &str, problem: &str| {
        cause("FieldValueInvalid", field, format!("Invalid value: {value:?}: {problem}"))
    };
    let mut causes = Vec::new();
    for (key, value) in &selector.match_labels {
        let at = || format!("{field}.matchLabels");
        causes.extend(name::qualified_name(key).iter().map(|problem| invalid(at(), key, problem)));
        causes.extend(name::label_value(value).iter().map(|problem| invalid(at(), value, problem)));
    }
    for (index, required) in selector.match_expressions.iter().enumerate() {
        let at = |child: &str| format!("{field}.matchExpressions[{index}].{child}");
        match Operator::parse(&required.operator) {
            Some(Operator::In | Operator::NotIn) if required.values.is_empty() => causes.push(cause(
                "FieldValueRequired",
                at("values"),
                "Required value: must be specified when `operator` is 'In' or 'NotIn'".into(),
            )),
            Some(Operator::Exists | Operator::DoesNotExist) if !required.values.is_empty() => causes.push(cause(
                "FieldValueForbidden",
                at("values"),
                "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'".into(),
            )),
            Some(_) => {}
            None => causes.push(invalid(at("operator"), &required.operator, "not a valid selector operator")),
        }
        let key = &required.key;
        causes.extend(name::qualified_name(key).iter().map(|problem| invalid(at("key"), key, problem)));
        for (index, value) in required.values.iter().enumerate() {
            let at = || at(&format!("values[{index}]"));
            causes.extend(name::label_value(value).iter().map(|problem| invalid(at(), value, problem)));
        }
    }
    causes
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort();
    values.dedup();
    values
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'a> {
    /// A key, a value, `in` or `notin`.
    Word(&'a str),
    /// `=`, `==`, `!=`, `>`, `<`, `!`, `(`, `)`, `,`
    Symbol(&'a str),
    /// Special characters that are no symbol.
    Wrong,
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::Wrong | Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let special = |c: char| "=!(),><".contains(c);
    let space = |c: char| " \t\r\n".contains(c);
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(space);
    while let Some(first) = rest.chars().next() {
        let length = if special(first) {
            let longest = ["!=", "=="].iter().any(|symbol| rest.starts_with(symbol));
            let length = if longest { 2 } else { 1 };
            tokens.push(Token::Symbol(&rest[..length]));
            length
        } else if first == '\0' {
            tokens.push(Token::Wrong);
            1
        } else {
            let length = rest.find(|c| special(c) || space(c) || c == '\0').unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..length]));
            length
        };
        rest = rest[length..].trim_start_matches(space);
    }
    tokens.push(Token::End);
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn selector(mut self) -> Result<Selector, ParseError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Symbol("!") => {
                    let required = self
                        .requirement()
                        .map_err(|ParseError(problem)| ParseError(format!("unable to parse requirement: {problem}")))?;
                    requirements.push(required);
                    match self.next() {
                        Token::End => return Ok(Selector::of(requirements)),
                        Token::Symbol(",") => match self.peek() {
                            Token::Word(_) | Token::Symbol("!") => {}
                            other => return Err(unexpected(other, "identifier after ','")),
                        },
                        other => return Err(unexpected(other, "',' or 'end of string'")),
                    }
                }
                Token::End => return Ok(Selector::of(requirements)),
                other => return Err(unexpected(other, "!, identifier, or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        let absent = self.peek() == Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(unexpected(other, "identifier")),
        };
        // The stock server prints its empty field path as `<nil>`; clients match on what follows.
        check_text(name::qualified_name(key), "<nil>", key)?;
        let required = |test| Ok(Requirement { key: key.into(), test });
        if absent {
            return required(Test::DoesNotExist);
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return required(Test::Exists);
        }
        let operator = self.next();
        required(match operator {
            Token::Word("in") => Test::In(self.values(key)?),
            Token::Word("notin") => Test::NotIn(self.values(key)?),
            Token::Symbol("=" | "==") => Test::Equals(self.value(key)?),
            Token::Symbol("!=") => Test::Differs(self.value(key)?),
            Token::Symbol(">") => Test::GreaterThan(self.bound(key)?),
            Token::Symbol("<") => Test::LessThan(self.bound(key)?),
            other => return Err(unexpected(other, "in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn value(&mut self, key: &str) -> Result<String, ParseError> {
        let value = match self.peek() {
            Token::End | Token::Symbol(",") => "",
            Token::Word(value) => {
                self.next();
                value
            }
            other => return Err(unexpected(other, "identifier")),
        };
        check_text(name::label_value(value), &format!("values[0][{key}]"), value)?;
        Ok(value.into())
    }

    fn bound(&mut self, key: &str) -> Result<i64, ParseError> {
        let value = self.value(key)?;
        value.parse().map_err(|_| {
            let rule = "for 'Gt', 'Lt' operators, the value must be an integer";
            ParseError(format!("values[0]: Invalid value: {value:?}: {rule}"))
        })
    }

    /// `(a,b)`; an empty place between commas or parentheses is the empty value.
    fn values(&mut self, key: &str) -> Result<Vec<String>, ParseError> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(ParseError(format!("found '{}' expected: '('", other.text()))),
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(value) => {
                    self.next();
                    value
                }
                Token::Symbol("," | ")") => "",
                other => return Err(unexpected(other, "',', ')' or identifier")),
            };
            values.push(value.to_owned());
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => break,
                other => return Err(unexpected(other, "',' or ')'")),
            }
        }
        let values = sorted(values);
        for (at, value) in values.iter().enumerate() {
            check_text(name::label_value(value), &format!("values[{at}][{key}]"), value)?;
        }
        Ok(values)
    }
}

fn unexpected(found: Token<'_>, expected: &str) -> ParseError {
    ParseError(format!("found '{}', expected: {expected}", found.text()))
}

fn check_text(problems: Vec<String>, field: &str, text: &str) -> Result<(), ParseError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(ParseError(format!("{field}: Invalid value: {text:?}: {}", problems.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::LabelSelectorRequirement;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// `printed` is the canonical form; `yes` and `no` are label sets.
    #[track_caller]
    fn check(text: &str, printed: &str, yes: &[&[(&str, &str)]], no: &[&[(&str, &str)]]) {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(selector.to_string(), printed, "{text:?}");
        assert_eq!(Selector::parse(printed).unwrap(), selector, "what is printed reads back");
        for set in yes {
            assert!(selector.matches(&labels(set)), "{text:?} must select {set:?}");
        }
        for set in no {
            assert!(!selector.matches(&labels(set)), "{text:?} must not select {set:?}");
        }
    }

    #[test]
    fn nothing_required_selects_everything() {
        check("", "", &[&[], &[("a", "b")]], &[]);
        check("  ", "", &[&[]], &[]);
    }

    #[test]
    fn equality_needs_the_key_and_inequality_does_not() {
        check("a=1", "a=1", &[&[("a", "1")]], &[&[], &[("a", "2")]]);
        check("a == 1", "a=1", &[&[("a", "1")]], &[]);
        check("a!=1", "a!=1", &[&[], &[("a", "2")]], &[&[("a", "1")]]);
        check("a=", "a=", &[&[("a", "")]], &[&[], &[("a", "1")]]);
        check("a=,b", "a=,b", &[&[("a", ""), ("b", "x")]], &[]);
    }

    #[test]
    fn sets_are_sorted_and_may_hold_the_empty_value() {
        check("x in (b,a)", "x in (a,b)", &[&[("x", "a")], &[("x", "b")]], &[&[], &[("x", "c")]]);
        check("x notin (a)", "x notin (a)", &[&[], &[("x", "c")]], &[&[("x", "a")]]);
        check("x in (a,)", "x in (,a)", &[&[("x", "")], &[("x", "a")]], &[&[]]);
        check("x in ()", "x in ()", &[&[("x", "")]], &[&[("x", "a")]]);
        check("in in (in,notin)", "in in (in,notin)", &[&[("in", "in")]], &[]);
    }

    #[test]
    fn terms_are_joined_and_sorted_by_key_with_space_anywhere() {
        check(
            " b , !c ,\ta in ( x , y )\n, example.com/d = 1",
            "a in (x,y),b,!c,example.com/d=1",
            &[&[("a", "x"), ("b", ""), ("example.com/d", "1")]],
            &[&[("a", "x"), ("b", ""), ("c", ""), ("example.com/d", "1")]],
        );
    }

    #[test]
    fn bounds_compare_integers() {
        check("n>5", "n>5", &[&[("n", "6")]], &[&[("n", "5")], &[("n", "x")], &[]]);
        check("n<5", "n<5", &[&[("n", "4")]], &[&[("n", "5")]]);
    }

    #[test]
    fn what_is_not_a_selector_is_said_as_the_stock_server_does() {
        for (text, message) in [
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=)", "unable to parse requirement: found ')', expected: identifier"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            (
                "n>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err().to_string(), message, "{text:?}");
        }
        let key = Selector::parse("-a=b").unwrap_err().to_string();
        assert!(key.starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must"), "{key}");
        let value = Selector::parse("a=-b").unwrap_err().to_string();
        assert!(
            value.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid"),
            "{value}"
        );
    }

    #[test]
    fn compiled_selectors_report_every_problem_with_its_field() {
        let required = |key: &str, operator: &str, values: &[&str]| LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let selector = LabelSelector {
            match_labels: labels(&[("a", "-")]),
            match_expressions: vec![
                required("a", "In", &[]),
                required("a", "Exists", &["x"]),
                required("a", "Near", &[]),
                required("", "Exists", &[]),
                required("a", "In", &["ok", "-"]),
            ],
        };
        let fields: Vec<String> = check_selector(&selector, "spec.selector").into_iter().map(|c| c.field).collect();
        let at = |rest: &str| format!("spec.selector.{rest}");
        assert_eq!(
            fields,
            [
                at("matchLabels"),
                at("matchExpressions[0].values"),
                at("matchExpressions[1].values"),
                at("matchExpressions[2].operator"),
                at("matchExpressions[3].key"),
                at("matchExpressions[3].key"),
                at("matchExpressions[4].values[1]"),
            ]
        );
        let good = LabelSelector {
            match_labels: labels(&[("b", "1")]),
            match_expressions: vec![required("a", "NotIn", &["y", "x"]), required("c", "DoesNotExist", &[])],
        };
        assert_eq!(Selector::compile(&good, "").unwrap().to_string(), "a notin (x,y),b=1,!c");
        assert!(Selector::compile(&selector, "").is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_is_read_prints_and_reads_back(text in "[ab!=,()<> in\\n.-]{0,24}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
