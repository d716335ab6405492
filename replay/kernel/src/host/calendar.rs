//! JavaScript's `Date` in UTC.
//!
//! Not here: C's broken-down time (`time`, `strftime`).
//! Invariant: equal to V8 for every input, invalid dates (`None`) included; the host's time zone is never asked.

const DAY_MS: i64 = 86_400_000;
const DATE_MS_MAX: i64 = 8_640_000_000_000_000;
/// V8 gives up on years and months beyond these before it looks at the day.
const YEAR_MAX: i64 = 1_000_000;
const MONTH_MAX: i64 = 10_000_000;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    ms: i64,
}

/// The fields of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 0.
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    /// From Sunday, 0.
    pub(crate) weekday: i64,
}

impl Date {
    /// `new Date(seconds * 1e3)`.
    pub(crate) fn from_seconds(seconds: i64) -> Option<Self> {
        Self::from_ms(i128::from(seconds) * 1000)
    }

    fn from_ms(ms: i128) -> Option<Self> {
        let ms = i64::try_from(ms).ok()?;
        (-DATE_MS_MAX..=DATE_MS_MAX).contains(&ms).then_some(Self { ms })
    }

    /// `new Date(year, month, day, hour, minute, second, 0)`: years 0 to 99 are of the 20th century.
    pub(crate) fn new(year: i64, month: i64, day: i64, [hour, minute, second]: [i64; 3]) -> Option<Self> {
        let year = if (0..=99).contains(&year) { 1900 + year } else { year };
        if year.abs() > YEAR_MAX || month.abs() > MONTH_MAX {
            return None;
        }
        let year = year + month.div_euclid(12);
        let days = i128::from(days_before(year, month.rem_euclid(12)) + day - 1);
        let time = i128::from(hour) * 3_600_000 + i128::from(minute) * 60_000 + i128::from(second) * 1000;
        Self::from_ms(days * i128::from(DAY_MS) + time)
    }

    /// `new Date(year, month, day)`.
    pub(crate) fn midnight(year: i64, month: i64, day: i64) -> Option<Self> {
        Self::new(year, month, day, [0; 3])
    }

    /// The date `days` later.
    pub(crate) fn plus_days(self, days: i64) -> Option<Self> {
        Self::from_ms(i128::from(self.ms) + i128::from(days) * i128::from(DAY_MS))
    }

    /// Whole days since `earlier`, cut to 32 bits as `| 0` does.
    pub(crate) fn days_since(self, earlier: Self) -> i32 {
        ((self.ms - earlier.ms) / DAY_MS) as i32
    }

    pub(crate) fn seconds(self) -> i64 {
        self.ms.div_euclid(1000)
    }

    pub(crate) fn civil(self) -> Civil {
        let (days, time) = (self.ms.div_euclid(DAY_MS), self.ms.rem_euclid(DAY_MS));
        // Days since 0000-03-01, in eras of 400 years.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = (from_march + 2) % 12;
        Civil {
            year: era * 400 + year_of_era + i64::from(month < 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: time / 3_600_000,
            minute: time / 60_000 % 60,
            second: time / 1000 % 60,
            weekday: (days + 4).rem_euclid(7),
        }
    }
}

impl Civil {
    /// Days since the first of January.
    pub(crate) fn day_of_year(self) -> i64 {
        days_before(self.year, self.month) - days_before(self.year, 0) + self.day - 1
    }
}

/// Days from 1970-01-01 to the first of `month` (0 to 11) in `year`.
fn days_before(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month < 2);
    let from_march = (month + 10) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * from_march + 2) / 5 - 719_468
}

pub(crate) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_a_thousand_years_follows_its_predecessor() {
        let mut date = Date::midnight(1601, 0, 1).unwrap();
        let mut last = date.civil();
        assert_eq!((last.year, last.month, last.day, last.weekday), (1601, 0, 1, 1));
        while last.year < 2601 {
            date = date.plus_days(1).unwrap();
            let civil = date.civil();
            assert_eq!(Date::midnight(civil.year, civil.month, civil.day), Some(date));
            assert_eq!(civil.weekday, (last.weekday + 1) % 7);
            assert!(civil.day == last.day + 1 || civil.day == 1);
            assert!(civil.day_of_year() == last.day_of_year() + 1 || (civil.month, civil.day) == (0, 1));
            last = civil;
        }
    }

    #[test]
    fn dates_overflow_as_in_javascript() {
        assert_eq!(Date::midnight(2024, 14, 0).unwrap().civil(), Date::midnight(2025, 1, 28).unwrap().civil());
        assert_eq!(Date::midnight(70, 0, 1).unwrap().seconds(), 0);
        assert_eq!(Date::from_seconds(8_640_000_000_001), None);
        assert!(Date::from_seconds(-8_640_000_000_000).is_some());
        assert_eq!(Date::midnight(1_100_000, -9_900_000, 1), None);
    }
}
