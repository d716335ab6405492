//! Cursors as the reference unit writes them: base64 of `{"timestamp":…,"ordinate":"…","cron":…,"sort":"…"}`.
//!
//! Not here: which results a page shows (`routes::results`).
//! Invariant: every cursor given is accepted again and names the same place.

use ao_log::{Nonce, TimestampMs};
use ao_store::{Order, Position, StepRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
struct Json {
    timestamp: u64,
    ordinate: String,
    #[serde(default)]
    cron: Option<String>,
    sort: Sort,
}

/// In which order a listing goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Sort {
    /// Oldest first.
    #[default]
    #[serde(rename = "ASC")]
    Ascending,
    /// Newest first.
    #[serde(rename = "DESC")]
    Descending,
}

impl From<Sort> for Order {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Ascending => Self::Ascending,
            Sort::Descending => Self::Descending,
        }
    }
}

/// A place in a list of results, as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// A cursor of an assignment's step, which brings its order.
    Place(Position, Sort),
    /// A cursor of a cron tick: the nonce before it, its time and its cron.
    Tick(Nonce, TimestampMs, String, Sort),
    /// A time.
    Time(TimestampMs),
}

impl Bound {
    /// Reads a cursor, or else a time in milliseconds.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(Json { timestamp, ordinate, cron, sort }) =
            STANDARD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok())
        {
            let nonce = Nonce(ordinate.parse().ok()?);
            return Some(match cron {
                Some(cron) => Self::Tick(nonce, TimestampMs(timestamp), cron, sort),
                None => Self::Place(Position::of(nonce), sort),
            });
        }
        text.parse().ok().map(|time| Self::Time(TimestampMs(time)))
    }

    /// The order a cursor brings.
    pub(crate) fn sort(&self) -> Option<Sort> {
        match self {
            Self::Place(_, sort) | Self::Tick(.., sort) => Some(*sort),
            Self::Time(_) => None,
        }
    }
}

/// The cursor of a step.
pub(crate) fn cursor(step: &StepRecord, sort: Sort) -> String {
    let json =
        Json { timestamp: step.timestamp.0, ordinate: step.position.nonce.to_string(), cron: step.cron.clone(), sort };
    STANDARD.encode(serde_json::to_vec(&json).expect("numbers and text are JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_the_reference_is_read_and_written_byte_for_byte() {
        let text = "eyJ0aW1lc3RhbXAiOjE3MDAwMDAwMDAwMDAsIm9yZGluYXRlIjoiOSIsImNyb24iOm51bGwsInNvcnQiOiJERVNDIn0=";
        let place = Position::of(Nonce(9));
        assert_eq!(Bound::parse(text), Some(Bound::Place(place, Sort::Descending)));
        let step = StepRecord {
            process: ao_wire::Id([0; 32]).into(),
            position: place,
            message: ao_wire::Id([0; 32]).into(),
            content: None,
            assignment: ao_wire::Id([0; 32]).into(),
            timestamp: TimestampMs(1_700_000_000_000),
            block_height: ao_log::BlockHeight(0),
            cron: None,
            failed: false,
            receipt: Vec::new(),
            result_json: Vec::new(),
        };
        assert_eq!(cursor(&step, Sort::Descending), text);
    }

    #[test]
    fn the_cursor_of_a_tick_names_its_cron() {
        let json = r#"{"timestamp":1700000010000,"ordinate":"9","cron":"0-10-seconds","sort":"ASC"}"#;
        let tick = Bound::Tick(Nonce(9), TimestampMs(1_700_000_010_000), "0-10-seconds".into(), Sort::Ascending);
        assert_eq!(Bound::parse(&STANDARD.encode(json)), Some(tick));
    }

    #[test]
    fn what_is_no_cursor_is_a_time_or_nothing() {
        assert_eq!(Bound::parse("1700000000000"), Some(Bound::Time(TimestampMs(1_700_000_000_000))));
        assert_eq!(Bound::parse("170000000000"), Some(Bound::Time(TimestampMs(170_000_000_000))));
        assert_eq!(Bound::parse("12"), Some(Bound::Time(TimestampMs(12))));
        for text in ["", "soon", "-1", "1.5", "e30="] {
            assert_eq!(Bound::parse(text), None, "{text}");
        }
    }
}
