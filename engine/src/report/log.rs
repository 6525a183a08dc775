//! The report while it is written: by the driver, read by whoever holds the transfer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use rdv_proto::wire::text::ScreenName;

use super::{LINES_MAX, PathUsed, TransferReport};
use crate::random;
use crate::transport::Path;

/// Clones write to the same report.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Written>>);

struct Written {
    began: Instant,
    /// When the peer was first told where we are.
    told: Option<Instant>,
    report: TransferReport,
}

impl Log {
    /// Of a transfer that begins now.
    pub(crate) fn begin(now: Instant) -> Self {
        let id: [u8; 4] = random::bytes();
        let report = TransferReport {
            id: format!("{:08x}", u32::from_be_bytes(id)),
            peer: None,
            started: SystemTime::now(),
            tried: Vec::new(),
            tried_more: 0,
            paths: Vec::new(),
            lane_ms: None,
            own: Vec::new(),
            network: None,
        };
        Self(Arc::new(Mutex::new(Written {
            began: now,
            told: None,
            report,
        })))
    }

    /// As it stands.
    pub(crate) fn report(&self) -> TransferReport {
        self.write().report.clone()
    }

    pub(crate) fn peer(&self, peer: &ScreenName) {
        self.write().report.peer = Some(peer.clone());
    }

    /// The bytes go this way from now on.
    pub(crate) fn path(&self, now: Instant, path: Path) {
        let mut written = self.write();
        let at = written.ms(now);
        if let (None, Some(told)) = (written.report.lane_ms, written.told) {
            written.report.lane_ms = Some(ms(told, now));
        }
        let paths = &mut written.report.paths;
        if let Some(before) = paths.last_mut() {
            before.to_ms.get_or_insert(at);
        }
        if paths.len() < LINES_MAX {
            paths.push(PathUsed {
                path,
                from_ms: at,
                to_ms: None,
                bytes: 0,
            });
        }
    }

    fn write(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    fn ms(&self, now: Instant) -> u64 {
        ms(self.began, now)
    }
}

fn ms(from: Instant, to: Instant) -> u64 {
    let took = to.saturating_duration_since(from).as_millis();
    u64::try_from(took).unwrap_or(u64::MAX)
}
