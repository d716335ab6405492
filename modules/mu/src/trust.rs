//! Whether a result is what a compute unit committed to.
//!
//! A receipt binds the bytes of a result to a step of a log that anyone can evaluate again, so a unit that shows another
//! result is found out by its own word. Units of others give none; whether that will do is a setting.
//!
//! *Not here:* evaluating again (`ao-replay`).

use ao_commit::{RECEIPT_BYTES, Receipt, unhex};
use ao_wire::{Id, ProcessId};

/// Why a result is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error("it came without a receipt, and receipts are required here")]
    Absent,
    #[error("its receipt is none")]
    Receipt,
    #[error("its receipt is of process {found}")]
    Process { found: Id },
    #[error("its receipt is of assignment {found}, not of {assignment}")]
    Assignment { assignment: Id, found: Id },
    #[error("its receipt commits to another result")]
    Result,
}

/// Refuses a result that its receipt, in hexadecimal digits, does not commit to; of an assignment, where that is known.
pub(crate) fn check(
    result: &[u8],
    receipt: Option<&[u8]>,
    (process, assignment): (ProcessId, Option<Id>),
    required: bool,
) -> Result<(), Untrusted> {
    let Some(digits) = receipt else {
        return if required { Err(Untrusted::Absent) } else { Ok(()) };
    };
    let receipt = unhex::<RECEIPT_BYTES>(digits).and_then(|bytes| Receipt::decode(&bytes).ok());
    let receipt = receipt.ok_or(Untrusted::Receipt)?;
    if receipt.process != process.id().0 {
        return Err(Untrusted::Process { found: Id(receipt.process) });
    }
    if let Some(assignment) = assignment.filter(|assignment| assignment.0 != receipt.assignment_id) {
        return Err(Untrusted::Assignment { assignment, found: Id(receipt.assignment_id) });
    }
    if receipt.commits_to_result(result) { Ok(()) } else { Err(Untrusted::Result) }
}

#[cfg(test)]
mod tests {
    use ao_commit::{Outcome, hex, result_hash};

    use super::*;

    #[test]
    fn a_receipt_of_another_assignment_or_none_at_all_is_not_believed() {
        let receipt = Receipt {
            process: [1; 32],
            nonce: 7,
            tick: 0,
            assignment_id: [2; 32],
            input_hash: [3; 32],
            outcome: Outcome::Ok,
            result_hash: result_hash(b"{}"),
            gas: 4,
            profile: [5; 32],
            prev: [6; 32],
            state_root: None,
        };
        let digits = hex(&receipt.encode());
        let of = |assignment| check(b"{}", Some(digits.as_bytes()), (Id([1; 32]).into(), assignment), true);
        assert_eq!(of(None), Ok(()));
        assert_eq!(of(Some(Id([2; 32]))), Ok(()));
        let other = Untrusted::Assignment { assignment: Id([9; 32]), found: Id([2; 32]) };
        assert_eq!(of(Some(Id([9; 32]))), Err(other));
        let damaged = check(b"{}", Some(&digits.as_bytes()[1..]), (Id([1; 32]).into(), None), false);
        assert_eq!(damaged, Err(Untrusted::Receipt));
    }
}
