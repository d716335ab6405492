//! `replay prove` and `replay check-result`: receipts in a public log, and what can be checked of them without evaluating.
//!
//! Not here: the log (`ao_replay::receipt_log`).

use std::fs;
use std::path::{Path, PathBuf};

use ao_commit::{Checkpoint, RECEIPT_BYTES, Receipt, ReceiptChain, VerifierKey, hex, result_hash, unhex};
use ao_log::Nonce;
use ao_replay::receipt_log::{LogFiles, LogKey, ReceiptLogError, check_growth, check_inclusion, open_head};
use ao_replay::{ReplayError, Source, SourceError, policy_of};

use crate::args::{CheckResult, Prove};
use crate::output::print;

pub(crate) fn prove(command: &Prove) -> Result<(), ReplayError> {
    match command {
        Prove::Log { bundles, output, origin, key } => publish(bundles, output, origin, key),
        Prove::Inclusion { log, receipt, key } => {
            let note = LogFiles::open(log, &verifier(key)?)?.prove_inclusion(&read_receipt(receipt)?.hash())?;
            print(note.to_string().trim_end());
            Ok(())
        }
        Prove::Growth { log, since, key } => {
            let key = verifier(key)?;
            let old = open_head(since, &read_text(since)?, &key)?;
            print(LogFiles::open(log, &key)?.prove_growth(&old)?.to_string().trim_end());
            Ok(())
        }
        Prove::Check { proof, receipt, since, key } => check(proof, receipt.as_deref(), since.as_deref(), key),
        Prove::Audit { log, since, key } => {
            let key = verifier(key)?;
            let files = LogFiles::open(log, &key)?;
            if let Some(since) = since {
                files.prove_growth(&open_head(since, &read_text(since)?, &key)?)?;
            }
            let checked = files.audit()?;
            print(&format!("matched: {} receipts in {checked} files of log {}", files.size(), key.name));
            Ok(())
        }
    }
}

/// Appends the receipts recorded in bundles to a log, and signs its head.
fn publish(bundles: &[PathBuf], output: &Path, origin: &str, key: &Path) -> Result<(), ReplayError> {
    let key = LogKey::new(origin, &read_seed(key)?);
    let verifier = key.verifier();
    let mut files = LogFiles::open(output, &verifier)?;
    let mut added = 0;
    for bundle in bundles {
        added += files.append(&chained_receipts(bundle)?);
    }
    let head = files.publish(&key)?;
    print(&format!("log:    {}\nadded:  {added}\nsize:   {}\nroot:   {}", head.origin, head.size, hex(&head.root)));
    print(&format!("key:    {verifier}"));
    Ok(())
}

/// The receipts of a bundle, all there and chained; whether they are right is for `replay verify`.
fn chained_receipts(path: &Path) -> Result<Vec<Receipt>, ReplayError> {
    let mut source = Source::open(path)?;
    let policy = policy_of(&source, ao_commit::CheckpointPolicy::default())?;
    let (process, module) = (source.manifest.process.id().0, source.module.wasm_blake3);
    let (mut chain, mut receipts) = (None, Vec::new());
    while let Some(step) = source.next_step()? {
        let nonce = step.entry.nonce;
        for receipt in step.receipts()?.ok_or(ReplayError::NoReceipt { nonce })? {
            let chain = chain.get_or_insert_with(|| match &source.start {
                // What led to a saved state is in the log of whoever made it.
                Some(_) => None,
                None => Some(ReceiptChain::start(process, module, receipt.profile, policy, nonce.0)),
            });
            match chain {
                Some(chain) => chain.verify(&receipt).map_err(ReplayError::Unchained)?,
                None => *chain = Some(ReceiptChain::resume(&receipt, policy)),
            }
            receipts.push(receipt);
        }
    }
    Ok(receipts)
}

