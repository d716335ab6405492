//! Saving the whole log of a process, with its module, for an auditor: `aorta fetch`.
//!
//! *Not here:* receipts: they come from evaluating (`ao-replay`).
//!
//! Invariant: what is saved is verified; a bundle appears only when complete, a folder goes on where it ended.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ao_log::bundle::{BundleRoot, BundleWriter, Manifest};
use ao_log::{ChainRule, FolderError, LogEntry, LogFolder, LogFolderWriter, LogVerifier, Module, Nonce, VerifyOptions};
use ao_wire::{MessageId, ProcessId};

use crate::{FetchOptions, GatewayClient, LogFetcher, SchedulerClient, SourceError};

/// Where a log is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A log folder. If it is there already with a log of the same process, what is in it is verified and continued.
    Folder(PathBuf),
    /// A replay bundle without receipts, to be evaluated under a profile.
    Bundle {
        /// The file. None of this name is overwritten before the new one is complete.
        path: PathBuf,
        /// Name of the profile.
        profile: String,
    },
}

/// What was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchReport {
    /// Entries fetched now.
    pub fetched: u64,
    /// Entries that a folder held before.
    pub kept: u64,
    /// Whether the module's signature was checked; else compare its hash.
    pub module_signed: bool,
    /// Root of the bundle.
    pub root: Option<BundleRoot>,
}

/// Saves the log of a process from nonce 0 to its present end.
///
/// # Errors
/// As [`LogFetcher`]; the file system's.
pub async fn fetch(
    process: ProcessId,
    scheduler: &SchedulerClient,
    gateway: &GatewayClient,
    options: FetchOptions,
    output: &Output,
) -> Result<FetchReport, SourceError> {
    let item = scheduler.process(process, Some(gateway)).await?;
    let fetcher = LogFetcher::new(scheduler.clone(), Some(gateway.clone()), &item, options)?;
    match output {
        Output::Folder(path) => to_folder(fetcher, scheduler, gateway, options, path, &item).await,
        Output::Bundle { path, profile } => {
            let temporary = path.with_extension("partial");
            let written = to_bundle(fetcher, gateway, &temporary, profile, &item).await;
            if written.is_err() {
                // The error is what matters; a file that cannot be removed is told apart by its name.
                let _ = fs::remove_file(&temporary);
            }
            let report = written?;
            fs::rename(&temporary, path).map_err(io(path))?;
            Ok(report)
        }
    }
}

