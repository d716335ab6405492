//! One page: structure in order, then all signatures in one parallel call.

use ao_wire::{DataItem, VerifyError, verify_all};

use super::{Items, LogFault, LogVerifier};
use crate::{LogEntry, Nonce};

/// Whose signature it is.
#[derive(Debug, Clone, Copy)]
enum Signed {
    Assignment,
    Message,
}

impl LogVerifier {
    /// Checks the next entries.
    ///
    /// # Errors
    /// The fault at the lowest nonce. The verifier is of no more use then.
    pub fn check_page<'e>(&mut self, entries: impl IntoIterator<Item = &'e LogEntry>) -> Result<(), LogFault> {
        let mut items: Vec<DataItem<'e>> = Vec::new();
        let mut signed: Vec<(Nonce, Signed)> = Vec::new();
        let mut structure = Ok(());
        for entry in entries {
            match self.check_structure(entry) {
                Ok(Items { assignment, message }) => {
                    let both = [Some((assignment, Signed::Assignment)), message.map(|item| (item, Signed::Message))];
                    for (item, whose) in both.into_iter().flatten() {
                        if self.options.signatures.selects(&item.id()) {
                            items.push(item);
                            signed.push((entry.nonce, whose));
                        }
                    }
                }
                Err(fault) => {
                    structure = Err(fault);
                    break;
                }
            }
        }
        self.summary.signatures_checked += items.len() as u64;
        // A bad signature found here is at a lower nonce than the fault of structure that ended the page.
        let verdicts = verify_all(&items);
        for ((item, (nonce, whose)), verdict) in items.iter().zip(signed).zip(verdicts) {
            verdict.map_err(|source| signature_fault(nonce, whose, item, source))?;
        }
        structure
    }
}

fn signature_fault(nonce: Nonce, whose: Signed, item: &DataItem<'_>, source: VerifyError) -> LogFault {
    match whose {
        Signed::Assignment => LogFault::AssignmentSignature { nonce, id: item.id().into(), source },
        Signed::Message => LogFault::MessageSignature { nonce, id: item.id().into(), source },
    }
}
