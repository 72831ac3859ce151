//! Nodes and properties to text.

use super::functions::{self, Parameter};
use super::node::{Branch, Node, NodeKind, Pipe};
use super::parse::location;
use super::print::sprint;
use super::quote::{characters, quote};
use super::value::Value;
use super::{MAX_DEPTH, MAX_OUTPUT, MAX_WORK, Properties, Template};

/// Bytes that cost as much as one node.
const BYTES_PER_STEP: usize = 16;

type Evaluated<T> = Result<T, String>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn execute(template: &Template, name: &str, properties: &Properties) -> Evaluated<String> {
    let dot = Value::Map(properties);
    let mut run = Run {
        template,
        name,
        executing: name,
        at: &template.root,
        output: Vec::new(),
        variables: vec![("$", dot.clone())],
        depth: 0,
        work: 0,
    };
    run.walk(&dot, &template.root)?;
    Ok(characters(&run.output).collect())
}

struct Run<'a> {
    template: &'a Template,
    name: &'a str,
    /// The name of the definition that is executed.
    executing: &'a str,
    /// What errors point to.
    at: &'a Node,
    output: Vec<u8>,
    variables: Vec<(&'a str, Value<'a>)>,
    depth: usize,
    work: usize,
}

impl<'a> Run<'a> {
    fn error<T>(&self, problem: impl AsRef<str>) -> Evaluated<T> {
        let (line, column) = location(&self.template.text, self.at.at);
        let (name, at, executing) = (self.name, self.at, quote(self.executing.as_bytes()));
        Err(format!("template: {name}:{line}:{column}: executing {executing} at <{at}>: {}", problem.as_ref()))
    }

    /// Pays for a node, and for bytes that are read or made.
    fn pay(&mut self, bytes: usize) -> Evaluated<()> {
        self.work += 1 + bytes / BYTES_PER_STEP;
        if self.work > MAX_WORK {
            return self.error(format!("exceeded maximum of {MAX_WORK} steps"));
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Evaluated<()> {
        if self.output.len() + bytes.len() > MAX_OUTPUT {
            return self.error(format!("exceeded maximum output of {MAX_OUTPUT} bytes"));
        }
        self.output.extend_from_slice(bytes);
        self.pay(bytes.len())
    }

    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Evaluated<T>) -> Evaluated<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        self.depth += 1;
        let done = run(self);
        self.depth -= 1;
        done
    }

    fn walk(&mut self, dot: &Value<'a>, node: &'a Node) -> Evaluated<Flow> {
        self.at = node;
        self.pay(0)?;
        match &node.kind {
            NodeKind::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if !matches!(&pipe.kind, NodeKind::Pipe(pipe) if !pipe.variables.is_empty()) {
                    self.at = node;
                    self.print(&value)?;
                }
            }
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
            NodeKind::If(branch) => return self.deeper(|run| run.choose(dot, branch, false)),
            NodeKind::With(branch) => return self.deeper(|run| run.choose(dot, branch, true)),
            NodeKind::Range(branch) => return self.deeper(|run| run.range(dot, branch)),
            NodeKind::List(nodes) => {
                for node in nodes {
                    let flow = self.walk(dot, node)?;
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
            }
            NodeKind::Template(name, pipe) => self.call_template(dot, name, pipe.as_deref())?,
            NodeKind::Text(text) => self.write(text.as_bytes())?,
            _ => return self.error(format!("unknown node: {node}")),
        }
        Ok(Flow::On)
    }

    fn print(&mut self, value: &Value<'a>) -> Evaluated<()> {
        match value {
            Value::Nil => self.write(b"<no value>"),
            Value::Text(text) => self.write(text),
            other => {
                self.pay(other.size())?;
                self.write(&sprint(std::slice::from_ref(other)))
            }
        }
    }

