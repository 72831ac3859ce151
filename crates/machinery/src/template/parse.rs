//! Items to nodes.

use super::lex::{Item, Kind, Lexer, newlines};
use super::node::{Branch, Node, NodeKind, Pipe};
use super::number::Number;
use super::quote::{quote, unquote};
use super::{MAX_DEPTH, ParseError, Template, functions};
use std::collections::BTreeMap;

type Parsed<T> = Result<T, ParseError>;

/// How deep parentheses and control structures may be in one another.
const MAX_NESTING: usize = MAX_DEPTH / 2;

pub(super) fn parse(text: &str) -> Parsed<Template> {
    let mut parser = Parser { lexer: Lexer::new(text), defined: BTreeMap::new(), tree: Tree::new(), nesting: 0 };
    let root = parser.root()?;
    Ok(Template { text: text.into(), root, defined: parser.defined })
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    defined: BTreeMap<String, Node>,
    tree: Tree,
    nesting: usize,
}

/// What is known of the definition that is being read.
struct Tree {
    /// Items that were looked at before their turn; of those the first `ahead` are still to come, the last first.
    items: [Item; 3],
    ahead: usize,
    variables: Vec<String>,
    ranges: usize,
    action_line: usize,
}

impl Tree {
    fn new() -> Self {
        let none = Item { kind: Kind::End, at: 0, text: String::new(), line: 0 };
        Self {
            items: [none.clone(), none.clone(), none],
            ahead: 0,
            variables: vec!["$".into()],
            ranges: 0,
            action_line: 0,
        }
    }
}

