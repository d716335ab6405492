//! Reading fixed layouts back: a cursor over bytes of a length checked before.
//!
//! Not here: any layout. Invariant: never reads past its input; a caller that asked for too much gets zeros and a
//! length that does not match.

/// Takes fields off the front of a fixed-size record.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        let (head, rest) = self.0.split_at(N.min(self.0.len()));
        field[..head.len()].copy_from_slice(head);
        self.0 = rest;
        field
    }

    /// The next 8 bytes as a little-endian number.
    pub(crate) fn take_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
