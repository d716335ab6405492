//! `GET /bundle/{process}?from&to`: a replay bundle of what is evaluated here, made while it is sent.
//!
//! Not here: the container (`ao_log::bundle`).
//! Invariant: entries and receipts are those stored; whoever runs `replay verify` on it needs nothing else.

use std::io::{self, Read};
use std::sync::Arc;

use ao_commit::CheckpointPolicy;
use ao_http::{Answer, Field, Query, Writing, chain, channel, typed};
use ao_kernel::profile::Profile;
use ao_log::bundle::{BundleWriter, Manifest, ModuleMeta};
use ao_log::{ChainRule, Module, Nonce};
use ao_replay::SavedState;
use ao_store::{Position, Store, StoreError};
use ao_wire::ProcessId;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};

use crate::answer::Refusal;
use crate::routes::Context;
use crate::routes::params::process;
use crate::unit::{UnitError, module_of};

/// Pieces of 64 KiB that may wait for the network.
const WAITING_MAX: usize = 16;
const NONCE: &str = "a nonce: a whole number";

/// What a bundle is made of.
struct Parts {
    process: ProcessId,
    item: Vec<u8>,
    module: Module,
    start: Option<SavedState>,
    first: Nonce,
    last: Nonce,
}

pub(crate) async fn stream(context: &Arc<Context>, process_id: &str, query: &Query) -> Result<Answer, Refusal> {
    let process = process("process", Some(process_id))?;
    let first = Nonce(query.number("from", NONCE)?.unwrap_or(0));
    let to = query.number("to", NONCE)?.map(Nonce);
    context.admit(process)?;
    let unit = &context.unit;
    let absent = |what| Refusal::Absent(format!("{what} of process {process} is not evaluated here yet"));
    let end = unit.head(process)?.last_step.ok_or_else(|| absent("nothing".to_owned()))?.nonce;
    let last = to.unwrap_or(end);
    if last > end {
        return Err(absent(format!("nonce {last}")));
    }
    if first > last {
        return Err(Refusal::Field(Field { field: "from", expected: "not after `to`, nor after the last nonce" }));
    }
    let item = unit.store.process(process).map_err(UnitError::from)?.ok_or_else(|| absent("the item".to_owned()))?;
    let module = module_of(&item).map_err(|source| UnitError::Process { process, source: Box::new(source) })?;
    let module = unit.store.module(module).map_err(UnitError::from)?.ok_or_else(|| absent("the module".to_owned()))?;
    let start = match first.0.checked_sub(1) {
        Some(before) => Some(unit.executor.saved_state(process, Nonce(before)).await.map_err(UnitError::from)?),
        None => None,
    };
    let parts = Parts { process, item, module, start, first, last };
    let (writing, body) = channel(WAITING_MAX);
    let store = Arc::clone(&unit.store);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = parts.write(&store, writing.clone()) {
            tracing::warn!(process = %parts.process, error = %chain(&*error), "a bundle broke off");
            writing.fail(io::Error::other(error.to_string()));
        }
    });
    let mut answer = typed(StatusCode::OK, "application/octet-stream", body.boxed_unsync());
    let name = format!("attachment; filename=\"{process}-{first}-{last}.bundle\"");
    answer.headers_mut().extend(HeaderValue::from_str(&name).ok().map(|name| (CONTENT_DISPOSITION, name)));
    Ok(answer)
}

impl Parts {
    fn write(&self, store: &Store, sink: Writing) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let manifest = Manifest {
            process: self.process,
            first_nonce: self.first,
            chain_rule: ChainRule::Legacy,
            profile: Profile::default().name().into(),
            extra: CheckpointPolicy::default().interval().to_le_bytes().to_vec(),
        };
        let mut writer = BundleWriter::new(sink, &manifest)?;
        writer.process(&self.item)?;
        let meta = ModuleMeta { embedded: true, ..self.module.meta.clone() };
        writer.module(&meta, Some(&mut &self.module.wasm[..] as &mut dyn Read))?;
        if let Some(state) = &self.start {
            writer.checkpoint(state.nonce, &state.meta, state.body.len() as u64, &mut &state.body[..])?;
        }
        for entry in store.entries(self.process, self.first, Nonce(self.last.0 + 1))? {
            let entry = entry?;
            writer.entry(entry.nonce, &entry.assignment, entry.message.as_deref())?;
            if let Some(id) = entry.elsewhere(self.process)
                && let Some(assigned) = store.assigned_bytes(id)?
            {
                writer.transcript(entry.nonce, &assigned)?;
            }
            let receipts = self.receipts(store, entry.nonce)?;
            if !receipts.is_empty() {
                writer.receipt(entry.nonce, &receipts)?;
            }
        }
        writer.finish()?;
        Ok(())
    }

    /// The receipts of the cron ticks before an entry, and its own.
    fn receipts(&self, store: &Store, nonce: Nonce) -> Result<Vec<u8>, StoreError> {
        let before = nonce.0.checked_sub(1).map(Nonce);
        let ticks = before.into_iter().flat_map(|nonce| (1..).map(move |tick| Position { nonce, tick }));
        let mut receipts = Vec::new();
        for position in ticks {
            let Some(step) = store.result_at(self.process, position)? else { break };
            receipts.extend(step.receipt);
        }
        receipts
            .extend(store.result_at(self.process, Position::of(nonce))?.map(|step| step.receipt).unwrap_or_default());
        Ok(receipts)
    }
}
