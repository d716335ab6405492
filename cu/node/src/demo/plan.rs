//! What is traded: drawn from a seed, the same for the same seed.

use ao_wire::Id;

/// How many messages one action leads to: itself, what it sends, and the answer.
pub(crate) const MESSAGES_PER_ACTION: u64 = 3;
/// Of ten actions, so many are trades; the rest are greetings.
const TRADES_OF_TEN: u64 = 7;
/// Most gold of one trade. With 1,000 at the start some find themselves without, which is part of the play.
const GOLD_MAX: u64 = 90;

/// What one trader is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    /// Its place in the plan: no two actions are the same message.
    pub(crate) number: u64,
    /// Who, by number.
    pub(crate) who: usize,
    /// With whom: someone else.
    pub(crate) with: usize,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Offer gold for silver.
    Trade { gold: u64, silver: u64 },
    /// Send a ping, which is answered.
    Greet,
}

/// So many actions among so many traders, at least two.
pub(crate) fn draw(seed: u64, traders: usize, actions: u64) -> Vec<Action> {
    let mut random = Random(seed);
    let action = |number| {
        let who = random.below(traders as u64) as usize;
        let with = (who + 1 + random.below(traders as u64 - 1) as usize) % traders;
        let what = if random.below(10) < TRADES_OF_TEN {
            What::Trade { gold: 1 + random.below(GOLD_MAX), silver: 1 + random.below(GOLD_MAX) }
        } else {
            What::Greet
        };
        Action { number, who, with, what }
    };
    (0..actions).map(action).collect()
}

impl Action {
    /// The tags of the message that says so.
    pub(crate) fn tags(&self, traders: &[Id]) -> Vec<(String, String)> {
        let with = traders[self.with].to_string();
        let (action, amounts) = match self.what {
            What::Trade { gold, silver } => ("Trade", vec![("Gold", gold), ("Silver", silver)]),
            What::Greet => ("Greet", Vec::new()),
        };
        let amounts = amounts.into_iter().map(|(name, amount)| (name.to_owned(), amount.to_string()));
        let names = [("Action", action.to_owned()), ("With", with), ("Reference", self.number.to_string())];
        names.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(amounts).collect()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below a small bound; what that favours is below 2⁻⁵⁰ for those used here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_own_plan_in_which_nobody_trades_with_himself() {
        let plan = draw(7, 5, 2000);
        assert_eq!(plan, draw(7, 5, 2000));
        assert_ne!(plan, draw(8, 5, 2000));
        assert!(plan.iter().all(|action| action.who != action.with && action.who < 5 && action.with < 5));
        let trades = plan.iter().filter(|action| action.what != What::Greet).count();
        assert!((1300..1500).contains(&trades), "{trades}");
    }
}
