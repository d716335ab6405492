//! A prediction market that an oracle feeds.

use ao_wire::Signer;

use crate::town::{Place, Town, actions, code, owner, user};

const USERS: u64 = 6;
const EACH: u64 = 1_000_000;
const OUTCOMES: [&str; 4] = ["yes", "no", "neither", "what nobody bets on"];
/// Questions open at once, about.
const OPEN: u64 = 3;
/// Actions between two looks.
const LOOK_EVERY: u64 = 20;

struct Bets {
    town: Town,
    people: Vec<Signer>,
    token: Place,
    oracle: Place,
    market: Place,
    /// Questions so far, the first that is open.
    questions: u64,
    first: u64,
}

impl Bets {
    fn open() -> Self {
        let mut town = Town::new("market");
        let people: Vec<Signer> = (0..USERS).map(user).collect();
        let token = town.aos(&code("token/token.lua"), "token");
        let oracle = town.aos(&code("market/oracle.lua"), "oracle");
        let set = format!("Token, Oracle = '{}', '{}'\n", town.id(token), town.id(oracle));
        let market = town.aos(&format!("{set}{}", code("market/market.lua")), "market");
        for person in &people {
            let (who, amount) = (person.address(), EACH.to_string());
            town.send(&owner(), token, &[("Action", "Mint"), ("Recipient", &who), ("Quantity", &amount)], " ");
        }
        town.settle();
        Self { town, people, token, oracle, market, questions: 0, first: 0 }
    }

    fn act(&mut self) {
        let Self { town, people, token, oracle, market, .. } = self;
        let person = &people[town.random.below(USERS) as usize];
        let ahead = self.questions - self.first;
        if ahead == 0 || ahead < OPEN && town.random.below(20) == 0 {
            let question = self.questions.to_string();
            let tags = [("Action", "Open"), ("Question", &question[..]), ("Outcomes", "yes,no,neither")];
            town.send(&owner(), *market, &tags, " ");
            self.questions += 1;
        } else if town.random.below(30) == 0 {
            let (question, answer) = (self.first.to_string(), *town.random.of(&OUTCOMES));
            let tags = [("Action", "Report"), ("Question", &question[..]), ("Answer", answer)];
            // Whoever does not own the oracle is not heard, nor is he by the market.
            let other = if answer == "yes" { "no" } else { "yes" };
            let lie = [("Action", "Reported"), ("Question", &question[..]), ("Answer", other)];
            town.send(person, *market, &lie, " ");
            town.send(person, *oracle, &[("Action", "Report"), ("Question", &question), ("Answer", other)], " ");
            town.send(&owner(), *oracle, &tags, " ");
            self.first += 1;
        } else {
            // Some on what is settled, or on what is no outcome.
            let question = (self.first + town.random.below(ahead + 1)).saturating_sub(town.random.below(2)).to_string();
            let (outcome, amount) = (*town.random.of(&OUTCOMES), (1 + town.random.below(997)).to_string());
            let market = town.id(*market);
            let tags = [
                ("Action", "Transfer"),
                ("Recipient", &market),
                ("Quantity", &amount),
                ("X-Question", &question),
                ("X-Outcome", outcome),
            ];
            town.send(person, *token, &tags, " ");
        }
        let count = town.random.below(4);
        town.deliver(count);
    }

    /// What was taken and not paid out lies in the pot.
    fn look(&mut self) -> (u64, u64) {
        let [taken, paid, pot] =
            ["Taken", "Paid", "Pot()"].map(|what| self.town.number(self.market, &format!("return {what}")));
        assert_eq!(taken, paid + pot);
        (paid, pot)
    }

    /// With all questions settled and nothing on its way, all that was bet was paid.
    fn close(mut self) {
        self.town.settle();
        let (_, pot) = self.look();
        let market = self.town.id(self.market);
        let held = format!("return Balances['{market}'] or 0");
        assert_eq!(self.town.number(self.token, &held), pot);
        for question in self.first..self.questions {
            let question = question.to_string();
            let tags = [("Action", "Report"), ("Question", &question[..]), ("Answer", "no")];
            self.town.send(&owner(), self.oracle, &tags, " ");
        }
        self.town.settle();
        let (paid, pot) = self.look();
        assert_eq!((pot, self.town.number(self.token, &held)), (0, 0));
        assert!(paid > 0, "nobody bet");
        assert_eq!(self.town.number(self.market, "return Settled"), self.questions);
        assert!(self.town.number(self.market, "return Returned") > 0, "nothing was sent back");
        assert_eq!(self.town.eval(self.token, "return tostring(Conserved())"), "true");
        assert_eq!(self.town.number(self.token, "return Supply"), USERS * EACH);
        self.town.replay();
    }
}

#[test]
fn bets_paid_out_are_bets_taken() {
    let mut bets = Bets::open();
    for round in 0..actions() {
        bets.act();
        if round % LOOK_EVERY == 0 {
            bets.look();
        }
    }
    bets.close();
}
