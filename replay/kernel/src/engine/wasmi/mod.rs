//! The checking engine: wasmi, an interpreter that shares no code with the compiler and runs memory64 as it is.
//!
//! Not here: which passes a module went through (`module`).
//! Invariant: as for all engines, see the parent. Nothing is bounded here that instrumentation bounds: its own limits
//! lie beyond those.

mod instance;
mod memory;

pub(super) use instance::Instance;

use std::sync::Arc;

use wasmi::{CompilationMode, Config, Engine, ExternType};

use crate::error::LoadError;
use crate::profile::STACK_LIMIT;
use crate::rewrite::{EXPORT_FUNCTION_PREFIX, FRAME_COST, HOSTED_MODULE};

/// Calls that may be nested: each takes at least a frame of what the counter admits.
const CALL_DEPTH_MAX: usize = STACK_LIMIT as usize / FRAME_COST as usize + 1024;

/// Bytes of values on the stack: 16 times what the counter admits.
const STACK_BYTES_MAX: usize = 64 << 20;

/// A translated module that instances are made from.
#[derive(Clone)]
pub(crate) struct Compiled {
    engine: Engine,
    module: wasmi::Module,
}

impl Compiled {
    /// Pages of 64 KiB that the memory begins with.
    pub(super) fn memory_pages_min(&self) -> u64 {
        self.memory_type().map_or(0, wasmi::MemoryType::minimum)
    }

    fn memory_type(&self) -> Option<wasmi::MemoryType> {
        self.module.imports().find_map(|import| match import.ty() {
            ExternType::Memory(ty) if import.module() == HOSTED_MODULE => Some(*ty),
            _ => None,
        })
    }

    /// Whether no instruction can change a table: the functions of other modules are exported, to save tables by.
    fn tables_fixed(&self) -> bool {
        !self.module.exports().any(|export| export.name().starts_with(EXPORT_FUNCTION_PREFIX))
    }
}

/// Translates a module whose memory is the host's.
pub(super) fn compile(hosted: &[u8]) -> Result<Compiled, LoadError> {
    let mut config = Config::default();
    // Fuel is what a call pauses by, see `instance`; where a function is translated on its first call, it cannot pause.
    config.consume_fuel(true).compilation_mode(CompilationMode::Eager);
    config.set_max_recursion_depth(CALL_DEPTH_MAX).set_max_stack_height(STACK_BYTES_MAX);
    let engine = Engine::new(&config);
    let module = wasmi::Module::new(&engine, hosted).map_err(|error| LoadError::Compile(Arc::new(error)))?;
    Ok(Compiled { engine, module })
}
