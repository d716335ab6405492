//! The token in Lua and in Rust: both as the rules say, both conserve, both answer alike.

use std::collections::BTreeMap;

use ao_tests::Guest;
use ao_wire::Signer;

use crate::town::{Town, actions, code, owner, user};

const USERS: u64 = 6;
/// Actions between two looks at all balances.
const LOOK_EVERY: u64 = 25;

/// What the rules say.
#[derive(Default)]
struct Ledger {
    supply: u64,
    balances: BTreeMap<String, u64>,
}

impl Ledger {
    /// Whether it can be done; then it is.
    fn act(&mut self, action: &str, who: &str, owner: bool, to: &str, amount: Option<u64>) -> bool {
        let Some(amount) = amount else { return action == "Balance" };
        let have = self.balances.get(who).copied().unwrap_or_default();
        let (from, to) = match action {
            "Transfer" if have >= amount => (Some(who), Some(to)),
            "Mint" if owner => (None, Some(to)),
            "Burn" if have >= amount => (Some(who), None),
            _ => return action == "Balance",
        };
        if let Some(from) = from {
            *self.balances.entry(from.into()).or_default() -= amount;
        } else {
            self.supply += amount;
        }
        if let Some(to) = to {
            *self.balances.entry(to.into()).or_default() += amount;
        } else {
            self.supply -= amount;
        }
        true
    }
}

fn rust_guest() -> Guest {
    let path = ao_tests::root().join("fixtures/examples/token/token.wasm");
    let wasm = std::fs::read(&path).unwrap();
    let listed = std::fs::read_to_string(path.with_file_name("BLAKE3SUMS")).unwrap();
    assert_eq!(listed, format!("{}  token.wasm\n", blake3::hash(&wasm).to_hex()), "fixtures/examples/token/build.sh");
    Guest { wasm, path, format: "wasm32-unknown-wasip1" }
}

#[test]
fn the_token_conserves_its_supply_in_lua_and_in_rust_alike() {
    let mut town = Town::new("token");
    let lua = town.aos(&code("token/token.lua"), "token");
    let rust = town.spawn(&rust_guest());
    // The owner mints; whoever else tries is refused.
    let people: Vec<Signer> = (0..USERS).map(user).chain([owner()]).collect();
    let mut ledger = Ledger::default();
    for round in 0..actions() {
        let who = town.random.below(people.len() as u64) as usize;
        let to = town.random.of(&people).address();
        let action = *town.random.of(&["Transfer", "Transfer", "Transfer", "Transfer", "Mint", "Burn", "Balance"]);
        // Owners mint, so that there is something to move.
        let who = if action == "Mint" && town.random.below(4) > 0 { people.len() - 1 } else { who };
        let amount = 1 + town.random.below(500);
        let wrong = *town.random.of(&["0", "-1", "1.5", "", "many", "1e2", "1234567890123456"]);
        let amount = (town.random.below(12) > 0).then_some(amount);
        let text = amount.map_or_else(|| wrong.to_owned(), |amount| amount.to_string());
        let tags = [("Action", action), ("Recipient", &to), ("Quantity", &text), ("X-Why", "to see it again")];
        let can = ledger.act(action, &people[who].address(), who == people.len() - 1, &to, amount);
        let [said, again] = [lua, rust].map(|token| {
            let mut outbox = town.send(&people[who], token, &tags, " ").outbox();
            // What is minted comes from the token itself, which are two.
            let me = town.id(token);
            outbox
                .iter_mut()
                .flat_map(|(_, tags)| tags.values_mut())
                .filter(|value| **value == me)
                .for_each(String::clear);
            outbox
        });
        assert_eq!(said, again, "{action} {text}");
        let refused = said.iter().any(|(_, tags)| tags["Action"] == "Error");
        assert_eq!(refused, !can, "{action} {text}: {said:?}");
        if round % LOOK_EVERY == 0 || round + 1 == actions() {
            ledger.balances.retain(|_, balance| *balance > 0);
            assert_eq!(ledger.balances.values().sum::<u64>(), ledger.supply);
            let balances = town.eval(lua, "return require('json').encode(Balances)");
            // Lua does not tell an empty list from an empty object.
            let balances = if balances == "[]" { "{}" } else { &balances };
            assert_eq!(serde_json::from_str::<BTreeMap<String, u64>>(balances).unwrap(), ledger.balances);
            assert_eq!(
                town.eval(lua, "return tostring(Conserved()) .. ' ' .. Supply"),
                format!("true {}", ledger.supply)
            );
            let said = town.send(&people[0], rust, &[("Action", "Info")], " ");
            assert_eq!(said.output(), format!("supply {}, conserved true", ledger.supply));
        }
    }
    assert!(ledger.supply > 0);
    town.replay();
}
