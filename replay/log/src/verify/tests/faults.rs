//! Each fault, provoked by a log of truly signed items with that one damage.

use ao_wire::{DataItem, Id, WireError};

use super::*;
use crate::testlog::{self, TestLog, TextTags, item, set, text_tags};
use crate::{AssignmentError, NumberError, ProcessError};

#[test]
fn a_damaged_process_is_refused() {
    let log = TestLog::of(0);
    let new = |bytes: &[u8]| LogVerifier::new(bytes, strict()).map(|_| ()).unwrap_err();
    assert!(matches!(new(&log.process[..50]), LogFault::ProcessItem(WireError::Truncated { .. })));
    let mut flipped = log.process.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(new(&flipped), LogFault::ProcessSignature { id, .. } if id == log.process_id()));
    LogVerifier::new(&flipped, unsigned()).unwrap();
    let sampled = VerifyOptions { signatures: Signatures::Sample { per_mille: 0, seed: 0 }, ..strict() };
    assert!(LogVerifier::new(&flipped, sampled).is_err(), "sampling never skips the process");

    let tagged = |edit: &dyn Fn(&mut TextTags)| {
        let mut tags = testlog::process_tags("s");
        edit(&mut tags);
        new(&item(&log.user, None, &tags, b""))
    };
    assert_eq!(tagged(&|tags| set(tags, "Data-Protocol", "aos")), LogFault::Process(ProcessError::Protocol));
    let found = "Message".to_owned();
    assert_eq!(tagged(&|tags| set(tags, "Type", "Message")), LogFault::Process(ProcessError::Type { found }));
    let value = "short".to_owned();
    assert_eq!(tagged(&|tags| set(tags, "Module", "short")), LogFault::Process(ProcessError::Module { value }));
    for tag in ["Type", "Module", "Scheduler"] {
        let missing = tagged(&|tags| tags.retain(|(name, _)| name != tag));
        assert_eq!(missing, LogFault::Process(ProcessError::Missing { tag }));
        let repeated = tagged(&|tags| tags.push((tag.to_lowercase(), "x".to_owned())));
        assert_eq!(repeated, LogFault::Process(ProcessError::Repeated { tag }));
    }
}

#[test]
fn a_missing_repeated_or_swapped_nonce_is_a_gap() {
    let gap = |edit: &dyn Fn(&mut Vec<LogEntry>)| {
        let mut log = TestLog::of(4);
        edit(&mut log.entries);
        match fault(&log) {
            LogFault::Gap { expected, found } => (expected.0, found.0),
            other => panic!("{other}"),
        }
    };
    assert_eq!(gap(&|entries| drop(entries.remove(1))), (1, 2));
    assert_eq!(gap(&|entries| drop(entries.remove(0))), (0, 1));
    assert_eq!(gap(&|entries| entries.insert(2, entries[1].clone())), (2, 1));
    assert_eq!(gap(&|entries| entries.swap(1, 2)), (1, 2));
}

#[test]
fn an_entry_relabelled_to_close_a_gap_is_noticed() {
    let mut log = TestLog::of(4);
    log.entries.remove(1);
    (0..).zip(&mut log.entries).for_each(|(nonce, entry)| entry.nonce = Nonce(nonce));
    assert_eq!(fault(&log), LogFault::AssignmentNonce { nonce: Nonce(1), found: Nonce(2) });
}

