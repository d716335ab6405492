//! Signatures of many items in one call.
//!
//! **Invariant:** the answers are those of [`DataItem::verify`], in the order of the items, with or without threads.

use crate::signature::KeyCache;
use crate::{DataItem, VerifyError};

/// Items per task: enough for a parsed scheduler key to pay off, few enough to share a page between cores.
#[cfg(feature = "rayon")]
const ITEMS_PER_TASK_MIN: usize = 16;

/// Verifies every item, on all threads of the current rayon pool if the feature `rayon` is on.
///
/// RSA keys are parsed once per task: every second item of a log page is signed by the scheduler.
pub fn verify_all(items: &[DataItem<'_>]) -> Vec<Result<(), VerifyError>> {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        let items = items.par_iter().with_min_len(ITEMS_PER_TASK_MIN);
        items.map_init(KeyCache::default, |keys, item| item.verify_cached(keys)).collect()
    }
    #[cfg(not(feature = "rayon"))]
    {
        let mut keys = KeyCache::default();
        items.iter().map(|item| item.verify_cached(&mut keys)).collect()
    }
}
