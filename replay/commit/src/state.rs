//! The state root: one hash over everything that the next step of a process can depend on.
//!
//! Not here: how globals, tables and host state are read out of a guest (`ao-kernel`).
//!
//! Invariant: two states that differ in any part have different encodings, because every variable part is preceded by its
//! count or hashed on its own.

use crate::{Hash, context, derive};

/// The type of a global. The codes are those of the WebAssembly binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GlobalKind {
    /// 32-bit integer.
    I32 = 0x7F,
    /// 64-bit integer.
    I64 = 0x7E,
    /// 32-bit float.
    F32 = 0x7D,
    /// 64-bit float.
    F64 = 0x7C,
    /// 128-bit vector.
    V128 = 0x7B,
}

/// A mutable global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global {
    /// Its index in the module as published, before any lowering.
    pub index: u32,
    /// Its type.
    pub kind: GlobalKind,
    /// Its value, in the low bits.
    pub bits: u128,
}

/// All that a state root covers.
#[derive(Clone, Copy, Debug)]
pub struct StateParts<'a> {
    /// Transaction id of the module.
    pub module_id: Hash,
    /// BLAKE3 of the module's bytes.
    pub module_hash: Hash,
    /// Id of the profile.
    pub profile: Hash,
    /// Bytes of linear memory.
    pub memory_len: u64,
    /// BLAKE3 of linear memory.
    pub memory_root: Hash,
    /// Mutable globals by ascending index.
    pub globals: &'a [Global],
    /// Of [`tables_hash`].
    pub tables: Hash,
    /// Of [`host_state_hash`].
    pub host_state: Hash,
}

/// What a process is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateRoot(pub Hash);

impl StateParts<'_> {
    /// Hashes the parts in the layout of `FORMAT.md`.
    ///
    /// # Panics
    /// Never: a module has fewer than 2^32 globals.
    pub fn root(&self) -> StateRoot {
        debug_assert!(self.globals.is_sorted_by(|a, b| a.index < b.index));
        let mut bytes = Vec::with_capacity(204 + 21 * self.globals.len());
        bytes.extend_from_slice(&self.module_id);
        bytes.extend_from_slice(&self.module_hash);
        bytes.extend_from_slice(&self.profile);
        bytes.extend_from_slice(&self.memory_len.to_le_bytes());
        bytes.extend_from_slice(&self.memory_root);
        bytes.extend_from_slice(&self.tables);
        bytes.extend_from_slice(&self.host_state);
        bytes.extend_from_slice(&(self.globals.len() as u32).to_le_bytes());
        for global in self.globals {
            bytes.extend_from_slice(&global.index.to_le_bytes());
            bytes.push(global.kind as u8);
            bytes.extend_from_slice(&global.bits.to_le_bytes());
        }
        StateRoot(derive(context::STATE_ROOT, &[&bytes]))
    }
}

/// Hashes the contents of the tables, if the module can change any, each a list of function indices, nothing for a null entry.
pub fn tables_hash(tables: &[&[Option<u32>]]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(context::TABLES);
    hasher.update(&(tables.len() as u32).to_le_bytes());
    for table in tables {
        hasher.update(&(table.len() as u32).to_le_bytes());
        let entries: Vec<u8> = table.iter().flat_map(|entry| entry.unwrap_or(u32::MAX).to_le_bytes()).collect();
        hasher.update(&entries);
    }
    *hasher.finalize().as_bytes()
}

/// Hashes the canonical bytes of the host-side state: virtual clock, entropy, file tree.
pub fn host_state_hash(bytes: &[u8]) -> Hash {
    derive(context::HOST_STATE, &[bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBALS: [Global; 2] =
        [Global { index: 0, kind: GlobalKind::I32, bits: 65_536 }, Global { index: 3, kind: GlobalKind::I64, bits: 7 }];

    fn parts() -> StateParts<'static> {
        StateParts {
            module_id: [1; 32],
            module_hash: [2; 32],
            profile: [3; 32],
            memory_len: 65_536,
            memory_root: [4; 32],
            globals: &GLOBALS,
            tables: tables_hash(&[&[None, Some(1)]]),
            host_state: host_state_hash(b"host"),
        }
    }

    #[test]
    fn every_part_moves_the_root() {
        const OTHER_BITS: [Global; 2] = [GLOBALS[0], Global { bits: 8, ..GLOBALS[1] }];
        const OTHER_KIND: [Global; 2] = [GLOBALS[0], Global { kind: GlobalKind::F64, ..GLOBALS[1] }];
        const OTHER_INDEX: [Global; 2] = [GLOBALS[0], Global { index: 4, ..GLOBALS[1] }];
        let changes: [fn(&mut StateParts<'static>); 12] = [
            |_| {},
            |parts| parts.module_id[31] ^= 1,
            |parts| parts.module_hash[31] ^= 1,
            |parts| parts.profile[31] ^= 1,
            |parts| parts.memory_len += 65_536,
            |parts| parts.memory_root[31] ^= 1,
            |parts| parts.tables[31] ^= 1,
            |parts| parts.host_state[31] ^= 1,
            |parts| parts.globals = &GLOBALS[..1],
            |parts| parts.globals = &OTHER_BITS,
            |parts| parts.globals = &OTHER_KIND,
            |parts| parts.globals = &OTHER_INDEX,
        ];
        let roots = changes.map(|change| {
            let mut parts = parts();
            change(&mut parts);
            parts.root()
        });
        for (at, root) in roots.iter().enumerate() {
            assert!(!roots[..at].contains(root), "change {at} does not show");
        }
    }

    #[test]
    fn tables_differ_by_entries_and_by_where_one_ends() {
        let hashes = [
            tables_hash(&[]),
            tables_hash(&[&[]]),
            tables_hash(&[&[None]]),
            tables_hash(&[&[Some(0)]]),
            tables_hash(&[&[Some(0), None]]),
            tables_hash(&[&[Some(0)], &[None]]),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "variant {at}");
        }
    }

    #[test]
    fn encoding_is_frozen() {
        assert_eq!(
            blake3::Hash::from(parts().root().0).to_hex().as_str(),
            "f7af33c1d4dda97df9107636f7be905719718f9dabea749fa0ffce7101b0fdd8"
        );
    }
}
