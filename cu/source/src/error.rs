//! Why something could not be fetched, or is refused.

use ao_log::{AssignedError, FolderError, LogFault, Nonce};
use ao_wire::{AssignmentId, Id, MessageId, ModuleId, ProcessId};
use thiserror::Error;

/// Failure to fetch or to believe. Whatever concerns a log names process and nonce.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The HTTP client cannot be made.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
    /// No answer, after so many tries.
    #[error("{url}: no answer in {tries} tries")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// How often.
        tries: u32,
        /// Why the last try failed.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is a refusal, after so many tries.
    #[error("{url}: status {status} after {tries} tries: {body}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// Begin of the answer.
        body: String,
        /// How often it was asked.
        tries: u32,
    },
    /// An answer larger than allowed.
    #[error("{url}: the answer has more than {max} bytes")]
    TooBig {
        /// What was asked.
        url: String,
        /// The limit.
        max: usize,
    },
    /// An answer that is cut or not what such an answer is.
    #[error("{url}: not the expected JSON, in {tries} tries")]
    Json {
        /// What was asked.
        url: String,
        /// How often.
        tries: u32,
        /// What is wrong, and where.
        #[source]
        source: serde_json::Error,
    },
    /// A page of a log could not be had.
    #[error("process {process}, nonce {nonce} and on: the page could not be fetched")]
    Page {
        /// The process.
        process: ProcessId,
        /// First nonce asked for.
        nonce: Nonce,
        /// Why.
        #[source]
        source: Box<SourceError>,
    },
    /// The log is not one.
    #[error("process {process}: {source}")]
    Log {
        /// The process.
        process: ProcessId,
        /// The fault, at its nonce.
        #[source]
        source: Box<LogFault>,
    },
    /// An assignment in an answer does not say at which nonce it is.
    #[error("process {process}, after nonce {after:?}: an assignment without a Nonce")]
    NoNonce {
        /// The process.
        process: ProcessId,
        /// The last nonce that was intact.
        after: Option<Nonce>,
    },
    /// An item in an answer is named by another id than its signature gives it.
    #[error("process {process}, nonce {nonce}: the {what} is called {named}, its signature makes it {found}")]
    OtherId {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// `message` or `assignment`.
        what: &'static str,
        /// Its id in the answer.
        named: String,
        /// The id by its signature.
        found: Id,
    },
    /// The signed bytes of an item could be had from nobody.
    #[error(
        "process {process}, nonce {nonce}: neither the scheduler's nor the gateway's fields give the signed bytes of {what} {id}"
    )]
    Unreproducible {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// `message` or `assignment`.
        what: &'static str,
        /// Its id.
        id: Id,
    },
    /// A nonce was served before with another assignment.
    #[error("process {process}, nonce {nonce}: assignment {found}, but it was {known} before")]
    Contradiction {
        /// The process.
        process: ProcessId,
        /// The nonce.
        nonce: Nonce,
        /// Served before.
        known: AssignmentId,
        /// Served now.
        found: Id,
    },
    /// The scheduler ends its log before the nonce that it calls the latest.
    #[error("process {process}: the log ends before nonce {next}, but the latest message is at nonce {latest}")]
    FalseEnd {
        /// The process.
        process: ProcessId,
        /// First nonce not served.
        next: Nonce,
        /// The latest, as the scheduler says.
        latest: Nonce,
    },
    /// The scheduler says there is more, and serves the same again and again.
    #[error("process {process}, nonce {next}: pages of {limit} bring nothing new, though more is announced")]
    Stuck {
        /// The process.
        process: ProcessId,
        /// First nonce not served.
        next: Nonce,
        /// Size of the page.
        limit: usize,
    },
    /// The answer is about someone else.
    #[error("asked about {asked}, answered about {found}")]
    OtherProcess {
        /// Asked for.
        asked: ProcessId,
        /// Answered.
        found: String,
    },
    /// A process' signed bytes could be had from nobody.
    #[error("process {process}: neither the scheduler's nor the gateway's fields give its signed bytes")]
    NoProcess {
        /// The process.
        process: ProcessId,
    },
    /// Something that must be a number is none.
    #[error("{what} is {found:?}, expected a number")]
    NotANumber {
        /// What it is of.
        what: &'static str,
        /// What is there.
        found: String,
    },
    /// The gateway's GraphQL answers with an error.
    #[error("{url}: {message}")]
    GraphQl {
        /// What was asked.
        url: String,
        /// Its words.
        message: String,
    },
    /// The gateway knows no such transaction.
    #[error("{url}: no transaction {id}")]
    NoTransaction {
        /// What was asked.
        url: String,
        /// The transaction.
        id: Id,
    },
    /// The gateway's transaction has another id than its signature gives it.
    #[error("transaction {named}: its signature makes it {found}")]
    TransactionId {
        /// Asked for.
        named: Id,
        /// The id by its signature.
        found: Id,
    },
    /// An assigned transaction is not what its owner signed, or another one.
    #[error("assigned transaction {id}")]
    Assigned {
        /// The transaction.
        id: MessageId,
        /// What is wrong.
        #[source]
        source: Box<AssignedError>,
    },
    /// A module's binary is not one.
    #[error("module {module}: what the gateway serves does not begin as WebAssembly does")]
    NotWasm {
        /// The module.
        module: ModuleId,
    },
    /// A log folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A bundle cannot be written.
    #[error("{file}")]
    Bundle {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: ao_log::bundle::BundleWriteError,
    },
    /// The file system.
    #[error("{file}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder is of another process.
    #[error("the folder holds the log of {found}, not of {asked}")]
    OtherFolder {
        /// Asked for.
        asked: ProcessId,
        /// In the folder.
        found: ProcessId,
    },
    /// The runtime ended a task.
    #[error("the runtime ended the check of a page")]
    Task,
}

impl SourceError {
    /// A fault of a process' log.
    pub(crate) fn log(process: ProcessId) -> impl FnOnce(LogFault) -> SourceError {
        move |source| SourceError::Log { process, source: Box::new(source) }
    }
}
