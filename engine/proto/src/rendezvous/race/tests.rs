use std::time::Duration;

use super::*;
use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;

/// A race with its driver: what was dialled, in order.
struct Track {
    race: Race,
    desk: Desk,
    now: Instant,
    id: ConversationId,
    dialled: Vec<AttemptId>,
}

impl Track {
    #[allow(clippy::disallowed_methods)]
    fn new(addresses: u8) -> Self {
        let peer = ScreenName::new("bob").expect("a good name");
        let id = ConversationId {
            peer,
            cookie: Cookie([1; 8]),
        };
        let mut track = Self {
            race: Race::default(),
            desk: Desk::default(),
            now: Instant::now(),
            id,
            dialled: Vec::new(),
        };
        let addresses = (1..=addresses)
            .map(|n| SocketAddr::from(([192, 0, 2, n], 5000)))
            .collect();
        track.race.offer(track.now, addresses);
        track.go();
        track
    }

    fn go(&mut self) {
        self.race.start_due(self.now, &self.id, &mut self.desk);
        while let Some(output) = self.desk.pop() {
            if let Output::Dial { attempt, .. } = output {
                self.dialled.push(attempt);
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.go();
    }

    fn up(&mut self, attempt: AttemptId) -> bool {
        self.race.connected(self.now, attempt).is_some()
    }
}

#[test]
fn an_address_is_tried_once_and_eight_in_all() {
    let mut track = Track::new(6);
    let again = (1..=16)
        .map(|n| SocketAddr::from(([192, 0, 2, n], 5000)))
        .collect();
    track.race.offer(track.now, again);
    for _ in 0..20 {
        let last = *track.dialled.last().expect("one is open");
        track.race.failed(last, AttemptError::Refused);
        track.go();
    }
    assert_eq!(track.dialled.len(), 8);
    assert!(track.race.is_idle());
}

#[test]
fn of_several_legacy_dials_one_talks_at_a_time() {
    let mut track = Track::new(3);
    track.wait(250);
    let (first, second) = (track.dialled[0], track.dialled[1]);
    assert!(track.up(second), "whoever is up first");
    assert!(!track.up(first), "the other one is parked");
    track.wait(250);
    assert_eq!(track.dialled.len(), 2, "and no further one begins");
    assert_eq!(track.race.unpark(track.now), None);
    track.race.failed(second, AttemptError::WrongProof);
    assert_eq!(
        track.race.unpark(track.now).map(|(attempt, _)| attempt),
        Some(first)
    );
}

#[test]
fn legacy_dials_end_together() {
    let mut track = Track::new(3);
    track.wait(250);
    track.wait(4_750);
    assert_eq!(track.race.overdue(track.now), track.dialled);
    track.race.close_dials(track.now);
    for attempt in track.dialled.clone() {
        track.race.failed(attempt, AttemptError::TimedOut);
    }
    assert!(
        track.race.is_idle(),
        "the ones that had not begun are not tried"
    );
}

#[test]
fn accepted_connections_have_fifteen_seconds() {
    let mut track = Track::new(0);
    let from = "192.0.2.10:50000".parse().expect("an address");
    let admission = track.race.accept(track.now, AttemptId(90), from);
    assert_eq!(admission, Admission::Admitted);
    track.wait(14_999);
    assert_eq!(track.race.overdue(track.now), []);
    track.wait(1);
    assert_eq!(track.race.overdue(track.now), [AttemptId(90)]);
}

#[test]
fn dials_begin_250_ms_apart_and_at_once_after_a_failure() {
    let mut track = Track::new(3);
    assert_eq!(track.dialled.len(), 1);
    track.wait(249);
    assert_eq!(track.dialled.len(), 1);
    track.wait(1);
    assert_eq!(track.dialled.len(), 2);
    let first = track.dialled[0];
    assert!(track.race.failed(first, AttemptError::Refused).is_some());
    track.go();
    assert_eq!(track.dialled.len(), 3);
    assert_eq!(track.race.last_error(), Some(AttemptError::Refused));
}

#[test]
fn a_peer_that_proves_lane_after_lane_is_stopped_at_eight() {
    let mut track = Track::new(0);
    let from = SocketAddr::from(([192, 0, 2, 1], 5000));
    for n in 0..8 {
        let attempt = AttemptId(100 + n);
        let admission = track.race.accept(track.now, attempt, from);
        assert_eq!(admission, Admission::Admitted);
        assert!(track.race.proven(attempt));
    }
    let ninth = track.race.accept(track.now, AttemptId(200), from);
    assert_eq!(ninth, Admission::Refused);
}
