//! A pool of two tokens, people who swap, and an agent that trades at each tick of its clock.

use ao_wire::Signer;

use crate::town::{Place, Town, actions, code, owner, user};

const USERS: u64 = 4;
const EACH: u64 = 1_000_000;
/// Actions between two looks.
const LOOK_EVERY: u64 = 5;

struct Market {
    town: Town,
    people: Vec<Signer>,
    tokens: [Place; 2],
    pool: Place,
    agent: Place,
    /// The product of the reserves when last looked at.
    product: u64,
}

fn mint(town: &mut Town, token: Place, who: &str, amount: u64) {
    let amount = amount.to_string();
    town.send(&owner(), token, &[("Action", "Mint"), ("Recipient", who), ("Quantity", &amount)], " ");
}

impl Market {
    fn open() -> Self {
        let mut town = Town::new("amm");
        let people: Vec<Signer> = (0..USERS).map(user).collect();
        let tokens = [0, 1].map(|_| town.aos(&code("token/token.lua"), "token"));
        let pair = format!("First, Second = '{}', '{}'\n", town.id(tokens[0]), town.id(tokens[1]));
        let pool = town.aos(&format!("{pair}{}", code("amm/pool.lua")), "pool");
        let pool_id = town.id(pool);
        let agent = town.aos(&format!("{pair}Pool = '{pool_id}'\n{}", code("amm/agent.lua")), "agent");
        let (me, agent_id) = (owner().address(), town.id(agent));
        for (token, reserve) in tokens.into_iter().zip(["400000", "600000"]) {
            for who in people.iter().map(Signer::address).chain([me.clone(), agent_id.clone()]) {
                mint(&mut town, token, &who, EACH);
            }
            let fund = [("Action", "Transfer"), ("Recipient", &pool_id), ("Quantity", reserve), ("X-Action", "Fund")];
            town.send(&owner(), token, &fund, " ");
        }
        town.settle();
        let mut market = Self { town, people, tokens, pool, agent, product: 0 };
        market.look();
        assert_eq!(market.product, 400_000 * 600_000);
        market
    }

    fn act(&mut self) {
        let Self { town, people, tokens, pool, agent, .. } = self;
        let (person, token) = (&people[town.random.below(USERS) as usize], tokens[town.random.below(2) as usize]);
        let pool = town.id(*pool);
        match town.random.below(10) {
            0..6 => {
                let (amount, least) = (1 + town.random.below(30_000), town.random.below(20_000));
                // One in so many sends what is no swap.
                let action = *town.random.of(&["Swap", "Swap", "Swap", "Swap", "Swap", "Fund", "Nothing"]);
                let (amount, least) = (amount.to_string(), least.to_string());
                let tags = [
                    ("Action", "Transfer"),
                    ("Recipient", &pool),
                    ("Quantity", &amount),
                    ("X-Action", action),
                    ("X-Least", &least),
                ];
                town.send(person, token, &tags, " ");
            }
            6..9 => {
                town.send(&owner(), *agent, &[("Action", "Cron")], " ");
            }
            _ => {
                let price = (800 + town.random.below(1400)).to_string();
                town.send(&owner(), *agent, &[("Action", "Believe"), ("Price", &price)], " ");
                // Whoever does not own the agent sets no clock of it.
                town.send(person, *agent, &[("Action", "Cron")], " ");
            }
        }
        let count = town.random.below(6);
        town.deliver(count);
    }

    /// The product never falls.
    fn look(&mut self) {
        let product = self.town.number(self.pool, "return Reserves[First] * Reserves[Second]");
        assert!(product >= self.product, "it fell from {} to {product}", self.product);
        self.product = product;
    }

    /// With nothing on its way, what pool and agent count is what the tokens say.
    fn close(mut self) {
        self.town.settle();
        self.look();
        for token in self.tokens {
            let id = self.town.id(token);
            for (who, what) in [(self.pool, "Reserves"), (self.agent, "Have")] {
                let counted = self.town.number(who, &format!("return {what}['{id}']"));
                let who = self.town.id(who);
                assert_eq!(self.town.number(token, &format!("return Balances['{who}'] or 0")), counted);
            }
            assert_eq!(self.town.eval(token, "return tostring(Conserved())"), "true");
            assert_eq!(self.town.number(token, "return Supply"), (USERS + 2) * EACH);
        }
        assert_eq!(self.town.number(self.pool, "return Falls"), 0);
        assert!(self.town.number(self.pool, "return Swaps") > 0, "nobody swapped");
        assert!(self.town.number(self.agent, "return Trades") > 0, "the agent did not trade");
        assert!(self.town.number(self.pool, "return Returned") > 0, "nothing was sent back");
        self.town.replay();
    }
}

#[test]
fn the_product_of_the_reserves_never_falls() {
    let mut market = Market::open();
    for round in 0..actions() {
        market.act();
        if round % LOOK_EVERY == 0 {
            market.look();
        }
    }
    market.close();
}
