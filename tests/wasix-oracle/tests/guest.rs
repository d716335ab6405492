//! The standalone Rust guest sees through its standard library what it sees over `wasmer-wasix`.

use ao_wasix_oracle::{Ended, Ours, Wasix};

const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/guests/built/wasi_files.wasm");

fn message(data: &str) -> String {
    format!("{{\"Data\":\"{data}\"}}")
}

/// What a guest said, without what any host may choose: the order of a directory, and times.
fn chosen(ended: Ended) -> Vec<String> {
    let Ended::Answer(output) = ended else { return vec![format!("{ended:?}")] };
    let words = output.split(' ').filter(|word| !word.starts_with("modified="));
    words
        .map(|word| {
            let Some(list) = word.strip_prefix("list=") else { return word.to_owned() };
            let mut names: Vec<&str> = list.split(',').collect();
            names.sort_unstable();
            names.join(",")
        })
        .collect()
}

#[test]
fn files_streams_arguments_and_ends_are_those_over_wasix() {
    let wasm = std::fs::read(GUEST).expect("the guest");
    let (mut ours, mut theirs) = (Ours::start(&wasm), Wasix::start(&wasm));
    // A failed step is taken back here and not there, so one ends it.
    for data in ["", "files", "outside", "print", "", "files", "exit"] {
        let [ours, theirs] = [ours.ask(&message(data)), theirs.ask(&message(data))].map(chosen);
        assert_eq!(ours, theirs, "{data:?}");
    }
    let ended = [Ours::start(&wasm).ask(&message("panic")), Wasix::start(&wasm).ask(&message("panic"))];
    assert_eq!(ended, [Ended::Trap, Ended::Trap]);
}

/// Their clock and randomness are the host's, so that no value can be compared; only what any clock and any source gives.
#[test]
fn time_passes_and_random_numbers_differ_on_both() {
    let wasm = std::fs::read(GUEST).expect("the guest");
    let (mut ours, mut theirs) = (Ours::start(&wasm), Wasix::start(&wasm));
    let asks: [&mut dyn FnMut(&str) -> Ended; 2] = [&mut |text| ours.ask(text), &mut |text| theirs.ask(text)];
    for ask in asks {
        let mut words = |data: &str| {
            let Ended::Answer(output) = ask(&message(data)) else { panic!("{data} is answered") };
            output.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        let (time, random, map) = (words("time"), words("random"), words("map"));
        assert!(time.len() == 3 && time[1].parse::<u64>().unwrap() <= time[2].parse().unwrap(), "{time:?}");
        assert!(random.len() == 3 && random[1] != random[2], "{random:?}");
        let mut keys: Vec<u32> = map[1..].iter().map(|key| key.parse().unwrap()).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..10).collect::<Vec<_>>());
    }
}