fn check(proof: &Path, receipt: Option<&str>, since: Option<&Path>, key: &str) -> Result<(), ReplayError> {
    let (text, key) = (read_text(proof)?, verifier(key)?);
    let shown =
        |head: &Checkpoint| format!("in log {} of {} entries, root {}", head.origin, head.size, hex(&head.root));
    if let Some(receipt) = receipt {
        let receipt = read_receipt(receipt)?;
        let note = text.parse().map_err(ReceiptLogError::from)?;
        let head = check_inclusion(proof, &note, &receipt.hash(), &key)?;
        print(&format!("matched: receipt {} is entry {} {}", hex(&receipt.hash()), note.index, shown(&head)));
    } else if let Some(since) = since {
        let old = open_head(since, &read_text(since)?, &key)?;
        let note = text.parse().map_err(ReceiptLogError::from)?;
        let head = check_growth(proof, &note, &old, &key)?;
        print(&format!("matched: the {} entries before are the first {}", old.size, shown(&head)));
    }
    Ok(())
}

/// Compares a receipt with the body of `GET /result`.
pub(crate) fn check_result(args: &CheckResult) -> Result<(), ReplayError> {
    let receipt = read_receipt(&args.receipt)?;
    let body = fs::read(&args.result).map_err(io(&args.result))?;
    if !receipt.commits_to_result(&body) {
        let (recorded, computed) = (hex(&receipt.result_hash), hex(&result_hash(&body)));
        return Err(ReplayError::OtherResult { nonce: Nonce(receipt.nonce), recorded, computed });
    }
    print(&format!(
        "matched: result of nonce {} of process {}, outcome {}\nreceipt: {}",
        receipt.nonce,
        ao_wire::Id(receipt.process),
        receipt.outcome.name(),
        hex(&receipt.hash())
    ));
    Ok(())
}

/// A receipt as it is named on the command line: a file of its bytes or their hex digits, `BUNDLE#NONCE`, or
/// `BUNDLE#NONCE.TICK` for a cron tick after that nonce.
fn read_receipt(name: &str) -> Result<Receipt, ReplayError> {
    if let Some((bundle, place)) = name.rsplit_once('#')
        && let (nonce, tick) = place.split_once('.').unwrap_or((place, "0"))
        && let (Ok(nonce), Ok(tick)) = (nonce.parse(), tick.parse())
    {
        return recorded_receipt(Path::new(bundle), Nonce(nonce), tick);
    }
    let path = Path::new(name);
    let bytes = fs::read(path).map_err(io(path))?;
    let bytes = unhex::<RECEIPT_BYTES>(&bytes).map_or(bytes, |bytes| bytes.to_vec());
    Receipt::decode(&bytes).map_err(|source| ReplayError::ReceiptFile { path: path.to_owned(), source })
}

/// The receipt of a step in a bundle; those of ticks lie with the entry that they come before.
fn recorded_receipt(bundle: &Path, nonce: Nonce, tick: u32) -> Result<Receipt, ReplayError> {
    let mut source = Source::open(bundle)?;
    while let Some(step) = source.next_step()? {
        let at = if tick == 0 { Some(nonce) } else { nonce.next() };
        if Some(step.entry.nonce) != at {
            continue;
        }
        let receipts = step.receipts()?.ok_or(ReplayError::NoReceipt { nonce })?;
        let found = receipts.into_iter().find(|receipt| (receipt.nonce, receipt.tick) == (nonce.0, tick));
        return found.ok_or(ReplayError::NoSuchTick { nonce, tick });
    }
    Err(ReplayError::NoSuchNonce { nonce })
}

fn read_seed(path: &Path) -> Result<[u8; 32], ReplayError> {
    let bytes = fs::read(path).map_err(io(path))?;
    let seed = <[u8; 32]>::try_from(&bytes[..]).ok().or_else(|| unhex(&bytes));
    seed.ok_or_else(|| ReplayError::Seed { path: path.to_owned() })
}

fn verifier(text: &str) -> Result<VerifierKey, ReplayError> {
    Ok(text.parse().map_err(ReceiptLogError::from)?)
}

fn read_text(path: &Path) -> Result<String, ReplayError> {
    fs::read_to_string(path).map_err(io(path))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ReplayError {
    let path = path.to_owned();
    move |source| SourceError::Io { path, source }.into()
}
