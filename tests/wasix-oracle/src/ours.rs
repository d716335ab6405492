//! A guest on the kernel.

use ao_kernel::guest::Interrupt;
use ao_kernel::{Machine, Module, ModuleFormat, ProcessLimits, Tracker};

use crate::{Ended, output};

const LIMITS: ProcessLimits = ProcessLimits { memory_bytes_max: 1 << 30, compute_max: 9_000_000_000_000 };

/// A process of ours.
pub struct Ours(Machine);

impl Ours {
    /// Starts a guest.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(wasm: &[u8]) -> Self {
        let module = Module::load(wasm, ModuleFormat::Wasip1, None).expect("admitted");
        Self(Machine::start(&module, "{}".into(), &LIMITS, Tracker::Best).expect("it starts"))
    }

    /// Gives it a message.
    ///
    /// # Panics
    /// If it ends as no guest over WASI does.
    pub fn ask(&mut self, message: &str) -> Ended {
        let step = self.0.step(message).expect("a step needs nothing of the host");
        match step.interrupt {
            None => Ended::Answer(output(std::str::from_utf8(&step.evaluated.result_json).expect("JSON"))),
            Some(Interrupt::Exit(status)) => Ended::Exit(status),
            Some(Interrupt::Trap(_)) => Ended::Trap,
            Some(other) => panic!("{message}: {other:?}"),
        }
    }
}
