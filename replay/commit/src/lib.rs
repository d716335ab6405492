//! Memory root, state root, receipts, receipt log, inclusion proofs.
