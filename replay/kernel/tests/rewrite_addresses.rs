//! Programs made to deceive the address facts: an access whose check is wrongly left out reads low memory where the
//! oracle traps.
//!
//! Every program mixes narrow addresses with ones that are the same plus 2^32, over random nests of blocks, loops and
//! ifs with early exits. `REWRITE_PROGRAMS` sets how many, `REWRITE_SEED` where to begin.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test says how much it did, takes its size from outside, and shares a support module"
)]

mod rewrite_support;

use ao_kernel::rewrite::{Plan, instrument, lower};
use rewrite_support::{Machine, Rng, Trap, V, Wasmer, Wasmi};
use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, ValType};

const PARAMS: u32 = 3;
const LOCALS: u32 = 6;
/// Loops open at once.
const LOOPS: u32 = 4;
const FUEL: i32 = 300;

struct Generator {
    rng: Rng,
    open: u32,
    loops: u32,
}

impl Generator {
    fn local(&mut self) -> u32 {
        self.rng.below(u64::from(LOCALS)) as u32
    }

    fn memarg(&mut self) -> MemArg {
        let offset = match self.rng.below(40) {
            0 => (1 << 32) + 8,
            1 => u64::from(u32::MAX) - self.rng.below(9),
            _ => self.rng.below(64),
        };
        MemArg { offset, align: 0, memory_index: 0 }
    }

    /// Pushes an `i64`, seldom a large one.
    fn value(&mut self, out: &mut InstructionSink<'_>, depth: u32) {
        let local = self.local();
        match self.rng.below(if depth > 3 { 4 } else { 16 }) {
            0 => out.i64_const(self.rng.below(4096) as i64),
            1 if self.rng.below(6) == 0 => out.i64_const((1 << 32) + self.rng.below(4096) as i64),
            1..=3 => out.local_get(local),
            4 => {
                self.value(out, depth + 1);
                out.local_tee(local)
            }
            5 => {
                self.value(out, depth + 1);
                out.i32_wrap_i64().i64_extend_i32_u()
            }
            6 => {
                self.value(out, depth + 1);
                out.i64_const([0xFFF, 0xFFFF_FFFF, 0x1_0000_0FFF][self.rng.below(3) as usize]).i64_and()
            }
            7 => {
                self.value(out, depth + 1);
                out.i64_const([3, 31, 32, 52, 64][self.rng.below(5) as usize]).i64_shr_u()
            }
            8 => {
                self.value(out, depth + 1);
                self.value(out, depth + 1);
                match self.rng.below(6) {
                    0 => out.i64_or(),
                    1 => out.i64_xor(),
                    2 => out.i64_mul(),
                    _ => out.i64_add(),
                }
            }
            9 => {
                self.value(out, depth + 1);
                out.i64_const([0, 1, 20, 33][self.rng.below(4) as usize]).i64_shl()
            }
            10 | 11 => {
                self.address(out, depth + 1);
                let memarg = self.memarg();
                match self.rng.below(4) {
                    0 => out.i64_load32_u(memarg),
                    1 => out.i64_load8_u(memarg),
                    _ => out.i64_load(memarg),
                }
            }
            12 => {
                self.value(out, depth + 1);
                self.value(out, depth + 1);
                out.local_get(local).i64_const(1).i64_and().i64_eqz().select()
            }
            13 => {
                // The local changes between the push and the use of its old value.
                out.local_get(local);
                self.value(out, depth + 1);
                out.local_set(local).i64_const(0).i64_add()
            }
            14 => out.memory_size(0),
            _ => out.local_get(local).i64_const(self.rng.below(64) as i64).i64_sub(),
        };
    }

    /// Pushes an address: most often a bare local, so that facts about locals are what decides.
    fn address(&mut self, out: &mut InstructionSink<'_>, depth: u32) {
        if self.rng.below(4) == 0 {
            self.value(out, depth);
        } else {
            out.local_get(self.local());
        }
    }

    fn condition(&mut self, out: &mut InstructionSink<'_>) {
        out.local_get(self.local()).i64_const(1 << self.rng.below(5)).i64_and().i64_eqz();
    }

    fn statements(&mut self, out: &mut InstructionSink<'_>, depth: u32) {
        for _ in 0..=self.rng.below(5) {
            self.statement(out, depth);
        }
    }

