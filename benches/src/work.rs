//! What gas is measured on: loops of one operator each, small compiled programs, and Lua on aos.
//!
//! Not here: how long they take (`benches/gas.rs`, the `gas` command).
//! Invariant: a piece of work is the same in every run, and its gas with it.

use wasmer::sys::{Cranelift, CraneliftOptLevel, EngineBuilder};
use wasmer::{Global, Imports, Instance, Module, Store, TypedFunction, Value};

use ao_kernel::rewrite::{EXPORT_GAS, Plan, instrument, lower};

use crate::at_root;

/// Turns of a loop of operators.
pub const TURNS: u32 = 20_000;
/// How often the operator stands in the body of its loop.
const COPIES: usize = 32;

/// Lua programs for aos: a name, and what an Eval evaluates.
pub const LUA: [(&str, &str); 5] = [
    ("aos, trivial Eval", "return 1 + 1"),
    ("aos, Lua loop", "local s = 0 for i = 1, 50000 do s = (s * 31 + i) % 65521 end return s"),
    (
        "aos, table churn",
        "local t = {} for i = 1, 3000 do t[i] = { i, tostring(i * 7919 % 3001) } end \
         table.sort(t, function(a, b) return a[2] < b[2] end) return t[1][1]",
    ),
    (
        "aos, string work",
        "local p = {} for i = 1, 2000 do p[#p + 1] = string.format('%05d:%s', i, string.rep('x', i % 17)) end \
         local s, n = table.concat(p, ','):gsub('x+', 'y') return n",
    ),
    (
        "aos, pcall",
        "local n = 0 for i = 1, 1000 do pcall(function() if i % 2 == 0 then error('no') end n = n + 1 end) end return n",
    ),
];

/// Compiled programs of `fixtures/guests`: a name, and how many rounds make a measurement.
pub const PROGRAMS: [(&str, u32); 3] = [("work_hash", 20), ("work_float", 50), ("work_tree", 10)];

