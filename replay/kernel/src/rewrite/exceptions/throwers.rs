//! Which functions an exception may leave.
//!
//! Not here: what is done about it (`body`).
//! Invariant: a function that is not named never returns with an exception pending. Which handlers stand around a call is not
//! asked, and any function may be behind an indirect call of its type: too many are named, never too few.

use std::collections::BTreeMap;

use wasmparser::{FuncType, FunctionBody, Operator, Parser, Payload, TypeRef};

use crate::rewrite::RewriteError;
use crate::rewrite::module::Shape;

/// The answer for each function, and for each type of indirect call.
pub(super) struct Throwers {
    functions: usize,
    /// For each type, the first type equal to it.
    classes: Vec<usize>,
    /// Functions, and behind them classes of types.
    may_throw: Vec<bool>,
}

impl Throwers {
    pub(super) fn find(wasm: &[u8], shape: &Shape, bodies: &[(FunctionBody<'_>, u32)]) -> Result<Self, RewriteError> {
        let functions = shape.functions.len();
        let classes = classes(shape);
        // Who may throw if the one at this place does.
        let mut callers: Vec<Vec<usize>> = vec![Vec::new(); functions + classes.len()];
        for (function, ty) in shape.functions.iter().enumerate() {
            callers[function].extend(classes.get(*ty as usize).map(|class| functions + class));
        }
        let mut found = reentrant_imports(wasm)?;
        for (function, (body, _)) in (shape.imported_functions as usize..).zip(bodies) {
            let mut ops = body.get_operators_reader()?;
            while !ops.eof() {
                let (op, offset) = ops.read_with_offset()?;
                let callee = match op {
                    Operator::Throw { .. } | Operator::Rethrow { .. } => {
                        found.push(function);
                        continue;
                    }
                    Operator::Call { function_index } => Some(function_index as usize).filter(|it| *it < functions),
                    Operator::CallIndirect { type_index, .. } => {
                        classes.get(type_index as usize).map(|class| functions + class)
                    }
                    _ => continue,
                };
                callers[callee.ok_or(RewriteError::Invalid { what: "index of a call", offset })?].push(function);
            }
        }
        let mut may_throw = vec![false; callers.len()];
        while let Some(place) = found.pop() {
            if !std::mem::replace(&mut may_throw[place], true) {
                found.append(&mut callers[place]);
            }
        }
        Ok(Self { functions, classes, may_throw })
    }

    pub(super) fn function(&self, index: u32) -> bool {
        self.may_throw[..self.functions].get(index as usize).is_some_and(|it| *it)
    }

    /// Whether an indirect call with this type index may throw.
    pub(super) fn indirect(&self, type_index: u32) -> bool {
        self.classes.get(type_index as usize).is_some_and(|class| self.may_throw[self.functions + class])
    }
}

fn classes(shape: &Shape) -> Vec<usize> {
    let mut first: BTreeMap<&FuncType, usize> = BTreeMap::new();
    let types = (0..shape.types.len()).map(|index| {
        let ty = shape.function_type(index as u32);
        ty.map_or(index, |ty| *first.entry(ty).or_insert(index))
    });
    types.collect()
}

/// Imports that call back into the guest: `invoke_*`, whatever its name where names are minified.
fn reentrant_imports(wasm: &[u8]) -> Result<Vec<usize>, RewriteError> {
    let mut found = Vec::new();
    let mut function = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::ImportSection(section) = payload? else { continue };
        for import in section.into_imports() {
            let import = import?;
            if matches!(import.ty, TypeRef::Func(_)) {
                if import.module == "a" || import.name.starts_with("invoke_") {
                    found.push(function);
                }
                function += 1;
            }
        }
    }
    Ok(found)
}
