//! The compiling engine: wasmer with Cranelift, behind `Guest`.
//!
//! Not here: what host calls mean (`host`), what is committed (`machine`).
//! Invariant: no type of wasmer leaves this folder.

mod cache;
mod instance;
mod linear;

pub use cache::ArtifactCache;
pub(crate) use instance::{Instance, Tables};

use std::sync::Arc;

use cache::ArtifactKey;
use wasmer::Engine;
use wasmer::sys::{Cranelift, CraneliftOptLevel, EngineBuilder, Features, Target};

use crate::error::LoadError;
use crate::rewrite::{EXPORT_FUNCTION_PREFIX, EXPORT_MEMORY};

/// Version of everything between the module's bytes and its machine code that is not in another part of the key: of
/// admission too, since a module whose artifact is found was admitted when that was made.
const PIPELINE: &str = "wasmer 7.4.2 cranelift speed pipeline 3";

/// A compiled module that instances are made from.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) engine: Engine,
    pub(crate) module: wasmer::Module,
}

impl Compiled {
    /// Pages of 64 KiB that the memory begins with.
    pub(crate) fn memory_pages_min(&self) -> u64 {
        let memory = self.module.exports().memories().find(|export| export.name() == EXPORT_MEMORY);
        memory.map_or(0, |export| u64::from(export.ty().minimum.0))
    }

    /// Whether no instruction can change a table: the functions of other modules are exported, to save tables by.
    pub(crate) fn tables_fixed(&self) -> bool {
        !self.module.exports().functions().any(|export| export.name().starts_with(EXPORT_FUNCTION_PREFIX))
    }
}

fn engine(target: Target) -> Engine {
    let mut compiler = Cranelift::default();
    compiler.opt_level(CraneliftOptLevel::Speed);
    let mut features = Features::default();
    features.threads(false).relaxed_simd(false);
    EngineBuilder::new(compiler).set_features(Some(features)).set_target(Some(target)).engine().into()
}

/// Compiles what `rewritten` gives, or takes its artifact from `cache`.
///
/// `identity` names the original module, its admission and the rewriting: with the pipeline and the CPU it is the key.
pub(crate) fn compile(
    rewritten: impl FnOnce() -> Result<Vec<u8>, LoadError>,
    identity: &[&[u8]],
    cache: Option<&ArtifactCache>,
) -> Result<Compiled, LoadError> {
    let target = Target::default();
    let cpu = format!("{} {:?}", target.triple(), target.cpu_features());
    let mut parts = vec![PIPELINE.as_bytes(), cpu.as_bytes()];
    parts.extend_from_slice(identity);
    let key = ArtifactKey::new(&parts);
    let engine = engine(target);
    if let Some(path) = cache.and_then(|cache| cache.find(key)) {
        // SAFETY: the file is one that `ArtifactCache::store` wrote under this very key, which names the engine, its
        // version and the CPU; its bytes were just checked against their keyed hash, and the folder is the owner's.
        let loaded = unsafe { wasmer::Module::deserialize_from_file_unchecked(&engine, &path) };
        if let Ok(module) = loaded {
            return Ok(Compiled { engine, module });
        }
    }
    let module = wasmer::Module::new(&engine, rewritten()?).map_err(|error| LoadError::Compile(Arc::new(error)))?;
    if let Some(cache) = cache {
        let body = module.serialize().map_err(|error| LoadError::Serialize(Arc::new(error)))?;
        // A cache that cannot be written costs time at the next start, nothing else.
        let _ = cache.store(key, &body);
    }
    Ok(Compiled { engine, module })
}
