//! The calls of C's `time.h`: clock, broken-down time, time zone.
//!
//! Not here: `strftime`. Invariant: time is the process' own counter and the zone is UTC.

use super::calendar::{Civil, Date};
use super::format::{Export, Glue};
use super::mem::{Args, Heap};
use super::text::string_to_utf8;
use super::{Outcome, call_ptr};
use crate::guest::{Guest, Interrupt, Val};

/// `emscripten_date_now`, `emscripten_get_now`: one counter.
pub(super) fn now(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    let now = guest.host().clock.tick();
    Ok(Some(Val::F64((now as f64).to_bits())))
}

/// The clock calls of glues 1 and 2, which do not move.
pub(super) fn zero(_: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::F64(0)))
}

/// Glue 2's `emscripten_get_now` indexes the clock's number as if it were a pair.
pub(super) fn not_a_number(guest: &mut dyn Guest, _: &[Val]) -> Outcome {
    guest.host().clock.tick();
    Ok(Some(Val::F64(f64::NAN.to_bits())))
}

pub(super) fn one(_: &mut dyn Guest, _: &[Val]) -> Outcome {
    Ok(Some(Val::I32(1)))
}

/// The fields of a `struct tm` from its start; none for an invalid date, whose fields JavaScript stores as 0.
fn store_civil(heap: &mut Heap<'_>, tm: i64, civil: Option<Civil>) {
    let fields = civil.map_or([0; 7], |c| [c.second, c.minute, c.hour, c.day, c.month, c.year - 1900, c.weekday]);
    for (i, field) in (0_i64..).zip(fields) {
        heap.set_i32(tm.saturating_add(4 * i), field as i32);
    }
}

/// Reads the time argument: by pointer to 32 bits in glues 1 and 2, by value since.
fn date_argument(guest: &mut dyn Guest, args: &[Val]) -> Result<(Option<Date>, i64), Interrupt> {
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    if format.glue() <= Glue::E2 {
        let (time, tm) = (args.ptr(), args.ptr());
        let seconds = Heap::of(guest).i32(time)?;
        return Ok((Date::from_seconds(i64::from(seconds)), tm));
    }
    Ok((args.offset().and_then(Date::from_seconds), args.ptr()))
}

pub(super) fn gmtime(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (date, tm) = date_argument(guest, args)?;
    let mut heap = Heap::of(guest);
    store_civil(&mut heap, tm, date.map(Date::civil));
    heap.set_i32(tm.saturating_add(28), date.map_or(0, days_into_year));
    Ok(None)
}

/// Days since what JavaScript takes for the first of January: of 19xx for the years 0 to 99.
fn days_into_year(date: Date) -> i32 {
    Date::midnight(date.civil().year, 0, 1).map_or(0, |start| date.days_since(start))
}

pub(super) fn localtime(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let (date, tm) = date_argument(guest, args)?;
    let glue = guest.host().format.glue();
    let mut heap = Heap::of(guest);
    store_civil(&mut heap, tm, date.map(Date::civil));
    let day = match date {
        None => 0,
        Some(date) if glue <= Glue::E2 => days_into_year(date),
        Some(date) => date.civil().day_of_year() as i32,
    };
    heap.set_i32(tm.saturating_add(28), day);
    if glue == Glue::W64 {
        if date.is_none() {
            let text = "The number NaN cannot be converted to a BigInt because it is not an integer";
            return Err(Interrupt::Abort(text.to_owned()));
        }
        heap.set_i64(tm.saturating_add(40), 0);
    } else {
        heap.set_i32(tm.saturating_add(36), 0);
    }
    heap.set_i32(tm.saturating_add(32), 0);
    Ok(None)
}

pub(super) fn mktime(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    let format = guest.host().format;
    let tm = Args::new(format, args).ptr();
    let mut heap = Heap::of(guest);
    let mut field = [0_i64; 6];
    for (i, value) in (0_i64..).zip(&mut field) {
        *value = i64::from(heap.i32(tm.saturating_add(4 * i))?);
    }
    let [second, minute, hour, day, month, year] = field;
    let date = Date::new(year + 1900, month, day, [hour, minute, second]);
    if heap.i32(tm.saturating_add(32))? < 0 {
        heap.set_i32(tm.saturating_add(32), 0);
    }
    let civil = date.map(Date::civil);
    let year_kept = (format.glue() <= Glue::E2).then_some(year);
    store_civil(&mut heap, tm, civil);
    if let Some(year) = year_kept {
        heap.set_i32(tm.saturating_add(20), year as i32);
        heap.set_i32(tm.saturating_add(28), date.map_or(0, days_into_year));
        return Ok(Some(Val::I32(date.map_or(0, Date::seconds) as i32)));
    }
    heap.set_i32(tm.saturating_add(28), civil.map_or(0, Civil::day_of_year) as i32);
    let seconds = date.map_or(-1, Date::seconds);
    if format.is_wide() {
        return Ok(Some(Val::I64(seconds)));
    }
    let setter = if format.glue() == Glue::E3 { "setTempRet0" } else { "_emscripten_tempret_set" };
    guest.call(setter, &[Val::I32((seconds >> 32) as i32)])?;
    Ok(Some(Val::I32(seconds as i32)))
}

/// `_tzset_js`: offset 0, no summer time, and the zone's name as each glue spells it.
pub(super) fn tzset(guest: &mut dyn Guest, args: &[Val]) -> Outcome {
    const LONG_NAME: &str = "Coordinated Universal Time";
    let format = guest.host().format;
    let mut args = Args::new(format, args);
    let (timezone, daylight, first, second) = (args.ptr(), args.ptr(), args.ptr(), args.ptr());
    if format.glue() <= Glue::E2 {
        if std::mem::replace(&mut guest.host().tz_is_set, true) {
            return Ok(None);
        }
        let mut heap = Heap::of(guest);
        heap.set_i32(timezone, 0);
        heap.set_i32(daylight, 0);
        let size = LONG_NAME.len() as u64 + 1;
        let mut names = [0; 2];
        for name in &mut names {
            *name = call_ptr(guest, format.export(Export::Malloc), &[size])?;
            if *name != 0 {
                string_to_utf8(&mut Heap::of(guest), LONG_NAME, *name as i64, size);
            }
        }
        let mut heap = Heap::of(guest);
        heap.set_i32(first, names[1] as i32);
        heap.set_i32(first.saturating_add(4), names[0] as i32);
        return Ok(None);
    }
    let (name, size) = if format.glue() == Glue::E3 { (LONG_NAME, 7) } else { ("UTC", 17) };
    let mut heap = Heap::of(guest);
    heap.set_ptr(timezone, 0);
    heap.set_i32(daylight, 0);
    string_to_utf8(&mut heap, name, second, size);
    string_to_utf8(&mut heap, name, first, size);
    Ok(None)
}
