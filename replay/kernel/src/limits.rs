//! What a process may use, from the tags of the process and of its module.
//!
//! # Source
//! `permaweb/ao` `servers/cu/src/domain/lib/loadModule.js` at `ff178d51`: the process' tag wins over the module's.

use crate::machine::ProcessLimits;

/// Memory of a process whose tags name no limit.
///
/// # Units
/// Bytes.
pub const MEMORY_BYTES_DEFAULT: u64 = 1 << 30;

/// Most memory any process gets: what 32 bits address, less the last page.
///
/// # Units
/// Bytes.
pub const MEMORY_BYTES_MAX: u64 = (1 << 32) - 65_536;

/// Gas per step of a process whose tags name no limit; also the most that can be named.
pub const COMPUTE_MAX: u64 = 9_000_000_000_000;

/// A limit that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tag {tag} has the unreadable value {value:?}")]
pub struct LimitError {
    /// The tag.
    pub tag: &'static str,
    /// Its value.
    pub value: String,
}

/// Reads the limits; `process` and `module` look up the first tag of a name.
///
/// # Errors
/// A value that is no number, or of an unknown unit.
pub fn process_limits(
    process: impl Fn(&str) -> Option<String>,
    module: impl Fn(&str) -> Option<String>,
) -> Result<ProcessLimits, LimitError> {
    let limit = |tag: &'static str, default, most: u64, read: fn(&str) -> Option<u64>| {
        let Some(value) = process(tag).or_else(|| module(tag)) else { return Ok(default) };
        read(&value).map(|limit| limit.min(most)).ok_or(LimitError { tag, value })
    };
    Ok(ProcessLimits {
        memory_bytes_max: limit("Memory-Limit", MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MAX, memory_bytes)?,
        compute_max: limit("Compute-Limit", COMPUTE_MAX, COMPUTE_MAX, leading_integer)?,
    })
}

/// `1-gb`, `500-mb`, `64 kb`, `1048576`: a number and a unit of 1024, case ignored.
fn memory_bytes(value: &str) -> Option<u64> {
    let value = value.replacen('-', "", 1).trim().to_ascii_lowercase();
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole =
        whole.parse::<u64>().ok()?.checked_shl(shift).filter(|bytes| bytes >> shift == whole.parse().unwrap_or(0))?;
    // Three digits behind the point are more than any limit is given with.
    let thousandths = format!("{fraction:0<3}").get(..3)?.parse::<u64>().ok()?;
    Some(whole.saturating_add((thousandths << shift) / 1000))
}

/// JavaScript's `parseInt` as far as limits need it.
fn leading_integer(value: &str) -> Option<u64> {
    let value = value.trim_start();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(value: &str) -> Result<u64, LimitError> {
        process_limits(|tag| (tag == "Memory-Limit").then(|| value.to_owned()), |_| None)
            .map(|limits| limits.memory_bytes_max)
    }

    #[test]
    fn memory_limits_are_read_with_their_units() {
        assert_eq!(memory("1-gb"), Ok(1 << 30));
        assert_eq!(memory("500-mb"), Ok(500 << 20));
        assert_eq!(memory("1.5-GB"), Ok(3 << 29));
        assert_eq!(memory("65536"), Ok(65_536));
        assert_eq!(memory("16-gb"), Ok(MEMORY_BYTES_MAX));
    }

    #[test]
    fn unreadable_limits_name_their_tag() {
        for value in ["", "much", "1-xb", "-", "18446744073709551615-tb"] {
            let error = LimitError { tag: "Memory-Limit", value: value.into() };
            assert_eq!(memory(value), Err(error), "{value}");
        }
    }

    #[test]
    fn the_process_tag_wins_over_the_module_tag() {
        let limits = process_limits(|_| Some("64-kb".into()), |_| Some("1-gb".into()));
        assert_eq!(limits.map(|limits| limits.memory_bytes_max), Ok(65_536));
    }
}
