//! The receipt log as static files: C2SP tlog-tiles, which any web server publishes and existing monitors read.
//!
//! Not here: writing the files, the checkpoint beside them (`log`).
//!
//! Invariant: a full tile or bundle never changes again; a bigger log has all the full ones of a smaller.
//!
//! # Source
//! C2SP tlog-tiles.

use sha2::{Digest, Sha256};

use crate::Hash;

/// Hashes of a full tile, entries of a full bundle.
pub const TILE_WIDTH: usize = 256;

/// Every tile and entry bundle that a log of these entries publishes, partial ones last of their level: path and content.
pub fn tiles(entries: &[Hash]) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = (0..)
        .zip(entries.chunks(TILE_WIDTH))
        .map(|(index, chunk)| (bundle_path(index, chunk.len()), entry_bundle(chunk)))
        .collect();
    let mut hashes: Vec<Hash> = entries.iter().map(|entry| hash(&[&[0], entry])).collect();
    let mut level = 0_u8;
    while !hashes.is_empty() {
        let chunks = (0..).zip(hashes.chunks(TILE_WIDTH));
        files
            .extend(chunks.map(|(index, chunk)| (tile_path(level, index, chunk.len()), chunk.as_flattened().to_vec())));
        hashes = hashes.chunks_exact(TILE_WIDTH).map(perfect_root).collect();
        level += 1;
    }
    files
}

/// Path of a Merkle tile of `width` hashes.
pub fn tile_path(level: u8, index: u64, width: usize) -> String {
    format!("tile/{level}/{}", numbered(index, width))
}

/// Path of a bundle of `width` entries.
pub fn bundle_path(index: u64, width: usize) -> String {
    format!("tile/entries/{}", numbered(index, width))
}

/// Groups of three digits, all but the last after an `x`; a partial one's width.
fn numbered(mut index: u64, width: usize) -> String {
    let mut path = format!("{:03}", index % 1000);
    while index >= 1000 {
        index /= 1000;
        path = format!("x{:03}/{path}", index % 1000);
    }
    if width < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// Entries after their sizes, two bytes big-endian each.
fn entry_bundle(entries: &[Hash]) -> Vec<u8> {
    entries.iter().flat_map(|entry| [&[0, 32], &entry[..]].concat()).collect()
}

/// The entries of a bundle; `None` if something in it is no receipt hash.
pub fn read_entry_bundle(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (records, []) = bytes.as_chunks::<34>() else { return None };
    records.iter().map(|record| record.strip_prefix(&[0, 32])?.try_into().ok()).collect()
}

/// Root over as many hashes as a power of two.
fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.as_chunks::<2>().0.iter().map(|[left, right]| hash(&[&[1], left, right])).collect();
    }
    level[0]
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ReceiptLog;

    fn entries(count: u64) -> Vec<Hash> {
        (0..count).map(|index| *blake3::hash(&index.to_le_bytes()).as_bytes()).collect()
    }

    /// RFC 6962's tree hash over subtree roots of different heights, biggest first.
    fn fold(mut roots: Vec<Hash>) -> Hash {
        let mut root = roots.pop().unwrap();
        while let Some(left) = roots.pop() {
            root = hash(&[&[1], &left, &root]);
        }
        root
    }

    /// The root a client works out from tiles alone: the perfect subtrees of the partial tiles, from the top level down.
    fn root_of(files: &BTreeMap<String, Vec<u8>>, size: usize) -> Hash {
        let mut roots = Vec::new();
        for level in (0..8_u8).rev() {
            let count = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            let width = count % TILE_WIDTH;
            if width == 0 {
                continue;
            }
            let tile = &files[&tile_path(level, (count / TILE_WIDTH) as u64, width)];
            let mut hashes = tile.as_chunks::<32>().0;
            assert_eq!(hashes.len(), width);
            while !hashes.is_empty() {
                let (perfect, rest) = hashes.split_at(1 << hashes.len().ilog2());
                roots.push(perfect_root(perfect));
                hashes = rest;
            }
        }
        fold(roots)
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(0, 1_234_067, TILE_WIDTH), "tile/0/x001/x234/067");
        assert_eq!(tile_path(1, 0, 17), "tile/1/000.p/17");
        assert_eq!(bundle_path(273, 112), "tile/entries/273.p/112");
        assert_eq!(bundle_path(1000, TILE_WIDTH), "tile/entries/x001/000");
    }

    #[test]
    fn a_log_of_70000_has_the_tiles_of_the_specifications_example() {
        let files: BTreeMap<_, _> = tiles(&entries(70_000)).into_iter().collect();
        let count = |prefix: &str, partial: bool| {
            files.keys().filter(|path| path.starts_with(prefix) && path.contains(".p/") == partial).count()
        };
        assert_eq!((count("tile/0/", false), count("tile/1/", false), count("tile/2/", false)), (273, 1, 0));
        assert_eq!((count("tile/0/", true), count("tile/1/", true), count("tile/2/", true)), (1, 1, 1));
        for path in ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"] {
            assert!(files.contains_key(path), "{path}");
        }
        assert_eq!(files["tile/0/000"].len(), 8192);
        assert!(!files.keys().any(|path| path.starts_with("tile/3")));
    }

    #[test]
    fn tiles_lead_to_the_root_of_the_log() {
        for size in [1, 2, 3, 7, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 66_000] {
            let entries = entries(size);
            let mut log = ReceiptLog::new();
            for entry in &entries {
                log.append(*entry);
            }
            let files: BTreeMap<_, _> = tiles(&entries).into_iter().collect();
            assert_eq!(root_of(&files, size as usize), log.root(), "{size} entries");
            assert!(files.values().all(|content| !content.is_empty()));
        }
        assert!(tiles(&[]).is_empty());
    }

    #[test]
    fn bundles_hold_the_entries_behind_their_sizes() {
        let entries = entries(3);
        let bundle = entry_bundle(&entries);
        assert_eq!(bundle[..2], [0, 32]);
        assert_eq!(read_entry_bundle(&bundle), Some(entries));
        assert_eq!(read_entry_bundle(&[]), Some(Vec::new()));
        let mut short = bundle.clone();
        short.pop();
        assert_eq!(read_entry_bundle(&short), None);
        let mut sized = bundle;
        sized[1] = 31;
        assert_eq!(read_entry_bundle(&sized), None);
    }
}
