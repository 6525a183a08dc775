//! What a peer says about a file's mode and time is advice (S-20).

use std::time::{SystemTime, UNIX_EPOCH};

use rdv_proto::transfer::Entry;

use super::folder;

/// 1980-01-01: before it, some file systems have no dates.
const EARLIEST: i64 = 315_532_800;
const DAY: i64 = 86_400;

/// How far the advice is taken, during one transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Advice {
    /// The owner's bits that may be given.
    allowed: u32,
    /// The latest time that a file may have.
    latest: i64,
}

impl Advice {
    /// By the process's umask and clock.
    pub(super) fn new(keep_exec: bool) -> Self {
        let allowed = !folder::umask_owner_bits() & if keep_exec { 7 } else { 6 };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let latest = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(DAY);
        Self { allowed, latest }
    }

    /// The owner's bits for a file.
    pub(super) fn mode(self, entry: &Entry) -> u32 {
        u32::from(entry.mode) & self.allowed
    }

    /// The time for a file: from 1980 to tomorrow.
    pub(super) fn mtime(self, entry: &Entry) -> Option<(i64, u32)> {
        entry
            .mtime
            .map(|time| time.clamp((EARLIEST, 0), (self.latest, 0)))
    }
}
