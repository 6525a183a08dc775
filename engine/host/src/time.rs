//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, as far as they fit.
pub(crate) fn unix_s() -> u32 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
