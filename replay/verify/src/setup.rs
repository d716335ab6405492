//! What is fixed for a process before its first message.
//!
//! Not here: the process at work (`session`).
//! Invariant: all of it comes from the process' item and its module.

use ao_commit::{CheckpointPolicy, Hash};
use ao_kernel::cron::Crons;
use ao_kernel::limits::process_limits;
use ao_kernel::message::{Party, Shown, write_env};
use ao_kernel::{Module, ProcessLimits, Tracker};
use ao_log::bundle::ModuleMeta;
use ao_wire::{DataItem, Tag};

use crate::error::ReplayError;

/// All that is fixed for a process before its first message.
pub struct Setup {
    process_item: Vec<u8>,
    pub(crate) env_json: String,
    pub(crate) limits: ProcessLimits,
    pub(crate) crons: Crons,
    pub(crate) module: Module,
    pub(crate) module_id: Hash,
    pub(crate) policy: CheckpointPolicy,
    pub(crate) tracker: Tracker,
}

impl Setup {
    /// Prepares a process to run on `module`.
    ///
    /// # Errors
    /// Tags that cannot be read.
    pub fn new(
        process_item: &[u8],
        meta: &ModuleMeta,
        module: Module,
        policy: CheckpointPolicy,
        tracker: Tracker,
    ) -> Result<Self, ReplayError> {
        let item = DataItem::parse(process_item).map_err(ao_log::LogFault::ProcessItem)?;
        let shown = Shown::new(item);
        let module_tags: Vec<Tag<'_>> = meta.tags.iter().map(|tag| Tag::new(&tag.name, &tag.value)).collect();
        let mut env_json = Vec::new();
        let (process_id, module_id) = (shown.item().id.to_string(), meta.id.to_string());
        write_env(
            Party { id: &process_id, owner: shown.item().owner, tags: shown.item().tags },
            Party { id: &module_id, owner: &meta.owner, tags: &module_tags },
            &mut env_json,
        );
        let tag_of = |tags: &[Tag<'_>], name: &str| {
            tags.iter().find(|tag| tag.name == name.as_bytes()).map(|tag| tag.value_str().into_owned())
        };
        let crons = Crons::read(shown.item().tags)?;
        let limits = process_limits(|name| tag_of(shown.item().tags, name), |name| tag_of(&module_tags, name))?;
        Ok(Self {
            process_item: process_item.to_vec(),
            env_json: String::from_utf8(env_json).expect("JSON is written as UTF-8"),
            limits,
            crons,
            module,
            module_id: meta.id.id().0,
            policy,
            tracker,
        })
    }

    /// What the process may use, by its tags.
    pub fn limits(&self) -> &ProcessLimits {
        &self.limits
    }

    /// The crons of the process that never tick, by name.
    pub fn silent_crons(&self) -> impl Iterator<Item = &str> {
        self.crons.silent()
    }

    /// Whether results show gas, and the state remembers it.
    pub(crate) fn shows_gas(&self) -> bool {
        self.module.format().is_metering()
    }

    /// Whether the process has crons.
    pub(crate) fn has_crons(&self) -> bool {
        !self.crons.is_empty()
    }

    pub(crate) fn process_id(&self) -> Hash {
        self.process().id().0
    }

    pub(crate) fn process(&self) -> DataItem<'_> {
        DataItem::parse(&self.process_item).expect("parsed when the setup was made")
    }
}
