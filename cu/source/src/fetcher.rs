//! Following the log of one process, page by page, and handing out only what is verified.
//!
//! Pages are asked for by nonce. A scheduler that doesn't offer that is asked by time, one millisecond back, so that
//! messages which share one are not lost on the seam of two pages; what was seen before must then be the same.
//!
//! *Not here:* whose log it is to be fetched for, and keeping it.
//!
//! Invariant: entries come out in order of nonce, without a gap, each verified; after an error nothing comes out.

use std::collections::BTreeMap;

use ao_log::{
    ChainPoint, ChainRule, Duplicates, LogEntry, LogFault, LogSummary, LogVerifier, Nonce, ProcessInfo, Signatures,
    TimestampMs, VerifyOptions,
};
use ao_wire::{DataItem, Id, ProcessId};

use crate::rebuild::{ItemJson, choose, one};
use crate::scheduler::{From, NodeJson, PageJson};
use crate::{GatewayClient, SchedulerClient, SourceError};

/// How many of the last entries are remembered to compare repeated ones with.
const RECENT_MAX: usize = 1 << 14;
/// Entries kept back while one before them is missing: schedulers that page by time may show them out of order.
const HELD_MAX: usize = 1 << 14;

/// How a log is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOptions {
    /// Entries per page.
    pub page_entries: usize,
    /// Largest page, where more messages than fit a page share a millisecond.
    pub page_entries_max: usize,
    /// Which signatures are checked. Without them the bytes of items are a guess from their fields.
    pub signatures: Signatures,
    /// What a message that is assigned twice is. Real schedulers do that; each assignment has its own result.
    pub duplicates: Duplicates,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            page_entries: 1000,
            page_entries_max: 64_000,
            signatures: Signatures::All,
            duplicates: Duplicates::Note,
        }
    }
}

/// How pages are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paging {
    Nonce,
    Time,
}

/// The log of one process, followed.
#[derive(Debug)]
pub struct LogFetcher {
    scheduler: SchedulerClient,
    gateway: Option<GatewayClient>,
    options: FetchOptions,
    process: ProcessId,
    verifier: LogVerifier,
    paging: Paging,
    limit: usize,
    next: Nonce,
    /// Time up to which everything was seen, when paging by time.
    seen_until: Option<TimestampMs>,
    recent: BTreeMap<Nonce, Id>,
    held: BTreeMap<Nonce, NodeJson>,
}

impl LogFetcher {
    /// Begins at nonce 0.
    ///
    /// # Errors
    /// The item is no validly signed process.
    pub fn new(
        scheduler: SchedulerClient,
        gateway: Option<GatewayClient>,
        process_item: &[u8],
        options: FetchOptions,
    ) -> Result<LogFetcher, SourceError> {
        LogFetcher::begin(scheduler, gateway, process_item, options, None)
    }

    /// Goes on after a point that was verified before. Duplicates of what is before it go unnoticed.
    ///
    /// # Errors
    /// As [`new`](LogFetcher::new).
    pub fn resume(
        scheduler: SchedulerClient,
        gateway: Option<GatewayClient>,
        process_item: &[u8],
        options: FetchOptions,
        point: ChainPoint,
    ) -> Result<LogFetcher, SourceError> {
        LogFetcher::begin(scheduler, gateway, process_item, options, Some(point))
    }

    fn begin(
        scheduler: SchedulerClient,
        gateway: Option<GatewayClient>,
        process_item: &[u8],
        options: FetchOptions,
        point: Option<ChainPoint>,
    ) -> Result<LogFetcher, SourceError> {
        let item = DataItem::parse(process_item);
        let process: ProcessId = item.as_ref().map_or(Id([0; 32]), DataItem::id).into();
        if let Ok(item) = item
            && options.signatures != Signatures::None
        {
            let signed = item.verify().map_err(|source| LogFault::ProcessSignature { id: process, source });
            signed.map_err(SourceError::log(process))?;
        }
        // Signatures are checked here, to find the signed bytes; the verifier need not check them once more.
        let verify =
            VerifyOptions { rule: ChainRule::Legacy, signatures: Signatures::None, duplicates: options.duplicates };
        let verifier = match point {
            Some(point) => LogVerifier::resume(process_item, verify, point),
            None => LogVerifier::new(process_item, verify),
        };
        Ok(LogFetcher {
            scheduler,
            gateway,
            options,
            process,
            verifier: verifier.map_err(SourceError::log(process))?,
            paging: Paging::Nonce,
            limit: options.page_entries.max(1),
            next: point.map_or(Nonce(0), |point| Nonce(point.nonce.0 + 1)),
            seen_until: point.map(|point| point.timestamp),
            recent: point.map(|point| (point.nonce, point.assignment.id())).into_iter().collect(),
            held: BTreeMap::new(),
        })
    }

    /// The process.
    pub fn process(&self) -> &ProcessInfo {
        self.verifier.process()
    }

    /// What was seen so far. Signatures are counted by [`FetchOptions::signatures`], not there.
    pub fn summary(&self) -> &LogSummary {
        self.verifier.summary()
    }

