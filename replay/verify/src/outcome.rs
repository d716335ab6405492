//! How a step ended, in the words of a receipt.
//!
//! Not here: the receipt (`ao-commit`), what became of the memory (`ao-kernel`).
//! Invariant: every end has one outcome.

use ao_commit::Outcome;
use ao_kernel::Step;
use ao_kernel::guest::{Interrupt, TrapKind};
use ao_kernel::result::{Evaluated, OutcomeKind};

/// Result, outcome and gas of a step that was made.
pub(crate) fn ended(step: Step) -> (Evaluated, Outcome, u64) {
    let outcome = outcome(step.evaluated.kind, step.interrupt.as_ref());
    (step.evaluated, outcome, step.gas)
}

fn outcome(kind: OutcomeKind, interrupt: Option<&Interrupt>) -> Outcome {
    match (kind, interrupt) {
        (_, Some(Interrupt::Trap(trap))) => trapped(*trap),
        (_, Some(Interrupt::OutOfGas)) => Outcome::OutOfGas,
        (_, Some(Interrupt::Exit(_))) => Outcome::Exit,
        // The machine lets no step end with the last of these.
        (_, Some(Interrupt::Abort(_) | Interrupt::LongJmp | Interrupt::MustUnwind)) => Outcome::Abort,
        (OutcomeKind::Evaluated, None) => Outcome::Ok,
        (OutcomeKind::ModuleError, None) => Outcome::ModuleError,
        (OutcomeKind::AllocationFailure, None) => Outcome::AllocationFailure,
        (OutcomeKind::Refused, None) => Outcome::Refused,
        (OutcomeKind::Duplicate, None) => Outcome::SkippedDuplicate,
        (_, None) => Outcome::MalformedAnswer,
    }
}

fn trapped(trap: TrapKind) -> Outcome {
    match trap {
        TrapKind::Unreachable => Outcome::Unreachable,
        TrapKind::MemoryOutOfBounds => Outcome::MemoryOutOfBounds,
        TrapKind::TableOutOfBounds => Outcome::TableOutOfBounds,
        TrapKind::IndirectCallToNull => Outcome::IndirectCallToNull,
        TrapKind::BadSignature => Outcome::BadSignature,
        TrapKind::IntegerOverflow => Outcome::IntegerOverflow,
        TrapKind::DivisionByZero => Outcome::DivisionByZero,
        TrapKind::BadConversionToInteger => Outcome::BadConversionToInteger,
        TrapKind::StackOverflow => Outcome::StackOverflow,
        TrapKind::Other => Outcome::OtherTrap,
    }
}