    fn statement(&mut self, out: &mut InstructionSink<'_>, depth: u32) {
        match self.rng.below(if depth > 4 { 8 } else { 14 }) {
            0..=2 => {
                self.value(out, 0);
                out.local_set(self.local());
            }
            3 | 4 => {
                self.address(out, 0);
                let memarg = self.memarg();
                if memarg.offset < 64 {
                    self.value(out, 1);
                } else {
                    // wasmi 2.0.0 panics on a large offset if address and value are the same register.
                    out.i64_const(1);
                }
                out.i64_store(memarg);
            }
            5 => {
                self.address(out, 0);
                out.i64_load(self.memarg()).local_set(self.local());
            }
            6 | 7 => {
                self.condition(out);
                // Depth 0 is the innermost open block; a branch to a loop is bounded by the fuel it burns.
                out.br_if(self.rng.below(u64::from(self.open)) as u32);
            }
            8 | 9 => self.nest(out, depth, |out| out.block(BlockType::Empty)),
            10 | 11 if self.loops < LOOPS => {
                self.loops += 1;
                let fuel = LOCALS;
                self.nest(out, depth, |out| {
                    out.loop_(BlockType::Empty).local_get(fuel).i32_eqz().if_(BlockType::Empty).unreachable().end();
                    out.local_get(fuel).i32_const(1).i32_sub().local_set(fuel)
                });
                self.loops -= 1;
            }
            12 => {
                self.condition(out);
                self.open += 1;
                out.if_(BlockType::Empty);
                self.statements(out, depth + 1);
                out.else_();
                self.statements(out, depth + 1);
                out.end();
                self.open -= 1;
            }
            _ => {
                self.condition(out);
                self.nest(out, depth, |out| out.if_(BlockType::Empty));
            }
        }
    }

    fn nest<'a>(
        &mut self,
        out: &mut InstructionSink<'a>,
        depth: u32,
        begin: impl for<'b> FnOnce(&'b mut InstructionSink<'a>) -> &'b mut InstructionSink<'a>,
    ) {
        begin(out);
        self.open += 1;
        self.statements(out, depth + 1);
        // Often a way back or out at the end of a block: the back edge of a loop.
        if self.rng.below(2) == 0 {
            self.condition(out);
            out.br_if(0);
        }
        out.end();
        self.open -= 1;
    }

    fn module(mut self) -> Vec<u8> {
        let wide = LOCALS - PARAMS;
        let mut function = Function::new([(wide, ValType::I64), (1, ValType::I32)]);
        let mut out = function.instructions();
        out.i32_const(FUEL).local_set(PARAMS + wide).block(BlockType::Empty);
        for _ in 0..4 {
            self.statements(&mut out, 0);
        }
        out.end().local_get(0).local_get(1).i64_xor().local_get(4).i64_xor().end();

        let mut module = wasm_encoder::Module::new();
        let mut types = wasm_encoder::TypeSection::new();
        types.ty().function([ValType::I64; PARAMS as usize], [ValType::I64]);
        let mut functions = wasm_encoder::FunctionSection::new();
        functions.function(0);
        let mut memories = wasm_encoder::MemorySection::new();
        memories.memory(wasm_encoder::MemoryType {
            minimum: 1,
            maximum: Some(2),
            memory64: true,
            shared: false,
            page_size_log2: None,
        });
        let mut exports = wasm_encoder::ExportSection::new();
        exports.export("run", wasm_encoder::ExportKind::Func, 0);
        let mut code = wasm_encoder::CodeSection::new();
        code.function(&function);
        module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
        module.finish()
    }
}

fn argument(rng: &mut Rng) -> V {
    V::I64(rng.below(4096) & !7 | if rng.below(4) == 0 { 1 << 32 } else { 0 })
}

#[test]
fn address_facts_never_let_a_wide_address_alias_a_narrow_one() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (programs, begin) = (number("REWRITE_PROGRAMS", 500_u64), number("REWRITE_SEED", 0_u64));
    let plan = Plan { stack_limit: None, canonical_nan: false, gas: None };
    let (mut returned, mut out_of_bounds) = (0_u64, 0_u64);
    for seed in begin..begin + programs {
        let wasm = Generator { rng: Rng(seed), open: 1, loops: 0 }.module();
        let instrumented = instrument(&wasm, &plan).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let lowered = lower(&instrumented).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut fast = Wasmer::start(&lowered).expect("instantiates");
        let mut oracle = Wasmi::start(&instrumented).expect("instantiates");
        let mut rng = Rng(!seed);
        for _ in 0..6 {
            let args = [argument(&mut rng), argument(&mut rng), argument(&mut rng)];
            let (left, right) = (fast.call("run", &args), oracle.call("run", &args));
            assert_eq!(left, right, "seed {seed}: {args:x?}");
            assert_eq!(fast.state(), oracle.state(), "seed {seed}: {args:x?}");
            returned += u64::from(left.is_ok());
            out_of_bounds += u64::from(left == Err(Trap::Memory));
        }
    }
    println!("{programs} programs: {returned} calls returned, {out_of_bounds} were out of bounds");
    assert!(
        returned > programs && out_of_bounds > programs,
        "both kinds of outcome occur: {returned}, {out_of_bounds}"
    );
}
