//! The way down: first nothing new is begun, then the clients are told to leave, spread over some time, then all ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::random::random;

/// How a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// The clients are signed off one by one within this time, and ours are told to come back within as much (in whole seconds), each
    /// at a moment of its own: so they do not all come at once.
    pub sign_off_spread: Duration,
    /// The part of that time that each client is worth: so a host with few of them is down sooner.
    pub sign_off_each: Duration,
    /// How long the pairs of the own relay may go on; the clients stay until the last one has ended, or this is over.
    pub relay_time: Duration,
}

impl Default for DrainConfig {
    /// At most 30 s, all in all.
    fn default() -> Self {
        Self {
            sign_off_spread: Duration::from_secs(5),
            sign_off_each: Duration::from_millis(50),
            relay_time: Duration::from_secs(25),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Nothing new is begun.
    Draining,
    /// The clients leave, each at its own moment.
    SigningOff {
        since: Instant,
        spread: Duration,
        within: Duration,
    },
    /// Everybody leaves.
    Down,
}

/// How far down the host is. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<watch::Sender<Phase>>);

/// What tells one client's connection when to leave.
#[derive(Debug)]
pub(crate) struct Leave {
    phase: watch::Receiver<Phase>,
    /// Its own moment, once there is one.
    at: Option<Instant>,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }

    /// Whether nothing new is begun any more.
    pub(crate) fn is_on(&self) -> bool {
        *self.0.borrow() != Phase::Serving
    }

    pub(crate) fn begin(&self) {
        self.0.send_replace(Phase::Draining);
    }

    /// The clients leave, spread over no more time than they need.
    pub(crate) fn sign_off(&self, within: Duration, each: Duration) {
        let clients = u32::try_from(self.0.receiver_count()).unwrap_or(u32::MAX);
        self.0.send_replace(Phase::SigningOff {
            since: Instant::now(),
            spread: within.min(each.saturating_mul(clients)),
            within,
        });
    }

    pub(crate) fn down(&self) {
        self.0.send_replace(Phase::Down);
    }

    /// Resolves when no connection is left.
    pub(crate) async fn is_empty(&self) {
        self.0.closed().await;
    }

    /// For a connection.
    pub(crate) fn leave(&self) -> Leave {
        Leave {
            phase: self.0.subscribe(),
            at: None,
        }
    }
}

impl Leave {
    /// Resolves when the connection has to end; within which time the client may come back, if the host does. May be dropped and
    /// asked again.
    pub(crate) async fn asked(&mut self) -> Option<Duration> {
        loop {
            let phase = *self.phase.borrow_and_update();
            match phase {
                Phase::Down => return None,
                Phase::Serving | Phase::Draining => self.phase.changed().await.ok()?,
                Phase::SigningOff {
                    since,
                    spread,
                    within,
                } => {
                    let at = *self.at.get_or_insert_with(|| since + share(spread));
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => return Some(within),
                        changed = self.phase.changed() => changed.ok()?,
                    }
                }
            }
        }
    }
}

/// A random part of the time.
fn share(spread: Duration) -> Duration {
    let part = random().map_or(0, u16::from_be_bytes);
    spread * u32::from(part) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SPREAD: Duration = Duration::from_secs(10);
    const EACH: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn clients_leave_spread_over_the_time_and_are_told_to_come_back_within_as_much() {
        let drain = Drain::new();
        let mut leaves: Vec<Leave> = (0..200).map(|_| drain.leave()).collect();
        drain.begin();
        assert!(drain.is_on());
        let early = timeout(Duration::from_secs(60), leaves[0].asked()).await;
        assert!(early.is_err(), "nobody leaves before it is time");
        drain.sign_off(SPREAD, EACH);
        let began = Instant::now();
        let mut times = Vec::new();
        for mut leave in leaves {
            times.push(tokio::spawn(async move {
                assert_eq!(leave.asked().await, Some(SPREAD));
                Instant::now()
            }));
        }
        let mut halves = [0, 0];
        for time in times {
            let after = time.await.unwrap() - began;
            assert!(after <= SPREAD + Duration::from_millis(100), "{after:?}");
            halves[usize::from(after > SPREAD / 2)] += 1;
        }
        assert!(halves.iter().all(|&half| half > 40), "{halves:?}");
        drain.is_empty().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_alone_leaves_at_once() {
        let drain = Drain::new();
        let mut leave = drain.leave();
        drain.sign_off(SPREAD, EACH);
        let left = timeout(2 * EACH, leave.asked()).await;
        assert_eq!(left, Ok(Some(SPREAD)));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_nobody_waits_for_its_moment() {
        let drain = Drain::new();
        let mut leave = drain.leave();
        let _others: Vec<Leave> = (0..100_000).map(|_| drain.leave()).collect();
        drain.sign_off(Duration::from_secs(3600), EACH);
        let early = timeout(Duration::from_millis(1), leave.asked()).await;
        assert!(early.is_err(), "{early:?}");
        drain.down();
        assert_eq!(leave.asked().await, None);
    }
}
