//! Makes logs of truly signed items for the tests of this crate, sound or damaged.

use ao_wire::{DataItem, Id, ItemBuilder, Jwk, MessageId, ProcessId, Signer, Tag, b64u};

use crate::{ChainRule, HashChain, HyperBeamLink, LogEntry, Nonce, hyperbeam, legacy_first, legacy_next};

/// Tags as text, in order.
pub(crate) type TextTags = Vec<(String, String)>;

/// Signs an item with the given tags.
pub(crate) fn item(signer: &Signer, target: Option<Id>, tags: &TextTags, data: &[u8]) -> Vec<u8> {
    let tags = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
    ItemBuilder { target: target.map(|id| id.0), anchor: None, tags, data }.build(signer).unwrap()
}

pub(crate) fn text_tags(tags: &[(&str, &str)]) -> TextTags {
    tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn address(signer: &Signer) -> String {
    b64u::encode(Id::sha256(signer.owner()).0)
}

pub(crate) fn rsa(name: &str) -> Signer {
    let path = format!("{}/../../fixtures/vectors/keys/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Signer::arweave(&Jwk::parse(std::fs::read(path).unwrap()).unwrap()).unwrap()
}

pub(crate) fn scheduler() -> Signer {
    Signer::ed25519(&[1; 32])
}

pub(crate) fn user() -> Signer {
    Signer::ed25519(&[2; 32])
}

pub(crate) fn process_tags(scheduler: &str) -> TextTags {
    text_tags(&[
        ("Data-Protocol", "ao"),
        ("Variant", "ao.TN.1"),
        ("Type", "Process"),
        ("Module", &Id([7; 32]).to_string()),
        ("Scheduler", scheduler),
    ])
}

/// A log that grows by one valid entry at a time.
pub(crate) struct TestLog {
    pub(crate) rule: ChainRule,
    pub(crate) scheduler: Signer,
    pub(crate) user: Signer,
    pub(crate) process: Vec<u8>,
    pub(crate) entries: Vec<LogEntry>,
    end: Option<(Id, HashChain)>,
}

impl TestLog {
    pub(crate) fn new(rule: ChainRule) -> TestLog {
        TestLog::signed_by(rule, scheduler(), user())
    }

    pub(crate) fn signed_by(rule: ChainRule, scheduler: Signer, user: Signer) -> TestLog {
        let process = item(&user, None, &process_tags(&address(&scheduler)), b"return 1");
        TestLog { rule, scheduler, user, process, entries: Vec::new(), end: None }
    }

    /// An old-style legacy log of so many messages.
    pub(crate) fn of(messages: u64) -> TestLog {
        let mut log = TestLog::new(ChainRule::Legacy);
        (0..messages).for_each(|i| log.push_message(&format!("message {i}")));
        log
    }

    pub(crate) fn process_id(&self) -> ProcessId {
        DataItem::parse(&self.process).unwrap().id().into()
    }

    pub(crate) fn message(&self, data: &str) -> Vec<u8> {
        let tags = text_tags(&[("Data-Protocol", "ao"), ("Type", "Message"), ("Action", "Eval")]);
        item(&self.user, Some(self.process_id().id()), &tags, data.as_bytes())
    }

    pub(crate) fn push_message(&mut self, data: &str) {
        let message = self.message(data);
        let id = DataItem::parse(&message).unwrap().id();
        let tags = self.assignment_tags(id, true);
        self.push(&tags, Some(message));
    }

    /// Nonce 0 of a new-style log.
    pub(crate) fn push_process(&mut self, included: bool) {
        let tags = self.assignment_tags(self.process_id().id(), false);
        let message = included.then(|| self.process.clone());
        self.push(&tags, message);
    }

    pub(crate) fn push(&mut self, tags: &TextTags, message: Option<Vec<u8>>) {
        let assignment = item(&self.scheduler, None, tags, b"");
        let id = DataItem::parse(&assignment).unwrap().id();
        let chain = tags.iter().find(|(name, _)| name.eq_ignore_ascii_case("Hash-Chain"));
        if let Some(chain) = chain.and_then(|(_, value)| value.parse::<Id>().ok()) {
            self.end = Some((id, HashChain(chain.0)));
        }
        let nonce = Nonce(self.entries.len() as u64);
        self.entries.push(LogEntry { nonce, assignment, message });
    }

    /// The tags of the next valid assignment.
    pub(crate) fn assignment_tags(&self, message: Id, named: bool) -> TextTags {
        let nonce = self.entries.len() as u64;
        let chain = match (self.rule, self.end) {
            (ChainRule::Legacy, None) => legacy_first(&self.process_id()),
            (ChainRule::Legacy, Some((id, chain))) => legacy_next(&id.into(), &chain),
            (ChainRule::HyperBeam, None) => hyperbeam(HyperBeamLink::First, &message.into()),
            (ChainRule::HyperBeam, Some((_, chain))) => hyperbeam(HyperBeamLink::Running(chain), &message.into()),
        };
        let legacy = self.rule == ChainRule::Legacy;
        let height = if legacy { "000001400000" } else { "1400000" };
        let mut tags = text_tags(&[
            ("Process", &self.process_id().to_string()),
            ("Epoch", "0"),
            (if legacy { "Nonce" } else { "Slot" }, &nonce.to_string()),
            ("Hash-Chain", &chain.to_string()),
            ("Block-Height", height),
            ("Timestamp", &(1_700_000_000_000 + nonce).to_string()),
            ("Data-Protocol", "ao"),
            ("Type", "Assignment"),
            ("Variant", if legacy { "ao.TN.1" } else { "ao.N.1" }),
        ]);
        if named {
            tags.push(("Message".to_owned(), message.to_string()));
        }
        if !legacy {
            for (name, _) in &mut tags {
                name.make_ascii_lowercase();
            }
        }
        tags
    }

    /// The chain value a restarted HyperBEAM node gives the next message.
    pub(crate) fn restarted_chain(&self, message: Id) -> HashChain {
        let (_, chain) = self.end.unwrap();
        hyperbeam(HyperBeamLink::Restarted(chain), &MessageId::from(message))
    }
}

/// Replaces the value of a tag.
pub(crate) fn set(tags: &mut TextTags, name: &str, value: &str) {
    let tag = tags.iter_mut().find(|(found, _)| found == name).unwrap();
    tag.1 = value.to_owned();
}