    fn choose(&mut self, dot: &Value<'a>, branch: &'a Branch, with: bool) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = match (&branch.other, value.is_true()) {
            (_, true) => self.walk(if with { &value } else { dot }, &branch.list)?,
            (Some(other), false) => self.walk(dot, other)?,
            (None, false) => Flow::On,
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Value<'a>, branch: &'a Branch) -> Evaluated<Flow> {
        let outer = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let NodeKind::Pipe(pipe) = &branch.pipe.kind else { return self.error("range without a pipeline") };
        let mut ran = false;
        match &value {
            Value::Int(_) | Value::Byte(_) if pipe.variables.len() > 1 => {
                let shown = String::from_utf8_lossy(&sprint(&[value])).into_owned();
                return self.error(format!("can't use {shown} to iterate over more than one variable"));
            }
            Value::Int(count) => {
                for number in 0..*count {
                    ran = true;
                    if self.turn(branch, pipe, None, Value::Int(number))? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Byte(count) => {
                for number in 0..*count {
                    ran = true;
                    if self.turn(branch, pipe, None, Value::Byte(number))? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, each) in *map {
                    ran = true;
                    let key = Value::borrowed(key.as_bytes());
                    if self.turn(branch, pipe, Some(key), Value::borrowed(each.as_bytes()))? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Nil => {}
            other => {
                let shown = String::from_utf8_lossy(&sprint(std::slice::from_ref(other))).into_owned();
                return self.error(format!("range can't iterate over {shown}"));
            }
        }
        let flow = match &branch.other {
            Some(other) if !ran => self.walk(dot, other)?,
            _ => Flow::On,
        };
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn turn(
        &mut self,
        branch: &'a Branch,
        pipe: &'a Pipe,
        key: Option<Value<'a>>,
        element: Value<'a>,
    ) -> Evaluated<Flow> {
        let mark = self.variables.len();
        match (pipe.variables.as_slice(), pipe.assigns) {
            ([], _) => {}
            ([one], true) => self.set(one, element.clone())?,
            ([first, second], true) => {
                self.set(first, key.unwrap_or(Value::Nil))?;
                self.set(second, element.clone())?;
            }
            (variables, _) => {
                self.variables[mark - 1].1 = element.clone();
                if variables.len() > 1 {
                    self.variables[mark - 2].1 = key.unwrap_or(Value::Nil);
                }
            }
        }
        let flow = self.walk(&element, &branch.list)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn set(&mut self, name: &str, value: Value<'a>) -> Evaluated<()> {
        match self.variables.iter_mut().rev().find(|(held, _)| *held == name) {
            Some((_, held)) => {
                *held = value;
                Ok(())
            }
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    fn call_template(&mut self, dot: &Value<'a>, name: &'a str, pipe: Option<&'a Node>) -> Evaluated<()> {
        let template = self.template;
        let Some(root) = template.defined.get(name) else {
            return self.error(format!("template {} not defined", quote(name.as_bytes())));
        };
        self.deeper(|run| {
            let dot = match pipe {
                Some(pipe) => run.pipeline(dot, pipe)?,
                None => Value::Nil,
            };
            let (executing, at) = (std::mem::replace(&mut run.executing, name), run.at);
            let variables = std::mem::replace(&mut run.variables, vec![("$", dot.clone())]);
            run.walk(&dot, root)?;
            (run.executing, run.at, run.variables) = (executing, at, variables);
            Ok(())
        })
    }

    fn pipeline(&mut self, dot: &Value<'a>, node: &'a Node) -> Evaluated<Value<'a>> {
        let NodeKind::Pipe(pipe) = &node.kind else { return self.error("no pipeline") };
        self.at = node;
        let mut value = None;
        for command in &pipe.commands {
            self.pay(0)?;
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for variable in &pipe.variables {
            if pipe.assigns {
                self.set(variable, value.clone())?;
            } else {
                self.variables.push((variable, value.clone()));
            }
        }
        Ok(value)
    }

    fn not_a_function(&self, arguments: &[Node], last: Option<&Value<'a>>) -> Evaluated<()> {
        if arguments.len() > 1 || last.is_some() {
            return self.error(format!("can't give argument to non-function {}", arguments[0]));
        }
        Ok(())
    }

    fn command(&mut self, dot: &Value<'a>, node: &'a Node, last: Option<Value<'a>>) -> Evaluated<Value<'a>> {
        let NodeKind::Command(arguments) = &node.kind else { return self.error("no command") };
        let first = &arguments[0];
        let has_arguments = arguments.len() > 1 || last.is_some();
        match &first.kind {
            NodeKind::Field(names) => {
                self.at = first;
                self.fields(dot.clone(), names, has_arguments)
            }
            NodeKind::Chain(inner, names) => self.chain(dot, first, inner, names, has_arguments),
            NodeKind::Identifier(name) => {
                self.at = first;
                self.call(dot, name, node, &arguments[1..], last)
            }
            NodeKind::Pipe(_) => {
                self.not_a_function(arguments, last.as_ref())?;
                self.deeper(|run| run.pipeline(dot, first))
            }
            NodeKind::Variable(names) => {
                self.at = first;
                if names.len() == 1 {
                    self.not_a_function(arguments, last.as_ref())?;
                }
                self.variable(names, has_arguments)
            }
            _ => {
                self.at = first;
                self.not_a_function(arguments, last.as_ref())?;
                match &first.kind {
                    NodeKind::Dot => Ok(dot.clone()),
                    NodeKind::Nil => self.error("nil is not a command"),
                    _ => self.constant(first),
                }
            }
        }
    }

    fn constant(&mut self, node: &'a Node) -> Evaluated<Value<'a>> {
        self.at = node;
        match &node.kind {
            NodeKind::Bool(value) => Ok(Value::Bool(*value)),
            NodeKind::String(_, text) => Ok(Value::borrowed(text)),
            NodeKind::Number(number) if number.is_float() => Ok(Value::Float(number.float)),
            NodeKind::Number(number) => match number.int {
                Some(int) => Ok(Value::Int(int)),
                None if number.unsigned => self.error(format!("{} overflows int", number.text)),
                None => Ok(Value::Nil),
            },
            _ => self.error(format!("can't evaluate command {}", quote(node.to_string().as_bytes()))),
        }
    }

    fn variable(&mut self, names: &'a [String], has_arguments: bool) -> Evaluated<Value<'a>> {
        let found = self.variables.iter().rev().find(|(held, _)| *held == names[0]);
        let Some((_, value)) = found else { return self.error(format!("undefined variable: {}", names[0])) };
        let value = value.clone();
        self.fields(value, &names[1..], has_arguments)
    }

    fn chain(
        &mut self,
        dot: &Value<'a>,
        node: &'a Node,
        inner: &'a Node,
        names: &'a [String],
        has_arguments: bool,
    ) -> Evaluated<Value<'a>> {
        self.at = node;
        let value = self.argument(dot, Parameter::Any, inner)?;
        self.fields(value, names, has_arguments)
    }

    fn fields(&mut self, value: Value<'a>, names: &'a [String], has_arguments: bool) -> Evaluated<Value<'a>> {
        let mut value = value;
        for (place, name) in names.iter().enumerate() {
            let last = place + 1 == names.len();
            value = match value {
                Value::Nil => return self.error(format!("nil data; no entry for key {}", quote(name.as_bytes()))),
                Value::Map(_) if last && has_arguments => {
                    return self.error(format!("{name} is not a method but has arguments"));
                }
                Value::Map(map) => match map.get(name) {
                    Some(text) => Value::borrowed(text.as_bytes()),
                    None => return self.error(format!("map has no entry for key {}", quote(name.as_bytes()))),
                },
                other => {
                    return self.error(format!("can't evaluate field {name} in type {}", other.type_name()));
                }
            };
        }
        Ok(value)
    }

    /// An argument of a function.
    fn argument(&mut self, dot: &Value<'a>, parameter: Parameter, node: &'a Node) -> Evaluated<Value<'a>> {
        self.at = node;
        let value = match &node.kind {
            NodeKind::Dot => dot.clone(),
            NodeKind::Nil if parameter == Parameter::Any => return Ok(Value::Nil),
            NodeKind::Nil => return self.error("cannot assign nil to string"),
            NodeKind::Field(names) => self.fields(dot.clone(), names, false)?,
            NodeKind::Variable(names) => self.variable(names, false)?,
            NodeKind::Pipe(_) => self.deeper(|run| run.pipeline(dot, node))?,
            NodeKind::Identifier(name) => self.call(dot, name, node, &[], None)?,
            NodeKind::Chain(inner, names) => self.deeper(|run| run.chain(dot, node, inner, names, false))?,
            NodeKind::String(_, text) => return Ok(Value::borrowed(text)),
            _ if parameter == Parameter::Text => return self.error(format!("expected string; found {node}")),
            _ => return self.constant(node),
        };
        self.typed(value, parameter)
    }

    fn typed(&self, value: Value<'a>, parameter: Parameter) -> Evaluated<Value<'a>> {
        match (parameter, &value) {
            (Parameter::Any, _) | (Parameter::Text, Value::Text(_)) => Ok(value),
            (Parameter::Text, Value::Nil) => self.error("invalid value; expected string"),
            (Parameter::Text, other) => {
                self.error(format!("wrong type for value; expected string; got {}", other.type_name()))
            }
        }
    }

    fn call(
        &mut self,
        dot: &Value<'a>,
        name: &'a str,
        node: &'a Node,
        arguments: &'a [Node],
        last: Option<Value<'a>>,
    ) -> Evaluated<Value<'a>> {
        let Some(function) = functions::find(name) else {
            return self.error(format!("{} is not a defined function", quote(name.as_bytes())));
        };
        let count = arguments.len() + usize::from(last.is_some());
        let fixed = function.parameters.len();
        if function.variadic && count < fixed {
            return self
                .error(format!("wrong number of args for {name}: want at least {fixed} got {}", arguments.len()));
        }
        if !function.variadic && count != fixed {
            return self.error(format!("wrong number of args for {name}: want {fixed} got {count}"));
        }
        if matches!(name, "and" | "or") {
            // What is not needed is not evaluated.
            let mut value = Value::Nil;
            for argument in arguments {
                value = self.argument(dot, Parameter::Any, argument)?;
                if value.is_true() == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut values = Vec::with_capacity(count);
        for (place, argument) in arguments.iter().enumerate() {
            values.push(self.argument(dot, function.parameter(place), argument)?);
        }
        if let Some(last) = last {
            values.push(self.typed(last, function.parameter(count - 1))?);
        }
        self.pay(values.iter().map(Value::size).sum())?;
        let callee = arguments.first().map(ToString::to_string);
        match functions::apply(name, callee, values) {
            Ok(value) if value.size() > MAX_OUTPUT => {
                self.error(format!("exceeded maximum output of {MAX_OUTPUT} bytes"))
            }
            Ok(value) => {
                self.pay(value.size())?;
                Ok(value)
            }
            Err(problem) => {
                self.at = node;
                self.error(format!("error calling {name}: {problem}"))
            }
        }
    }
}
