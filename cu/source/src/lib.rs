//! Where logs, processes and modules come from: a scheduler unit and an Arweave gateway, over HTTP.
//!
//! [`SchedulerClient`] and [`GatewayClient`] ask; [`LogFetcher`] follows the log of one process and hands out entries only
//! once they are verified; [`fetch`] saves a whole log for an auditor.
//!
//! *Not here:* what makes a log valid (`ao-log`), keeping it (`ao-store`), evaluating it.
//!
//! Invariant: whatever a scheduler or gateway answers, an entry handed out has its nonce, its place in the chain and its
//! signatures, and everything before it was handed out; else there is an error that names process, nonce and fault.

mod error;
mod export;
mod fetcher;
mod gateway;
mod http;
mod node;
mod rebuild;
mod scheduler;

pub use error::SourceError;
pub use export::{FetchReport, Output, fetch};
pub use fetcher::{FetchOptions, LogFetcher};
pub use gateway::{GatewayClient, Transaction};
pub use http::{Http, HttpOptions};
pub use scheduler::SchedulerClient;
