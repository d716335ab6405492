//! Wallets on disk: read, or made on first start.
//!
//! Invariant: a wallet that was made is on disk, whole and for nobody else to read, before anything is signed with it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use ao_wire::{Jwk, Signer};

/// The key in this file; a new RSA key of 4096 bits if there is none.
pub(crate) fn open_or_create(path: &Path) -> Result<Signer> {
    let wrong = || format!("the wallet {}", path.display());
    let json = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => create(path).with_context(wrong)?,
        read => read.with_context(wrong)?,
    };
    Signer::from_wallet(&json).with_context(wrong)
}

fn create(path: &Path) -> Result<Vec<u8>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let json = Jwk::generate()?.to_json().into_bytes();
    let unfinished = path.with_extension("unfinished");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&json)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()?;
    tracing::info!(path = %path.display(), "a wallet was made");
    Ok(json)
}
