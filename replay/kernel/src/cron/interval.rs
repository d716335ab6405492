//! `Cron-Interval`: how the reference reads one.
//!
//! Not here: what ticks come of it.
//! Invariant: what the reference's own reading makes no number of is no interval here either.
//!
//! # Source
//! permaweb/ao `ff178d51`, `servers/cu/src/domain/lib/loadMessages.js` (`parseCrons`); npm `ms` 2.1.3.

/// What a cron counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Blocks.
    Blocks,
    /// Seconds.
    Seconds,
}

/// Reads the value of a `Cron-Interval` tag: what is counted, and how much of it; `None` if that is no number.
pub(super) fn read(interval: &str) -> (Unit, Option<u64>) {
    let mut parts = interval.split('-').map(trim);
    let (number, unit) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if matches!(unit, "block" | "blocks") {
        (Unit::Blocks, leading_integer(number))
    } else {
        (Unit::Seconds, seconds(number, unit))
    }
}

/// JavaScript's `trim`.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\u{FEFF}' || (c.is_whitespace() && c != '\u{85}'))
}

/// `parseInt` as far as a number of blocks needs it.
fn leading_integer(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())];
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Longest text that `ms` reads.
const TEXT_CHARS_MAX: usize = 100;

/// `floor(ms(number + " " + unit) / 1000)`.
fn seconds(number: &str, unit: &str) -> Option<u64> {
    let text = [number, " ", unit].concat();
    if text.len() > TEXT_CHARS_MAX {
        return None;
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start_matches(' '));
    let (whole, fraction) = number.split_once('.').unwrap_or(("", number));
    if fraction.is_empty() || fraction.contains('.') || !whole.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let ms_each = match unit.to_ascii_lowercase().as_str() {
        "" | "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 86_400_000.0,
        "w" | "week" | "weeks" => 7.0 * 86_400_000.0,
        "y" | "yr" | "yrs" | "year" | "years" => 365.25 * 86_400_000.0,
        _ => return None,
    };
    // A conversion to an integer that is too large for it ends at the largest.
    number.parse::<f64>().ok().map(|number| (number * ms_each / 1000.0).floor() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_the_reference_reads_them() {
        let all = [
            ("10-seconds", Unit::Seconds, Some(10)),
            ("1.5-minutes", Unit::Seconds, Some(90)),
            (".5-hours", Unit::Seconds, Some(1800)),
            (" 2 - Days ", Unit::Seconds, Some(172_800)),
            ("1-year", Unit::Seconds, Some(31_557_600)),
            ("10s", Unit::Seconds, None),
            ("2500-ms", Unit::Seconds, Some(2)),
            ("5", Unit::Seconds, Some(0)),
            ("0-seconds", Unit::Seconds, Some(0)),
            ("1-months", Unit::Seconds, None),
            ("-5-seconds", Unit::Seconds, None),
            ("1.-seconds", Unit::Seconds, None),
            ("1.2.3-seconds", Unit::Seconds, None),
            ("soon", Unit::Seconds, None),
            ("", Unit::Seconds, None),
            ("10-block", Unit::Blocks, Some(10)),
            ("10 or so-blocks-or-more", Unit::Blocks, Some(10)),
            ("0-blocks", Unit::Blocks, Some(0)),
            ("x-blocks", Unit::Blocks, None),
            ("10-Blocks", Unit::Seconds, None),
        ];
        for (text, unit, number) in all {
            assert_eq!(read(text), (unit, number), "{text:?}");
        }
        assert_eq!(read(&format!("{}-seconds", "9".repeat(99))).1, None, "longer than ms reads");
        assert_eq!(read(&format!("{}-s", "9".repeat(90))).1, Some(u64::MAX));
    }
}
