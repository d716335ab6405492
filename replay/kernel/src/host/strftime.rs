//! `strftime` as the glue computes it: rule by rule over the whole pattern.
//!
//! Not here: other time calls (`time`). Invariant: the rules run in the glue's order, because each sees what the ones
//! before it wrote.

use super::calendar::{Date, is_leap};
use super::mem::{Args, Heap, OUT_OF_BOUNDS};
use super::text::utf8_to_string;
use super::{Outcome, wide_or_narrow};
use crate::guest::{Guest, Interrupt, Val};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const SHORTHANDS: [(&str, &str); 28] = [
    ("%c", "%a %b %d %H:%M:%S %Y"),
    ("%D", "%m/%d/%y"),
    ("%F", "%Y-%m-%d"),
    ("%h", "%b"),
    ("%r", "%I:%M:%S %p"),
    ("%R", "%H:%M"),
    ("%T", "%H:%M:%S"),
    ("%x", "%m/%d/%y"),
    ("%X", "%H:%M:%S"),
    ("%Ec", "%c"),
    ("%EC", "%C"),
    ("%Ex", "%m/%d/%y"),
    ("%EX", "%H:%M:%S"),
    ("%Ey", "%y"),
    ("%EY", "%Y"),
    ("%Od", "%d"),
    ("%Oe", "%e"),
    ("%OH", "%H"),
    ("%OI", "%I"),
    ("%Om", "%m"),
    ("%OM", "%M"),
    ("%OS", "%S"),
    ("%Ou", "%u"),
    ("%OU", "%U"),
    ("%OV", "%V"),
    ("%Ow", "%w"),
    ("%OW", "%W"),
    ("%Oy", "%y"),
];

/// In the glue's order.
const LETTERS: &str = "aAbBCdegGHIjmMnpStuUVwWyYzZ";

/// `struct tm`.
#[derive(Clone, Debug, Default)]
struct Tm {
    second: i64,
    minute: i64,
    hour: i64,
    day: i64,
    month: i64,
    year: i64,
    weekday: i64,
    yearday: i64,
    offset: i64,
    zone: String,
}

/// `strftime` and, with one more argument that is ignored, `strftime_l`.
pub(super) fn strftime(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    let (target, max, pattern, tm) = (args.ptr(), args.ptr(), args.ptr(), args.ptr());
    let mut heap = Heap::of(guest);
    let tm = load(&heap, tm)?;
    let mut text = expand(&utf8_to_string(heap.bytes, pattern), &tm)?.into_bytes();
    text.push(0);
    if text.len() as i64 > max {
        return Ok(Some(wide_or_narrow(format, 0)));
    }
    let target = u64::try_from(target).map_err(|_| OUT_OF_BOUNDS)?;
    heap.range(target, text.len() as u64)?.copy_from_slice(&text);
    Ok(Some(wide_or_narrow(format, text.len() as u64 - 1)))
}

fn load(heap: &Heap<'_>, tm: i64) -> Result<Tm, Interrupt> {
    let field = |i: i64| heap.i32(tm.saturating_add(4 * i)).map(i64::from);
    let (offset, zone) = if heap.is_wide() {
        (heap.i64(tm.saturating_add(40))?, heap.ptr(tm.saturating_add(48))?)
    } else {
        (field(9)?, heap.ptr(tm.saturating_add(40))?)
    };
    Ok(Tm {
        second: field(0)?,
        minute: field(1)?,
        hour: field(2)?,
        day: field(3)?,
        month: field(4)?,
        year: field(5)?,
        weekday: field(6)?,
        yearday: field(7)?,
        offset,
        zone: i64::try_from(zone).map_or_else(|_| String::new(), |zone| utf8_to_string(heap.bytes, zone)),
    })
}

fn expand(pattern: &str, tm: &Tm) -> Result<String, Interrupt> {
    let mut text = pattern.to_owned();
    for (short, long) in SHORTHANDS {
        text = text.replace(short, long);
    }
    text = text.replace("%%", "\0\0");
    for letter in LETTERS.chars() {
        let rule = format!("%{letter}");
        if text.contains(&rule) {
            text = text.replace(&rule, &field(letter, tm)?);
        }
    }
    Ok(text.replace("%%", "%").replace("\0\0", "%"))
}

fn name(names: &[&str], index: i64, short: bool) -> Result<String, Interrupt> {
    match (usize::try_from(index).ok().and_then(|index| names.get(index)), short) {
        (Some(name), true) => Ok(name[..3].to_owned()),
        (Some(name), false) => Ok((*name).to_owned()),
        (None, false) => Ok("undefined".to_owned()),
        (None, true) => Err(Interrupt::Abort("Cannot read properties of undefined (reading 'substring')".to_owned())),
    }
}

fn padded(value: i64, digits: usize, with: char) -> String {
    let text = value.to_string();
    let fill = digits.saturating_sub(text.len());
    std::iter::repeat_n(with, fill).chain(text.chars()).collect()
}

/// Text after its first two characters.
fn after_two(text: &str) -> String {
    text.get(2..).unwrap_or_default().to_owned()
}

