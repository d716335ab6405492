//! Laws that tie memory, image and trackers together, each tried with every tracker this host offers.

use std::io::{Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;

use super::frozen::Seen;
use super::*;

const PAGES_MAX: u64 = 6;
const BYTES_MAX: u64 = PAGES_MAX * WASM_PAGE_BYTES;

fn mapping(pages: u64) -> Mapping {
    let reservation = Reservation::unguarded(BYTES_MAX);
    Mapping::with_reservation(pages * WASM_PAGE_BYTES, BYTES_MAX, reservation).unwrap()
}

fn trackers() -> Vec<Box<dyn DirtyTracker>> {
    let mut all: Vec<Box<dyn DirtyTracker>> =
        vec![Box::new(MemcmpTracker::exhaustive()), Box::new(MemcmpTracker::new())];
    #[cfg(target_os = "linux")]
    for patience in [1, 2, 8] {
        match PagemapScan::with_cold_after(patience) {
            Ok(tracker) => all.push(Box::new(tracker)),
            Err(why) => excuse(&why),
        }
    }
    all
}

/// A host may lack page tracking, and says so; but calls that are accepted must do what they promise.
fn excuse(why: &Unavailable) {
    assert!(!matches!(why, Unavailable::SelfTest), "{why}");
    println!("page tracking not tested: {why}");
}

/// One memory under one tracker.
struct Lane {
    memory: Mapping,
    image: Image,
    other: Image,
    tracker: Box<dyn DirtyTracker>,
}

impl Lane {
    fn new(tracker: Box<dyn DirtyTracker>, pages: u64) -> Self {
        let image = || Image::new(BYTES_MAX).unwrap();
        Self { memory: mapping(pages), image: image(), other: image(), tracker }
    }

    fn commit(&mut self) -> Vec<(u32, [u8; 32])> {
        let mut changed = Vec::new();
        self.image
            .commit(&self.memory, &mut *self.tracker, &mut |index, bytes| {
                changed.push((index, *blake3::hash(bytes).as_bytes()));
            })
            .unwrap();
        changed
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write { at: u32, len: u16, byte: u8 },
    WriteByKernel { at: u32, len: u16, byte: u8 },
    Read { at: u32 },
    Resize { pages: u64 },
    Commit,
    CommitToOtherImage,
    Restore,
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..BYTES_MAX as u32;
    // Few byte values, zero among them: many writes then change nothing, or make a group zero again.
    prop_oneof![
        8 => (at.clone(), 0..9000u16, 0..3u8).prop_map(|(at, len, byte)| Op::Write { at, len, byte }),
        2 => (at.clone(), 0..9000u16, 0..3u8).prop_map(|(at, len, byte)| Op::WriteByKernel { at, len, byte }),
        2 => at.prop_map(|at| Op::Read { at }),
        2 => (0..=PAGES_MAX).prop_map(|pages| Op::Resize { pages }),
        8 => Just(Op::Commit),
        1 => Just(Op::CommitToOtherImage),
        3 => Just(Op::Restore),
    ]
}

fn write_by_kernel(target: &mut [u8], byte: u8) {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    for part in target.chunks_mut(4096) {
        writer.write_all(&vec![byte; part.len()]).unwrap();
        reader.read_exact(part).unwrap();
    }
}

fn clip(memory: &[u8], at: u32, len: u16) -> std::ops::Range<usize> {
    let start = (at as usize).min(memory.len());
    start..(start + len as usize).min(memory.len())
}

/// Applies `op` to a lane and to the plain model of it; returns what a commit reported.
fn apply(lane: &mut Lane, now: &mut Vec<u8>, committed: &mut Option<Vec<u8>>, op: &Op) -> Option<Vec<(u32, [u8; 32])>> {
    match *op {
        Op::Write { at, len, byte } => {
            let range = clip(now, at, len);
            lane.memory.as_mut_slice()[range.clone()].fill(byte);
            now[range].fill(byte);
        }
        Op::WriteByKernel { at, len, byte } => {
            let range = clip(now, at, len);
            write_by_kernel(&mut lane.memory.as_mut_slice()[range.clone()], byte);
            now[range].fill(byte);
        }
        Op::Read { at } => assert_eq!(lane.memory.as_slice().get(at as usize), now.get(at as usize)),
        Op::Resize { pages } => {
            let bytes = pages * WASM_PAGE_BYTES;
            if bytes < lane.memory.len() {
                lane.memory.shrink_to(bytes).unwrap();
            } else {
                lane.memory.grow_to(bytes).unwrap();
            }
            now.resize(bytes as usize, 0);
        }
        Op::Commit => {
            *committed = Some(now.clone());
            return Some(lane.commit());
        }
        Op::CommitToOtherImage => {
            lane.other.commit(&lane.memory, &mut *lane.tracker, &mut |_, _| {}).unwrap();
        }
        Op::Restore => {
            let result = lane.image.restore(&mut lane.memory, &mut *lane.tracker);
            match committed {
                Some(content) => {
                    result.unwrap();
                    now.clone_from(content);
                }
                None => assert!(matches!(result, Err(MemoryError::NothingCommitted))),
            }
        }
    }
    None
}

/// The groups of `now` that differ from `before`, which is zero where it is shorter.
fn changed_groups(before: &[u8], now: &[u8]) -> Vec<(u32, [u8; 32])> {
    let mut before = before.to_vec();
    before.resize(now.len(), 0);
    now.chunks(GROUP_BYTES)
        .zip(before.chunks(GROUP_BYTES))
        .zip(0..)
        .filter(|((now, before), _)| now != before)
        .map(|((now, _), index)| (index, *blake3::hash(now).as_bytes()))
        .collect()
}

fn check(tracker: Box<dyn DirtyTracker>, ops: &[Op]) {
    let name = tracker.name();
    let mut lane = Lane::new(tracker, 2);
    let mut now = vec![0; 2 * WASM_PAGE_BYTES as usize];
    let mut committed = None;
    for (step, op) in ops.iter().enumerate() {
        let before = committed.clone().unwrap_or_default();
        if let Some(changed) = apply(&mut lane, &mut now, &mut committed, op) {
            assert_eq!(changed, changed_groups(&before, &now), "{name}, step {step}");
        }
        assert!(lane.memory.as_slice() == now, "{name}, step {step}: contents differ after {op:?}");
    }
    let held: Vec<u32> = lane.image.groups().map(|(index, _)| index).collect();
    let expected = changed_groups(&[], &committed.unwrap_or_default());
    assert_eq!(held, expected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), "{name}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_tracker_reports_exactly_the_groups_that_changed(ops in vec(op(), 1..120)) {
        for tracker in trackers() {
            check(tracker, &ops);
        }
    }

    #[test]
    fn trackers_can_take_turns_on_one_memory(
        rounds in vec((vec(op(), 1..6), any::<prop::sample::Index>()), 1..30)
    ) {
        let mut pool = trackers();
        let mut lane = Lane::new(Box::new(MemcmpTracker::exhaustive()), 1);
        let mut now = vec![0; WASM_PAGE_BYTES as usize];
        let mut committed = None;
        for (ops, pick) in rounds {
            let pick = pick.index(pool.len());
            std::mem::swap(&mut lane.tracker, &mut pool[pick]);
            for op in &ops {
                let before = committed.clone().unwrap_or_default();
                if let Some(changed) = apply(&mut lane, &mut now, &mut committed, op) {
                    prop_assert_eq!(changed, changed_groups(&before, &now));
                }
                prop_assert!(lane.memory.as_slice() == now);
            }
        }
    }
}

#[test]
fn a_commit_looks_only_at_what_was_written() {
    let (mut tracker, why) = best_tracker();
    if let Some(why) = why {
        return excuse(&why);
    }
    let bytes = 1 << 30;
    let mut memory = Mapping::new(bytes, bytes).unwrap();
    let mut image = Image::new(bytes).unwrap();
    for group in 0..500 {
        memory.as_mut_slice()[group * 3 * GROUP_BYTES] = 1;
    }
    let first = image.commit(&memory, &mut *tracker, &mut |_, _| {}).unwrap();
    assert_eq!((first.candidates, first.changed_groups), (500, 500));
    // Hot at first, then watched.
    for _ in 0..8 {
        let stats = image.commit(&memory, &mut *tracker, &mut |_, _| {}).unwrap();
        assert_eq!((stats.candidates, stats.changed_groups), (500, 0));
    }
    for group in 0..7 {
        memory.as_mut_slice()[group * 30 * GROUP_BYTES] = 2;
    }
    memory.as_mut_slice()[bytes as usize - 1] = 1;
    let last = image.commit(&memory, &mut *tracker, &mut |_, _| {}).unwrap();
    assert_eq!((last.candidates, last.changed_groups, last.bytes), (8, 8, 8 * 4096));
    let restored = image.restore(&mut memory, &mut *tracker).unwrap();
    assert_eq!((restored.candidates, restored.restored_groups), (8, 0));
}

#[test]
fn a_scan_goes_on_when_its_vector_is_full() {
    for mut tracker in trackers() {
        let mut memory = Mapping::new(64 << 20, 64 << 20).unwrap();
        let mut image = Image::new(64 << 20).unwrap();
        // Every other group: 8192 regions, many times what one call returns.
        for byte in memory.as_mut_slice().iter_mut().step_by(2 * GROUP_BYTES) {
            *byte = 1;
        }
        let stats = image.commit(&memory, &mut *tracker, &mut |_, _| {}).unwrap();
        assert_eq!(stats.changed_groups, 8192, "{}", tracker.name());
    }
}

#[test]
fn an_image_can_be_copied_into_another_memory() {
    for mut tracker in trackers() {
        let (mut source, mut copy) = (mapping(3), mapping(1));
        source.as_mut_slice()[70_000] = 7;
        copy.as_mut_slice()[60_000] = 9;
        let mut image = Image::new(BYTES_MAX).unwrap();
        image.commit(&source, &mut *tracker, &mut |_, _| {}).unwrap();
        image.restore(&mut copy, &mut *tracker).unwrap();
        assert!(copy.as_slice() == source.as_slice(), "{}", tracker.name());
        source.as_mut_slice()[0] = 1;
        let mut changed = Vec::new();
        image.commit(&source, &mut *tracker, &mut |index, _| changed.push(index)).unwrap();
        assert_eq!(changed, [0], "{}", tracker.name());
    }
}

#[test]
fn lengths_out_of_bounds_are_refused_and_change_nothing() {
    let mut memory = mapping(2);
    let before = memory.len();
    assert!(matches!(memory.grow_to(before + 1), Err(MemoryError::Unaligned { .. })));
    assert!(matches!(memory.grow_to(BYTES_MAX + WASM_PAGE_BYTES), Err(MemoryError::AboveMaximum { .. })));
    assert!(matches!(memory.grow_to(0), Err(MemoryError::WrongDirection { .. })));
    assert!(matches!(memory.shrink_to(BYTES_MAX), Err(MemoryError::WrongDirection { .. })));
    assert_eq!(memory.len(), before);
    let too_much = Mapping::new(0, (1 << 32) + WASM_PAGE_BYTES);
    assert!(matches!(too_much, Err(MemoryError::AboveMaximum { .. })));
    Mapping::new(0, 0).unwrap();
}

#[test]
fn base_stays_put_and_regrown_bytes_are_zero() {
    let mut memory = mapping(1);
    let base = memory.base();
    memory.grow_to(BYTES_MAX).unwrap();
    memory.as_mut_slice().fill(0xFF);
    memory.shrink_to(WASM_PAGE_BYTES).unwrap();
    memory.grow_to(BYTES_MAX).unwrap();
    assert_eq!(memory.base(), base);
    let (kept, fresh) = memory.as_slice().split_at(WASM_PAGE_BYTES as usize);
    assert!(kept.iter().all(|byte| *byte == 0xFF) && fresh.iter().all(|byte| *byte == 0));
}

#[cfg(target_os = "linux")]
#[test]
fn thousands_of_memories_share_two_descriptors() {
    let lanes: Vec<Lane> = (0..2000).map(|_| Lane::new(best_tracker().0, 1)).collect();
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    for mut lane in lanes {
        for round in 0..3 {
            lane.memory.as_mut_slice()[0] = round + 1;
            assert_eq!(lane.commit().len(), 1);
        }
    }
    // Tests on other threads hold pipes now and then; a descriptor per memory would be hundreds.
    assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() < before + 50);
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_never_trusts_the_descriptors_of_its_parent() {
    let mut parent = Lane::new(best_tracker().0, 1);
    parent.memory.as_mut_slice()[0] = 1;
    parent.commit();
    // SAFETY: the child touches only memory it maps itself, and ends without running destructors.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let mut lane = Lane::new(parent.tracker, 1);
        let mut right = true;
        for round in 0..20 {
            lane.memory.as_mut_slice()[GROUP_BYTES] = round + 1;
            right &= lane.commit().len() == 1;
        }
        // SAFETY: ends the child at once, which is what it is for.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above; `status` outlives the call.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
}

#[test]
fn what_was_written_on_an_image_is_taken_back_to_what_the_image_holds_by_then() {
    let mut lane = Lane::new(Box::new(MemcmpTracker::exhaustive()), 4);
    lane.memory.as_mut_slice()[5 * GROUP_BYTES..9 * GROUP_BYTES].fill(1);
    lane.commit();
    let (mut view, mut shown) = (mapping(4), None::<Seen>);
    for round in 2..8 {
        let lease = lane.image.lease().unwrap();
        match shown.replace(lease.content()) {
            None => view.project(lease.file()).unwrap(),
            Some(shown) => {
                assert!(shown.is_of_file_of(&lease.content()) && !shown.is(&lease.content()), "round {round}");
                view.take_back(lease.file()).unwrap();
            }
        }
        for written in [&[][..], &[5, 6, 20], &[0, 21, 63]] {
            for group in written {
                view.as_mut_slice()[group * GROUP_BYTES + round] ^= 0x55;
            }
            let kept = view.take_back(lease.file()).unwrap();
            assert!(view.as_slice() == lane.memory.as_slice(), "round {round}, {written:?}");
            assert!(kept <= 10 * GROUP_BYTES as u64, "{kept} bytes kept");
        }
        drop(lease);
        // The image changes where the view has pages of its own, and where it has none; some become zero.
        lane.memory.as_mut_slice()[6 * GROUP_BYTES..8 * GROUP_BYTES].fill(round as u8 % 3);
        lane.memory.as_mut_slice()[40 * GROUP_BYTES + round] = 1;
        lane.commit();
    }
}