async fn to_folder(
    mut fetcher: LogFetcher,
    scheduler: &SchedulerClient,
    gateway: &GatewayClient,
    options: FetchOptions,
    path: &Path,
    item: &[u8],
) -> Result<FetchReport, SourceError> {
    let process = fetcher.process().id;
    let (writer, module, kept) = match LogFolder::open(path) {
        Ok(folder) => {
            let (found, asked) = (folder.process_info().id, process);
            if found != asked {
                return Err(SourceError::OtherFolder { asked, found });
            }
            let (verifier, assigned) = check_kept(&folder, options)?;
            for id in assigned {
                keep_assigned(&folder, &LogFolderWriter::open(path), gateway, id).await?;
            }
            let (kept, end) = (verifier.summary().entries, verifier.summary().end);
            if let Some(point) = end {
                fetcher = LogFetcher::resume(scheduler.clone(), Some(gateway.clone()), item, options, point)?;
            }
            let module = match folder.module() {
                Ok(module) => Some(module),
                Err(FolderError::NoModule { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            (LogFolderWriter::open(path), module, kept)
        }
        Err(FolderError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            (LogFolderWriter::create(path, item)?, None, 0)
        }
        Err(error) => return Err(error.into()),
    };
    let module_signed = if let Some(module) = module {
        is_signed(&module)
    } else {
        let module = gateway.module(fetcher.process().module).await?;
        writer.module(&module)?;
        is_signed(&module)
    };
    let mut fetched = 0;
    while let Some(entries) = fetcher.next_page().await? {
        for entry in &entries {
            // First, so that no entry is there without what it assigns.
            if let Some(id) = entry.elsewhere(process) {
                keep_assigned(&LogFolder::open(path)?, &writer, gateway, id).await?;
            }
            writer.entry(entry)?;
        }
        fetched += entries.len() as u64;
    }
    Ok(FetchReport { fetched, kept, module_signed, root: None })
}

/// Sees to it that a folder holds an assigned transaction whole: one that a crash left half written is fetched anew.
async fn keep_assigned(
    folder: &LogFolder,
    writer: &LogFolderWriter,
    gateway: &GatewayClient,
    id: MessageId,
) -> Result<(), SourceError> {
    let damage = match folder.assigned(id) {
        Ok(None) => None,
        Ok(Some(kept)) => match kept.verify() {
            Ok(()) => return Ok(()),
            Err(error) => Some(error.to_string()),
        },
        Err(error @ FolderError::Io { .. }) => return Err(error.into()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(damage) = damage {
        tracing::warn!(%id, damage, "an assigned transaction in the folder is damaged: fetched again");
    }
    let (assigned, json) = gateway.assigned_with_json(id).await?;
    writer.forget_assigned(id)?;
    Ok(writer.assigned(&assigned, &json)?)
}

/// Verifies what a folder holds. A last file that a crash left half written is removed and fetched anew. Tells too what
/// the entries assign and do not hold.
fn check_kept(folder: &LogFolder, options: FetchOptions) -> Result<(LogVerifier, Vec<MessageId>), SourceError> {
    let process = folder.process_info().id;
    let FetchOptions { signatures, duplicates, .. } = options;
    let options = VerifyOptions { rule: ChainRule::Legacy, signatures, duplicates };
    let mut verifier = LogVerifier::new(folder.process(), options).map_err(SourceError::log(process))?;
    let last = folder.nonces().end.saturating_sub(1);
    let (mut page, mut assigned): (Vec<LogEntry>, Vec<MessageId>) = Default::default();
    for nonce in folder.nonces() {
        match folder.entry(Nonce(nonce)) {
            Ok(entry) => page.push(entry),
            Err(FolderError::Entry { path, .. }) if nonce == last => fs::remove_file(&path).map_err(io(&path))?,
            Err(error) => return Err(error.into()),
        }
        if page.len() == 512 || nonce == last {
            verifier.check_page(&page).map_err(SourceError::log(process))?;
            assigned.extend(page.iter().filter_map(|entry| entry.elsewhere(process)));
            page.clear();
        }
    }
    Ok((verifier, assigned))
}

async fn to_bundle(
    mut fetcher: LogFetcher,
    gateway: &GatewayClient,
    path: &Path,
    profile: &str,
    item: &[u8],
) -> Result<FetchReport, SourceError> {
    let bundle = |source| SourceError::Bundle { file: path.display().to_string(), source };
    let process = fetcher.process().id;
    let module = gateway.module(fetcher.process().module).await?;
    let manifest = Manifest {
        process,
        first_nonce: Nonce(0),
        chain_rule: ChainRule::Legacy,
        profile: profile.to_owned(),
        extra: Vec::new(),
    };
    let mut writer = BundleWriter::new(File::create(path).map_err(io(path))?, &manifest).map_err(bundle)?;
    writer.process(item).map_err(bundle)?;
    let mut wasm = &module.wasm[..];
    writer.module(&module.meta, Some(&mut wasm as &mut dyn Read)).map_err(bundle)?;
    let mut fetched = 0;
    while let Some(entries) = fetcher.next_page().await? {
        for entry in &entries {
            writer.entry(entry.nonce, &entry.assignment, entry.message.as_deref()).map_err(bundle)?;
            if let Some(id) = entry.elsewhere(process) {
                writer.transcript(entry.nonce, &gateway.assigned_encoded(id).await?).map_err(bundle)?;
            }
        }
        fetched += entries.len() as u64;
    }
    let (file, root) = writer.finish().map_err(bundle)?;
    file.sync_all().map_err(io(path))?;
    Ok(FetchReport { fetched, kept: 0, module_signed: is_signed(&module), root: Some(root) })
}

fn is_signed(module: &Module) -> bool {
    !module.meta.item_prefix.is_empty()
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError + use<> {
    let file = path.display().to_string();
    move |source| SourceError::Io { file, source }
}
