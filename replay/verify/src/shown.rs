//! Receipts as they are shown: by the `replay` command, and by units beside what they serve.
//!
//! Not here: anything that is hashed or compared.
//! Invariant: the `bytes` of a receipt are what `replay check-result` and `replay prove` read.

use ao_commit::{Receipt, hex};
use serde_json::{Value, json};

/// A receipt, field by field and as its encoded bytes; hashes and bytes as hexadecimal digits.
pub fn receipt(receipt: &Receipt) -> Value {
    json!({
        "nonce": receipt.nonce,
        "tick": receipt.tick,
        "hash": hex(&receipt.hash()),
        "bytes": hex(&receipt.encode()),
        "outcome": receipt.outcome.name(),
        "input_hash": hex(&receipt.input_hash),
        "result_hash": hex(&receipt.result_hash),
        "gas": receipt.gas,
        "profile": hex(&receipt.profile),
        "prev": hex(&receipt.prev),
        "state_root": receipt.state_root.map(|root| hex(&root)),
    })
}
