//! Writing a run into a bundle: all its inputs, and the receipts they led to.
//!
//! Not here: the container (`ao_log::bundle`).
//! Invariant: packing the same source twice gives the same bytes; a failed run leaves no file.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use ao_log::bundle::{BundleWriter, Manifest, ModuleMeta};

use crate::checkpoint;
use crate::error::ReplayError;
use crate::run::{Observed, Observer, Options, Report, policy_of, run};
use crate::source::Source;

/// What goes into a bundle beside inputs and receipts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents {
    /// Whether the module is only named by its hash.
    pub detach_module: bool,
    /// Save the whole state after every so many steps.
    pub checkpoint_every: Option<u64>,
}

/// Replays `source` from its beginning and writes inputs and receipts to `output`, which appears only when complete.
///
/// # Errors
/// As [`run`], and the file system's.
pub fn pack(
    source: Source,
    options: &Options,
    contents: Contents,
    output: &Path,
    progress: &mut Observer<'_>,
) -> Result<Report, ReplayError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ReplayError::Io { path, source }
    };
    if let Some(parent) = output.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(io(parent))?;
    }
    let temporary = output.with_extension("partial");
    let file = File::create(&temporary).map_err(io(&temporary))?;
    match write(source, options, contents, file, progress) {
        Ok((report, file)) => {
            file.sync_all().map_err(io(&temporary))?;
            fs::rename(&temporary, output).map_err(io(output))?;
            Ok(report)
        }
        Err(error) => {
            // The error is what matters; a file that cannot be removed is told apart by its name.
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

fn write(
    mut source: Source,
    options: &Options,
    contents: Contents,
    file: File,
    progress: &mut Observer<'_>,
) -> Result<(Report, File), ReplayError> {
    let policy = policy_of(&source, options.policy)?;
    let wasm = source.take_wasm(&options.modules)?;
    let manifest = Manifest { extra: policy.interval().to_le_bytes().to_vec(), ..source.manifest.clone() };
    let meta = ModuleMeta { embedded: !contents.detach_module, ..source.module.clone() };
    let mut writer = BundleWriter::new(file, &manifest)?;
    writer.process(&source.process)?;
    let mut body = &wasm[..];
    writer.module(&meta, meta.embedded.then_some(&mut body as &mut dyn Read))?;
    source.wasm = Some(wasm);
    let options = Options { modules: Vec::new(), from: None, ..options.clone() };
    let mut receipts = Vec::new();
    let report = run(source, &options, &mut |observed: Observed<'_>| {
        let (entry, receipt) = (&observed.logged.entry, &observed.report.receipt);
        receipts.extend_from_slice(&receipt.encode());
        if observed.report.tick.is_some() {
            return progress(observed);
        }
        writer.entry(entry.nonce, &entry.assignment, entry.message.as_deref())?;
        if let Some(assigned) = &observed.logged.assigned {
            let nonce = entry.nonce;
            let bytes = assigned.encode().map_err(|source| ReplayError::Assigned { nonce, source })?;
            writer.transcript(nonce, &bytes)?;
        }
        writer.receipt(entry.nonce, &std::mem::take(&mut receipts))?;
        if contents.checkpoint_every.is_some_and(|every| (receipt.nonce + 1).is_multiple_of(every.max(1))) {
            let state = checkpoint::save(observed.session, receipt, &entry.assignment)?;
            writer.checkpoint(state.nonce, &state.meta, state.body.len() as u64, &mut &state.body[..])?;
        }
        progress(observed)
    })?;
    let (file, _) = writer.finish()?;
    Ok((report, file))
}
