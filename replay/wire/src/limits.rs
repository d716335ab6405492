//! Bounds on what is parsed, each with a name, a reason and one home.
//!
//! **Invariant:** a limit only ever rejects; it never changes how accepted bytes are read.

/// Largest item `arbundles` can hold: the longest `Buffer` of Node 20.
///
/// # Units
///
/// Bytes.
pub const ARBUNDLES_ITEM_BYTES_MAX: u64 = 1 << 32;

/// Longest tag section `arbundles` 0.11.2 verifies (`MAX_TAG_BYTES` in `DataItem.js`).
///
/// # Units
///
/// Bytes.
pub const ARBUNDLES_TAG_BYTES_MAX: u64 = 4096;

/// Most tags that fit [`ARBUNDLES_TAG_BYTES_MAX`]: two bytes each between a two-byte count and the terminator.
///
/// The 128 of the ANS-104 text is not enforced by any known unit.
pub const ARBUNDLES_TAG_COUNT_MAX: u64 = 2046;

/// Largest item read from a log: far above the 10 MiB a scheduler takes by POST, since an assigned
/// Arweave transaction may be bigger.
///
/// # Units
///
/// Bytes.
pub const LOG_ITEM_BYTES_MAX: u64 = 1 << 30;

/// Longest tag section read from a log. The Rust scheduler limits only the body it accepts, to 10 MiB.
///
/// # Units
///
/// Bytes.
pub const LOG_TAG_BYTES_MAX: u64 = 10 << 20;

/// Most tags read from a log: all that fit [`LOG_TAG_BYTES_MAX`] at the least of two bytes each.
pub const LOG_TAG_COUNT_MAX: u64 = LOG_TAG_BYTES_MAX / 2;

/// Most items of one bundle; the public bundlers stay below a few ten thousand.
pub const BUNDLE_ITEMS_MAX: u64 = 1 << 20;

/// How many bundles may enclose an item.
pub const NESTING_MAX: u32 = 8;

/// The bounds a parser keeps. See the constants of this module for units and reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest item, in bytes.
    pub item_bytes_max: u64,
    /// Most tags of one item.
    pub tag_count_max: u64,
    /// Longest tag section of one item, in bytes.
    pub tag_bytes_max: u64,
    /// Most items of one bundle.
    pub bundle_items_max: u64,
    /// How many bundles may enclose an item; 1 forbids bundles inside bundles.
    pub nesting_max: u32,
}

impl Limits {
    /// What `arbundles` 0.11.2 verifies: what a unit should accept from clients.
    pub const ARBUNDLES: Limits = Limits {
        item_bytes_max: ARBUNDLES_ITEM_BYTES_MAX,
        tag_count_max: ARBUNDLES_TAG_COUNT_MAX,
        tag_bytes_max: ARBUNDLES_TAG_BYTES_MAX,
        bundle_items_max: BUNDLE_ITEMS_MAX,
        nesting_max: NESTING_MAX,
    };

    /// What a log may hold: the Rust scheduler has no tag limits, and what it sequenced must stay readable.
    pub const LOG: Limits = Limits {
        item_bytes_max: LOG_ITEM_BYTES_MAX,
        tag_count_max: LOG_TAG_COUNT_MAX,
        tag_bytes_max: LOG_TAG_BYTES_MAX,
        bundle_items_max: BUNDLE_ITEMS_MAX,
        nesting_max: NESTING_MAX,
    };
}

impl Default for Limits {
    /// [`Limits::LOG`].
    fn default() -> Limits {
        Limits::LOG
    }
}