fn field(letter: char, tm: &Tm) -> Result<String, Interrupt> {
    let two = |value| padded(value, 2, '0');
    let year = tm.year + 1900;
    let from_monday = (tm.weekday + 6) % 7;
    Ok(match letter {
        'a' => name(&WEEKDAYS, tm.weekday, true)?,
        'A' => name(&WEEKDAYS, tm.weekday, false)?,
        'b' => name(&MONTHS, tm.month, true)?,
        'B' => name(&MONTHS, tm.month, false)?,
        'C' => two(year / 100),
        'd' => two(tm.day),
        'e' => padded(tm.day, 2, ' '),
        'g' => after_two(&week_based_year(tm)),
        'G' => week_based_year(tm),
        'H' => two(tm.hour),
        'I' => two(if tm.hour == 0 { 12 } else { tm.hour - if tm.hour > 12 { 12 } else { 0 } }),
        'j' => day_of_year(tm),
        'm' => two(tm.month + 1),
        'M' => two(tm.minute),
        'n' => "\n".to_owned(),
        'p' => if (0..12).contains(&tm.hour) { "AM" } else { "PM" }.to_owned(),
        'S' => two(tm.second),
        't' => "\t".to_owned(),
        'u' => if tm.weekday == 0 { 7 } else { tm.weekday }.to_string(),
        'U' => two((tm.yearday + 7 - tm.weekday).div_euclid(7)),
        'V' => two(week(tm)),
        'w' => tm.weekday.to_string(),
        'W' => two((tm.yearday + 7 - from_monday).div_euclid(7)),
        'y' => after_two(&year.to_string()),
        'Y' => year.to_string(),
        'z' => zone_offset(tm.offset),
        _ => tm.zone.clone(),
    })
}

fn day_of_year(tm: &Tm) -> String {
    let february = if is_leap(tm.year + 1900) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    match usize::try_from(tm.month) {
        Err(_) => padded(tm.day, 3, '0'),
        Ok(month) => match lengths.get(..month) {
            Some(before) => padded(tm.day + before.iter().sum::<i64>(), 3, '0'),
            None => "NaN".to_owned(),
        },
    }
}

/// ISO week, with the glue's own slips (it asks for leap years by `tm_year`, not by the year).
fn week(tm: &Tm) -> i64 {
    let week = (tm.yearday + 7 - (tm.weekday + 6) % 7).div_euclid(7);
    let week = week + i64::from((tm.weekday + 371 - tm.yearday - 2) % 7 <= 2);
    if week == 0 {
        let last = (tm.weekday + 7 - tm.yearday - 1) % 7;
        52 + i64::from(last == 4 || last == 5 && is_leap(tm.year % 400 - 1))
    } else if week == 53 {
        let first = (tm.weekday + 371 - tm.yearday) % 7;
        if first != 4 && (first != 3 || !is_leap(tm.year)) { 1 } else { 53 }
    } else {
        week
    }
}

fn week_based_year(tm: &Tm) -> String {
    fn first_week(year: i64) -> Option<Date> {
        let fourth = Date::midnight(year, 0, 4)?;
        match fourth.civil().weekday {
            1 => Some(fourth),
            2 => Date::midnight(fourth.civil().year, 0, 3),
            3 => Date::midnight(fourth.civil().year, 0, 2),
            4 => Date::midnight(fourth.civil().year, 0, 1),
            5 => Date::midnight(fourth.civil().year - 1, 11, 31),
            6 => Date::midnight(fourth.civil().year - 1, 11, 30),
            _ => Date::midnight(fourth.civil().year - 1, 11, 29),
        }
    }
    let date = Date::midnight(tm.year + 1900, 0, 1).and_then(|date| date.plus_days(tm.yearday.max(0)));
    let Some(date) = date else { return "NaN".to_owned() };
    let year = date.civil().year;
    // An invalid first week compares as equal, which is "not later".
    let reached = |year| first_week(year).is_none_or(|first| first <= date);
    match (reached(year), reached(year + 1)) {
        (false, _) => year - 1,
        (true, false) => year,
        (true, true) => year + 1,
    }
    .to_string()
}

/// `+hhmm`; seconds that are no whole minutes come out as JavaScript prints the fraction, cut to four characters.
fn zone_offset(seconds: i64) -> String {
    let sign = if seconds >= 0 { '+' } else { '-' };
    let minutes = seconds.unsigned_abs() as f64 / 60.0;
    let number = minutes / 60.0 * 100.0 + minutes % 60.0;
    let text = format!("0000{}", ryu_js::Buffer::new().format(number));
    format!("{sign}{}", &text[text.len() - 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tm() -> Tm {
        // 2024-12-30 17:05:09, a Monday.
        Tm {
            second: 9,
            minute: 5,
            hour: 17,
            day: 30,
            month: 11,
            year: 124,
            weekday: 1,
            yearday: 364,
            offset: 0,
            zone: "UTC".to_owned(),
        }
    }

    #[test]
    fn every_conversion_prints_as_the_glue_does() {
        for (pattern, text) in [
            ("%c", "Mon Dec 30 17:05:09 2024"),
            ("%A %B %C %D %e %F", "Monday December 20 12/30/24 30 2024-12-30"),
            ("%g %G %h %I %j %n%p%t", "25 2025 Dec 05 365 \nPM\t"),
            ("%r|%R|%T|%u|%U|%V|%w|%W", "05:05:09 PM|17:05|17:05:09|1|52|01|1|53"),
            ("%x %X %y %Y %z %Z %%", "12/30/24 17:05:09 24 2024 +0000 UTC %"),
            ("100%%d %Od %Ey %q", "100%d 30 24 %q"),
        ] {
            assert_eq!(expand(pattern, &tm()).unwrap(), text, "{pattern}");
        }
    }

    #[test]
    fn fields_out_of_range_fail_as_in_javascript() {
        let odd = Tm { weekday: 9, month: 20, year: -1895, ..tm() };
        assert!(expand("%a", &odd).is_err());
        assert_eq!(expand("%A %B %j %y %Y", &odd).unwrap(), "undefined undefined NaN  5");
    }

    #[test]
    fn zone_offsets_print_as_javascript_numbers() {
        assert_eq!(zone_offset(19_800), "+0580");
        assert_eq!(zone_offset(-3600), "-0100");
    }
}
