//! A chat room whose members are processes.

use std::collections::BTreeMap;

use crate::town::{Place, Town, actions, code, owner, user};

const MEMBERS: u64 = 4;
/// Numbers asked for at once.
const PAGE: u64 = 500;

/// What a process heard, by number.
fn heard(town: &mut Town, member: Place, last: u64) -> BTreeMap<u64, String> {
    let mut heard = BTreeMap::new();
    for from in (1..=last).step_by(PAGE as usize) {
        let lines = town.eval(member, &format!("return Lines({from}, {})", from + PAGE - 1));
        for line in lines.lines() {
            let (number, said) = line.split_once(' ').unwrap();
            heard.insert(number.parse().unwrap(), said.to_owned());
        }
    }
    heard
}

#[test]
fn every_member_sees_the_same_order() {
    let mut town = Town::new("chat");
    let room = town.aos(&code("chat/room.lua"), "room");
    let source = format!("Room = '{}'\n{}", town.id(room), code("chat/member.lua"));
    let members: Vec<Place> = (0..MEMBERS).map(|_| town.aos(&source, "member")).collect();
    let mut spoken = 0;
    for round in 0..actions() {
        let member = *town.random.of(&members);
        let (action, text) = match town.random.below(24) {
            0 | 1 => ("Enter", " ".to_owned()),
            2 => ("Exit", " ".to_owned()),
            _ => ("Speak", format!("{round} of {member:?}, “said” in the room")),
        };
        spoken += u64::from(action == "Speak");
        town.send(&owner(), member, &[("Action", action)], &text);
        // Strangers are not heard, neither by members nor in the room.
        if round % 50 == 0 {
            town.send(&user(1), member, &[("Action", "Speak")], "a stranger");
            town.send(&user(1), room, &[("Action", "Say")], "a stranger");
        }
        let count = town.random.below(12);
        town.deliver(count);
    }
    town.settle();
    let last = town.number(room, "return Number");
    assert!(last > 0 && last <= spoken, "{last} of {spoken}");
    let mut order: BTreeMap<u64, String> = BTreeMap::new();
    for member in members {
        assert_eq!(town.number(member, "return Gaps"), 0);
        let heard = heard(&mut town, member, last);
        assert!(!heard.is_empty(), "{member:?} heard nothing");
        for (number, said) in heard {
            assert!(!said.contains("stranger"), "{said}");
            assert_eq!(*order.entry(number).or_insert_with(|| said.clone()), said, "number {number}");
        }
    }
    // Each number was heard by its author at least, who was in the room.
    assert_eq!(order.len() as u64, last);
    town.replay();
}
