# The two commands of the README, and what they need. Node and Rust are all that must be installed.
.PHONY: demo test setup bench

LEDGER := fixtures/bundles/aos-ledger-1000.bundle
REPLAY := target/release/replay

setup:
	tests/node/setup.sh

test: setup
	cargo test --workspace

# First a log of 1,000 messages, evaluated and verified; then a network of 32 processes that trade, each verified offline.
demo: setup
	cargo build --release -p ao-replay -p ao-node
	$(REPLAY) run $(LEDGER) --module target/modules/aos2_0_6.wasm -o target/demo/ledger.bundle
	$(REPLAY) verify target/demo/ledger.bundle
	target/release/aorta demo --dir target/demo

bench: setup
	cargo bench -p ao-benches
