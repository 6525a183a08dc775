//! Figures for people.

/// The middle of the samples (the mean of the two in the middle if their number is even); 0 without any.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (_, None) => 0.0,
        (1, Some(&value)) => value,
        (_, Some(&upper)) => (sorted[middle - 1] + upper) / 2.0,
    }
}

/// Smallest and largest sample; zeros without any.
#[must_use]
pub fn spread(samples: &[f64]) -> (f64, f64) {
    let least = samples.iter().copied().min_by(f64::total_cmp);
    let most = samples.iter().copied().max_by(f64::total_cmp);
    (least.unwrap_or(0.0), most.unwrap_or(0.0))
}

/// Bytes per nanoseconds as MiB/s.
#[must_use]
pub fn mib_per_s(bytes: u64, nanoseconds: f64) -> f64 {
    bytes as f64 / f64::from(1 << 20) / (nanoseconds / 1e9)
}

/// Bytes as MiB.
#[must_use]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A headline with a rule below it.
pub fn headline(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.chars().count()));
}

/// One line that sets what was measured against what is aimed at.
pub fn verdict(what: &str, found: f64, goal: Goal) {
    let (aim, met) = match goal {
        Goal::AtLeast(least) => (format!("at least {least:.2}"), found >= least),
        Goal::AtMost(most) => (format!("at most {most:.2}"), found <= most),
    };
    let judgement = if met { "met" } else { "missed" };
    println!("{what}: {found:.2} (goal: {aim}; {judgement} in this run)");
}

/// What is aimed at. Printed, never asserted.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), 3.0);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(spread(&[3.0, 1.0, 100.0]), (1.0, 100.0));
    }

    #[test]
    fn a_mebibyte_in_a_second_is_one() {
        assert_eq!(mib_per_s(1 << 20, 1e9), 1.0);
    }
}