#[test]
fn tags_that_are_no_assignment_are_named() {
    let assignment_fault = |edit: &dyn Fn(&mut TextTags)| match fault(&with_edited_assignment(edit)) {
        LogFault::Assignment { nonce: Nonce(2), source } => source,
        other => panic!("{other}"),
    };
    for tag in ["Epoch", "Nonce", "Timestamp"] {
        for (value, source) in [
            ("-1", NumberError::NotADigit { at: 0 }),
            ("02", NumberError::LeadingZero),
            ("99999999999999999999", NumberError::TooBig),
        ] {
            let expected = AssignmentError::Number { tag, value: value.to_owned(), source };
            assert_eq!(assignment_fault(&|tags| set(tags, tag, value)), expected);
        }
    }
    for tag in ["Process", "Epoch", "Nonce", "Hash-Chain", "Block-Height", "Timestamp"] {
        let missing = assignment_fault(&|tags| tags.retain(|(name, _)| name != tag));
        assert_eq!(missing, AssignmentError::Missing { tag });
        let repeated = assignment_fault(&|tags| tags.push((tag.to_lowercase(), "0".to_owned())));
        assert_eq!(repeated, AssignmentError::Repeated { tag });
    }
    for tag in ["Process", "Hash-Chain", "Message"] {
        let expected = AssignmentError::NotAnId { tag, value: "abc".to_owned() };
        assert_eq!(assignment_fault(&|tags| set(tags, tag, "abc")), expected);
    }
    let expected = AssignmentError::Type { found: "Message".to_owned() };
    assert_eq!(assignment_fault(&|tags| set(tags, "Type", "Message")), expected);
    let expected = AssignmentError::SlotDiffers { nonce: Nonce(2), slot: Nonce(3) };
    assert_eq!(assignment_fault(&|tags| tags.push(("slot".to_owned(), "3".to_owned()))), expected);
    verify(&with_edited_assignment(|tags| {
        tags.push(("slot".to_owned(), "2".to_owned()));
    }))
    .unwrap();
}

#[test]
fn an_assignment_of_another_nonce_epoch_process_or_chain_is_refused() {
    let nonce = Nonce(2);
    let edited = |tag: &str, value: &str| fault(&with_edited_assignment(|tags| set(tags, tag, value)));
    assert_eq!(edited("Nonce", "3"), LogFault::AssignmentNonce { nonce, found: Nonce(3) });
    assert_eq!(edited("Epoch", "1"), LogFault::Epoch { nonce, expected: Epoch(0), found: Epoch(1) });
    let expected = TestLog::of(0).process_id();
    let other = Id([5; 32]);
    let found = other.into();
    assert_eq!(edited("Process", &other.to_string()), LogFault::AssignmentProcess { nonce, expected, found });
    let chain = edited("Hash-Chain", &other.to_string());
    assert!(matches!(chain, LogFault::HashChain { nonce: Nonce(2), found: HashChain(found), .. } if found == other.0));
}

#[test]
fn an_assignment_signed_by_anyone_but_the_scheduler_is_refused() {
    let mut log = TestLog::of(2);
    log.scheduler = testlog::user();
    log.push_message("usurped");
    let (expected, found) = (testlog::address(&testlog::scheduler()), testlog::address(&testlog::user()));
    assert_eq!(fault(&log), LogFault::Scheduler { nonce: Nonce(2), expected, found });
}

#[test]
fn one_of_several_schedulers_may_sign() {
    let (mut log, user) = (TestLog::new(ChainRule::HyperBeam), testlog::user());
    let both = format!("{}, {}", testlog::address(&log.scheduler), testlog::address(&user));
    log.process = item(&user, None, &testlog::process_tags(&both), b"");
    log.push_message("a");
    log.scheduler = user;
    log.push_message("b");
    assert_eq!(verify(&log).unwrap().entries, 2);
}

#[test]
fn bytes_that_are_no_items_are_refused() {
    let mut log = TestLog::of(3);
    log.entries[1].assignment.truncate(100);
    assert!(matches!(fault(&log), LogFault::AssignmentItem { nonce: Nonce(1), .. }));
    let mut log = TestLog::of(3);
    log.entries[2].message = Some(vec![0; 9]);
    assert!(matches!(fault(&log), LogFault::MessageItem { nonce: Nonce(2), .. }));
}

#[test]
fn an_exchanged_message_is_refused() {
    let mut log = TestLog::of(3);
    let named = MessageId::from(DataItem::parse(log.entries[1].message.as_ref().unwrap()).unwrap().id());
    let other = log.message("another");
    let found = MessageId::from(DataItem::parse(&other).unwrap().id());
    log.entries[1].message = Some(other);
    assert_eq!(fault(&log), LogFault::MessageId { nonce: Nonce(1), named, found });
}

