//! How often a caller may ask: a bucket of requests per address, which fills up over a minute.
//!
//! Not here: who the caller is (`routes::dry_run`).
//! Invariant: no more than the rate in a burst, no more than the rate per minute on average, whoever else asks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::answer::Refusal;

/// Callers remembered; past it those whose bucket is full again are forgotten, which changes nothing for them.
const CALLERS_MAX: usize = 10_000;

/// A limit of requests per minute and caller; none if 0.
pub(crate) struct RateLimit {
    per_minute: u32,
    callers: Mutex<BTreeMap<IpAddr, Bucket>>,
}

struct Bucket {
    /// Requests left at `at`.
    left: f64,
    at: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute, callers: Mutex::default() }
    }

    /// Lets a request of `caller` pass, or says when to come again.
    pub(crate) fn admit(&self, caller: IpAddr) -> Result<(), Refusal> {
        self.admit_at(caller, Instant::now())
    }

    fn admit_at(&self, caller: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let most = f64::from(self.per_minute);
        let per_second = most / 60.0;
        let left = |bucket: &Bucket| {
            (bucket.left + now.saturating_duration_since(bucket.at).as_secs_f64() * per_second).min(most)
        };
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_MAX {
            callers.retain(|_, bucket| left(bucket) < most);
        }
        let bucket = callers.entry(caller).or_insert(Bucket { left: most, at: now });
        let found = left(bucket);
        if found < 1.0 {
            let wait_s = ((1.0 - found) / per_second).ceil() as u64;
            return Err(Refusal::Rate { wait_s: wait_s.max(1) });
        }
        *bucket = Bucket { left: found - 1.0, at: now };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_the_rate_and_a_refusal_says_when_to_come_again() {
        let (limit, now) = (RateLimit::new(6), Instant::now());
        let [one, other] = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        for _ in 0..6 {
            limit.admit_at(one, now).unwrap();
        }
        assert!(matches!(limit.admit_at(one, now), Err(Refusal::Rate { wait_s: 10 })));
        limit.admit_at(other, now).unwrap();
        assert!(limit.admit_at(one, now + Duration::from_secs(9)).is_err());
        limit.admit_at(one, now + Duration::from_secs(10)).unwrap();
        assert!(limit.admit_at(one, now + Duration::from_secs(10)).is_err());
    }

    #[test]
    fn no_rate_is_no_limit() {
        let limit = RateLimit::new(0);
        (0..1000).for_each(|_| limit.admit(IpAddr::from([127, 0, 0, 1])).unwrap());
    }
}
