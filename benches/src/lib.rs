//! Criterion benches of the trusted base; see `benches/`.
