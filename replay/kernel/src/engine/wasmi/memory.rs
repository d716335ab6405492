//! A guest's memory as wasmi knows it: a buffer of fixed place that happens to be our own mapping.
//!
//! Not here: what is dirty or committed (`crate::memory`).
//! Invariant: wasmi's length and the mapping's are equal whenever no code of wasmi runs.

use wasmi::{Memory, MemoryType, ResourceLimiter, Store};
use wasmi_core::LimiterError;

use super::instance::Data;
use crate::memory::{Mapping, MemoryError, Reservation, WASM_PAGE_BYTES};

/// The mapping of one guest, with what went wrong in growing it.
pub(super) struct Hosted {
    pub(super) mapping: Mapping,
    /// The host's trouble in growing, which the guest was told of as a refusal: its step must not count.
    pub(super) failed: Option<MemoryError>,
    wide: bool,
}

impl Hosted {
    /// A memory of the declared initial length, that may grow to what is declared and to `pages_max`.
    pub(super) fn new(ty: MemoryType, pages_max: u32) -> Result<Self, MemoryError> {
        let bytes_max = ty.maximum().unwrap_or(u64::MAX).min(u64::from(pages_max)) * WASM_PAGE_BYTES;
        // wasmi checks every access against the length, so nothing has to fault behind it.
        let reservation = Reservation::unguarded(bytes_max);
        let mapping = Mapping::with_reservation(ty.minimum() * WASM_PAGE_BYTES, bytes_max, reservation)?;
        Ok(Self { mapping, failed: None, wide: ty.is_64() })
    }

    /// Hands the mapping, at its present length, to a store that holds this as its data. Its content is lost.
    pub(super) fn lend(store: &mut Store<Data>) -> Result<Memory, wasmi::Error> {
        let Self { mapping, wide, .. } = &store.data().memory;
        let mut ty = MemoryType::builder();
        ty.memory64(*wide).min(mapping.len() / WASM_PAGE_BYTES).max(Some(mapping.bytes_max() / WASM_PAGE_BYTES));
        let ty = ty.build()?;
        // SAFETY: the range is our own reservation, at one address for the life of the mapping, which the store owns
        // and which wasmi, that frees no buffer given to it, does not touch after the store. wasmi reads and writes
        // below its length only, all of it accessible (see `memory_growing`), and no slice that the mapping gives out
        // lives while wasmi's code runs, since both are reached through the exclusively borrowed store.
        let buffer = unsafe { std::slice::from_raw_parts_mut(mapping.base(), mapping.bytes_max() as usize) };
        Memory::new_static(store, ty, buffer)
    }
}

impl ResourceLimiter for Hosted {
    /// Makes what wasmi is about to grow into accessible.
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool, LimiterError> {
        let desired = desired as u64;
        if desired > self.mapping.bytes_max() {
            return Ok(false);
        }
        match self.mapping.grow_to(desired) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.failed = Some(error);
                Ok(false)
            }
        }
    }

    /// Tables are bounded by admission, and instances by whoever makes them.
    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, LimiterError> {
        Ok(true)
    }

    fn instances(&self) -> usize {
        usize::MAX
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        usize::MAX
    }
}
