//! What came of it.

use std::fmt::Write as _;
use std::time::Duration;

use rdv_proto::rendezvous::{AttemptId, EndReason, Event, Input, Path};

use super::NetPair;
use super::lanes::Lane;
use super::site::Gathering;
use crate::pair::{ALICE, BOB};

impl NetPair {
    /// The port of the first sockets of a side.
    pub fn first_port(&self, side: usize) -> Option<u16> {
        self.port_of(side, 0)
    }

    /// When the first message with addresses was sent: the answer to the first proposal.
    pub fn candidates_told(&self) -> Option<Duration> {
        self.sides[BOB].sent.first().copied()
    }

    /// The lanes that carried the conversation of a side, in turn.
    pub fn carried(&self, side: usize) -> Vec<(Duration, AttemptId, Path)> {
        let events = self.sides[side].events.iter();
        let lanes = events.filter_map(|(at, event)| match event {
            Event::Established { attempt, path, .. } | Event::Moved { attempt, path, .. } => {
                Some((*at, *attempt, path.clone()))
            }
            _ => None,
        });
        lanes.collect()
    }

    /// The first lane of a side.
    pub fn first(&self, side: usize) -> Option<(Duration, AttemptId, Path)> {
        self.carried(side).into_iter().next()
    }

    /// The lane that carries the conversation of a side now.
    pub fn in_use(&self, side: usize) -> Option<(Duration, AttemptId, Path)> {
        self.carried(side).pop()
    }

    /// Why the conversation of a side ended.
    pub fn ended(&self, side: usize) -> Option<EndReason> {
        let mut events = self.sides[side].events.iter();
        events.find_map(|(_, event)| match event {
            Event::Ended { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }

    /// From the first message with addresses to both holding a lane.
    pub fn time_to_meet(&self) -> Option<Duration> {
        let (first, ..) = self.first(ALICE)?;
        let (second, ..) = self.first(BOB)?;
        Some(first.max(second) - self.candidates_told()?)
    }

    /// From the first message with addresses to both having seen each other's proof on a lane.
    pub fn time_to_prove(&self) -> Option<Duration> {
        Some(self.both_proven? - self.candidates_told()?)
    }

    /// From the first message with addresses to both using a direct lane.
    pub fn time_to_direct(&self) -> Option<Duration> {
        let mut last = Duration::ZERO;
        for side in [ALICE, BOB] {
            let carried = self.carried(side);
            let mut direct = carried.iter().filter(|(_, _, path)| path.is_direct());
            last = last.max(direct.next()?.0);
        }
        Some(last - self.candidates_told()?)
    }

    /// Asserts that both use the same lane, and that it is direct or not.
    pub fn assert_together(&self, direct: bool) {
        let (Some((_, alice, path)), Some((_, bob, far_path))) =
            (self.in_use(ALICE), self.in_use(BOB))
        else {
            panic!("no lane: {}", self.story());
        };
        let far = self.sides[ALICE].lanes.get(&alice).and_then(Lane::far);
        assert_eq!(far, Some((BOB, bob)), "different lanes: {}", self.story());
        assert_eq!(path.is_direct(), direct, "{}", self.story());
        assert_eq!(far_path.is_direct(), direct, "{}", self.story());
    }

    /// Both are done; asserts that nothing is left of the conversation.
    pub fn finish(&mut self) {
        for side in [ALICE, BOB] {
            let id = self.id(side);
            self.input(side, Input::Finished { id });
            // The lanes that carried it are the transfer's.
            for (_, attempt, _) in self.carried(side) {
                self.forget(side, attempt);
            }
        }
        self.run_for(Duration::from_secs(70));
        self.assert_nothing_left();
    }

    /// Asserts that nothing is open and no timer runs.
    pub fn assert_nothing_left(&self) {
        for side in &self.sides {
            let name = side.name.as_str();
            assert_eq!(side.endpoint.open_attempts(), 0, "attempts of {name}");
            assert_eq!(side.endpoint.conversations(), 0, "conversations of {name}");
            assert_eq!(side.endpoint.poll_timeout(), None, "a timer of {name}");
            let lanes: Vec<_> = side.lanes.keys().collect();
            assert!(
                lanes.is_empty(),
                "lanes of {name}: {lanes:?}: {}",
                self.story()
            );
            assert!(
                side.gatherings.values().all(Gathering::is_closed),
                "sockets of {name}: {}",
                self.story()
            );
        }
    }

    /// Everything that both users were told, for messages of assertions.
    pub fn story(&self) -> String {
        let mut story = format!("{:?}\n", self.ground);
        for side in &self.sides {
            let name = side.name.as_str();
            for (at, event) in &side.events {
                let _ = match event {
                    Event::Tried { report, .. } => writeln!(
                        story,
                        "{at:?} {name}: {} {:?} {:?} {:?}: {:?} after {:?}",
                        report.attempt,
                        report.carrier,
                        report.address,
                        report.source,
                        report.end,
                        report.ended.saturating_duration_since(report.started),
                    ),
                    Event::Established { attempt, path, .. } => {
                        writeln!(story, "{at:?} {name}: {attempt} first, {path:?}")
                    }
                    Event::Moved {
                        attempt, path, why, ..
                    } => writeln!(story, "{at:?} {name}: {attempt} {why:?}, {path:?}"),
                    other => writeln!(story, "{at:?} {name}: {other:?}"),
                };
            }
            let _ = writeln!(story, "{} sent at {:?}", side.name.as_str(), side.sent);
        }
        story
    }
}
