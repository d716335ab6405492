//! Run, verify, pack: the library behind the `replay` command.
//!
//! A [`Source`] is a log; [`run()`] evaluates it and shows every step to an observer; [`verify()`] compares with recorded
//! receipts; [`pack()`] records them. [`Session`] is one process for those who bring their own entries.
//!
//! Not here: networks, clocks (but for the [`Watchdog`]'s), async runtimes.
//! Invariant: the same inputs give the same receipts, whatever the options that are not part of them.

mod assigned;
mod checkpoint;
mod error;
mod lockstep;
mod outcome;
mod pack;
pub mod receipt_log;
mod run;
mod session;
mod setup;
pub mod shown;
mod source;
mod ticks;
mod verify;
mod watchdog;

pub use checkpoint::{resume, save};
pub use error::ReplayError;
pub use lockstep::{Disagreement, tick_text};
pub use pack::{Contents, pack};
pub use run::{Observed, Observer, Options, Report, policy_of, run};
pub use session::{Commitment, Session, StepReport};
pub use setup::Setup;
pub use source::{LoggedStep, SavedState, Source, SourceError};
pub use ticks::Ticked;
pub use verify::{Divergence, Verdict, verify};
pub use watchdog::Watchdog;
