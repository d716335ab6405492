//! A module, ready to be instantiated.
//!
//! Not here: admission rules, rewriting, compilation; this puts them in order.
//! Invariant: the compiled code depends on the module's bytes, its format and the profile, and on nothing else but the
//! engine and the CPU that run it.

use std::borrow::Cow;

use crate::admission::{self, AdmissionLimits, Facts};
use crate::breaker::Watch;
use crate::engine::{ArtifactCache, Compiled, Engine, Instance, Terms};
use crate::error::{LoadError, StartError};
use crate::host::{self, HostState, ModuleFormat, ValType};
use crate::machine::ProcessLimits;
use crate::memory::WASM_PAGE_BYTES;
use crate::profile::{Profile, STACK_LIMIT};
use crate::rewrite::{self, Charging, MeterType, Plan};
use wasmparser::FuncType;

/// A module that was admitted, rewritten and compiled.
#[derive(Clone)]
pub struct Module {
    compiled: Compiled,
    engine: Engine,
    format: ModuleFormat,
    hash: [u8; 32],
    watch: Option<Watch>,
}

impl Module {
    /// Admits and compiles `wasm`, or takes its machine code from `cache`.
    ///
    /// # Errors
    /// A module that is refused, with the section and item; or the host's trouble.
    pub fn load(wasm: &[u8], format: ModuleFormat, cache: Option<&ArtifactCache>) -> Result<Self, LoadError> {
        Self::load_on(Engine::default(), wasm, format, cache)
    }

    /// The same for any engine. The interpreter has nothing to keep in a cache.
    ///
    /// # Errors
    /// As [`Module::load`]; what one engine refuses, all refuse.
    pub fn load_on(
        engine: Engine,
        wasm: &[u8],
        format: ModuleFormat,
        cache: Option<&ArtifactCache>,
    ) -> Result<Self, LoadError> {
        let hash = *blake3::hash(wasm).as_bytes();
        let compiled = match engine {
            Engine::Wasmer => {
                let profile = Profile::default().id();
                // An artifact exists only of a module that these very limits and features let in.
                let admission = format!("{:?} {:?}", AdmissionLimits::default(), admission::FEATURES);
                let identity: [&[u8]; 4] = [&hash, format.tag().as_bytes(), profile.as_bytes(), admission.as_bytes()];
                Compiled::wasmer(
                    || compilable(&instrumented(wasm, format, Some(Charging::DEFAULT))?),
                    &identity,
                    cache,
                )?
            }
            Engine::Wasmi => {
                Compiled::wasmi(&rewrite::host_memory(&instrumented(wasm, format, Some(Charging::DEFAULT))?)?)?
            }
            Engine::Original => {
                let facts = admit(wasm, format)?;
                Compiled::wasmi(&rewrite::host_memory(&rewrite::expose(&without_exceptions(wasm, &facts)?)?)?)?
            }
        };
        Ok(Self { compiled, engine, format, hash, watch: None })
    }

    /// Compiles `wasm` so that it counts no gas but that of host calls, to measure what counting costs. Whatever else it
    /// gives is as it should be; receipts of it would be worth nothing.
    ///
    /// # Errors
    /// As [`Module::load`].
    #[cfg(feature = "uncounted")]
    pub fn load_uncounted(wasm: &[u8], format: ModuleFormat) -> Result<Self, LoadError> {
        let compiled = Compiled::wasmer(|| compilable(&instrumented(wasm, format, None)?), &[], None)?;
        Ok(Self { compiled, engine: Engine::Wasmer, format, hash: *blake3::hash(wasm).as_bytes(), watch: None })
    }

    /// The same module, what runs on whose instances can be broken off through `watch`.
    #[must_use]
    pub fn watched(self, watch: &Watch) -> Self {
        Self { watch: Some(watch.clone()), ..self }
    }

    /// BLAKE3 of the module's bytes as published.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What runs it.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The module's format.
    pub fn format(&self) -> ModuleFormat {
        self.format
    }

    pub(crate) fn instantiate(&self, limits: &ProcessLimits) -> Result<Box<dyn Instance>, StartError> {
        let initial_bytes = self.compiled.memory_pages_min() * WASM_PAGE_BYTES;
        if initial_bytes > limits.memory_bytes_max {
            return Err(StartError::MemoryLimit { initial_bytes, limit_bytes: limits.memory_bytes_max });
        }
        let pages_max = (limits.memory_bytes_max / WASM_PAGE_BYTES).min(65_535) as u32;
        let host = HostState::new(self.format, limits.compute_max, limits.memory_bytes_max);
        let instance = self.compiled.instantiate(Terms { format: self.format, host, pages_max })?;
        if let Some(watch) = &self.watch {
            watch.add(instance.breaker());
        }
        Ok(instance)
    }
}

/// Lets a module in, or refuses it, whatever will run it.
fn admit(wasm: &[u8], format: ModuleFormat) -> Result<Facts, LoadError> {
    let known = |module: &str, name: &str, ty: &FuncType| {
        let types = |types: &[wasmparser::ValType]| types.iter().copied().map(host_type).collect::<Option<Vec<_>>>();
        let (Some(params), Some(results)) = (types(ty.params()), types(ty.results())) else { return false };
        host::resolve(module, name, &params, &results, format).is_some()
    };
    Ok(admission::admit(wasm, &AdmissionLimits::default(), &known)?)
}

/// The module itself, but for legacy exceptions, which no engine has.
fn without_exceptions<'m>(wasm: &'m [u8], facts: &Facts) -> Result<Cow<'m, [u8]>, LoadError> {
    Ok(if facts.throws { rewrite::translate_exceptions(wasm)?.into() } else { wasm.into() })
}

/// From a module as published to what all engines must agree on.
fn instrumented(wasm: &[u8], format: ModuleFormat, gas: Option<Charging>) -> Result<Vec<u8>, LoadError> {
    let facts = admit(wasm, format)?;
    let metered;
    let wasm = if format.is_metering() {
        let ty = if format.is_wide() { MeterType::I64 } else { MeterType::I32 };
        metered = rewrite::meter_reference(wasm, ty)?;
        &metered[..]
    } else {
        wasm
    };
    let plan = Plan { stack_limit: Some(STACK_LIMIT), canonical_nan: true, gas };
    Ok(rewrite::instrument(&without_exceptions(wasm, &facts)?, &plan)?)
}

/// And on to what the compiler takes.
fn compilable(instrumented: &[u8]) -> Result<Vec<u8>, LoadError> {
    let quiet = rewrite::quieten(instrumented)?;
    Ok(rewrite::lower(quiet.as_deref().unwrap_or(instrumented))?)
}

fn host_type(ty: wasmparser::ValType) -> Option<ValType> {
    Some(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        _ => return None,
    })
}
