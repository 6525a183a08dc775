//! How long a short piece of code takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::report::median;

/// Nanoseconds per call of `work`: the median of many batches, each long enough for the clock.
///
/// The result of `work` is kept from the optimiser; its input must come through [`black_box`] by itself.
pub fn nanoseconds<T>(mut work: impl FnMut() -> T) -> f64 {
    let (batch, batches) = if crate::quick() {
        (Duration::from_millis(2), 3)
    } else {
        (Duration::from_millis(20), 25)
    };
    let mut calls = 1_u32;
    let calls = loop {
        let took = time(calls, &mut work);
        if took >= batch / 4 || calls > u32::MAX / 4 {
            let grow = batch.as_secs_f64() / took.as_secs_f64().max(1e-9);
            break (f64::from(calls) * grow).clamp(1.0, 1e9) as u32;
        }
        calls *= 4;
    };
    let samples: Vec<f64> = (0..batches)
        .map(|_| time(calls, &mut work).as_secs_f64() * 1e9 / f64::from(calls))
        .collect();
    median(&samples)
}

fn time<T>(calls: u32, work: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(work());
    }
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_work_takes_longer() {
        let sum = |upto: u64| (0..upto).fold(0_u64, |sum, n| black_box(sum ^ n));
        let short = nanoseconds(|| sum(black_box(10)));
        let long = nanoseconds(|| sum(black_box(10_000)));
        assert!(
            long > short,
            "{long} ns for 10,000 steps, {short} ns for 10"
        );
    }
}
