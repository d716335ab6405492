//! Assignments, hash chains, log segments, and the replay-bundle container.
