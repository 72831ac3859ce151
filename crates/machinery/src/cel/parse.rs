//! Reads an expression into a tree.

use super::ast::{Ast, Element, Expr, Field, Id, Kind, Literal, Pair};
use super::issues::Issues;
use super::lex::{Token, Word, lex};
use super::limits::{DEPTH_MAX, EXPRESSION_CHARS_MAX, NODES_MAX};

/// Words that are no names.
pub(super) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Binary operators by how tightly they bind; `&&` and `||` are apart.
const OPERATORS: [(&str, u8, &str); 13] = [
    ("==", 3, "_==_"),
    ("!=", 3, "_!=_"),
    ("<", 3, "_<_"),
    ("<=", 3, "_<=_"),
    (">", 3, "_>_"),
    (">=", 3, "_>=_"),
    ("in", 3, "@in"),
    ("+", 4, "_+_"),
    ("-", 4, "_-_"),
    ("*", 5, "_*_"),
    ("/", 5, "_/_"),
    ("%", 5, "_%_"),
    ("=", 0, ""),
];

/// What the stock server's grammar offers where a value has to begin.
const VALUES: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                      BYTES, IDENTIFIER}";

/// Parses an expression.
pub(crate) fn parse(source: &str) -> Result<Ast, Issues> {
    let chars = source.chars().count();
    if chars > EXPRESSION_CHARS_MAX {
        let why = format!("expression code point size exceeds limit: size: {chars}, limit {EXPRESSION_CHARS_MAX}");
        return Err(Issues::one(0, why));
    }
    let (words, unread) = lex(source);
    let mut parser = Parser { words, at: 0, depth: 0, offsets: vec![0] };
    let parsed = parser.expr().and_then(|root| match parser.token() {
        Token::End => Ok(root),
        _ => Err(parser.trailing()),
    });
    match parsed {
        Ok(root) if unread.is_empty() => Ok(Ast { root, offsets: parser.offsets }),
        Ok(_) => Err(unread),
        Err(issues) => Err(unread.and(issues)),
    }
}

pub(super) struct Parser {
    words: Vec<Word>,
    at: usize,
    depth: usize,
    offsets: Vec<u32>,
}

type Parsed<T = Expr> = Result<T, Issues>;

impl Parser {
    fn word(&self) -> &Word {
        &self.words[self.at.min(self.words.len() - 1)]
    }

    fn token(&self) -> &Token {
        &self.word().token
    }

    fn start(&self) -> u32 {
        self.word().start
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token(), Token::Sign(held) if *held == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.eat(sign) {
            return Ok(());
        }
        if *self.token() == Token::End && sign == ")" {
            return Err(Issues::one(self.start(), format!("Syntax error: missing '{sign}' at '<EOF>'")));
        }
        Err(self.unexpected(&format!("'{sign}'")))
    }

    /// What is left when the expression has ended: one word is too much, several are something else.
    fn trailing(&self) -> Issues {
        let word = self.word();
        let last = self.words.get(self.at + 1).is_some_and(|next| next.token == Token::End);
        let what = if last { "extraneous" } else { "mismatched" };
        Issues::one(word.start, format!("Syntax error: {what} input '{}' expecting <EOF>", word.text))
    }

    fn unexpected(&self, expected: &str) -> Issues {
        let word = self.word();
        Issues::one(word.start, format!("Syntax error: mismatched input '{}' expecting {expected}", word.text))
    }

    /// Takes note of a node that begins at `offset`.
    pub(super) fn id(&mut self, offset: u32) -> Parsed<Id> {
        if self.offsets.len() > NODES_MAX {
            return Err(Issues::one(offset, "expression is too large"));
        }
        self.offsets.push(offset);
        Ok(Id::try_from(self.offsets.len() - 1).unwrap_or(Id::MAX))
    }

    pub(super) fn node(&mut self, offset: u32, kind: Kind) -> Parsed {
        Ok(Expr { id: self.id(offset)?, kind })
    }

