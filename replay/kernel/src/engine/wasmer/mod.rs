//! The compiling engine: wasmer with Cranelift.
//!
//! Not here: what is compiled (`module`).
//! Invariant: as for all engines, see the parent.

mod instance;
mod linear;

pub(super) use instance::Instance;

use std::sync::Arc;

use wasmer::Engine;
use wasmer::sys::{Cranelift, CraneliftOptLevel, EngineBuilder, Features, Target};

use super::PIPELINE;
use super::cache::{ArtifactCache, ArtifactKey};
use crate::error::LoadError;
use crate::rewrite::{EXPORT_FUNCTION_PREFIX, EXPORT_MEMORY};

/// A compiled module that instances are made from.
#[derive(Clone)]
pub(crate) struct Compiled {
    engine: Engine,
    module: wasmer::Module,
}

impl Compiled {
    /// Pages of 64 KiB that the memory begins with.
    pub(super) fn memory_pages_min(&self) -> u64 {
        let memory = self.module.exports().memories().find(|export| export.name() == EXPORT_MEMORY);
        memory.map_or(0, |export| u64::from(export.ty().minimum.0))
    }

    /// Whether no instruction can change a table: the functions of other modules are exported, to save tables by.
    fn tables_fixed(&self) -> bool {
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

/// As `Compiled::wasmer` of the parent says.
pub(super) fn compile(
    lowered: impl FnOnce() -> Result<Vec<u8>, LoadError>,
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
    let module = wasmer::Module::new(&engine, lowered()?).map_err(|error| LoadError::Compile(Arc::new(error)))?;
    if let Some(cache) = cache {
        let body = module.serialize().map_err(|error| LoadError::Serialize(Arc::new(error)))?;
        // A cache that cannot be written costs time at the next start, nothing else.
        let _ = cache.store(key, &body);
    }
    Ok(Compiled { engine, module })
}
