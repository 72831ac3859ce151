//! Macros: calls that are rewritten while an expression is parsed. What they become is part of the language, since types
//! and costs are those of the rewritten form.

use super::ast::{ACCUMULATOR, Comprehension, Element, Expr, Id, Kind, Literal};
use super::issues::Issues;
use super::parse::{Parser, call};

type Parsed = Result<Expr, Issues>;

/// A variable that nothing reads.
const UNUSED: &str = "#unused";

impl Parser {
    /// The call, or what its macro makes of it.
    pub(super) fn expand(&mut self, id: Id, name: Box<str>, target: Option<Expr>, args: Vec<Expr>) -> Parsed {
        let at = self.offset(id);
        match (&*name, target, args.len()) {
            ("has", None, 1) => self.has(at, args),
            ("all" | "exists" | "exists_one" | "existsOne", Some(target), 2 | 3) => {
                self.quantifier(at, &name, target, args)
            }
            ("map", Some(target), 2 | 3) => self.map_macro(at, target, args, false),
            ("transformList", Some(target), 3 | 4) => self.map_macro(at, target, args, true),
            ("filter", Some(target), 2) => self.filter(at, target, args),
            ("transformMap" | "transformMapEntry", Some(target), 3 | 4) => {
                self.transform_map(at, target, args, &*name == "transformMap")
            }
            ("optMap" | "optFlatMap", Some(target), 2) => self.opt_map(at, target, args, &name),
            ("sortBy", Some(target), 2) => self.sort_by(at, target, args),
            (_, None, _) => Ok(Expr { id, kind: call(&name, false, args) }),
            (_, Some(target), _) => {
                let args = std::iter::once(target).chain(args).collect();
                Ok(Expr { id, kind: call(&name, true, args) })
            }
        }
    }

    fn has(&mut self, at: u32, mut args: Vec<Expr>) -> Parsed {
        let arg = args.pop().expect("has is called with one argument");
        match arg.kind {
            Kind::Select { operand, field, test: false } => self.node(at, Kind::Select { operand, field, test: true }),
            _ => Err(Issues::one(self.offset(arg.id), "invalid argument to has() macro")),
        }
    }

    /// The variables of a macro, taken off its arguments: one, or two.
    fn variables(
        &mut self,
        args: &mut Vec<Expr>,
        two: bool,
        complaint: &str,
    ) -> Result<(Box<str>, Option<Box<str>>), Issues> {
        let mut names: Vec<Box<str>> = Vec::new();
        for arg in args.drain(..1 + usize::from(two)).collect::<Vec<_>>() {
            let Kind::Ident(name) = arg.kind else { return Err(Issues::one(self.offset(arg.id), complaint)) };
            if &*name == ACCUMULATOR || &*name == "__result__" {
                let why = "iteration variable overwrites accumulator variable";
                return Err(Issues::one(self.offset(arg.id), why));
            }
            if names.contains(&name) {
                return Err(Issues::one(self.offset(arg.id), format!("duplicate variable name: {name}")));
            }
            names.push(name);
        }
        let second = if two { names.pop() } else { None };
        Ok((names.pop().expect("a macro has a variable"), second))
    }

    fn accumulator(&mut self, at: u32) -> Parsed {
        self.node(at, Kind::Ident(ACCUMULATOR.into()))
    }

    fn literal(&mut self, at: u32, literal: Literal) -> Parsed {
        self.node(at, Kind::Literal(literal))
    }

    fn call_node(&mut self, at: u32, function: &str, args: Vec<Expr>) -> Parsed {
        self.node(at, call(function, false, args))
    }

    fn member_node(&mut self, at: u32, function: &str, args: Vec<Expr>) -> Parsed {
        self.node(at, call(function, true, args))
    }

    /// A copy whose nodes have names of their own.
    fn copy(&mut self, expr: &Expr) -> Parsed {
        let mut copy = expr.clone();
        self.rename(&mut copy)?;
        Ok(copy)
    }

    fn rename(&mut self, expr: &mut Expr) -> Result<(), Issues> {
        let at = self.offset(expr.id);
        expr.id = self.id(at)?;
        match &mut expr.kind {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => self.rename(operand)?,
            Kind::Call { args, .. } => args.iter_mut().try_for_each(|arg| self.rename(arg))?,
            Kind::List(elements) => elements.iter_mut().try_for_each(|element| self.rename(&mut element.value))?,
            Kind::Map(pairs) => pairs.iter_mut().try_for_each(|pair| {
                self.rename(&mut pair.key)?;
                self.rename(&mut pair.value)
            })?,
            Kind::Struct { fields, .. } => fields.iter_mut().try_for_each(|field| self.rename(&mut field.value))?,
            Kind::Comprehension(fold) => {
                let fold = &mut **fold;
                for part in [&mut fold.range, &mut fold.init, &mut fold.condition, &mut fold.step, &mut fold.result] {
                    self.rename(part)?;
                }
            }
        }
        Ok(())
    }

