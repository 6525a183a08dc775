//! The system's random numbers, handed to the machines that have none of their own.

/// `N` bytes from the system's generator.
///
/// # Panics
/// If the system has no randomness to give: nothing secret could be made without it.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random number generator works");
    bytes
}
