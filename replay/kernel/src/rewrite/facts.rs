//! Upper bounds of `i64` values, so that addresses known to be below 2^32 need no check.
//!
//! One pass forward over a body, no fixed point. For each local the *latest event in code order* is kept (a write, or
//! a check that passed) with the bound it gives. It holds at a later point if
//! * every path to that point went through the event: the event's *scope* is still open, where the scope is the
//!   innermost enclosing `if` arm, or `block` that some earlier branch already leaves (a later branch passes the event,
//!   and a `loop` ends only by falling through); and
//! * no path from the event to that point writes the local: writes in between would be the latest event, which leaves
//!   writes further down that a loop begun after the event can come back from.
//!
//! Not here: what is done with a bound.
//! Invariant: a bound is never too low on any executable path; on unreachable code bounds mean nothing.

use std::collections::BTreeMap;

use wasmparser::Operator;

use super::RewriteError;
use super::module::Shape;
use super::walk::Walker;

/// Frames searched for the scope of an event; beyond, the event is forgotten earlier than necessary.
const SCOPE_SEARCH_MAX: usize = 64;

/// What is known of one operand.
#[derive(Clone, Copy)]
pub(super) struct Value {
    /// The value as `u64` is at most this.
    max: u64,
    /// Whether it is exactly that.
    exact: bool,
    /// The local it was read from or written to, and at which position: it is the local's value until the next write.
    local: Option<(u32, u32)>,
}

impl Default for Value {
    fn default() -> Self {
        Self::at_most(u64::MAX)
    }
}

impl Value {
    fn at_most(max: u64) -> Self {
        Self { max, exact: false, local: None }
    }

    /// Whether the value is a 32-bit address.
    pub(super) fn is_narrow(self) -> bool {
        u32::try_from(self.max).is_ok()
    }
}

#[derive(Clone, Copy)]
struct Event {
    max: u64,
    at: u32,
    /// Position of the last write, if this event is a check.
    written: u32,
    scope_level: u32,
    scope_id: u32,
}

struct Scope {
    id: u32,
    /// Whether code after the frame's end can be reached without passing the current point.
    partial: bool,
}

struct Loop {
    level: u32,
    begin: u32,
    end: u32,
}

/// Where locals are written and where loops end: what a forward pass cannot know in time.
pub(super) struct Outline {
    /// Positions of the writes of each local that is written inside of some loop, ascending.
    writes: BTreeMap<u32, Vec<u32>>,
    /// Position of the `end` of each loop, by the position of the `loop`.
    loop_ends: BTreeMap<u32, u32>,
}

impl Outline {
    pub(super) fn of(ops: &[(Operator<'_>, u64)]) -> Self {
        let mut outline = Self { writes: BTreeMap::new(), loop_ends: BTreeMap::new() };
        let mut open = Vec::new();
        let mut loops = 0_u32;
        for (at, (op, _)) in (0_u32..).zip(ops) {
            match op {
                Operator::Loop { .. } => {
                    loops += 1;
                    open.push(Some(at));
                }
                Operator::Block { .. } | Operator::If { .. } => open.push(None),
                Operator::End => {
                    if let Some(Some(begin)) = open.pop() {
                        loops -= 1;
                        outline.loop_ends.insert(begin, at);
                    }
                }
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } if loops > 0 => {
                    outline.writes.entry(*local_index).or_default().push(at);
                }
                _ => {}
            }
        }
        outline
    }

    /// Whether `local` is written after position `at` and not after position `end`.
    fn written_between(&self, local: u32, at: u32, end: u32) -> bool {
        let Some(writes) = self.writes.get(&local) else { return false };
        let next = writes.partition_point(|write| *write <= at);
        writes.get(next).is_some_and(|write| *write <= end)
    }
}

/// The facts at one point of a body.
pub(super) struct Facts<'s> {
    walker: Walker<'s, Value>,
    outline: Outline,
    params: u32,
    events: BTreeMap<u32, Event>,
    scopes: Vec<Scope>,
    loops: Vec<Loop>,
    at: u32,
    scope_ids: u32,
}

impl<'s> Facts<'s> {
    pub(super) fn new(shape: &'s Shape, type_index: u32, params: u32, outline: Outline) -> Self {
        Self {
            walker: Walker::new(shape, type_index),
            outline,
            params,
            events: BTreeMap::new(),
            scopes: vec![Scope { id: 0, partial: false }],
            loops: Vec::new(),
            at: 0,
            scope_ids: 0,
        }
    }

    /// What is known of the operand `below` entries under the top.
    pub(super) fn operand(&self, below: usize) -> Value {
        let value = self.walker.peek(below);
        match self.held(value) {
            Some(local) => Value { max: value.max.min(self.local_max(local)), ..value },
            None => value,
        }
    }

    /// Takes note that the operand `below` entries under the top was just checked to be a 32-bit address.
    pub(super) fn checked(&mut self, below: usize) {
        if let Some(local) = self.held(self.walker.peek(below)) {
            let written = self.written(local);
            self.event(local, u64::from(u32::MAX), written);
        }
    }

