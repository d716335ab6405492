//! Passes that leave every function as it is: hidden exports without instrumentation, and a memory brought by the host.
//!
//! Not here: anything that changes what a function does (`instrument`, `lower`).
//! Invariant: the body of each function leaves byte for byte as it came.

use wasm_encoder::reencode::{Reencode, utils};

use super::instrument::{Instrumenting, changes_tables, export_functions, export_state};
use super::module::Module;
use super::{EXPORT_MEMORY, RewriteError};

/// Module name under which a hosted memory is imported; its field name is [`EXPORT_MEMORY`].
pub const HOSTED_MODULE: &str = "aorta";

/// Adds the hidden exports of [`instrument`](super::instrument), but for those of its counters, and nothing else.
///
/// # Errors
/// As [`instrument`](super::instrument).
pub fn expose(wasm: &[u8]) -> Result<Vec<u8>, RewriteError> {
    let mut module = Module::read(wasm, &mut Instrumenting::default())?;
    export_state(&mut module);
    let mut tables_change = false;
    for (body, _) in module.function_bodies() {
        tables_change |= changes_tables(&body)?;
        module.code.raw(body.as_bytes());
    }
    if tables_change {
        export_functions(&mut module);
    }
    Ok(module.finish())
}

/// Makes the memory, if there is one, an import: of the same type, still memory 0, still exported.
///
/// # Errors
/// If the module is malformed.
pub fn host_memory(wasm: &[u8]) -> Result<Vec<u8>, RewriteError> {
    let mut module = Module::read(wasm, &mut Copying)?;
    if let Some(memory) = module.shape.memories.first() {
        let memory = utils::memory_type(&mut Copying, *memory);
        module.import_memory(HOSTED_MODULE, EXPORT_MEMORY, memory);
    }
    for (body, _) in module.function_bodies() {
        module.code.raw(body.as_bytes());
    }
    Ok(module.finish())
}

struct Copying;

impl Reencode for Copying {
    type Error = RewriteError;
}
