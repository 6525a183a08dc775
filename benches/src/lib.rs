//! What the benchmarks share.
//!
//! `cargo bench -p rdv-benches` runs all of them: `codec` (nanoseconds per message), `endpoint` (whole negotiations in virtual
//! time) and `throughput` (real files between real processes, beside plain copies on the same road in the same run). None
//! of them asserts on time: they print, people judge. Absolute numbers belong to the machine; ratios travel.
//!
//! `RDV_BENCH_QUICK=1` makes everything small, to see that it runs; so does running a benchmark without `--bench`, which
//! `cargo bench` adds. `RDV_BENCH_ROUNDS` sets the number of rounds of `throughput`, `RDV_BIN` the binary that it measures.

pub mod cadence;
pub mod lanes;
pub mod plain;
pub mod process;
pub mod report;
pub mod scratch;
pub mod tool;

/// What goes wrong in a benchmark ends it, with a sentence.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Whether only to see that everything runs.
#[must_use]
pub fn quick() -> bool {
    let asked = std::env::var_os("RDV_BENCH_QUICK").is_some_and(|value| value != "0");
    asked || !std::env::args().any(|word| word == "--bench")
}

/// How often a way is measured: `RDV_BENCH_ROUNDS`, once to see that it runs, else `usual`.
///
/// # Errors
/// If `RDV_BENCH_ROUNDS` is no number.
pub fn rounds(usual: u32) -> Result<u32, Failure> {
    Ok(match std::env::var("RDV_BENCH_ROUNDS") {
        Ok(rounds) => rounds.parse::<u32>()?.max(1),
        Err(_) if quick() => 1,
        Err(_) => usual,
    })
}
