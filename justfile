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

# Files to and from a real OSCAR client; installs what that needs (Debian, root).
interop:
    tests/interop/prepare --install
    RDV_TESTS_SKIP_NOTHING=1 cargo test -p rdv-cli --test interop --locked

# Two of us behind every pair of networks, so many times; prints how each pair ended and how long it took (root, nftables).
truth-table runs="20":
    RDV_TESTS_SKIP_NOTHING=1 RDV_TRUTH_RUNS={{runs}} cargo test -p rdv-cli --test netns --locked -- --nocapture truth

# Codec, state machine and throughput, each beside a plain copy on the same road.
bench:
    cargo bench -p rdv-benches

# Milliseconds to connect by what stands between two peers (root, nftables).
bench-connect:
    cargo bench -p rdv-benches --bench connect

# Property tests with many more cases than a normal run has.
soak cases="20000":
    PROPTEST_CASES={{cases}} cargo test --release --workspace --locked

# Fuzzes one target until it is stopped, from its kept inputs; needs a nightly toolchain and cargo-fuzz.
fuzz target:
    cargo +nightly fuzz run --fuzz-dir tests/fuzz {{target}}
