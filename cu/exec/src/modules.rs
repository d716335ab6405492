//! Modules in memory: each compiled once, whoever asks first.
//!
//! Not here: where their bytes come from (the store), machine code on disk (`ArtifactCache`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ao_commit::CheckpointPolicy;
use ao_kernel::{ArtifactCache, Module, Tracker, Watch};
use ao_log::ProcessInfo;
use ao_replay::{ReplayError, Setup};
use ao_store::Store;
use ao_wire::{DataItem, ModuleId, ProcessId};

use crate::error::{ExecError, Of};

/// A module being compiled, or compiled.
type Slot = Arc<Mutex<Option<Module>>>;

pub(crate) struct Modules {
    cache: Option<ArtifactCache>,
    gas_max: u64,
    watch: Watch,
    loaded: Mutex<BTreeMap<ModuleId, Slot>>,
}

impl Modules {
    pub(crate) fn new(cache: Option<ArtifactCache>, gas_max: u64, watch: Watch) -> Self {
        Self { cache, gas_max, watch, loaded: Mutex::default() }
    }

    /// All that is fixed for a stored process.
    pub(crate) fn setup(&self, store: &Store, process: ProcessId) -> Result<Setup, ExecError> {
        let item = store.process(process).of(process)?.ok_or(ExecError::NoProcess { process })?;
        let parsed = DataItem::parse(&item).map_err(ao_log::LogFault::ProcessItem).map_err(ReplayError::from);
        let info = ProcessInfo::from_item(&parsed.of(process)?).map_err(ao_log::LogFault::Process);
        let id = info.map_err(ReplayError::from).of(process)?.module;
        let stored = store.module(id).of(process)?.ok_or(ExecError::NoModule { process, module: id })?;
        let slot = Arc::clone(self.loaded.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default());
        // Held while compiling: whoever comes second waits for the first instead of compiling too.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match &*slot {
            Some(module) => module.clone(),
            None => slot.insert(self.load(&stored).of(process)?).clone(),
        };
        drop(slot);
        let setup = Setup::new(&item, &stored.meta, module, CheckpointPolicy::default(), Tracker::Best).of(process)?;
        for cron in setup.silent_crons() {
            tracing::warn!(%process, cron, "a cron never ticks: its interval is no number");
        }
        let (gas, most) = (setup.limits().compute_max, self.gas_max);
        if gas > most { Err(ExecError::TooMuchGas { process, gas, most }) } else { Ok(setup) }
    }

    fn load(&self, stored: &ao_log::Module) -> Result<Module, ReplayError> {
        let format = stored.meta.tags.iter().find(|tag| tag.name == "Module-Format").ok_or(ReplayError::NoFormat)?;
        let format = format.value.trim().parse()?;
        // On a thread of its own: a compiler that waits for parts of its work on a worker would take up other lanes there,
        // which may want this very module.
        std::thread::scope(|scope| {
            let compiling = scope.spawn(|| Module::load(&stored.wasm, format, self.cache.as_ref()));
            match compiling.join() {
                Ok(module) => Ok(module?.watched(&self.watch)),
                Err(fault) => std::panic::resume_unwind(fault),
            }
        })
    }
}
