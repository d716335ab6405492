use ao_wire::Id;

use super::*;

fn crons(tags: &[(&str, &str)]) -> Crons {
    read(tags).unwrap()
}

fn read(tags: &[(&str, &str)]) -> Result<Crons, CronError> {
    let tags: Vec<Tag<'_>> = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
    Crons::read(&tags)
}

fn at(timestamp_ms: u64, block_height: u64) -> Moment {
    Moment { timestamp_ms, block_height }
}

/// Ticks between the assignments of a log, and before which of them: id, time and block.
fn ticks(crons: &Crons, log: &[Moment]) -> Vec<(usize, String, u64, u64)> {
    let mut course = Course::start(log[0]);
    let mut all = Vec::new();
    for (nonce, next) in log.iter().enumerate().skip(1) {
        let due = crons.due(&course, *next);
        all.extend(due.iter().map(|tick| {
            let Moment { timestamp_ms, block_height } = tick.at();
            (nonce, crons.id(tick).to_owned(), timestamp_ms, block_height)
        }));
        course.pass(*next);
    }
    all
}

/// The same without the assignments.
fn what(ticks: Vec<(usize, String, u64, u64)>) -> Vec<(String, u64, u64)> {
    ticks.into_iter().map(|(_, id, time, block)| (id, time, block)).collect()
}

#[test]
fn a_second_with_several_messages_has_one_tick() {
    let crons = crons(&[("Cron-Interval", "2-seconds")]);
    let origin = at(1_000_500, 5);
    let whole = what(ticks(&crons, &[origin, at(1_001_500, 5), at(1_004_499, 5)]));
    let split = what(ticks(&crons, &[origin, at(1_001_500, 5), at(1_002_100, 5), at(1_002_900, 5), at(1_004_499, 5)]));
    assert_eq!(whole, [("0-2-seconds".to_owned(), 1_002_500, 5)]);
    assert_eq!(split, whole);
}

#[test]
fn every_tick_is_made_once_however_the_log_is_cut() {
    let crons = crons(&[("Cron-Interval", "3-seconds"), ("Cron-Interval", "1-second"), ("Cron-Interval", "7-seconds")]);
    let whole = what(ticks(&crons, &[at(17, 1), at(60_017, 1)]));
    assert_eq!(whole.len(), 20 + 60 + 8);
    for step in [1, 250, 999, 1000, 1001, 20_000] {
        let log: Vec<Moment> = (17..60_017).step_by(step).chain([60_017]).map(|time| at(time, 1)).collect();
        assert_eq!(what(ticks(&crons, &log)), whole, "an assignment every {step} ms");
    }
}

#[test]
fn ticks_are_ordered_by_time_then_blocks_then_interval() {
    let crons = crons(&[
        ("Cron-Interval", "10-seconds"),
        ("Cron-Interval", "2-blocks"),
        ("Cron-Interval", "5-seconds"),
        ("Cron-Interval", "1-block"),
    ]);
    let found = ticks(&crons, &[at(0, 100), at(10_000, 102), at(10_000, 102)]);
    let expected = [
        (1, "1-1-block", 5000, 101),
        (1, "0-5-seconds", 5000, 101),
        (1, "0-2-blocks", 10_000, 102),
        (1, "1-1-block", 10_000, 102),
        (1, "0-5-seconds", 10_000, 102),
        (1, "1-10-seconds", 10_000, 102),
    ];
    assert_eq!(found, expected.map(|(nonce, id, time, block)| (nonce, id.to_owned(), time, block)));
}

#[test]
fn blocks_lie_evenly_between_assignments_and_one_millisecond_has_one() {
    let crons = crons(&[("Cron-Interval", "3-blocks")]);
    let found = what(ticks(&crons, &[at(1000, 10), at(1010, 20), at(1010, 40), at(5000, 41)]));
    let id = || "0-3-blocks".to_owned();
    assert_eq!(found, [(id(), 1003, 13), (id(), 1006, 16), (id(), 1009, 19), (id(), 1010, 40)]);
}

#[test]
fn what_goes_back_stands_still() {
    let crons = crons(&[("Cron-Interval", "1-second"), ("Cron-Interval", "1-block")]);
    let back = [at(0, 10), at(2000, 12), at(500, 9), at(2000, 12), at(3000, 12)];
    let without = [at(0, 10), at(2000, 12), at(3000, 12)];
    assert_eq!(what(ticks(&crons, &back)), what(ticks(&crons, &without)));
}