#[test]
fn an_assignment_without_a_message_is_only_for_the_process() {
    let unnamed = |keep: bool| {
        let mut log = with_edited_assignment(|tags| tags.retain(|(name, _)| name != "Message"));
        if !keep {
            log.entries[2].message = None;
        }
        fault(&log)
    };
    assert_eq!(unnamed(true), LogFault::Unnamed { nonce: Nonce(2) });
    assert_eq!(unnamed(false), LogFault::Unnamed { nonce: Nonce(2) });
}

#[test]
fn a_message_for_someone_else_is_refused() {
    let mut log = TestLog::of(1);
    for target in [None, Some(Id([6; 32]))] {
        let message = item(&log.user, target, &text_tags(&[("Data-Protocol", "ao")]), b"");
        let tags = log.assignment_tags(DataItem::parse(&message).unwrap().id(), true);
        log.push(&tags, Some(message));
        let expected = log.process_id();
        assert_eq!(fault(&log), LogFault::MessageTarget { nonce: Nonce(1), expected, found: target });
        log = TestLog::of(1);
    }
}

#[test]
fn a_process_with_the_right_signature_but_other_bytes_is_refused() {
    let mut log = TestLog::new(ChainRule::Legacy);
    log.push_process(true);
    *log.entries[0].message.as_mut().unwrap().last_mut().unwrap() ^= 1;
    assert_eq!(fault(&log), LogFault::ProcessDiffers { nonce: Nonce(0) });
    assert!(verify_with(&log, unsigned()).is_err(), "also when no signature is checked");
}

#[test]
fn a_message_assigned_twice_is_refused_noted_or_allowed() {
    let mut log = TestLog::of(2);
    let message = log.entries[0].message.clone().unwrap();
    let id = DataItem::parse(&message).unwrap().id();
    let tags = log.assignment_tags(id, true);
    log.push(&tags, None);
    let (nonce, id, first) = (Nonce(2), MessageId::from(id), Nonce(0));
    assert_eq!(fault(&log), LogFault::DuplicateMessage { nonce, id, first });
    let noted = verify_with(&log, VerifyOptions { duplicates: Duplicates::Note, ..strict() }).unwrap();
    assert_eq!(noted.notes, [LogNote::DuplicateMessage { nonce, id, first }]);
    let allowed = verify_with(&log, VerifyOptions { duplicates: Duplicates::Allow, ..strict() }).unwrap();
    assert_eq!(allowed, LogSummary { notes: Vec::new(), ..noted });
}

#[test]
fn an_assignment_id_that_occurs_twice_is_refused_before_its_signature() {
    let mut log = TestLog::of(3);
    let signature = log.entries[1].assignment[2..66].to_vec();
    log.entries[2].assignment[2..66].copy_from_slice(&signature);
    let (nonce, first) = (Nonce(2), Nonce(1));
    let id = DataItem::parse(&log.entries[1].assignment).unwrap().id().into();
    assert_eq!(fault(&log), LogFault::DuplicateAssignment { nonce, id, first });
    assert!(verify_with(&log, unsigned()).is_err());
}

#[test]
fn a_wrong_signature_is_named_even_if_a_later_entry_is_malformed() {
    let mut log = TestLog::of(5);
    *log.entries[1].message.as_mut().unwrap().last_mut().unwrap() ^= 1;
    log.entries[3].assignment.clear();
    assert!(matches!(fault(&log), LogFault::MessageSignature { nonce: Nonce(1), .. }));
    log.entries[1].assignment.push(0);
    assert!(matches!(fault(&log), LogFault::AssignmentSignature { nonce: Nonce(1), .. }));
    assert!(matches!(verify_with(&log, unsigned()), Err(LogFault::AssignmentItem { nonce: Nonce(3), .. })));
}
