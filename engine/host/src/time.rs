//! The wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970.
pub(crate) fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Seconds since 1970, as far as they fit.
pub(crate) fn unix_s() -> u32 {
    u32::try_from(since_1970().as_secs()).unwrap_or(u32::MAX)
}
