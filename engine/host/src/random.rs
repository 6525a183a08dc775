//! Random bytes of the system.

use crate::HostError;

/// `N` random bytes.
///
/// # Errors
/// [`HostError::Random`], which no supported system returns once it has booted.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HostError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(HostError::Random)?;
    Ok(bytes)
}
