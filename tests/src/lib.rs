//! Whole-system tests, one file per promise; see `tests/`.
