//! Relays that failed us lately: the host is asked for others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdv_proto::limits;
use tokio::time::Instant;

/// A relay that failed this long ago may have been put right.
const LATELY: Duration = Duration::from_secs(60);

/// Relays by `HOST:PORT`, the one that failed last in front. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailingRelays(Arc<Mutex<VecDeque<(String, Instant)>>>);

impl FailingRelays {
    /// It cannot be reached, refused us, or broke off.
    pub(crate) fn failed(&self, address: &str) {
        tracing::debug!(relay = address, "a relay failed");
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|(known, _)| known != address);
        failed.push_front((address.to_owned(), Instant::now()));
        failed.truncate(limits::RELAYS_AVOIDED);
    }

    /// Those that failed within the last minute.
    pub(crate) fn lately(&self) -> Vec<String> {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|(_, since)| since.elapsed() < LATELY);
        failed.iter().map(|(relay, _)| relay.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_four_that_failed_are_avoided_for_a_minute() {
        let failing = FailingRelays::default();
        for relay in ["a:1", "b:1", "c:1", "a:1", "d:1", "e:1"] {
            failing.failed(relay);
        }
        assert_eq!(failing.lately(), ["e:1", "d:1", "a:1", "c:1"]);
        tokio::time::advance(Duration::from_secs(30)).await;
        failing.failed("f:1");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(failing.lately(), ["f:1"]);
    }
}
