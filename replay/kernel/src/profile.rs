//! The named set of semantics a receipt was made under.
//!
//! Not here: the semantics themselves; each rule names what some module of this crate does.
//! Invariant: whatever can change a result or a byte of state, and is neither in the log nor in the module, is a rule here; so two
//! runs of one log and one module under one [`ProfileId`] are equal.
//!
//! A released profile never changes. Other semantics are another profile with another name or version.

use std::collections::BTreeMap;
use std::fmt;

use crate::cron::{CRONS_MAX, GAP_TICKS_MAX};
use crate::host::{CLOCK_START_MS, FILES_BYTES_MAX, NODES_MAX};
use crate::json::{DEPTH_MAX, VALUES_MAX};
use crate::limits::{COMPUTE_MAX, MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MAX};
use crate::result::{ANSWER_BYTES_MAX, OUTBOX_ITEMS_MAX};
use crate::rewrite::{FRAME_COST, GAS_SLACK, LEAF_COST_MAX, WEIGHTS};

/// Stack a guest may use in one call from the host.
///
/// # Units
/// Units of 8 bytes of the frames that `rewrite` measures, not of native stack.
pub const STACK_LIMIT: u32 = 512 * 1024;

/// What each call from the host into the guest takes from that, so that recursion through host calls ends as
/// deterministically as any other, long before the host's own stack does.
///
/// # Units
/// As [`STACK_LIMIT`].
pub const HOST_CALL_COST: u32 = 1024;

/// Steps between two state roots of a process, unless it is strict: even, because the marks of Lua's collector alternate.
pub const STATE_ROOT_EVERY: u64 = 32;

/// Context of the key derivation that makes a [`ProfileId`].
const ID_CONTEXT: &str = "aorta 2026-11-22 kernel profile v1";

/// BLAKE3 of a profile's text, in its own key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId(pub [u8; 32]);

impl ProfileId {
    /// The hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&blake3::Hash::from_bytes(self.0).to_hex(), f)
    }
}

/// A versioned description of all semantics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    rules: BTreeMap<&'static str, String>,
}

impl Profile {
    /// Results and memory bytes as `@permaweb/ao-loader` 0.0.49 gives them under the reference unit on x86-64, without what depends
    /// on its host or its history.
    pub fn ao_loader_0_0_49() -> Self {
        let limits = [
            ("clock.start-ms", CLOCK_START_MS.to_string()),
            ("cron.crons-max", CRONS_MAX.to_string()),
            ("cron.gap-ticks-max", GAP_TICKS_MAX.to_string()),
            ("files.bytes-max", FILES_BYTES_MAX.to_string()),
            ("files.nodes-max", NODES_MAX.to_string()),
            ("gas.slack", GAS_SLACK.to_string()),
            ("gas.weights", WEIGHTS.to_owned()),
            ("json.answer-bytes-max", ANSWER_BYTES_MAX.to_string()),
            ("json.depth-max", DEPTH_MAX.to_string()),
            ("json.values-max", VALUES_MAX.to_string()),
            ("limits.compute-default-and-max", COMPUTE_MAX.to_string()),
            ("limits.memory-bytes-default", MEMORY_BYTES_DEFAULT.to_string()),
            ("limits.memory-bytes-max", MEMORY_BYTES_MAX.to_string()),
            ("limits.outbox-items-max", OUTBOX_ITEMS_MAX.to_string()),
            ("stack.frame-units", FRAME_COST.to_string()),
            ("stack.free-leaf-units", LEAF_COST_MAX.to_string()),
            ("stack.host-call-units", HOST_CALL_COST.to_string()),
            ("stack.limit-units", STACK_LIMIT.to_string()),
        ];
        let rules = RULES.iter().chain(FAULTS).map(|(name, rule)| (*name, (*rule).to_owned()));
        Self { rules: rules.chain(limits).collect() }
    }

    /// The canonical text: a line `name = rule` for each rule, in order of the names.
    pub fn text(&self) -> String {
        let line = |(name, rule): (&&str, &String)| [name, " = ", rule, "\n"].concat();
        self.rules.iter().map(line).collect()
    }

    /// What receipts name the profile by.
    pub fn id(&self) -> ProfileId {
        ProfileId(blake3::derive_key(ID_CONTEXT, self.text().as_bytes()))
    }

    /// What people name the profile by.
    pub fn name(&self) -> &str {
        &self.rules["profile.name"]
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::ao_loader_0_0_49()
    }
}

