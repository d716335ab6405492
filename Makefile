# The two commands of the README, and what they need. Node and Rust are all that must be installed.
.PHONY: demo test setup bench

LEDGER := fixtures/bundles/aos-ledger-1000.bundle
REPLAY := target/release/replay

setup:
	tests/node/setup.sh

test: setup
	cargo test --workspace

demo: setup
	cargo build --release -p ao-replay
	$(REPLAY) run $(LEDGER) --module target/modules/aos2_0_6.wasm -o target/demo/ledger.bundle
	$(REPLAY) verify target/demo/ledger.bundle

bench: setup
	cargo bench -p ao-benches