#[test]
fn a_gap_brings_the_latest_ticks_of_each_cron() {
    let hour = 3_600_000;
    let crons = crons(&[("Cron-Interval", "1-second"), ("Cron-Interval", "1-hour"), ("Cron-Interval", "1-block")]);
    let found = ticks(&crons, &[at(0, 0), at(1000 * hour, 500)]);
    let share = GAP_TICKS_MAX / 3;
    for (id, count, first) in [("0-1-second", share, 1000 * hour - 1000 * 332), ("1-1-hour", share, 668 * hour)] {
        let own: Vec<u64> = found.iter().filter(|tick| tick.1 == id).map(|tick| tick.2).collect();
        assert_eq!((own.len(), own[0], *own.last().unwrap()), (count, first, 1000 * hour), "{id}");
    }
    assert_eq!(found.iter().filter(|tick| tick.1 == "0-1-block").map(|tick| tick.3).next(), Some(168));
}

#[test]
fn no_number_of_a_log_or_a_tag_is_too_large() {
    let end = at(u64::MAX, u64::MAX);
    let endless =
        crons(&[("Cron-Interval", "99999999999999999999999-years"), ("Cron-Interval", "99999999999999999999-blocks")]);
    assert_eq!(ticks(&endless, &[at(1, 1), end]), []);
    let dense = crons(&[("Cron-Interval", "1-second"), ("Cron-Interval", "1-block")]);
    assert_eq!(ticks(&dense, &[at(0, 0), end]).len(), GAP_TICKS_MAX);
}

#[test]
fn an_interval_that_is_no_number_never_ends() {
    let crons = crons(&[("Cron-Interval", "soon"), ("Cron-Interval", "0-blocks"), ("Cron-Interval", "9-seconds")]);
    let found = what(ticks(&crons, &[at(0, 0), at(9000, 9)]));
    assert_eq!(found, [("0-9-seconds".to_owned(), 9000, 9)]);
    assert_eq!(crons.silent().collect::<Vec<_>>(), ["0-0-blocks", "1-soon"]);
}

#[test]
fn crons_that_cannot_be_are_refused_by_name() {
    let tag = "Cron-Tag-Action".to_owned();
    assert_eq!(read(&[("Cron-Tag-Action", "x"), ("Cron-Interval", "1-block")]), Err(CronError::NoInterval { tag }));
    for value in ["0-seconds", "999-ms", "5"] {
        let error = CronError::TooShort { value: value.to_owned() };
        assert_eq!(read(&[("Cron-Interval", value)]), Err(error));
    }
    let many = [("Cron-Interval", "1-block"); CRONS_MAX + 1];
    assert_eq!(read(&many), Err(CronError::TooMany { found: CRONS_MAX + 1 }));
    assert!(read(&many[1..]).is_ok());
    assert!(read(&[("Cron-Tag-", "x"), ("Cron-Tag-a\nb", "x")]).unwrap().is_empty());
}

#[test]
fn a_tick_shows_the_tags_of_its_cron() {
    let crons = crons(&[
        ("Name", "x"),
        ("Cron-Interval", "10-seconds"),
        ("Cron-Tag-Action", "Tick"),
        ("Cron-Interval", "1-block"),
        ("Cron-Tag-From", "somebody"),
        ("Cron-Tag-A", "1"),
        ("Cron-Tag-A", "2\""),
    ]);
    let item = Item { id: Id([0; 32]), signature: &[], owner: "owner", target: &[], anchor: &[], tags: &[], data: &[] };
    let json = |tick: &Tick| {
        let mut out = Vec::new();
        crons.write(tick, &item, &mut out);
        String::from_utf8(out).unwrap()
    };
    let due = crons.due(&Course::start(at(1_700_000_000_000, 7)), at(1_700_000_010_000, 8));
    let target = "A".repeat(43);
    assert_eq!(
        due.iter().map(json).collect::<Vec<_>>(),
        [
            format!(
                r#"{{"Owner":"owner","Target":"{target}","From":"owner","Tags":[{{"name":"A","value":"1"}},{{"name":"A","value":"2\""}}],"Timestamp":1700000010000,"Block-Height":8,"Cron":true}}"#
            ),
            format!(
                r#"{{"Owner":"owner","Target":"{target}","From":"owner","Tags":[{{"name":"Action","value":"Tick"}}],"Timestamp":1700000010000,"Block-Height":8,"Cron":true}}"#
            ),
        ]
    );
}
