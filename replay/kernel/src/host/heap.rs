//! Growth of linear memory.
//!
//! Not here: the engine's own limit. Invariant: the sizes tried are those of the glue, in doubles.

use super::format::Glue;
use super::mem::Args;
use super::{Outcome, abort_with, charge};
use crate::guest::{Guest, Val};
use crate::rewrite::{BULK_BYTE, PAGE_COST};

const PAGE: u64 = 65_536;
/// Growth beyond the request is at most this.
const OVERGROWTH_BYTES_MAX: f64 = 100_663_296.0;

/// `emscripten_resize_heap`: 1 if memory has grown to hold the requested size.
pub(super) fn resize(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let state = guest.host();
    let (format, limit) = (state.format, state.memory_bytes_max);
    let requested = Args::new(format, args).ptr();
    let old = guest.memory().len() as u64;
    let requested = u64::try_from(requested).unwrap_or(0);
    if format.glue() != Glue::E1 && requested <= old {
        return Err(abort_with(guest, "Assertion failed"));
    }
    let max = format.heap_bytes_max();
    let grown = requested <= max
        && [1.0, 2.0, 4.0].into_iter().any(|cut_down| {
            let new = target(old, requested, max, cut_down);
            // A shrinking target is a huge growth in glue 1's arithmetic, which fails.
            new <= limit && new >= old && guest.grow((new - old) / PAGE)
        });
    let pages = (guest.memory().len() as u64 - old) / PAGE;
    charge(guest, pages, PAGE_COST)?;
    Ok(Some(Val::I32(i32::from(grown))))
}

/// The size tried: a part more than now, the request at least, in whole pages, the ceiling at most.
fn target(old: u64, requested: u64, max: u64, cut_down: f64) -> u64 {
    let overgrown = (old as f64 * (1.0 + 0.2 / cut_down)).min(requested as f64 + OVERGROWTH_BYTES_MAX);
    let wanted = overgrown.max(requested as f64);
    let page = PAGE as f64;
    let aligned = wanted + (page - wanted % page) % page;
    aligned.min(max as f64) as u64
}

/// `emscripten_get_heap_max`.
pub(super) fn max(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    let format = guest.host().format;
    Ok(Some(super::wide_or_narrow(format, format.heap_bytes_max())))
}

/// `emscripten_memcpy_js` under its several names.
pub(super) fn memcpy(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let mut args = Args::new(guest.host().format, args);
    let (dest, src, count) = (args.ptr(), args.ptr(), args.ptr());
    let bytes = u64::try_from(count).unwrap_or(0).min(guest.memory().len() as u64);
    charge(guest, bytes, BULK_BYTE)?;
    super::mem::Heap::of(guest).copy_within(dest, src, count);
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_follows_the_schedule_of_the_glue() {
        let mib = 1 << 20;
        let sizes = |old: u64, requested| [1.0, 2.0, 4.0].map(|cut| target(old * mib, requested, 1 << 34, cut));
        assert_eq!(sizes(68, 69 * mib), [85_590_016, 78_446_592, 74_907_648].map(|size: u64| size));
        assert_eq!(sizes(1000, 1001 * mib)[0], 1097 * mib);
        assert_eq!(sizes(10, 60 * mib), [60 * mib; 3]);
        assert_eq!(target(500 * mib, 500 * mib + 1, 524_288_000, 1.0), 524_288_000);
    }
}
