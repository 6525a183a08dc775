//! A stream over several lanes: one ordered sequence of bytes each way, moved from lane to lane without a pause, and repaired when a
//! lane is lost.
//!
//! Each direction numbers its bytes from 0. The sender keeps what is not acknowledged, and can so begin anywhere behind that on any
//! lane: FROM says where. The receiver takes from whichever lane brings the next byte, passes over what it has already, and leaves
//! alone what comes too early: that waits in the lane's own window. So neither order of arrival nor repetition can harm, and the rest
//! of the rules is only there to move without repeating:
//!
//! * **A move**: MOVED *n* is the last on the old lane, FROM *n* the first on the new one.
//! * **The loss of the lane that a sender uses**: it goes on from the first byte that is not acknowledged, on another lane.
//! * **The loss of a lane that a receiver waits for** (or its silence): RESUME *m* on another one, which is the one to go on with.
//!
//! [`LinkMachine`] is one end. Frames go in by [`LinkMachine::control`] and [`LinkMachine::stream`], come out of
//! [`LinkMachine::next_frame`]; the payload of STREAM never passes through it on its way in: [`LinkMachine::incoming`] says what to do
//! with it.

mod error;
mod kept;
mod lane;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::error::LinkError;
use self::lane::{In, Lane};
use self::receiving::Receiving;
use self::sending::Sending;
pub use self::sending::Sent;
use crate::wire::link::Control;

/// Lanes at once. One more, and the oldest goes that is not in use.
pub const LANES: usize = 4;

/// Names a lane. Whoever runs the machine chooses them, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u64);

/// A frame to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Without bytes of the stream.
    Control(Control),
    /// STREAM with these bytes.
    Stream(Bytes),
}

/// What to do with a lane that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// Read the next frame.
    Frame,
    /// So many bytes of payload are the next ones of the stream.
    Deliver(u64),
    /// So many bytes of payload are here already, or useless.
    Discard(u64),
    /// The payload comes too early: read no further for now.
    Hold,
}

/// How a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneHealth {
    /// It is heard.
    Good,
    /// It is heard, and nothing depends on it.
    Idle,
    /// Nothing was heard for max(1.5 s, 4 round trips) while it was read.
    Silent,
}

/// One end of a stream over several lanes.
#[derive(Debug)]
pub struct LinkMachine {
    /// In the order in which they were added: the last is the one that was wanted last.
    lanes: Vec<Lane>,
    sending: Sending,
    receiving: Receiving,
    /// Whether somebody takes what is delivered. If not, silence behind it counts for nothing.
    taking: bool,
}