/// A compiled program of `fixtures/guests`.
pub fn program(name: &str) -> Vec<u8> {
    let path = at_root(&format!("fixtures/guests/built/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Operators, as what is repeated: `$a` is an `i32`, `$b` an `i64`, `$f` an `f64`, `$v` a `v128`; memory has 8 MiB.
pub const OPERATORS: [(&str, &str); 44] = [
    ("i32.add", "(local.set $a (i32.add (local.get $a) (local.get $n)))"),
    ("i32.xor, const", "(local.set $a (i32.xor (local.get $a) (i32.const 77)))"),
    ("i64.add", "(local.set $b (i64.add (local.get $b) (i64.const 7)))"),
    ("i32.mul", "(local.set $a (i32.mul (local.get $a) (i32.const 77)))"),
    ("i64.mul", "(local.set $b (i64.mul (local.get $b) (i64.const 77)))"),
    ("i32.rotl", "(local.set $a (i32.rotl (local.get $a) (local.get $n)))"),
    ("i32.clz", "(local.set $a (i32.clz (i32.add (local.get $a) (local.get $n))))"),
    ("i64.popcnt", "(local.set $b (i64.popcnt (i64.add (local.get $b) (i64.const 99))))"),
    ("i32.lt, select", "(local.set $a (select (local.get $n) (i32.const 9) (i32.lt_u (local.get $a) (i32.const 50))))"),
    ("i32.div_u", "(local.set $a (i32.div_u (i32.const 1000000007) (i32.or (local.get $a) (i32.const 3))))"),
    ("i32.rem_s", "(local.set $a (i32.rem_s (i32.const 1000000007) (i32.or (local.get $a) (i32.const 3))))"),
    ("i64.div_u", "(local.set $b (i64.div_u (i64.const 1000000000000007) (i64.or (local.get $b) (i64.const 3))))"),
    ("i64.rem_u", "(local.set $b (i64.rem_u (i64.const 1000000000000007) (i64.or (local.get $b) (i64.const 3))))"),
    ("i32.load, chained", "(local.set $a (i32.load (i32.and (local.get $a) (i32.const 0xfffc))))"),
    (
        "i32.load, near",
        "(local.set $a (i32.add (local.get $a) (i32.load offset=64 (i32.and (local.get $n) (i32.const 0xfffc)))))",
    ),
    (
        "i32.load, far",
        "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1103515245)) (i32.const 12345))) \
         (local.set $a (i32.add (local.get $a) (i32.load (i32.and (i32.shr_u (local.get $a) (i32.const 9)) (i32.const 0x7ffffc)))))",
    ),
    ("i32.store, near", "(i32.store (i32.and (local.get $n) (i32.const 0xfffc)) (local.get $a))"),
    (
        "i32.store, far",
        "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1103515245)) (i32.const 12345))) \
         (i32.store (i32.and (i32.shr_u (local.get $a) (i32.const 9)) (i32.const 0x7ffffc)) (local.get $a))",
    ),
    ("i64.load8_u", "(local.set $b (i64.load8_u (i32.and (i32.wrap_i64 (local.get $b)) (i32.const 0xffff))))"),
    (
        "local.set, local.get",
        "(local.set $c (local.get $a)) (local.set $a (local.get $d)) (local.set $d (local.get $c))",
    ),
    ("global.set, global.get", "(global.set $g (i32.add (global.get $g) (local.get $n)))"),
    (
        "br_if, never",
        "(block (br_if 0 (i32.eq (local.get $n) (i32.const -1))) (local.set $a (i32.add (local.get $a) (i32.const 1))))",
    ),
    (
        "br_if, by turns",
        "(block (br_if 0 (i32.and (local.tee $a (i32.add (local.get $a) (local.get $n))) (i32.const 1))) (local.set $d (i32.add (local.get $d) (i32.const 3))))",
    ),
    (
        "if, at random",
        "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1103515245)) (i32.const 12345))) \
         (if (i32.and (i32.shr_u (local.get $a) (i32.const 20)) (i32.const 1)) (then (local.set $d (i32.add (local.get $d) (i32.const 3)))) \
         (else (local.set $d (i32.xor (local.get $d) (i32.const 5)))))",
    ),
    (
        "br_table",
        "(block (block (block (block (br_table 0 1 2 3 (i32.and (local.tee $a (i32.add (local.get $a) (local.get $n))) (i32.const 3)))) \
         (local.set $d (i32.add (local.get $d) (i32.const 3)))) (local.set $d (i32.xor (local.get $d) (i32.const 5)))) \
         (local.set $d (i32.mul (local.get $d) (i32.const 7))))",
    ),
    ("call", "(local.set $a (call $next (local.get $a)))"),
    (
        "call_indirect",
        "(local.set $a (call_indirect (param i32) (result i32) (local.get $a) (i32.and (local.get $n) (i32.const 1))))",
    ),
    ("f64.add", "(local.set $f (f64.add (local.get $f) (f64.const 0.25)))"),
    ("f64.mul", "(local.set $f (f64.mul (local.get $f) (f64.const 1.0000001)))"),
    ("f64.div", "(local.set $f (f64.div (f64.const 3.5) (local.get $f)))"),
    ("f64.sqrt", "(local.set $f (f64.sqrt (f64.add (local.get $f) (f64.const 2))))"),
    ("f64.min", "(local.set $f (f64.min (local.get $f) (f64.const 9.5)))"),
    ("f64.floor", "(local.set $f (f64.floor (f64.mul (local.get $f) (f64.const 1.5))))"),
    (
        "f64.convert, trunc_sat",
        "(local.set $f (f64.convert_i32_s (i32.add (i32.trunc_sat_f64_s (local.get $f)) (i32.const 1))))",
    ),
    ("f32.add", "(local.set $s (f32.add (local.get $s) (f32.const 0.25)))"),
    ("i32x4.add", "(local.set $v (i32x4.add (local.get $v) (i32x4.splat (local.get $n))))"),
    ("i32x4.mul", "(local.set $v (i32x4.mul (local.get $v) (local.get $v)))"),
    ("i64x2.mul", "(local.set $v (i64x2.mul (local.get $v) (local.get $v)))"),
    (
        "i8x16.shuffle",
        "(local.set $v (i8x16.shuffle 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 0 (local.get $v) (local.get $v)))",
    ),
    ("f64x2.add", "(local.set $v (f64x2.add (local.get $v) (local.get $v)))"),
    ("memory.fill, 64 bytes", "(memory.fill (i32.const 4096) (local.get $a) (i32.const 64))"),
    ("memory.copy, 4 KiB", "(memory.copy (i32.const 65536) (i32.const 131072) (i32.const 4096))"),
    ("memory.copy, 256 KiB", "(memory.copy (i32.const 65536) (i32.const 1048576) (i32.const 262144))"),
    ("memory.grow", "(drop (memory.grow (i32.const 0)))"),
];

/// A module that exports `run`, a loop of one of the [`OPERATORS`].
pub fn operator_loop(body: &str) -> Vec<u8> {
    let copies = body.repeat(COPIES);
    let text = format!(
        r#"(module (memory 128) (table funcref (elem $next $other)) (global $g (mut i32) (i32.const 0))
             (func $next (param i32) (result i32) (i32.add (local.get 0) (i32.const 3)))
             (func $other (param i32) (result i32) (i32.sub (local.get 0) (i32.const 3)))
             (func (export "run") (param $n i32) (result i32)
               (local $a i32) (local $b i64) (local $c i32) (local $d i32) (local $f f64) (local $s f32) (local $v v128)
               (local.set $f (f64.const 1.5)) (local.set $a (i32.const 12345))
               (loop {copies} (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
               (i32.xor (i32.xor (local.get $a) (local.get $d)) (i32.xor (i32.wrap_i64 (local.get $b))
                 (i32.xor (i32.trunc_sat_f64_s (local.get $f)) (i32.xor (i32.trunc_sat_f32_s (local.get $s)) (i32x4.extract_lane 0 (local.get $v))))))))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{body}: {error}"))
}

/// An instance of a module that exports `run` and imports nothing, on the bare engine.
pub struct Plain {
    store: Store,
    run: TypedFunction<u32, u32>,
    gas: Global,
}

impl Plain {
    /// Rewrites as `plan` says, compiles and instantiates.
    pub fn new(wasm: &[u8], plan: &Plan) -> Self {
        let mut compiler = Cranelift::default();
        compiler.opt_level(CraneliftOptLevel::Speed);
        let mut store = Store::new(EngineBuilder::new(compiler));
        let module = Module::new(&store, lower(&instrument(wasm, plan).unwrap()).unwrap()).unwrap();
        let instance = Instance::new(&mut store, &module, &Imports::new()).unwrap();
        let run = instance.exports.get_typed_function(&store, "run").unwrap();
        let gas = instance.exports.get_global(EXPORT_GAS).unwrap().clone();
        Self { store, run, gas }
    }

    /// Runs, and gives the result and the gas that it took.
    pub fn run(&mut self, rounds: u32) -> (u32, u64) {
        self.gas.set(&mut self.store, Value::I64(i64::MAX)).unwrap();
        let result = std::hint::black_box(self.run.call(&mut self.store, rounds).unwrap());
        (result, i64::MAX.abs_diff(self.gas.get(&mut self.store).i64().unwrap()))
    }
}