/// What the reference does as well.
const RULES: &[(&str, &str)] = &[
    ("profile.name", "ao-loader-0.0.49"),
    ("profile.version", "1"),
    (
        "boot.exports",
        "__wasm_call_ctors once; then main in formats 1 to 3, with ./this.program as its argument in format 2",
    ),
    ("clock.step-ms", "1 after each reading; never reset"),
    ("clock.zone", "UTC"),
    ("cron.interval", "X-block or X-blocks, else ms(X unit) of npm ms 2.1.3 in whole seconds; no number: never"),
    ("cron.message", "Owner Target From Tags Timestamp Block-Height Cron; owner and process are those of the process"),
    ("entropy.math-random", "0.5"),
    ("entropy.system", "none"),
    ("environment.glue-1-2-3", "emscripten's defaults with _=./this.program"),
    ("environment.glue-4-wasm64", "empty"),
    ("exceptions.legacy", "as plain code; one that nobody catches is a trap; no handler sees what the host raises"),
    ("files.tree", "emscripten's MEMFS as the glue boots it, part of the state"),
    ("float.nan", "one quiet NaN, payload 0, sign set"),
    (
        "gas.charged",
        "before each region, for all of it; an arm within the slack as if taken; what only asyncify's unwinding skips as if not skipped; ends below zero at the next turn of a loop or call of a caller",
    ),
    ("gas.own", "metering.usegas of the module: integers of 32 bits, with wasm64 of 64; elsewhere the wide one throws"),
    (
        "gas.reference-table",
        "@permaweb/wasm-metering 0.2.2; refilled before each message; in metering formats its calls cost no gas of ours",
    ),
    (
        "heap.ceiling-bytes",
        "formats 1 and 2: 524288000; formats 3 and 4: 4294901760; wasm64: 17179869184, of which 4294901760 can be had",
    ),
    ("heap.growth", "emscripten: 20 % more than now, cut by 1, 2, 4; at most 96 MiB more than asked; 64 KiB pages"),
    (
        "message.fields",
        "Id Signature Data Owner Target Anchor From Forwarded-By Tags Epoch Nonce Timestamp Block-Height Hash-Chain Cron Read-Only",
    ),
    ("message.anchor", "text, or null if absent or no UTF-8; base64url for assigned items"),
    ("message.data", "UTF-8 with replacement; null for a process assigned nonce 0 whose data is no UTF-8"),
    (
        "message.from",
        "first From-Process tag unless empty, else the owner; Forwarded-By the owner if there is such a tag",
    ),
    ("message.integers", "parseInt of the first tag"),
    ("message.owner", "EIP-55 for 65-byte keys, else base64url of SHA-256 of the key"),
    ("message.tags-removed", "From Owner"),
    ("message.process-of-old", "first, if the log does not begin with an item whose one Type tag is Process"),
    ("result.fields", "Messages Assignments Spawns Output GasUsed Error"),
    ("result.error-object", "{}"),
    ("result.gas-used", "with every answer whose ok is truthy"),
    ("result.output", "numbers become strings; absent or null becomes an empty string"),
    (
        "rollback.when",
        "no answer; ok not truthy; Error truthy; Output or Output.data.output ends with: not enough memory for buffer allocation",
    ),
    ("wasi.boot", "_initialize once; descriptor 3 is /; malloc for both texts, handle, free for both where exported"),
    (
        "wasi.calls",
        "preview 1 on files and clock of the state; no arguments, no environment, no hard links, no sockets",
    ),
    ("wasi.limits", "paths of 1024 bytes, names of 255"),
    ("wasi.random", "BLAKE3 of all messages and draws so far"),
    ("wasi.waiting", "ends at once, the clock moves on by as much"),
    ("weavedrive", "every open unwinds and rewinds through asyncify and answers null"),
];

/// Where the reference loses something, depends on its host or cannot go on, and what is done here instead. The numbers are those
/// of the ledger in `DETERMINISM.md`.
const FAULTS: &[(&str, &str)] = &[
    ("fault.01-duplicate-result", "an empty result on unchanged state, instead of the preceding message's result"),
    ("fault.04-bound", "evaluation is bounded by nonce, not by timestamp"),
    ("fault.12-single-exclude", "works like several, instead of failing for ever"),
    ("fault.13-assigned-item", "comes with the log, instead of from a gateway; its data is text as before"),
    (
        "fault.14-odd-pushed-message",
        "odd targets and long tag sections are hashed as they are, instead of failing for ever",
    ),
    (
        "fault.17-cron",
        "at k intervals from nonce 0, k from 1 on: those after the furthest assignment so far up to the next, right before that; time and blocks pass evenly between the two, a block rounded up to its millisecond; by time, then blocks before times, then id; one of a cron in a millisecond, the last",
    ),
    (
        "fault.18-cron-catch-up",
        "the latest ticks of each cron, an equal share of what may be between two assignments; all together use one Compute-Limit, whose end ends them out of gas",
    ),
    (
        "fault.20-duplicates",
        "known from the whole log before the message, whatever the outcomes were, instead of from one unit's own evaluations",
    ),
    ("fault.21-clock", "part of the state, instead of one counter for a whole Node process"),
    (
        "fault.22-snapshot",
        "memory, its size, globals, tables, clock, files and asyncify state are all kept and all rolled back",
    ),
    (
        "fault.23-compute-limit",
        "Compute-Limit of the process, else of the module, bounds gas in every format, instead of in the metering formats alone",
    ),
    ("fault.23-memory-limit", "Memory-Limit of the process, else of the module, bounds growth"),
    (
        "fault.23-stack",
        "frames are counted, instead of left to the native stack: frame + parameters and locals + greatest operand height",
    ),
    ("fault.25-reset-memory", "no Reset-Memory"),
    ("fault.51-outbox-not-an-array", "served as an empty array, instead of as status 500"),
    (
        "fault.52-blind-duplicate-key",
        "kept: bytes 512 to 529 behind the owner of a pushed message may differ between duplicates",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_its_sorted_text() {
        let profile = Profile::default();
        let text = profile.text();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.is_sorted());
        assert_eq!(lines.len(), RULES.len() + FAULTS.len() + 18, "every name occurs once");
        assert!(lines.iter().all(|line| line.is_ascii() && line.matches(" = ").count() == 1));
        assert!(text.contains("clock.start-ms = 10000\n"));
        assert_eq!(profile.name(), "ao-loader-0.0.49");
    }

    #[test]
    fn changing_a_rule_changes_the_id() {
        let profile = Profile::default();
        let mut other = profile.clone();
        other.rules.insert("clock.start-ms", "10001".to_owned());
        assert_ne!(profile.id(), other.id());
        assert_ne!(profile.id().0, *blake3::hash(profile.text().as_bytes()).as_bytes());
        assert_eq!(profile.id().to_string().len(), 64);
    }
}
