//! Assigned transactions: any bytes are read or refused, as a transcript and as a node's JSON; what is read has that one
//! spelling and can be asked everything.
#![no_main]

use ao_log::Assigned;
use ao_wire::Transaction;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(assigned) = Assigned::decode(data) {
        assert_eq!(assigned.encode().expect("was read"), data, "one content, two encodings");
        let _ = (assigned.id(), assigned.verify());
    }
    if let Ok((transaction, data)) = Transaction::from_json(data) {
        let assigned = Assigned::Transaction { transaction: Box::new(transaction), data: Some(data) };
        let bytes = assigned.encode().expect("an input is small");
        assert_eq!(Assigned::decode(&bytes).expect("was written"), assigned);
        let _ = assigned.verify();
    }
});
