//! One deterministic step.