    fn quantifier(&mut self, at: u32, name: &str, target: Expr, mut args: Vec<Expr>) -> Parsed {
        let two = args.len() == 3;
        let (variable, second) = self.variables(&mut args, two, "argument must be a simple name")?;
        let predicate = args.pop().expect("a quantifier has a predicate");
        let (init, condition, step, result);
        match name {
            "all" => {
                init = self.literal(at, Literal::Bool(true))?;
                let held = self.accumulator(at)?;
                condition = self.call_node(at, "@not_strictly_false", vec![held])?;
                let held = self.accumulator(at)?;
                step = self.call_node(at, "_&&_", vec![held, predicate])?;
                result = self.accumulator(at)?;
            }
            "exists" => {
                init = self.literal(at, Literal::Bool(false))?;
                let held = self.accumulator(at)?;
                let not = self.call_node(at, "!_", vec![held])?;
                condition = self.call_node(at, "@not_strictly_false", vec![not])?;
                let held = self.accumulator(at)?;
                step = self.call_node(at, "_||_", vec![held, predicate])?;
                result = self.accumulator(at)?;
            }
            _ => {
                init = self.literal(at, Literal::Int(0))?;
                condition = self.literal(at, Literal::Bool(true))?;
                let held = self.accumulator(at)?;
                let one = self.literal(at, Literal::Int(1))?;
                let more = self.call_node(at, "_+_", vec![held, one])?;
                let held = self.accumulator(at)?;
                step = self.call_node(at, "_?_:_", vec![predicate, more, held])?;
                let held = self.accumulator(at)?;
                let one = self.literal(at, Literal::Int(1))?;
                result = self.call_node(at, "_==_", vec![held, one])?;
            }
        }
        self.fold(at, target, variable, second, ACCUMULATOR, [init, condition, step, result])
    }

    fn fold(
        &mut self,
        at: u32,
        range: Expr,
        variable: Box<str>,
        second: Option<Box<str>>,
        accumulator: &str,
        [init, condition, step, result]: [Expr; 4],
    ) -> Parsed {
        let accumulator = accumulator.into();
        let fold = Comprehension { range, variable, second, accumulator, init, condition, step, result };
        self.node(at, Kind::Comprehension(Box::new(fold)))
    }

    /// A fold that adds something to what it has, for the elements that a filter lets pass.
    fn collect(
        &mut self,
        at: u32,
        target: Expr,
        (variable, second): (Box<str>, Option<Box<str>>),
        init: Kind,
        filter: Option<Expr>,
        mut step: Expr,
    ) -> Parsed {
        let init = self.node(at, init)?;
        let condition = self.literal(at, Literal::Bool(true))?;
        if let Some(filter) = filter {
            let held = self.accumulator(at)?;
            step = self.call_node(at, "_?_:_", vec![filter, step, held])?;
        }
        let result = self.accumulator(at)?;
        self.fold(at, target, variable, second, ACCUMULATOR, [init, condition, step, result])
    }

    fn append(&mut self, at: u32, value: Expr) -> Parsed {
        let held = self.accumulator(at)?;
        let list = self.node(at, Kind::List(vec![Element { value, optional: false }]))?;
        self.call_node(at, "_+_", vec![held, list])
    }

    fn map_macro(&mut self, at: u32, target: Expr, mut args: Vec<Expr>, two: bool) -> Parsed {
        let complaint = if two { "argument must be a simple name" } else { "argument is not an identifier" };
        let variables = self.variables(&mut args, two, complaint)?;
        let transform = args.pop().expect("map has a transformation");
        let step = self.append(at, transform)?;
        self.collect(at, target, variables, Kind::List(Vec::new()), args.pop(), step)
    }

    fn filter(&mut self, at: u32, target: Expr, mut args: Vec<Expr>) -> Parsed {
        let element = self.copy(&args[0])?;
        let variables = self.variables(&mut args, false, "argument is not an identifier")?;
        let step = self.append(at, element)?;
        self.collect(at, target, variables, Kind::List(Vec::new()), args.pop(), step)
    }

    fn transform_map(&mut self, at: u32, target: Expr, mut args: Vec<Expr>, keyed: bool) -> Parsed {
        let variables = self.variables(&mut args, true, "argument must be a simple name")?;
        let transform = args.pop().expect("transformMap has a transformation");
        let mut insert = vec![self.accumulator(at)?];
        if keyed {
            insert.push(self.node(at, Kind::Ident(variables.0.clone()))?);
        }
        insert.push(transform);
        let step = self.call_node(at, "cel.@mapInsert", insert)?;
        self.collect(at, target, variables, Kind::Map(Vec::new()), args.pop(), step)
    }

    fn opt_map(&mut self, at: u32, target: Expr, mut args: Vec<Expr>, name: &str) -> Parsed {
        let body = args.pop().expect("optMap has a body");
        let Some(Expr { kind: Kind::Ident(variable), .. }) = args.pop() else {
            return Err(Issues::one(at, format!("{name}() variable name must be a simple identifier")));
        };
        let copy = self.copy(&target)?;
        let held = self.member_node(at, "hasValue", vec![target])?;
        let value = self.member_node(at, "value", vec![copy])?;
        let mut some = self.bind(at, &variable, value, body)?;
        if name == "optMap" {
            some = self.call_node(at, "optional.of", vec![some])?;
        }
        let none = self.call_node(at, "optional.none", Vec::new())?;
        self.call_node(at, "_?_:_", vec![held, some, none])
    }

    /// `body`, with a name for a value.
    fn bind(&mut self, at: u32, name: &str, value: Expr, body: Expr) -> Parsed {
        let range = self.node(at, Kind::List(Vec::new()))?;
        let never = self.literal(at, Literal::Bool(false))?;
        let same = self.node(at, Kind::Ident(name.into()))?;
        self.fold(at, range, UNUSED.into(), None, name, [value, never, same, body])
    }

    fn sort_by(&mut self, at: u32, target: Expr, args: Vec<Expr>) -> Parsed {
        const INPUT: &str = "@__sortBy_input__";
        let range = self.node(at, Kind::Ident(INPUT.into()))?;
        let keys = self.map_macro(at, range, args, false)?;
        let input = self.node(at, Kind::Ident(INPUT.into()))?;
        let sorted = self.member_node(at, "@sortByAssociatedKeys", vec![input, keys])?;
        self.bind(at, INPUT, target, sorted)
    }
}