impl Parser<'_> {
    fn next(&mut self) -> Item {
        if self.tree.ahead > 0 {
            self.tree.ahead -= 1;
        } else {
            self.tree.items[0] = self.lexer.next_item();
        }
        self.tree.items[self.tree.ahead].clone()
    }

    fn backup(&mut self) {
        self.tree.ahead += 1;
    }

    /// Gives back the item before the one that was looked at last.
    fn backup2(&mut self, item: Item) {
        self.tree.items[1] = item;
        self.tree.ahead = 2;
    }

    /// Gives back the two items before the one that was looked at last.
    fn backup3(&mut self, first: Item, second: Item) {
        self.tree.items[1] = second;
        self.tree.items[2] = first;
        self.tree.ahead = 3;
    }

    fn peek(&mut self) -> Item {
        let item = self.next();
        self.backup();
        item
    }

    fn next_non_space(&mut self) -> Item {
        loop {
            let item = self.next();
            if item.kind != Kind::Space {
                return item;
            }
        }
    }

    fn peek_non_space(&mut self) -> Item {
        let item = self.next_non_space();
        self.backup();
        item
    }

    fn error(&self, problem: impl Into<String>) -> ParseError {
        ParseError { line: self.tree.items[0].line, problem: problem.into(), started: None }
    }

    fn unexpected(&self, item: &Item, context: &str) -> ParseError {
        if item.kind != Kind::Error {
            return self.error(format!("unexpected {} in {context}", item.shown()));
        }
        let line = self.tree.action_line;
        ParseError { started: (line != 0 && line != item.line).then_some(line), ..self.error(&item.text) }
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Item> {
        let item = self.next_non_space();
        if item.kind == kind { Ok(item) } else { Err(self.unexpected(&item, context)) }
    }

    /// Goes one level deeper.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return Err(self.error("max expression depth exceeded"));
        }
        self.nesting += 1;
        let done = read(self);
        self.nesting -= 1;
        done
    }

    fn root(&mut self) -> Parsed<Node> {
        let at = self.peek().at;
        let mut nodes = Vec::new();
        loop {
            let item = self.peek();
            if item.kind == Kind::End {
                break;
            }
            if item.kind == Kind::LeftDelimiter {
                let delimiter = self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.backup2(delimiter);
            }
            let node = self.text_or_action()?;
            if matches!(node.kind, NodeKind::End | NodeKind::Else) {
                return Err(self.error(format!("unexpected {node}")));
            }
            nodes.push(node);
        }
        Ok(Node::new(at, NodeKind::List(nodes)))
    }

    fn definition(&mut self) -> Parsed<()> {
        let context = "define clause";
        let outer = std::mem::replace(&mut self.tree, Tree::new());
        let item = self.next_non_space();
        if !matches!(item.kind, Kind::String | Kind::RawString) {
            return Err(self.unexpected(&item, context));
        }
        let name = self.unquoted(&item)?;
        self.expect(Kind::RightDelimiter, context)?;
        self.body(name, context)?;
        self.tree = outer;
        Ok(())
    }

    /// What a name is defined as, up to its end.
    fn body(&mut self, name: Vec<u8>, context: &str) -> Parsed<()> {
        let (list, end) = self.nested(Self::list)?;
        if !matches!(end.kind, NodeKind::End) {
            return Err(self.error(format!("unexpected {end} in {context}")));
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        match self.defined.get(&name) {
            Some(held) if !held.is_empty() => {
                if !list.is_empty() {
                    let name = quote(name.as_bytes());
                    return Err(self.error(format!("template: multiple definition of template {name}")));
                }
            }
            _ => {
                self.defined.insert(name, list);
            }
        }
        Ok(())
    }

    fn unquoted(&self, item: &Item) -> Parsed<Vec<u8>> {
        unquote(&item.text).ok_or_else(|| self.error("invalid syntax"))
    }

    fn list(&mut self) -> Parsed<(Node, Node)> {
        let at = self.peek_non_space().at;
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != Kind::End {
            let node = self.text_or_action()?;
            if matches!(node.kind, NodeKind::End | NodeKind::Else) {
                return Ok((Node::new(at, NodeKind::List(nodes)), node));
            }
            nodes.push(node);
        }
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Parsed<Node> {
        let item = self.next_non_space();
        match item.kind {
            Kind::Text => Ok(Node::new(item.at, NodeKind::Text(item.text))),
            Kind::LeftDelimiter => {
                self.tree.action_line = item.line;
                let node = self.action()?;
                self.tree.action_line = 0;
                Ok(node)
            }
            _ => Err(self.unexpected(&item, "input")),
        }
    }

    fn action(&mut self) -> Parsed<Node> {
        let item = self.next_non_space();
        match item.kind {
            Kind::Block => self.block(),
            Kind::Break => self.leave(&item, NodeKind::Break, "{{break}}"),
            Kind::Continue => self.leave(&item, NodeKind::Continue, "{{continue}}"),
            Kind::Else => {
                let next = self.peek_non_space();
                if matches!(next.kind, Kind::If | Kind::With) {
                    return Ok(Node::new(next.at, NodeKind::Else));
                }
                Ok(Node::new(self.expect(Kind::RightDelimiter, "else")?.at, NodeKind::Else))
            }
            Kind::EndWord => Ok(Node::new(self.expect(Kind::RightDelimiter, "end")?.at, NodeKind::End)),
            Kind::If => self.nested(|parser| parser.control("if")),
            Kind::Range => self.nested(|parser| parser.control("range")),
            Kind::With => self.nested(|parser| parser.control("with")),
            Kind::Template => self.template(),
            _ => {
                self.backup();
                let at = self.peek().at;
                let pipe = self.pipeline("command", Kind::RightDelimiter)?;
                Ok(Node::new(at, NodeKind::Action(Box::new(pipe))))
            }
        }
    }

    fn leave(&mut self, item: &Item, kind: NodeKind, shown: &str) -> Parsed<Node> {
        let next = self.next_non_space();
        if next.kind != Kind::RightDelimiter {
            return Err(self.unexpected(&next, shown));
        }
        if self.tree.ranges == 0 {
            return Err(self.error(format!("{shown} outside {{{{range}}}}")));
        }
        Ok(Node::new(item.at, kind))
    }

    fn control(&mut self, word: &str) -> Parsed<Node> {
        let variables = self.tree.variables.len();
        let pipe = self.pipeline(word, Kind::RightDelimiter)?;
        self.tree.ranges += usize::from(word == "range");
        let (list, end) = self.list()?;
        self.tree.ranges -= usize::from(word == "range");
        let mut other = None;
        if matches!(end.kind, NodeKind::Else) {
            let next = self.peek().kind;
            let chained = (word == "if" && next == Kind::If) || (word == "with" && next == Kind::With);
            if chained {
                self.next();
                let node = self.nested(|parser| parser.control(word))?;
                other = Some(Node::new(end.at, NodeKind::List(vec![node])));
            } else {
                let (list, end) = self.list()?;
                if !matches!(end.kind, NodeKind::End) {
                    return Err(self.error(format!("expected end; found {end}")));
                }
                other = Some(list);
            }
        }
        self.tree.variables.truncate(variables);
        let at = pipe.at;
        let branch = Box::new(Branch { pipe, list, other });
        let kind = match word {
            "if" => NodeKind::If(branch),
            "with" => NodeKind::With(branch),
            _ => NodeKind::Range(branch),
        };
        Ok(Node::new(at, kind))
    }

    fn template_name(&self, item: &Item, context: &str) -> Parsed<Vec<u8>> {
        match item.kind {
            Kind::String | Kind::RawString => self.unquoted(item),
            _ => Err(self.unexpected(item, context)),
        }
    }

    fn block(&mut self) -> Parsed<Node> {
        let context = "block clause";
        let item = self.next_non_space();
        let name = self.template_name(&item, context)?;
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        let outer = std::mem::replace(&mut self.tree, Tree::new());
        self.body(name.clone(), context)?;
        self.tree = outer;
        let name = String::from_utf8_lossy(&name).into_owned();
        Ok(Node::new(item.at, NodeKind::Template(name, Some(Box::new(pipe)))))
    }

    fn template(&mut self) -> Parsed<Node> {
        let context = "template clause";
        let item = self.next_non_space();
        let name = self.template_name(&item, context)?;
        let mut pipe = None;
        if self.next_non_space().kind != Kind::RightDelimiter {
            self.backup();
            pipe = Some(Box::new(self.pipeline(context, Kind::RightDelimiter)?));
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        Ok(Node::new(item.at, NodeKind::Template(name, pipe)))
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Node> {
        let at = self.peek_non_space().at;
        let mut pipe = Pipe::default();
        self.variables(&mut pipe, context)?;
        loop {
            let item = self.next_non_space();
            match item.kind {
                kind if kind == end => {
                    self.check(&pipe, context)?;
                    return Ok(Node::new(at, NodeKind::Pipe(pipe)));
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParenthesis => {
                    self.backup();
                    pipe.commands.push(self.command()?);
                }
                _ => return Err(self.unexpected(&item, context)),
            }
        }
    }

    /// The variables that a pipeline makes or sets.
    fn variables(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            self.next();
            let after = self.peek();
            let next = self.peek_non_space();
            let comma = next.kind == Kind::Char && next.text == ",";
            if matches!(next.kind, Kind::Assign | Kind::Declare) || comma {
                self.next_non_space();
                pipe.variables.push(variable.text.clone());
                self.tree.variables.push(variable.text.clone());
            }
            if !comma {
                match next.kind {
                    Kind::Assign | Kind::Declare => pipe.assigns = next.kind == Kind::Assign,
                    _ if after.kind == Kind::Space => self.backup3(variable, after),
                    _ => self.backup2(variable),
                }
                return Ok(());
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return Err(self.error(format!("too many declarations in {context}")));
            }
            let next = self.peek_non_space().kind;
            if !matches!(next, Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis) {
                return Err(self.error("range can only initialize variables"));
            }
        }
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (stage, command) in pipe.commands.iter().enumerate().skip(1) {
            let NodeKind::Command(arguments) = &command.kind else { continue };
            if matches!(
                arguments[0].kind,
                NodeKind::Bool(_) | NodeKind::Dot | NodeKind::Nil | NodeKind::Number(_) | NodeKind::String(..)
            ) {
                return Err(self.error(format!("non executable command in pipeline stage {}", stage + 1)));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Node> {
        let at = self.peek_non_space().at;
        let mut arguments = Vec::new();
        loop {
            self.peek_non_space();
            arguments.extend(self.operand()?);
            let item = self.next();
            match item.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParenthesis => {
                    self.backup();
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&item, "operand")),
            }
        }
        if arguments.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(Node::new(at, NodeKind::Command(arguments)))
    }

    fn operand(&mut self) -> Parsed<Option<Node>> {
        let Some(node) = self.term()? else { return Ok(None) };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(node));
        }
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        let kind = match node.kind {
            NodeKind::Field(held) => NodeKind::Field(held.into_iter().chain(names).collect()),
            NodeKind::Variable(held) => NodeKind::Variable(held.into_iter().chain(names).collect()),
            NodeKind::Bool(_) | NodeKind::String(..) | NodeKind::Number(_) | NodeKind::Nil | NodeKind::Dot => {
                let term = quote(node.to_string().as_bytes());
                return Err(self.error(format!("unexpected . after term {term}")));
            }
            _ => NodeKind::Chain(Box::new(node), names),
        };
        Ok(Some(Node::new(first.at, kind)))
    }

    fn term(&mut self) -> Parsed<Option<Node>> {
        let item = self.next_non_space();
        let kind = match item.kind {
            Kind::Identifier if functions::is_function(&item.text) => NodeKind::Identifier(item.text),
            Kind::Identifier => {
                return Err(self.error(format!("function {} not defined", quote(item.text.as_bytes()))));
            }
            Kind::Dot => NodeKind::Dot,
            Kind::Nil => NodeKind::Nil,
            Kind::Variable if self.tree.variables.contains(&item.text) => NodeKind::Variable(vec![item.text]),
            Kind::Variable => return Err(self.error(format!("undefined variable {}", quote(item.text.as_bytes())))),
            Kind::Field => NodeKind::Field(vec![item.text[1..].into()]),
            Kind::Bool => NodeKind::Bool(item.text == "true"),
            Kind::CharConstant => {
                NodeKind::Number(Number::character(&item.text).map_err(|problem| self.error(problem))?)
            }
            Kind::Number => NodeKind::Number(Number::parse(&item.text).map_err(|problem| self.error(problem))?),
            Kind::LeftParenthesis => {
                let pipe = self.nested(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParenthesis))?;
                return Ok(Some(pipe));
            }
            Kind::String | Kind::RawString => {
                let text = self.unquoted(&item)?;
                NodeKind::String(item.text, text)
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Node::new(item.at, kind)))
    }
}

/// Line and column of a place in a text, as errors say them: lines from 1, bytes from 0.
pub(super) fn location(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    (1 + newlines(before), at - before.rfind('\n').map_or(0, |newline| newline + 1))
}
