# What CI does, in its order.
check: fmt clippy docs test

fmt:
    cargo fmt --all -- --check

clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

test:
    cargo test --workspace --locked

# Codec, state machine and throughput, each beside a plain copy on the same road.
bench:
    cargo bench -p rdv-benches

# Property tests with many more cases than a normal run has.
soak cases="20000":
    PROPTEST_CASES={{cases}} cargo test --release --workspace --locked
