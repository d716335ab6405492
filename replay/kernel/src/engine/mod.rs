//! The engines behind `Guest`: a compiler that does the work, and an interpreter to check it by.
//!
//! Not here: what host calls mean (`host`), what is committed (`machine`).
//! Invariant: no type of an engine leaves this folder, and what goes through [`Instance`] means the same on both.

mod cache;
mod wasmer;
mod wasmi;

pub use cache::ArtifactCache;

use std::sync::Arc;

use crate::breaker::{Breaker, BrokenOff};
use crate::error::{LoadError, MachineError, StartError};
use crate::guest::{Guest, Val};
use crate::host::{HostState, ModuleFormat};
use crate::memory::{DirtyTracker, Image, Mapping, MemoryError};
use crate::profile::STACK_LIMIT;

/// Version of everything between the module's bytes and its machine code that is not in another part of the key: of
/// admission too, since a module whose artifact is found was admitted when that was made.
const PIPELINE: &str = "wasmer 7.4.2 cranelift speed pipeline 12";

/// What runs a module. No choice changes a result or a state, except that [`Engine::Original`] counts no gas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The compiler, on the module instrumented and lowered.
    #[default]
    Wasmer,
    /// The interpreter, on the module instrumented and not lowered.
    Wasmi,
    /// The interpreter, on the functions as published, legacy exceptions apart: no gas, NaN bits as this machine makes them, and a stack that
    /// is bounded elsewhere. To check the rewriting by, not to make receipts with.
    Original,
}

impl Engine {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasmer => "wasmer",
            Self::Wasmi => "wasmi",
            Self::Original => "wasmi on the original",
        }
    }
}

/// A module that instances are made from.
#[derive(Clone)]
pub(crate) enum Compiled {
    Wasmer(wasmer::Compiled),
    Wasmi(wasmi::Compiled),
}

/// How an instance is to be made.
pub(crate) struct Terms {
    pub(crate) format: ModuleFormat,
    pub(crate) host: HostState,
    /// Pages of 64 KiB that the memory may grow to.
    pub(crate) pages_max: u32,
}

/// Entries of tables, as words that mean something to one instance only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tables(Vec<Vec<usize>>);

/// One instance with all its state, on whatever thread it is needed.
pub(crate) trait Instance: Send {
    /// Runs `f`, once, with this instance as the guest.
    fn run(&mut self, f: &mut dyn FnMut(&mut dyn Guest));

    fn mapping(&self) -> &Mapping;

    /// For changes of content; the length is changed by the other methods alone.
    fn mapping_mut(&mut self) -> &mut Mapping;

    /// Makes the memory `bytes` long, whatever it was; what it held is lost if it was longer.
    fn set_bytes(&mut self, bytes: u64) -> Result<(), StartError>;

    /// Brings the memory, not the rest, back to `image`.
    fn restore(&mut self, image: &mut Image, tracker: &mut dyn DirtyTracker) -> Result<(), MachineError>;

    /// Whether the host failed to grow the memory since the last call: the guest was told of a refusal, so its step
    /// must not count.
    fn take_failure(&mut self) -> Option<MemoryError>;

    fn host(&mut self) -> &mut HostState;

    /// By what another thread breaks it off.
    fn breaker(&self) -> &Arc<Breaker>;

    /// The guest's mutable globals by index, as their bits.
    fn globals(&mut self) -> Vec<(u32, Val)>;

    /// Sets what `globals` gave.
    fn set_globals(&mut self, values: &[(u32, Val)]);

    /// The tables that some instruction of the module can change; empty if none can.
    fn tables(&self) -> Tables;

    /// Puts back what `tables` of this instance gave.
    fn set_tables(&mut self, tables: &Tables);

    /// The same entries as function indexes, which mean the same in every instance.
    fn table_functions(&self, tables: &Tables) -> Vec<Vec<Option<u32>>>;

    /// Puts back what `table_functions` of any instance of this module gave; `false` if it does not fit.
    fn set_table_functions(&mut self, tables: &[Vec<Option<u32>>]) -> bool;

    /// Whether quiet twins are to run from now on; they do if there are any and the module's state lets them.
    fn set_quiet(&mut self, _quiet: bool) {}
}

impl dyn Instance {
    /// Runs `f` with this instance as the guest, on a whole stack, until it ends or another thread breaks it off.
    pub(crate) fn evaluate<T>(&mut self, f: impl FnOnce(&mut dyn Guest) -> T) -> Result<T, BrokenOff> {
        let (mut f, mut result) = (Some(f), None);
        let breaker = Arc::clone(self.breaker());
        breaker.begin()?;
        self.run(&mut |guest| {
            guest.set_call_depth(STACK_LIMIT as i32);
            result = f.take().map(|f| f(guest));
        });
        breaker.end()?;
        Ok(result.expect("`run` calls what it is given once"))
    }
}

impl Compiled {
    /// Compiles what `lowered` gives, or takes its artifact from `cache`.
    ///
    /// `identity` names the original module, its admission and the rewriting: with the pipeline and the CPU it is the
    /// key.
    pub(crate) fn wasmer(
        lowered: impl FnOnce() -> Result<Vec<u8>, LoadError>,
        identity: &[&[u8]],
        cache: Option<&ArtifactCache>,
    ) -> Result<Self, LoadError> {
        wasmer::compile(lowered, identity, cache).map(Self::Wasmer)
    }

    /// Translates a module whose memory is the host's.
    pub(crate) fn wasmi(hosted: &[u8]) -> Result<Self, LoadError> {
        wasmi::compile(hosted).map(Self::Wasmi)
    }

    /// Pages of 64 KiB that the memory begins with.
    pub(crate) fn memory_pages_min(&self) -> u64 {
        match self {
            Self::Wasmer(compiled) => compiled.memory_pages_min(),
            Self::Wasmi(compiled) => compiled.memory_pages_min(),
        }
    }

    /// Instantiates, without running anything of the guest.
    pub(crate) fn instantiate(&self, terms: Terms) -> Result<Box<dyn Instance>, StartError> {
        Ok(match self {
            Self::Wasmer(compiled) => Box::new(wasmer::Instance::new(compiled, terms)?),
            Self::Wasmi(compiled) => Box::new(wasmi::Instance::new(compiled, terms)?),
        })
    }
}
