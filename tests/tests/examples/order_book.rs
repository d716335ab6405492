//! Order books, one process for each pair, on tokens that are processes of their own.

use ao_wire::Signer;

use crate::town::{Place, Town, actions, code, owner, user};

const USERS: u64 = 5;
/// What each begins with, of each token.
const EACH: u64 = 1_000_000;
/// Actions between two looks.
const LOOK_EVERY: u64 = 10;

struct Exchange {
    town: Town,
    people: Vec<Signer>,
    /// What is traded, and at last what it is paid with.
    tokens: Vec<Place>,
    /// One for each token that is traded.
    books: Vec<Place>,
}

impl Exchange {
    fn open() -> Self {
        let mut town = Town::new("order book");
        let people: Vec<Signer> = (0..USERS).map(user).collect();
        let tokens: Vec<Place> = (0..3).map(|_| town.aos(&code("token/token.lua"), "token")).collect();
        let ids: Vec<String> = tokens.iter().map(|token| town.id(*token)).collect();
        let source = code("order-book/book.lua");
        let book = |base: &String| town.aos(&format!("Base, Quote = '{base}', '{}'\n{source}", ids[2]), "book");
        let books = ids[..2].iter().map(book).collect();
        for token in &tokens {
            for person in &people {
                let (who, amount) = (person.address(), EACH.to_string());
                town.send(&owner(), *token, &[("Action", "Mint"), ("Recipient", &who), ("Quantity", &amount)], " ");
            }
        }
        Self { town, people, tokens, books }
    }

    fn act(&mut self) {
        let Self { town, people, tokens, books } = self;
        let person = &people[town.random.below(USERS) as usize];
        let pair = town.random.below(2) as usize;
        let (book, pays) = (books[pair], town.random.below(2) == 0);
        let token = tokens[if pays { 2 } else { pair }];
        let (book_id, token_id) = (town.id(book), town.id(token));
        match town.random.below(10) {
            0 | 1 => {
                let amount = (1 + town.random.below(20_000)).to_string();
                town.send(
                    person,
                    token,
                    &[("Action", "Transfer"), ("Recipient", &book_id), ("Quantity", &amount)],
                    " ",
                );
            }
            2..8 => {
                let (side, price) = if pays { ("buy", 90) } else { ("sell", 95) };
                let (price, amount) = (price + town.random.below(15), 1 + town.random.below(40));
                let (price, amount) = (price.to_string(), amount.to_string());
                let tags = [("Action", "Order"), ("Side", side), ("Price", &price), ("Quantity", &amount)];
                town.send(person, book, &tags, " ");
            }
            8 => {
                // One that rests, most likely somebody else's: whose it is not, cannot.
                let order = town.eval(
                    book,
                    "local all = #Asks > #Bids and Asks or Bids; return all[#all] and all[#all].number or 1",
                );
                for person in people.iter() {
                    town.send(person, book, &[("Action", "Cancel"), ("Order", &order)], " ");
                }
            }
            _ => {
                let amount = (1 + town.random.below(3000)).to_string();
                let tags = [("Action", "Withdraw"), ("Token", &token_id), ("Quantity", &amount)];
                town.send(person, book, &tags, " ");
            }
        }
        let count = town.random.below(4);
        town.deliver(count);
    }

    /// No crossed book, and every unit accounted for.
    fn look(&mut self) {
        for book in self.books.clone() {
            assert_eq!(self.town.eval(book, "return tostring(Sound())"), "true");
            // The invariant again, by what is shown of the two sides.
            let best = self.town.eval(
                book,
                "return (Bids[1] and Bids[1].price or 0) .. ' ' .. (Asks[1] and Asks[1].price or 1e9 // 1 | 0)",
            );
            let (bid, ask) = best.split_once(' ').unwrap();
            assert!(bid.parse::<u64>().unwrap() < ask.parse().unwrap(), "crossed: {best}");
        }
    }

    /// With nothing on its way, each book holds at each token what it says, and no token has more than it had.
    fn close(mut self) {
        self.town.settle();
        self.look();
        let mut fills = 0;
        for (pair, book) in self.books.clone().into_iter().enumerate() {
            for token in [self.tokens[pair], self.tokens[2]] {
                let (book_id, token_id) = (self.town.id(book), self.town.id(token));
                let held = self.town.number(book, &format!("return Held['{token_id}']"));
                assert_eq!(self.town.number(token, &format!("return Balances['{book_id}'] or 0")), held);
            }
            fills += self.town.number(book, "return Fills");
        }
        for token in self.tokens.clone() {
            assert_eq!(self.town.eval(token, "return tostring(Conserved())"), "true");
            assert_eq!(self.town.number(token, "return Supply"), USERS * EACH);
        }
        assert!(fills > 0, "nobody traded");
        self.town.replay();
    }
}

#[test]
fn no_order_book_is_crossed_and_none_owes_more_than_it_holds() {
    let mut exchange = Exchange::open();
    for round in 0..actions() {
        exchange.act();
        if round % LOOK_EVERY == 0 {
            exchange.look();
        }
    }
    exchange.close();
}
