//! The messages: an Eval that installs a token ledger, then transfers and queries among fifty accounts, by a seed.

use ao_benches::log::Texts;
use ao_kernel::message::{Assignment, Message, Party, Shown, write_env};
use ao_tests::{Guest, LogBuilder, item};
use ao_wire::{DataItem, Signer, Tag};

const PROGRAM: &str = "
Balances = Balances or {}
Transfers = Transfers or 0
Handlers.add('transfer', Handlers.utils.hasMatchingTag('Action', 'Transfer'), function (msg)
  local qty = tonumber(msg.Tags.Quantity)
  local from, to = msg.From, msg.Tags.Recipient
  Balances[from] = (Balances[from] or 1000000) - qty
  Balances[to] = (Balances[to] or 1000000) + qty
  Transfers = Transfers + 1
  ao.send({ Target = from, Action = 'Debit-Notice', Recipient = to, Quantity = tostring(qty), Data = 'You transferred ' .. qty .. ' to ' .. to })
  ao.send({ Target = to, Action = 'Credit-Notice', Sender = from, Quantity = tostring(qty), Data = 'You received ' .. qty .. ' from ' .. from })
end)
Handlers.add('balance', Handlers.utils.hasMatchingTag('Action', 'Balance'), function (msg)
  local who = msg.Tags.Recipient or msg.From
  ao.send({ Target = msg.From, Action = 'Balance-Response', Account = who, Balance = tostring(Balances[who] or 0), Data = tostring(Balances[who] or 0) })
end)
return 'ledger loaded'
";

type Tags = Vec<(String, String)>;

/// Tags and data of so many messages.
pub(crate) fn messages(count: u32) -> impl Iterator<Item = (Tags, String)> {
    let mut state = 0x9E37_79B9_u32;
    let mut random = move |below: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % below
    };
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    (0..count).map(move |n| {
        if n == 0 {
            return (vec![tag("Action", "Eval")], PROGRAM.to_owned());
        }
        let account = ao_wire::Id::sha256(&random(50).to_le_bytes()).to_string();
        // The number keeps two like messages apart, which would have one id.
        let mut tags = vec![tag("Recipient", &account), tag("Reference", &n.to_string())];
        match random(10) {
            0 => tags.push(tag("Action", "Balance")),
            _ => tags.extend([tag("Action", "Transfer"), tag("Quantity", &(1 + random(99)).to_string())]),
        }
        (tags, String::new())
    })
}

/// The spawn and so many messages as the module is shown them.
pub(crate) fn texts(count: u32) -> Vec<Texts> {
    let mut log = LogBuilder::new(&Guest::real("aos2_0_6"), &[]);
    let (process, user) = (log.process_id(), Signer::ed25519(&[2; 32]));
    for (tags, data) in messages(count) {
        let ao = [("Data-Protocol", "ao"), ("Variant", "ao.TN.1"), ("Type", "Message")];
        let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (&name[..], &value[..])).chain(ao).collect();
        log.push(item(&user, Some(process.id()), &tags, data.as_bytes()));
    }
    let shown = Shown::new(DataItem::parse(log.process()).expect("made here"));
    let meta = &log.module().meta;
    let module_tags: Vec<Tag<'_>> = meta.tags.iter().map(|tag| Tag::new(&tag.name, &tag.value)).collect();
    let mut env = Vec::new();
    write_env(
        Party { id: &process.to_string(), owner: shown.item().owner, tags: shown.item().tags },
        Party { id: &meta.id.to_string(), owner: &meta.owner, tags: &module_tags },
        &mut env,
    );
    let env = String::from_utf8(env).expect("JSON is text");
    let text = |entry: &ao_log::LogEntry| {
        let assignment = DataItem::parse(&entry.assignment).expect("made here");
        let tags: Vec<Tag<'_>> = assignment.tags().collect();
        let message = Shown::new(DataItem::parse(entry.message.as_ref().expect("made here")).expect("made here"));
        let assignment = Assignment::from_tags(&tags).expect("made here");
        let mut json = Vec::new();
        Message::of_entry(shown.item(), assignment, Some(message.item()), None).write(&mut json);
        Texts { message: String::from_utf8(json).expect("JSON is text"), env: env.clone() }
    };
    log.entries().iter().map(text).collect()
}