    /// The next entries, verified; `None` at the present end of the log. Asking again later goes on from there.
    ///
    /// # Errors
    /// No answer; a fault of the log; a scheduler that contradicts itself. After an error other than no answer the fetcher
    /// is of no more use: begin anew after the last entry that came out.
    pub async fn next_page(&mut self) -> Result<Option<Vec<LogEntry>>, SourceError> {
        let mut end_doubted = false;
        loop {
            let from = self.from();
            let (process, nonce) = (self.process, self.next);
            let page = self.scheduler.page(process, from, self.limit).await;
            let page = page.map_err(|source| SourceError::Page { process, nonce, source: Box::new(source) })?;
            let more = page.page_info.has_next_page && !page.nodes.is_empty();
            let nodes = self.admit(page)?;
            if !nodes.is_empty() {
                return self.verified(nodes).await.map(Some);
            }
            if more {
                self.try_otherwise()?;
                continue;
            }
            if let Some(held) = self.held.keys().next() {
                let fault = LogFault::Gap { expected: self.next, found: *held };
                return Err(SourceError::log(self.process)(fault));
            }
            let Some(latest) = self.missing_before_end().await? else { return Ok(None) };
            // It may have come since the page did; once.
            if end_doubted {
                return Err(SourceError::FalseEnd { process, next: self.next, latest });
            }
            end_doubted = true;
        }
    }

    fn from(&self) -> From {
        match (self.paging, self.next.0.checked_sub(1)) {
            (Paging::Nonce, Some(last)) => From::AfterNonce(Nonce(last)),
            (Paging::Time, Some(_)) => match self.seen_until {
                // The bound is exclusive: what shares the last millisecond comes again.
                Some(time) => From::AfterTime(TimestampMs(time.0.saturating_sub(1))),
                None => From::Start,
            },
            (_, None) => From::Start,
        }
    }

    /// A page that announces more but brought nothing new: ask in another way, or for more at once.
    fn try_otherwise(&mut self) -> Result<(), SourceError> {
        if self.paging == Paging::Nonce && self.next > Nonce(0) && self.scheduler.pages_by_time() {
            self.paging = Paging::Time;
        } else if self.limit < self.options.page_entries_max {
            self.limit = (self.limit * 4).min(self.options.page_entries_max);
        } else {
            return Err(SourceError::Stuck { process: self.process, next: self.next, limit: self.limit });
        }
        Ok(())
    }

    /// A nonce that the scheduler calls its latest though its pages ended before.
    async fn missing_before_end(&self) -> Result<Option<Nonce>, SourceError> {
        let latest = self.scheduler.latest(self.process).await?;
        Ok(latest.filter(|latest| *latest >= self.next))
    }

    /// Those nodes of a page that are new, with their nonces, as far as they go without a gap.
    fn admit(&mut self, page: PageJson) -> Result<Vec<(Nonce, NodeJson)>, SourceError> {
        let mut nodes = Vec::with_capacity(page.nodes.len());
        let mut times = Vec::with_capacity(page.nodes.len());
        for node in page.nodes {
            let tag = |name| node.assignment.tag(name).and_then(|text| text.parse().ok());
            let after = self.next.0.checked_sub(1).map(Nonce);
            let nonce = tag("Nonce").ok_or(SourceError::NoNonce { process: self.process, after })?;
            times.push(tag("Timestamp").unwrap_or_default());
            nodes.push((Nonce(nonce), node));
        }
        let by_time = self.paging == Paging::Time || self.next == Nonce(0);
        if by_time && times.is_sorted() {
            // The scheduler's clock may have gone back: its order by time is not that of the log.
            nodes.sort_by_key(|(nonce, _)| *nonce);
        }
        let news = nodes.iter().position(|(nonce, _)| *nonce >= self.next);
        let Some(first_new) = news else { return Ok(Vec::new()) };
        for (nonce, node) in &nodes[..first_new] {
            self.compare(*nonce, node)?;
        }
        self.seen_until = times.into_iter().max().map(TimestampMs).max(self.seen_until);
        let new = nodes.split_off(first_new);
        if self.paging == Paging::Nonce {
            return Ok(new);
        }
        for (nonce, node) in new {
            if nonce < self.next || self.held.contains_key(&nonce) {
                self.compare(nonce, &node)?;
            } else {
                self.held.insert(nonce, node);
            }
        }
        let mut run = Vec::new();
        let mut due = self.next;
        while let Some(node) = self.held.remove(&due) {
            run.push((due, node));
            due.0 += 1;
        }
        if self.held.len() > HELD_MAX {
            let fault = LogFault::Gap { expected: due, found: *self.held.keys().next().unwrap_or(&due) };
            return Err(SourceError::log(self.process)(fault));
        }
        Ok(run)
    }

    /// Something seen before must be what it was.
    fn compare(&self, nonce: Nonce, node: &NodeJson) -> Result<(), SourceError> {
        let process = self.process;
        let found = node.assignment.signed_id();
        let held = self.held.get(&nonce).and_then(|node| node.assignment.signed_id());
        match (self.recent.get(&nonce).copied().or(held), found) {
            (Some(known), Some(found)) if known == found => Ok(()),
            (Some(known), Some(found)) => {
                Err(SourceError::Contradiction { process, nonce, known: known.into(), found })
            }
            _ => Err(SourceError::log(process)(LogFault::Gap { expected: self.next, found: nonce })),
        }
    }