    pub(super) fn offset(&self, id: Id) -> u32 {
        self.offsets.get(id as usize).copied().unwrap_or(0)
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Issues::one(self.start(), format!("expression recursion limit exceeded: {DEPTH_MAX}")));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn expr(&mut self) -> Parsed {
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed {
        let condition = self.logical("||", "_||_")?;
        let at = self.start();
        if !self.eat("?") {
            return Ok(condition);
        }
        let id = self.id(at)?;
        let yes = self.deeper(|parser| parser.logical("||", "_||_"))?;
        self.expect(":")?;
        let no = self.expr()?;
        Ok(Expr { id, kind: call("_?_:_", false, vec![condition, yes, no]) })
    }

    /// `||` or `&&`: chains become balanced trees, so that long ones are not deep.
    fn logical(&mut self, sign: &'static str, function: &'static str) -> Parsed {
        let next = |parser: &mut Self| {
            if sign == "||" { parser.logical("&&", "_&&_") } else { parser.binary(3) }
        };
        let mut terms = vec![next(self)?];
        let mut ids = Vec::new();
        loop {
            let at = self.start();
            if !self.eat(sign) {
                break;
            }
            ids.push(self.id(at)?);
            terms.push(next(self)?);
        }
        Ok(balanced(terms, &ids, function))
    }

    fn binary(&mut self, binds: u8) -> Parsed {
        let mut left = self.unary()?;
        let mut chained = 0;
        loop {
            let name = match self.token() {
                Token::Sign(sign) => *sign,
                Token::Ident(word) if &**word == "in" => "in",
                _ => break,
            };
            let Some((_, tight, function)) = OPERATORS.iter().find(|(sign, ..)| *sign == name) else { break };
            if *tight < binds {
                break;
            }
            let at = self.start();
            self.at += 1;
            let id = self.id(at)?;
            chained += 1;
            if chained + self.depth > DEPTH_MAX {
                return Err(Issues::one(at, format!("expression recursion limit exceeded: {DEPTH_MAX}")));
            }
            let right = self.deeper(|parser| parser.binary(tight + 1))?;
            left = Expr { id, kind: call(function, false, vec![left, right]) };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let at = self.start();
        for (sign, function) in [("!", "!_"), ("-", "-_")] {
            if !self.is(sign) {
                continue;
            }
            let mut count = 0;
            while self.eat(sign) {
                count += 1;
            }
            if sign == "-" && count % 2 == 1 {
                let negative = match self.token() {
                    Token::Int(value) => Some(Literal::Int(-value)),
                    Token::LargeInt => Some(Literal::Int(i64::MIN)),
                    Token::Double(value) => Some(Literal::Double(-value)),
                    _ => None,
                };
                if let Some(literal) = negative {
                    self.at += 1;
                    let literal = self.node(at, Kind::Literal(literal))?;
                    return self.members(literal);
                }
            }
            if count % 2 == 0 {
                return self.member();
            }
            let id = self.id(at)?;
            let operand = self.deeper(Self::member)?;
            return Ok(Expr { id, kind: call(function, false, vec![operand]) });
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.members(primary)
    }

    /// Fields, calls and indexes after a value.
    fn members(&mut self, mut value: Expr) -> Parsed {
        let mut chained = 0;
        loop {
            let at = self.start();
            chained += 1;
            if chained + self.depth > DEPTH_MAX {
                return Err(Issues::one(at, format!("expression recursion limit exceeded: {DEPTH_MAX}")));
            }
            if self.eat(".") {
                let optional = self.eat("?");
                let name = self.name()?;
                if optional {
                    let id = self.id(at)?;
                    let field = self.node(at, Kind::Literal(Literal::String((&*name).into())))?;
                    value = Expr { id, kind: call("_?._", false, vec![value, field]) };
                } else if self.is("(") {
                    let open = self.start();
                    let id = self.id(open)?;
                    let args = self.arguments()?;
                    value = self.expand(id, name, Some(value), args)?;
                } else {
                    let id = self.id(at)?;
                    value = Expr { id, kind: Kind::Select { operand: Box::new(value), field: name, test: false } };
                }
            } else if self.eat("[") {
                let function = if self.eat("?") { "_[?_]" } else { "_[_]" };
                let id = self.id(at)?;
                let index = self.expr()?;
                self.expect("]")?;
                value = Expr { id, kind: call(function, false, vec![value, index]) };
            } else if self.is("{") {
                let Some(name) = value.qualified() else { return Ok(value) };
                value = self.message(name)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn name(&mut self) -> Parsed<Box<str>> {
        match self.token() {
            Token::Ident(name) if !matches!(&**name, "in" | "true" | "false" | "null") => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("IDENTIFIER")),
        }
    }

    /// What is between round brackets.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.expect("(")?;
        let mut args = Vec::new();
        if !self.is(")") {
            loop {
                args.push(self.expr()?);
                if !self.eat(",") {
                    break;
                }
            }
        }
        self.expect(")")?;
        Ok(args)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.start();
        if self.eat("(") {
            let inner = self.expr()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("[") {
            return self.list(at);
        }
        if self.is("{") {
            return self.map();
        }
        let leading = self.eat(".");
        let literal = match self.token().clone() {
            Token::Int(value) => Literal::Int(value),
            Token::Uint(value) => Literal::Uint(value),
            Token::Double(value) => Literal::Double(value),
            Token::String(value) => Literal::String(value),
            Token::Bytes(value) => Literal::Bytes(value),
            Token::LargeInt => return Err(Issues::one(at, "invalid int literal")),
            Token::Ident(name) => match &*name {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                "in" => return Err(self.unexpected(VALUES)),
                _ => return self.identifier(&name, leading, at),
            },
            Token::Sign(_) | Token::End => return Err(self.unexpected(VALUES)),
        };
        self.at += 1;
        self.node(at, Kind::Literal(literal))
    }

    fn identifier(&mut self, name: &str, leading: bool, at: u32) -> Parsed {
        self.at += 1;
        if RESERVED.contains(&name) {
            return Err(Issues::one(at, format!("reserved identifier: {name}")));
        }
        if self.is("(") {
            let open = self.start();
            let id = self.id(open)?;
            let args = self.arguments()?;
            return self.expand(id, name.into(), None, args);
        }
        let name = if leading { format!(".{name}") } else { name.to_owned() };
        self.node(at, Kind::Ident(name.trim_start_matches('.').into()))
    }

    fn list(&mut self, at: u32) -> Parsed {
        let id = self.id(at)?;
        let mut elements = Vec::new();
        while !self.is("]") {
            let optional = self.eat("?");
            let value = self.expr()?;
            elements.push(Element { value, optional });
            if !self.eat(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(Expr { id, kind: Kind::List(elements) })
    }

    fn map(&mut self) -> Parsed {
        let at = self.start();
        let id = self.id(at)?;
        self.expect("{")?;
        let mut pairs = Vec::new();
        while !self.is("}") {
            let optional = self.eat("?");
            let key = self.expr()?;
            self.expect(":")?;
            let value = self.expr()?;
            pairs.push(Pair { key, value, optional });
            if !self.eat(",") {
                break;
            }
        }
        self.expect("}")?;
        Ok(Expr { id, kind: Kind::Map(pairs) })
    }

    fn message(&mut self, name: String) -> Parsed {
        let at = self.start();
        let id = self.id(at)?;
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.is("}") {
            let optional = self.eat("?");
            let name = self.name()?;
            let at = self.start();
            let id = self.id(at)?;
            self.expect(":")?;
            let value = self.expr()?;
            fields.push(Field { id, name, value, optional });
            if !self.eat(",") {
                break;
            }
        }
        self.expect("}")?;
        Ok(Expr { id, kind: Kind::Struct { name: name.into(), fields } })
    }
}

pub(super) fn call(function: &str, member: bool, args: Vec<Expr>) -> Kind {
    Kind::Call { function: function.into(), member, args }
}

fn balanced(mut terms: Vec<Expr>, ids: &[Id], function: &'static str) -> Expr {
    if ids.is_empty() {
        return terms.pop().expect("a chain has a term");
    }
    // The operator in the middle is the root, as in the stock server: messages and costs follow the tree.
    let middle = ids.len() / 2;
    let right = terms.split_off(middle + 1);
    let left = balanced(terms, &ids[..middle], function);
    let right = balanced(right, &ids[middle + 1..], function);
    Expr { id: ids[middle], kind: call(function, false, vec![left, right]) }
}
