//! Sound logs pass, whatever their style, chain rule, and paging.

mod faults;

use ao_wire::{DataItem, Id};

use super::*;
use crate::testlog::{self, TestLog, TextTags, set};

fn strict() -> VerifyOptions {
    VerifyOptions::strict(ChainRule::Legacy)
}

fn unsigned() -> VerifyOptions {
    VerifyOptions { signatures: Signatures::None, ..strict() }
}

fn verify_with(log: &TestLog, options: VerifyOptions) -> Result<LogSummary, LogFault> {
    let mut whole = LogVerifier::new(&log.process, options)?;
    let result = whole.check_page(&log.entries).map(|()| whole.summary().clone());
    let mut single = LogVerifier::new(&log.process, options)?;
    let by_one = log.entries.chunks(1).try_for_each(|entry| single.check_page(entry));
    assert_eq!(result.clone().map(|_| ()), by_one, "the fault depends on paging");
    result
}

fn verify(log: &TestLog) -> Result<LogSummary, LogFault> {
    verify_with(log, VerifyOptions::strict(log.rule))
}

fn fault(log: &TestLog) -> LogFault {
    verify(log).expect_err("the log is damaged")
}

/// Two messages, then one whose assignment has edited tags.
fn with_edited_assignment(edit: impl FnOnce(&mut TextTags)) -> TestLog {
    let mut log = TestLog::of(2);
    let message = log.message("edited");
    let mut tags = log.assignment_tags(DataItem::parse(&message).unwrap().id(), true);
    edit(&mut tags);
    log.push(&tags, Some(message));
    log
}

#[test]
fn an_old_style_log_is_valid() {
    let summary = verify(&TestLog::of(5)).unwrap();
    assert_eq!((summary.entries, summary.signatures_checked), (5, 11));
    assert_eq!((summary.style, summary.messages_absent), (Some(ProcessStyle::Old), 0));
    assert_eq!(summary.end.unwrap().nonce, Nonce(4));
    assert!(summary.notes.is_empty());
}

#[test]
fn a_new_style_log_is_valid_with_and_without_its_process() {
    for rule in [ChainRule::Legacy, ChainRule::HyperBeam] {
        for included in [false, true] {
            let mut log = TestLog::new(rule);
            log.push_process(included);
            log.push_message("a");
            let summary = verify(&log).unwrap();
            assert_eq!(summary.style, Some(ProcessStyle::New), "{rule:?} {included}");
            assert_eq!((summary.entries, summary.messages_absent), (2, 0));
            assert_eq!(summary.signatures_checked, 4, "the process is checked once");
        }
    }
}

#[test]
fn a_log_signed_with_rsa_keys_is_valid() {
    let mut log = TestLog::signed_by(ChainRule::Legacy, testlog::rsa("scheduler"), testlog::rsa("user"));
    log.push_process(true);
    log.push_message("a");
    log.user = ao_wire::Signer::ethereum(&[3; 32]).unwrap();
    log.push_message("b");
    assert_eq!(verify(&log).unwrap().signatures_checked, 6);
}

#[test]
fn a_hyperbeam_log_needs_no_message_tag_and_may_be_restarted() {
    let mut log = TestLog::new(ChainRule::HyperBeam);
    log.push_process(false);
    for restarted in [false, true, false] {
        let message = log.message(&format!("{} {restarted}", log.entries.len()));
        let id = DataItem::parse(&message).unwrap().id();
        let mut tags = log.assignment_tags(id, false);
        if restarted {
            set(&mut tags, "hash-chain", &log.restarted_chain(id).to_string());
        }
        log.push(&tags, Some(message));
    }
    assert_eq!(verify(&log).unwrap().notes, [LogNote::ChainRestarted { nonce: Nonce(2) }]);
    log.entries[3].message = Some(log.message("another"));
    assert!(matches!(fault(&log), LogFault::HashChain { nonce: Nonce(3), .. }));
}

#[test]
fn an_assigned_transaction_is_counted_as_absent() {
    let mut log = TestLog::of(1);
    let tags = log.assignment_tags(Id([9; 32]), true);
    log.push(&tags, None);
    log.push_message("after");
    assert_eq!(verify(&log).unwrap().messages_absent, 1);
}

#[test]
fn a_log_is_continued_from_a_verified_point() {
    let log = TestLog::of(6);
    let mut first = LogVerifier::new(&log.process, strict()).unwrap();
    first.check_page(&log.entries[..3]).unwrap();
    let point = first.summary().end.unwrap();
    let mut rest = LogVerifier::resume(&log.process, strict(), point).unwrap();
    rest.check_page(&log.entries[3..]).unwrap();
    assert_eq!(rest.summary().end, verify(&log).unwrap().end);
    let mut wrong = LogVerifier::resume(&log.process, strict(), point).unwrap();
    let result = wrong.check_page(&log.entries[4..]);
    assert_eq!(result, Err(LogFault::Gap { expected: Nonce(3), found: Nonce(4) }));
}

#[test]
fn a_clock_that_goes_back_is_a_note() {
    let log = with_edited_assignment(|tags| set(tags, "Timestamp", "5"));
    let (previous, found) = (TimestampMs(1_700_000_000_001), TimestampMs(5));
    assert_eq!(verify(&log).unwrap().notes, [LogNote::TimestampBack { nonce: Nonce(2), previous, found }]);
}

#[test]
fn a_sample_depends_on_seed_and_ids_alone_and_finds_what_it_selects() {
    let log = TestLog::of(40);
    let count = |per_mille, seed| {
        let options = VerifyOptions { signatures: Signatures::Sample { per_mille, seed }, ..strict() };
        verify_with(&log, options).unwrap().signatures_checked
    };
    assert_eq!((count(0, 1), count(1000, 1)), (1, 81));
    assert_eq!(count(500, 1), count(500, 1));
    assert!((20..62).contains(&count(500, 1)));
    let signatures = Signatures::Sample { per_mille: 500, seed: 1 };
    for i in 0..40 {
        let mut log = TestLog::of(40);
        let message = log.entries[i].message.as_mut().unwrap();
        *message.last_mut().unwrap() ^= 1;
        let selected = signatures.selects(&DataItem::parse(message).unwrap().id());
        let result = verify_with(&log, VerifyOptions { signatures, ..strict() });
        assert_eq!(result.is_err(), selected, "message {i}");
    }
}

#[test]
fn a_long_log_is_checked_in_pages_and_a_source_error_comes_after_earlier_faults() {
    #[derive(Debug, PartialEq)]
    enum Error {
        Fault(LogFault),
        Source,
    }
    impl From<LogFault> for Error {
        fn from(fault: LogFault) -> Error {
            Error::Fault(fault)
        }
    }
    let mut log = TestLog::of(PAGE_ENTRIES as u64 + 3);
    let run = |entries: &[LogEntry], broken: bool| {
        let mut verifier = LogVerifier::new(&log.process, strict()).unwrap();
        let end = broken.then_some(Err(Error::Source));
        let result = verifier.check_all(entries.iter().cloned().map(Ok).chain(end));
        (result, verifier.summary().entries)
    };
    assert_eq!(run(&log.entries, false), (Ok(()), PAGE_ENTRIES as u64 + 3));
    assert_eq!(run(&log.entries, true).0, Err(Error::Source));
    let mut damaged = std::mem::take(&mut log.entries);
    damaged[PAGE_ENTRIES + 1].assignment.clear();
    let (result, _) = run(&damaged, true);
    assert!(matches!(result, Err(Error::Fault(LogFault::AssignmentItem { .. }))));
}