    /// Turns nodes into entries: signed bytes, then order and chain.
    async fn verified(&mut self, nodes: Vec<(Nonce, NodeJson)>) -> Result<Vec<LogEntry>, SourceError> {
        let process = self.process;
        let mut wanted = Vec::with_capacity(2 * nodes.len());
        for (nonce, node) in nodes {
            let NodeJson { assignment, message } = node;
            wanted.push(Wanted::new(process, nonce, "assignment", assignment)?);
            if let Some(message) = message {
                wanted.push(Wanted::new(process, nonce, "message", message)?);
            }
        }
        let signatures = self.options.signatures;
        let task = tokio::task::spawn_blocking(move || find_all(wanted, signatures));
        let (mut wanted, mut found) = task.await.map_err(|_| SourceError::Task)?;
        self.repair(&mut wanted, &mut found).await?;
        let mut entries: Vec<LogEntry> = Vec::with_capacity(wanted.len() / 2);
        for (Wanted { nonce, what, .. }, bytes) in wanted.iter().zip(found) {
            match (*what, entries.last_mut()) {
                ("message", Some(entry)) => entry.message = bytes,
                _ => entries.push(LogEntry { nonce: *nonce, assignment: bytes.unwrap_or_default(), message: None }),
            }
        }
        self.verifier.check_page(&entries).map_err(SourceError::log(process))?;
        self.next = entries.last().map_or(self.next, |entry| Nonce(entry.nonce.0 + 1));
        for Wanted { nonce, id, .. } in wanted.iter().filter(|wanted| wanted.what == "assignment") {
            self.recent.insert(*nonce, *id);
        }
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
        Ok(entries)
    }

    /// Asks the scheduler, then the gateway, for the items whose bytes the scheduler's fields do not give.
    async fn repair(&self, wanted: &mut [Wanted], found: &mut [Option<Vec<u8>>]) -> Result<(), SourceError> {
        let process = self.process;
        let mut missing: Vec<usize> = Vec::new();
        for at in (0..wanted.len()).filter(|at| found[*at].is_none()).collect::<Vec<_>>() {
            // Who does not show signed bytes once shows none: then not every item costs a question.
            if missing.is_empty() {
                found[at] = self.scheduler.signed_bytes(process, wanted[at].id).await;
            }
            if found[at].is_none() {
                missing.push(at);
            }
        }
        let Some(first) = missing.first() else { return Ok(()) };
        let give_up = |wanted: &Wanted| {
            let Wanted { nonce, what, id, .. } = *wanted;
            SourceError::Unreproducible { process, nonce, what, id }
        };
        let Some(gateway) = &self.gateway else { return Err(give_up(&wanted[*first])) };
        let ids: Vec<Id> = missing.iter().map(|at| wanted[*at].id).collect();
        let mut fields = gateway.fields(&ids).await?;
        for at in missing {
            let Wanted { id, item, .. } = &wanted[at];
            // First with the fields that were had in one question for all: an anchor is often all that is missing.
            let candidates = fields
                .remove(&id.to_string())
                .map(|fields| fields.candidates(Some(item.data.as_deref().unwrap_or_default().as_bytes())));
            found[at] = one(*id, candidates.unwrap_or_default());
            if found[at].is_none() {
                found[at] = gateway.signed_bytes(*id, Some(item)).await?;
            }
            if found[at].is_none() {
                return Err(give_up(&wanted[at]));
            }
        }
        Ok(())
    }
}

/// An item whose signed bytes are to be found.
#[derive(Debug)]
struct Wanted {
    nonce: Nonce,
    what: &'static str,
    id: Id,
    item: ItemJson,
}

impl Wanted {
    fn new(process: ProcessId, nonce: Nonce, what: &'static str, item: ItemJson) -> Result<Wanted, SourceError> {
        match item.signed_id() {
            Some(id) if id.to_string() == item.id => Ok(Wanted { nonce, what, id, item }),
            found => {
                let found = found.unwrap_or(Id([0; 32]));
                Err(SourceError::OtherId { process, nonce, what, named: item.id, found })
            }
        }
    }
}

/// The signed bytes of all items: those whose signature is valid, or the first guess where none is to be checked.
fn find_all(wanted: Vec<Wanted>, signatures: Signatures) -> (Vec<Wanted>, Vec<Option<Vec<u8>>>) {
    let mut found: Vec<Option<Vec<u8>>> = vec![None; wanted.len()];
    let (mut places, mut items) = (Vec::new(), Vec::new());
    for (at, Wanted { id, item, .. }) in wanted.iter().enumerate() {
        let candidates = item.candidates(None);
        if signatures.selects(id) {
            places.push(at);
            items.push((*id, candidates));
        } else {
            found[at] = candidates.into_iter().next();
        }
    }
    for (at, chosen) in places.into_iter().zip(choose(&items)) {
        found[at] = chosen;
    }
    (wanted, found)
}
