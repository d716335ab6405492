//! What traders say they have, and whether it is all there.
//!
//! Invariant: conservation is claimed only where as many letters were read as were written, so that nothing is on its way.

use anyhow::{Context as _, Result};
use ao_wire::{Id, Signer};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Http, Units};

/// Gold, and silver, that each trader begins with: as in `trader.lua`.
pub(crate) const EACH: u64 = 1000;

/// What one trader, or all together, have and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Report {
    pub(crate) gold: u64,
    pub(crate) silver: u64,
    /// Letters to peers.
    pub(crate) written: u64,
    /// Letters from peers.
    pub(crate) read: u64,
    /// Pings answered.
    pub(crate) pongs: u64,
    /// Trades done.
    pub(crate) done: u64,
    /// Offers refused for want of silver.
    pub(crate) refused: u64,
    /// Offers not made for want of gold.
    pub(crate) poor: u64,
    /// Cron messages that had an effect.
    pub(crate) ticks: u64,
}

impl Report {
    /// Asks a trader, by a dry-run at the end of its log.
    pub(crate) async fn ask(http: &Http, units: &Units, trader: Id, signer: &Signer) -> Result<Self> {
        let tags = json!([{ "name": "Action", "value": "Report" }]);
        let body =
            json!({ "Target": trader, "Owner": signer.address(), "From": signer.address(), "Tags": tags, "Data": "" });
        let url = format!("{}/dry-run?process-id={trader}", units.cu);
        let answer = http.post_json(&url, &body).await?;
        let data = answer.pointer("/Messages/0/Data").and_then(Value::as_str);
        let data = data.with_context(|| format!("trader {trader} does not report: {answer}"))?;
        serde_json::from_str(data).with_context(|| format!("trader {trader} reports {data:?}"))
    }

    /// All together.
    pub(crate) fn sum(reports: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> u64| reports.iter().map(of).sum();
        Self {
            gold: sum(|report| report.gold),
            silver: sum(|report| report.silver),
            written: sum(|report| report.written),
            read: sum(|report| report.read),
            pongs: sum(|report| report.pongs),
            done: sum(|report| report.done),
            refused: sum(|report| report.refused),
            poor: sum(|report| report.poor),
            ticks: sum(|report| report.ticks),
        }
    }

    /// Whether nothing is on its way.
    pub(crate) fn quiet(&self) -> bool {
        self.written == self.read
    }

    /// Whether nothing was lost or made, of so many traders.
    pub(crate) fn conserved(&self, traders: usize) -> bool {
        let all = EACH * traders as u64;
        self.quiet() && self.gold == all && self.silver == all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coin_too_many_or_a_letter_on_its_way_is_no_conservation() {
        let one = Report { gold: 900, silver: 1100, written: 3, read: 2, ..Report::default() };
        let other = Report { gold: 1100, silver: 900, written: 1, read: 2, ..Report::default() };
        assert!(Report::sum(&[one.clone(), other.clone()]).conserved(2));
        for wrong in [
            Report { gold: 1101, ..other.clone() },
            Report { silver: 899, ..other.clone() },
            Report { read: 1, ..other.clone() },
        ] {
            assert!(!Report::sum(&[one.clone(), wrong]).conserved(2));
        }
        assert!(!Report::sum(&[one]).conserved(1));
    }
}
