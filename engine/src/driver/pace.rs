//! How fast one transfer proposes: hosts take only so many first proposals, and refuse what is above that.

use std::time::Duration;

use tokio::time::Instant;

/// Proposals at once. A host takes ten (security rules, section 6.4); some room is left for other transfers of the account.
const AT_ONCE: u32 = 8;
/// From then on, one in this time: a host takes thirty a minute.
const APART: Duration = Duration::from_millis(2100);

/// The pace of one transfer that makes a rendezvous for each file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    began: Instant,
    proposed: u32,
}

impl Pace {
    /// The first one is proposed no earlier than `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            proposed: 1,
        }
    }

    /// When the next one may be proposed; it is counted.
    pub(super) fn next(&mut self) -> Instant {
        self.proposed = self.proposed.saturating_add(1);
        self.began + APART * self.proposed.saturating_sub(AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_of_many_files_stays_below_what_a_host_takes() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        let due: Vec<Instant> = std::iter::once(began)
            .chain((1..200).map(|_| pace.next()))
            .collect();
        assert!(due.iter().take(8).all(|&due| due == began));
        // Ten at once, and one more every two seconds.
        for (earlier, &due) in due.iter().enumerate() {
            let taken = 10 + (due - began).as_secs() / 2;
            assert!((earlier as u64) < taken, "proposal {earlier}");
        }
    }
}
