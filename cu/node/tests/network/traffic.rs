//! Load: aos processes that pass tokens on and ping each other, and clients that never give up a message.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ao_tests::item;
use ao_wire::{Id, ProcessId};

use super::{AO, Network, Random, id, user};
use crate::support::Unit;

/// Tokens that each process begins with.
pub(crate) const BALANCE: u64 = 1_000_000_000;
/// A wallet: what is for it is uploaded to the gateway.
pub(crate) const WALLET: Id = Id([9; 32]);
/// Longest that a unit may be away.
const PATIENCE: Duration = Duration::from_mins(1);
/// Tasks of the messenger past which clients wait, so that a slow machine does the same as a fast one.
const BACKLOG_MAX: u64 = 100;

/// Four entries for each `Give`: it, a `Credit` there, a `Ping` back, a `Pong` there; and for every fourth `Pong` a note for a wallet.
const TOKEN: &str = r"
Balance, Pongs = 1000000000, 0
local function on(action, act) Handlers.add(action, Handlers.utils.hasMatchingTag('Action', action), act) end
on('Give', function (m)
  Balance = Balance - tonumber(m.Tags.Quantity)
  ao.send({ Target = m.Tags.Recipient, Action = 'Credit', Quantity = m.Tags.Quantity })
end)
on('Credit', function (m)
  Balance = Balance + tonumber(m.Tags.Quantity)
  ao.send({ Target = m.From, Action = 'Ping' })
end)
on('Ping', function (m) ao.send({ Target = m.From, Action = 'Pong' }) end)
on('Pong', function ()
  Pongs = Pongs + 1
  if Pongs % 4 == 0 then ao.send({ Target = 'WALLET', Action = 'Note' }) end
end)
return 'ready'
";

/// What a client was told is accepted.
pub(crate) type Accepted = Vec<(ProcessId, Id)>;

/// A message to a process.
pub(crate) fn message(process: ProcessId, tags: &[(&str, &str)], data: &str) -> Vec<u8> {
    item(&user(), Some(process.id()), &[&AO[..], &[("Type", "Message")], tags].concat(), data.as_bytes())
}

/// Posts an item to the messenger until it is accepted.
pub(crate) fn post(mu: &Unit, process: ProcessId, item: &[u8]) -> (ProcessId, Id) {
    let until = Instant::now() + PATIENCE;
    loop {
        match mu.try_ask("POST", "/", &[("content-type", "application/octet-stream")], item) {
            Ok(answer) if answer.status == 202 => return (process, id(item)),
            Ok(answer) if answer.status < 500 => panic!("{}: {}", answer.status, answer.text()),
            told => assert!(Instant::now() < until, "not accepted within {PATIENCE:?}: {told:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Spawns processes and gives each its tokens; them, and what was posted to them.
pub(crate) fn found(network: &Network, count: usize) -> (Vec<ProcessId>, Accepted) {
    let (module, mu) = (network.publish(), network.client("mu"));
    let processes: Vec<ProcessId> = (0..count).map(|number| network.spawn(module, number)).collect();
    let code = TOKEN.replace("WALLET", &WALLET.to_string());
    let load = |process: &ProcessId| post(&mu, *process, &message(*process, &[("Action", "Eval")], &code));
    let accepted = processes.iter().map(load).collect();
    (processes, accepted)
}

/// Clients at work.
#[derive(Default)]
pub(crate) struct Clients {
    stop: AtomicBool,
    accepted: AtomicU64,
}

/// Tells clients to stop, when a test fails too.
struct Stop<'a>(&'a Clients);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Clients {
    /// Has three clients post messages while `happen` happens; those accepted.
    pub(crate) fn work(network: &Network, processes: &[ProcessId], seed: u64, happen: impl FnOnce(&Self)) -> Accepted {
        let clients = Self::default();
        std::thread::scope(|scope| {
            let client = |number| {
                scope.spawn({
                    let clients = &clients;
                    move || give(network, processes, seed * 1000 + number, clients)
                })
            };
            let working: Vec<_> = (0..3).map(client).collect();
            let told = Stop(&clients);
            happen(&clients);
            drop(told);
            working.into_iter().flat_map(|client| client.join().unwrap()).collect()
        })
    }

    /// Waits until more messages are accepted: what was away is back.
    pub(crate) fn go_on(&self, network: &Network, messages: u64) {
        let (until, enough) = (Instant::now() + PATIENCE, self.accepted.load(Ordering::Relaxed) + messages);
        while self.accepted.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < until, "nothing is accepted any more: {:?} are waiting", network.backlog());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Posts messages until it is told to stop; those accepted.
fn give(network: &Network, processes: &[ProcessId], seed: u64, clients: &Clients) -> Accepted {
    let (mu, mut random, mut accepted) = (network.client("mu"), Random(seed), Accepted::new());
    while !clients.stop.load(Ordering::Relaxed) {
        if network.backlog().is_none_or(|(queued, _)| queued > BACKLOG_MAX) {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        let mut any = || processes[random.below(processes.len() as u64) as usize];
        let (from, to) = (any(), any().to_string());
        let quantity = (1 + random.below(1000)).to_string();
        // Ed25519 signs the same twice: the number makes it another message.
        let number = format!("{seed}.{}", accepted.len());
        let tags = [("Action", "Give"), ("Recipient", &to), ("Quantity", &quantity), ("Number", &number)];
        accepted.push(post(&mu, from, &message(from, &tags, " ")));
        clients.accepted.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(random.below(20)));
    }
    accepted
}