    /// The local whose present value this is.
    fn held(&self, value: Value) -> Option<u32> {
        let (local, since) = value.local?;
        (self.written(local) <= since).then_some(local)
    }

    fn written(&self, local: u32) -> u32 {
        self.events.get(&local).map_or(0, |event| event.written)
    }

    /// Takes the effect of one operator.
    pub(super) fn step(&mut self, op: &Operator<'_>, offset: u64) -> Result<(), RewriteError> {
        let top = self.operand(0);
        let result = self.result_of(op, top);
        self.walker.step(op, offset)?;
        match op {
            Operator::Block { .. } => self.open(false),
            Operator::If { .. } => self.open(true),
            Operator::Loop { .. } => {
                let level = self.scopes.len() as u32;
                let end = self.outline.loop_ends.get(&self.at).copied().unwrap_or(u32::MAX);
                self.loops.push(Loop { level, begin: self.at, end });
                self.open(false);
            }
            Operator::Else => {
                self.scopes.pop();
                self.open(true);
            }
            Operator::End => {
                self.scopes.pop();
                self.loops.pop_if(|innermost| innermost.level as usize >= self.scopes.len());
            }
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => self.leaves(*relative_depth),
            Operator::BrTable { targets } => {
                for target in targets.targets() {
                    self.leaves(target?);
                }
                self.leaves(targets.default());
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.event(*local_index, top.max, self.at);
            }
            _ => {}
        }
        if let Some(value) = result {
            self.walker.set_top(value);
        }
        self.at += 1;
        Ok(())
    }

    fn open(&mut self, partial: bool) {
        self.scope_ids += 1;
        self.scopes.push(Scope { id: self.scope_ids, partial });
    }

    /// A branch to the label `depth` frames out: what comes after that frame can be reached from here.
    fn leaves(&mut self, depth: u32) {
        let Some(index) = self.scopes.len().checked_sub(depth as usize + 1) else { return };
        // A branch to a loop goes back to its beginning and does not reach its end.
        if self.loops.binary_search_by_key(&(index as u32), |it| it.level).is_err() {
            self.scopes[index].partial = true;
        }
    }

    fn event(&mut self, local: u32, max: u64, written: u32) {
        let near = self.scopes.iter().enumerate().rev().take(SCOPE_SEARCH_MAX);
        let found = near.clone().find(|(_, scope)| scope.partial).or_else(|| near.clone().next_back());
        let Some((level, scope)) = found else { return };
        let event = Event { max, at: self.at, written, scope_level: level as u32, scope_id: scope.id };
        self.events.insert(local, event);
    }

    fn local_max(&self, local: u32) -> u64 {
        let Some(event) = self.events.get(&local) else {
            // Never written so far: a parameter is anything, other locals begin as zero.
            let begun = self.loops.first().is_some_and(|it| self.outline.written_between(local, self.at, it.end));
            return if local < self.params || begun { u64::MAX } else { 0 };
        };
        let scope = self.scopes.get(event.scope_level as usize);
        if scope.is_none_or(|scope| scope.id != event.scope_id) {
            return u64::MAX;
        }
        let later = self.loops.partition_point(|it| it.begin < event.at);
        match self.loops.get(later) {
            Some(outermost) if self.outline.written_between(local, self.at, outermost.end) => u64::MAX,
            _ => event.max,
        }
    }

    /// What is known of the `i64` that `op` will leave on top, if anything.
    fn result_of(&self, op: &Operator<'_>, top: Value) -> Option<Value> {
        use Operator::*;
        let under = || self.operand(1);
        let from_local = |local, max| Some(Value { local: Some((local, self.at)), ..Value::at_most(max) });
        let max = match *op {
            LocalGet { local_index } => return from_local(local_index, self.local_max(local_index)),
            LocalTee { local_index } => return from_local(local_index, top.max),
            I64Const { value } => return Some(Value { exact: true, ..Value::at_most(value as u64) }),
            I64ExtendI32U | I64Load32U { .. } => u64::from(u32::MAX),
            I64Load16U { .. } => u64::from(u16::MAX),
            I64Load8U { .. } => u64::from(u8::MAX),
            I64Clz | I64Ctz | I64Popcnt => 64,
            I64And | I64RemU => top.max.min(under().max),
            I64Or | I64Xor => u64::MAX.checked_shr((top.max | under().max).leading_zeros()).unwrap_or(0),
            I64Add => under().max.checked_add(top.max)?,
            I64Mul => under().max.checked_mul(top.max)?,
            I64DivU => under().max,
            I64ShrU if top.exact => under().max >> (top.max & 63),
            I64ShrU => under().max,
            I64Shl if top.exact => under().max.checked_mul(1 << (top.max & 63))?,
            Select => under().max.max(self.operand(2).max),
            MemorySize { .. } => super::MEMORY_PAGES_MAX,
            _ => return None,
        };
        // Results of other types than `i64` may get a bound here too; nothing ever asks for it.
        Some(Value::at_most(max))
    }
}
