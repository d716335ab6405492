//! Arweave's deep hash: SHA-384 over a tree of blobs and lists.
//!
//! `H` is SHA-384, numbers are decimal ASCII, `‖` joins bytes:
//! `blob(b) = H(H("blob" ‖ len(b)) ‖ H(b))`; a list of `n` starts as `a = H("list" ‖ n)` and for every element `x`
//! becomes `a = H(a ‖ deep(x))`. Both hash their content once, front to back, so data of any size can be fed in chunks.
//!
//! # Source
//!
//! ANS-104 §1.4; `arbundles` 0.11.2 `src/deepHash.js`.

use sha2::{Digest as _, Sha384};

/// A deep hash.
pub type DeepHash = [u8; 48];

/// Deep hash of one blob, fed in chunks.
#[derive(Debug, Clone, Default)]
pub struct BlobHasher {
    content: Sha384,
    len: u64,
}

impl BlobHasher {
    /// A blob of no bytes yet.
    pub fn new() -> BlobHasher {
        BlobHasher::default()
    }

    /// Appends a chunk.
    pub fn update(&mut self, chunk: &[u8]) {
        self.content.update(chunk);
        self.len += chunk.len() as u64;
    }

    /// The blob's hash.
    pub fn finish(self) -> DeepHash {
        let tag = tag_hash("blob", self.len);
        Sha384::new().chain_update(tag).chain_update(self.content.finalize()).finalize().into()
    }
}

/// Deep hash of a list whose length is known and whose elements come one by one.
#[derive(Debug, Clone)]
pub struct ListHasher {
    acc: DeepHash,
    missing: usize,
}

impl ListHasher {
    /// A list of `len` elements, none given yet.
    pub fn new(len: usize) -> ListHasher {
        ListHasher { acc: tag_hash("list", len as u64), missing: len }
    }

    /// Appends an element by its deep hash: a finished [`BlobHasher`] or [`ListHasher`].
    ///
    /// # Panics
    ///
    /// If the list is already full.
    pub fn push(&mut self, element: DeepHash) {
        self.missing = self.missing.checked_sub(1).expect("a list gets as many elements as it was made for");
        self.acc = Sha384::new().chain_update(self.acc).chain_update(element).finalize().into();
    }

    /// Appends a blob that is at hand.
    ///
    /// # Panics
    ///
    /// If the list is already full.
    pub fn push_blob(&mut self, bytes: &[u8]) {
        let mut blob = BlobHasher::new();
        blob.update(bytes);
        self.push(blob.finish());
    }

    /// The list's hash.
    ///
    /// # Panics
    ///
    /// If elements are missing.
    pub fn finish(self) -> DeepHash {
        assert_eq!(self.missing, 0, "a list gets as many elements as it was made for");
        self.acc
    }
}

/// Deep hash of a flat list of blobs.
pub fn deep_hash_list(blobs: &[&[u8]]) -> DeepHash {
    let mut list = ListHasher::new(blobs.len());
    for blob in blobs {
        list.push_blob(blob);
    }
    list.finish()
}

fn tag_hash(kind: &str, len: u64) -> DeepHash {
    Sha384::new().chain_update(kind).chain_update(len.to_string()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[should_panic(expected = "as many elements")]
    fn list_with_a_missing_element_is_a_bug() {
        let _ = ListHasher::new(1).finish();
    }

    #[test]
    fn grouping_of_blobs_changes_the_hash() {
        let flat = deep_hash_list(&[b"a", b"b"]);
        assert_ne!(flat, deep_hash_list(&[b"ab"]));
        assert_ne!(flat, deep_hash_list(&[b"ab", b""]));
        let mut nested = ListHasher::new(1);
        nested.push(flat);
        assert_ne!(flat, nested.finish());
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_the_hash(data in prop::collection::vec(any::<u8>(), 0..600), cut in 1usize..64) {
            let mut blob = BlobHasher::new();
            data.chunks(cut).for_each(|chunk| blob.update(chunk));
            let mut list = ListHasher::new(1);
            list.push(blob.finish());
            prop_assert_eq!(list.finish(), deep_hash_list(&[&data]));
        }
    }
}
