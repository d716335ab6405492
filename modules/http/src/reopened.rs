//! What is open until it fails and is then opened again: a database answers nothing any more after an error of its disk.
//!
//! *Not here:* telling what a failure is.
//!
//! Invariant: handles that failed are dropped before new ones are made, since files are locked by them.

use std::sync::{PoisonError, RwLock};

/// Something that can be opened again.
pub struct Reopened<T, E> {
    open: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
    held: RwLock<Option<T>>,
}

impl<T, E> Reopened<T, E> {
    /// Opens it.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn new(open: impl Fn() -> Result<T, E> + Send + Sync + 'static) -> Result<Self, E> {
        let held = RwLock::new(Some(open()?));
        Ok(Self { open: Box::new(open), held })
    }

    /// Asks it; if it was let go, opens it before.
    ///
    /// # Errors
    /// Those of `ask` and of opening.
    pub fn with<R>(&self, ask: impl FnOnce(&T) -> Result<R, E>) -> Result<R, E> {
        loop {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = held.as_ref() {
                return ask(open);
            }
            drop(held);
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            if held.is_none() {
                *held = Some((self.open)()?);
                tracing::warn!("what failed is open again");
            }
        }
    }

    /// Lets go of it after it failed.
    pub fn close(&self) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
