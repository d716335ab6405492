//! Compiled artifacts on disk, so that a module is compiled once per machine.
//!
//! Not here: what is compiled (`engine::compile`).
//! Invariant: an artifact is used only if its bytes hash to what was stored beside them under the very same key; a
//! damaged or foreign file is a miss, never an error and never run.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Everything a compiled artifact depends on, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArtifactKey([u8; 32]);

impl ArtifactKey {
    /// `parts` are hashed with their lengths, so that no two lists of parts collide.
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("aorta 2026-11 artifact key v1");
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// A folder of compiled artifacts. Deleting it, or any file in it, costs time only.
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    dir: PathBuf,
}

impl ArtifactCache {
    /// A cache in `dir`, which is created when the first artifact is stored.
    ///
    /// The folder holds machine code that will be run: it must be writable by its owner alone.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn path(&self, key: ArtifactKey) -> PathBuf {
        self.dir.join(format!("{}.artifact", blake3::Hash::from_bytes(key.0).to_hex()))
    }

    fn sum(key: ArtifactKey, body: &[u8]) -> [u8; 32] {
        *blake3::Hasher::new_keyed(&key.0).update(body).finalize().as_bytes()
    }

    /// The path of a stored artifact whose bytes were just checked, or `None`.
    pub(crate) fn find(&self, key: ArtifactKey) -> Option<PathBuf> {
        let path = self.path(key);
        let expected = fs::read(path.with_extension("sum")).ok()?;
        let file = fs::File::open(&path).ok()?;
        let mut hasher = blake3::Hasher::new_keyed(&key.0);
        hasher.update_reader(file).ok()?;
        (hasher.finalize().as_bytes()[..] == expected[..]).then_some(path)
    }

    /// Stores an artifact. Writers race safely: each file appears whole or not at all.
    pub(crate) fn store(&self, key: ArtifactKey, body: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let path = self.path(key);
        write_whole(&path, body)?;
        write_whole(&path.with_extension("sum"), &Self::sum(key, body))
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, ArtifactCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::new(dir.path().join("artifacts"));
        (dir, cache)
    }

    #[test]
    fn a_stored_artifact_is_found_under_its_key_only() {
        let (_dir, cache) = cache();
        let (key, other) = (ArtifactKey::new(&[b"ab", b"c"]), ArtifactKey::new(&[b"a", b"bc"]));
        assert!(cache.find(key).is_none());
        cache.store(key, b"machine code").unwrap();
        assert_eq!(fs::read(cache.find(key).unwrap()).unwrap(), b"machine code");
        assert!(cache.find(other).is_none());
    }

    #[test]
    fn a_damaged_artifact_is_a_miss() {
        let (_dir, cache) = cache();
        let key = ArtifactKey::new(&[b"module"]);
        cache.store(key, b"machine code").unwrap();
        fs::write(cache.path(key), b"machine c0de").unwrap();
        assert!(cache.find(key).is_none());
    }

    #[test]
    fn an_artifact_renamed_to_another_key_is_a_miss() {
        let (_dir, cache) = cache();
        let (key, other) = (ArtifactKey::new(&[b"one"]), ArtifactKey::new(&[b"two"]));
        cache.store(key, b"machine code").unwrap();
        for extension in ["artifact", "sum"] {
            fs::copy(cache.path(key).with_extension(extension), cache.path(other).with_extension(extension)).unwrap();
        }
        assert!(cache.find(other).is_none());
    }
}