impl LinkMachine {
    /// A stream without a lane.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lanes: Vec::new(),
            sending: Sending::default(),
            receiving: Receiving::default(),
            taking: false,
        }
    }

    /// A further lane. Sending moves to it at once. `nominate`: USE with this number goes first. Returns the lane that has to go for it, if one has.
    pub fn add(&mut self, now: Instant, id: LaneId, nominate: Option<u32>) -> Option<LaneId> {
        let surplus = if self.lanes.len() < LANES {
            None
        } else {
            let idle = self.lanes.iter().position(|lane| self.is_idle(lane));
            let unused = || {
                let current = self.sending.current;
                self.lanes.iter().position(|lane| Some(lane.id) != current)
            };
            idle.or_else(unused)
                .and_then(|place| self.lanes.get(place))
                .map(|lane| lane.id)
        };
        self.lanes.push(Lane::new(now, id, nominate));
        self.send_on(id);
        if let Some(surplus) = surplus {
            self.lost(surplus);
        }
        self.ask_if_needed();
        surplus
    }

    /// Sending moves to a lane that is there. Nothing happens if it is not, or cannot be written.
    pub fn prefer(&mut self, id: LaneId) {
        if self.sending.current != Some(id) && self.lane(id).is_some_and(|lane| lane.writes) {
            self.send_on(id);
        }
    }

    /// A lane is not wanted any more: see [`Self::closable`].
    pub fn close(&mut self, id: LaneId) {
        if let Some(lane) = self.lane_mut(id) {
            lane.closing = true;
        }
        if self.sending.current == Some(id)
            && let Some(other) = self.best(Some(id))
        {
            self.send_on(other);
        }
    }

    /// A lane that was to be closed and on which nothing depends any more.
    #[must_use]
    pub fn closable(&self) -> Option<LaneId> {
        let mut lanes = self.lanes.iter();
        lanes
            .find(|lane| lane.closing && self.is_idle(lane))
            .map(|lane| lane.id)
    }

    /// A lane is gone.
    pub fn lost(&mut self, id: LaneId) {
        let before = self.lanes.len();
        self.lanes.retain(|lane| lane.id != id);
        if self.lanes.len() == before {
            return;
        }
        self.left_lane(id);
        self.receiving.uncertain();
        self.ask_if_needed();
    }

    /// A lane cannot be written any more. What it still brings is read to its end.
    pub fn write_failed(&mut self, id: LaneId) {
        if let Some(lane) = self.lane_mut(id) {
            lane.writes = false;
        }
        self.left_lane(id);
        self.receiving.uncertain();
        self.ask_if_needed();
    }

    /// The lanes that are there, oldest first, and how they are.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneId, LaneHealth)> {
        self.lanes.iter().map(|lane| {
            let health = match lane.silent {
                true => LaneHealth::Silent,
                false if self.is_idle(lane) => LaneHealth::Idle,
                false => LaneHealth::Good,
            };
            (lane.id, health)
        })
    }

    /// Whether there is no lane.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The measured round trip of a lane.
    #[must_use]
    pub fn round_trip(&self, id: LaneId) -> Option<Duration> {
        self.lane(id)?.round_trip
    }

    /// Whether everything went both ways, and both sides know it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.sending.is_acknowledged() && self.receiving.is_told()
    }

    /// What a control frame says.
    ///
    /// # Errors
    /// [`LinkError`]: close the lane, and report it as lost.
    pub fn control(&mut self, now: Instant, id: LaneId, said: &Control) -> Result<(), LinkError> {
        let acknowledged = self.sending.acknowledged();
        let lane = self.lane_mut(id).ok_or(LinkError::NoLane)?;
        if lane.frame_left > 0 {
            return Err(LinkError::InsideStream);
        }
        let back = lane.hear(now);
        let progress = matches!(said, Control::Ack(byte) if *byte > acknowledged);
        if !progress && !lane.may_control(now) {
            return Err(LinkError::Flood);
        }
        if back {
            self.ask_if_needed();
        }
        self.said(now, id, said)
    }

    fn said(&mut self, now: Instant, id: LaneId, said: &Control) -> Result<(), LinkError> {
        let lane = self.lane_mut(id).ok_or(LinkError::NoLane)?;
        match said {
            Control::Use(_) => Err(LinkError::UsedTwice),
            Control::Abort { reason, .. } => Err(LinkError::Aborted(*reason)),
            Control::Ping(number) => {
                lane.say_pong = Some(*number);
                Ok(())
            }
            Control::Pong(number) => {
                lane.ponged(now, *number);
                Ok(())
            }
            Control::Ack(byte) => self.acked(id, *byte),
            Control::Resume(byte) => self.resume(id, *byte),
            Control::From(byte) => self.from(id, *byte),
            Control::Moved(byte) => self.moved(id, *byte),
            Control::Fin(bytes) => self.fin(now, id, *bytes),
        }
    }

    /// A control frame that the link does not know. It is passed over.
    ///
    /// # Errors
    /// [`LinkError::Flood`], [`LinkError::InsideStream`].
    pub fn unknown(&mut self, now: Instant, id: LaneId) -> Result<(), LinkError> {
        self.control(now, id, &Control::Pong(0))
    }

    /// The next frame for a lane, if it has one to write. It counts as written: take it when the one before has gone out.
    pub fn next_frame(&mut self, now: Instant, id: LaneId) -> Option<Outgoing> {
        let ack = self.ack_for(id);
        let position = self.receiving.has();
        let lane = self.lane_mut(id).filter(|lane| lane.writes)?;
        let control = if let Some(number) = lane.say_use.take() {
            Control::Use(number)
        } else if let Some(byte) = lane.say_resume.take() {
            Control::Resume(byte)
        } else if let Some(number) = lane.say_pong.take() {
            Control::Pong(number)
        } else if let Some(byte) = lane.say_moved.take() {
            lane.outgoing = None;
            Control::Moved(byte)
        } else if let Some(byte) = lane.say_from.take() {
            lane.outgoing = Some(byte);
            if std::mem::take(&mut lane.left) {
                lane.say_moved = Some(byte);
            }
            Control::From(byte)
        } else if std::mem::take(&mut lane.say_ping) {
            Control::Ping(lane.ping(now))
        } else if ack {
            self.receiving.acked();
            Control::Ack(position)
        } else {
            return self.next_of_stream(now, id);
        };
        if let Some(lane) = self.lane_mut(id) {
            lane.write(now);
        }
        Some(Outgoing::Control(control))
    }

    /// Whether somebody waits for what is delivered.
    pub fn set_taking(&mut self, now: Instant, taking: bool) {
        if taking && !self.taking {
            self.excuse(now);
        }
        self.taking = taking;
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ack = self.receiving.ack_at();
        let beats = self.lanes.iter().filter_map(Lane::heartbeat_at);
        let silences = self
            .lanes
            .iter()
            .filter(|lane| self.is_read(lane))
            .map(Lane::silence_at);
        ack.into_iter().chain(beats).chain(silences).min()
    }

    /// Time has passed. Returns the lanes that were silent for too long: they are gone.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<LaneId> {
        self.receiving.handle_timeout(now);
        self.excuse(now);
        let mut fell_silent = false;
        for lane in &mut self.lanes {
            if lane.heartbeat_at().is_some_and(|at| at <= now) {
                lane.say_ping = true;
            }
            if !lane.silent && lane.silence_at() <= now {
                lane.silent = true;
                fell_silent = true;
            }
        }
        let dead = self.lanes.iter().filter(|lane| lane.is_lost(now));
        let dead: Vec<LaneId> = dead.map(|lane| lane.id).collect();
        for id in &dead {
            self.lost(*id);
        }
        if fell_silent {
            self.receiving.uncertain();
            self.ask_if_needed();
        }
        dead
    }

    /// Lanes that are not read are not silent.
    fn excuse(&mut self, now: Instant) {
        let (taking, position) = (self.taking, self.receiving.position);
        for lane in &mut self.lanes {
            if !is_read(lane, taking, position) {
                lane.excuse(now);
            }
        }
    }

    fn is_read(&self, lane: &Lane) -> bool {
        is_read(lane, self.taking, self.receiving.position)
    }

    /// Whether nothing depends on a lane.
    fn is_idle(&self, lane: &Lane) -> bool {
        self.sending
            .current
            .is_some_and(|current| current != lane.id)
            && lane.outgoing.is_none()
            && lane.say_from.is_none()
            && lane.mark <= self.sending.acknowledged()
            && !lane.asked
            && lane.frame_left == 0
            && !matches!(lane.incoming, In::At(_))
    }

    /// The lane to go on with: the last one that is heard, else the last one.
    fn best(&self, but: Option<LaneId>) -> Option<LaneId> {
        let writable = || {
            let lanes = self.lanes.iter().rev();
            lanes.filter(|lane| lane.writes && Some(lane.id) != but)
        };
        let wanted = writable().find(|lane| !lane.silent && !lane.closing);
        wanted.or_else(|| writable().next()).map(|lane| lane.id)
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.id == id)
    }

    fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }
}

impl Default for LinkMachine {
    fn default() -> Self {
        Self::new()
    }
}

fn is_read(lane: &Lane, taking: bool, position: u64) -> bool {
    lane.frame_left == 0 || lane.asked || (taking && !lane.is_ahead(position))
}
