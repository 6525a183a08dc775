//! The relays that a host hands out and that run elsewhere: in turn, and only those that live.
//!
//! Whether one lives is asked by STUN over TCP on its port, as clients do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rdv_proto::limits;
use rdv_proto::wire::stun::{self, Stun};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::random::random;

/// From one question to the next, to each relay.
const PACE: Duration = Duration::from_secs(3);
/// How long a relay has to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(crate) struct Roster {
    relays: Vec<Entry>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    /// `host:port`.
    address: String,
    /// What was found out last; at first the best is thought of it.
    lives: AtomicBool,
}

impl Roster {
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        let entry = |address| Entry {
            address,
            lives: AtomicBool::new(true),
        };
        Self {
            relays: addresses.into_iter().map(entry).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// The relay whose turn it is: one that lives and did not fail this client. If there is none, one that lives; or one that
    /// this client can perhaps reach although we cannot.
    pub(crate) fn pick(&self, avoid: &[String]) -> Option<&str> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.relays.len().max(1);
        let (before, after) = self.relays.split_at_checked(turn)?;
        let in_turn = || after.iter().chain(before);
        let avoided = |entry: &&Entry| {
            let mut avoid = avoid.iter();
            avoid.any(|avoid| avoid.eq_ignore_ascii_case(&entry.address))
        };
        let lives = |entry: &&Entry| entry.lives.load(Ordering::Relaxed);
        let found = in_turn().find(|entry| lives(entry) && !avoided(entry));
        let found = found.or_else(|| in_turn().find(lives));
        let found = found.or_else(|| in_turn().find(|entry| !avoided(entry)));
        found.map(|entry| entry.address.as_str())
    }

    /// Whether at least one lives, as far as is known.
    pub(crate) fn has_living(&self) -> bool {
        let mut relays = self.relays.iter();
        relays.any(|entry| entry.lives.load(Ordering::Relaxed))
    }

    /// Asks all of them again and again until told to stop.
    pub(crate) async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut questions = JoinSet::new();
        for number in 0..self.relays.len() {
            let roster = Arc::clone(&self);
            questions.spawn(async move { roster.keep_asking(number).await });
        }
        // Dropped, the questions end.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    async fn keep_asking(&self, number: usize) {
        let Some(entry) = self.relays.get(number) else {
            return;
        };
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let asked = timeout(ANSWER, ask(&entry.address)).await;
            let answered = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let lives = answered.is_ok();
            let relay = &entry.address;
            match (entry.lives.swap(lives, Ordering::Relaxed), answered) {
                (true, Err(error)) => warn!(%relay, %error, "a relay does not answer"),
                (false, Ok(())) => info!(%relay, "a relay answers again"),
                _ => {}
            }
        }
    }
}

/// One question; done when it is answered.
#[allow(
    clippy::disallowed_methods,
    reason = "the operator names the relays; no client can choose where this goes"
)]
async fn ask(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let transaction = random().map_err(io::Error::other)?;
    let request = Stun::request(transaction)
        .padded_to(stun::REQUEST_MIN)
        .encode();
    stream.write_all(&request).await?;
    let mut answer = vec![0; stun::HEAD];
    stream.read_exact(&mut answer).await?;
    let head = answer.first_chunk().copied().unwrap_or_default();
    let rest = stun::length_of(head);
    if rest > limits::STUN_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    answer.resize(stun::HEAD + rest, 0);
    stream.read_exact(&mut answer[stun::HEAD..]).await?;
    let answer = Stun::decode(&answer).map_err(io::Error::other)?;
    let is_answer = answer.class == stun::Class::Success && answer.transaction == transaction;
    match is_answer {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(lives: &[bool]) -> Roster {
        let name = |number| format!("relay-{number}.example:5190");
        let roster = Roster::new((0..lives.len()).map(name).collect());
        for (entry, lives) in roster.relays.iter().zip(lives) {
            entry.lives.store(*lives, Ordering::Relaxed);
        }
        roster
    }

    /// Which ones are handed out one after the other.
    fn picks(roster: &Roster, avoid: &[usize], count: usize) -> Vec<Option<usize>> {
        let name = |number| format!("RELAY-{number}.example:5190");
        let avoid: Vec<_> = avoid.iter().map(name).collect();
        let number = |address: &str| address[6..7].parse().unwrap();
        (0..count)
            .map(|_| roster.pick(&avoid).map(number))
            .collect()
    }

    #[test]
    fn relays_that_live_have_their_turn() {
        let all = roster(&[true, true, true]);
        assert_eq!(picks(&all, &[], 4), [Some(0), Some(1), Some(2), Some(0)]);
        let two = roster(&[true, false, true]);
        for pick in picks(&two, &[], 6) {
            assert_ne!(pick, Some(1));
        }
    }

    #[test]
    fn a_relay_that_failed_a_client_is_not_handed_out_to_it_unless_it_is_the_only_one() {
        let both = roster(&[true, true]);
        assert_eq!(picks(&both, &[0], 3), [Some(1); 3]);
        assert_eq!(picks(&both, &[1], 3), [Some(0); 3]);
        let one = roster(&[true]);
        assert_eq!(picks(&one, &[0], 2), [Some(0); 2]);
        let other_is_dead = roster(&[true, false]);
        assert_eq!(picks(&other_is_dead, &[0], 2), [Some(0); 2]);
    }

    #[test]
    fn where_none_lives_one_is_tried_that_did_not_fail_yet() {
        let dead = roster(&[false, false]);
        assert_eq!(picks(&dead, &[0], 2), [Some(1); 2]);
        assert_eq!(picks(&dead, &[0, 1], 2), [None; 2]);
        assert_eq!(Roster::new(Vec::new()).pick(&[]), None);
    }

    #[tokio::test]
    async fn who_answers_stun_lives() {
        let config = crate::RelayConfig {
            open: true,
            ..crate::RelayConfig::default()
        };
        let relay = crate::Relay::bind(config).await.unwrap();
        let address = relay.local_addrs()[0].to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(relay.run(async {
            stopped.await.ok();
        }));
        ask(&address).await.unwrap();
        stop.send(()).unwrap();
        running.await.unwrap();
        assert!(ask(&address).await.is_err());
    }
}
