//! The direction that comes in: where it is, what to do with what a lane brings, when to ask for what is missing.

use std::time::{Duration, Instant};

use super::lane::{In, Lane};
use super::{Incoming, LaneId, LinkError, LinkMachine};
use crate::limits;

/// An ACK goes out after so many bytes,
const ACK_BYTES: u64 = 1 << 20;
/// or so long after the first of them.
const ACK_TIME: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Receiving {
    /// Everything below was delivered.
    pub(super) position: u64,
    /// Where the stream ends, once that is known.
    fin: Option<u64>,
    /// What the sender was told last: a position, FIN counted as one.
    told: u64,
    /// An ACK is to go out.
    ack: bool,
    ack_at: Option<Instant>,
    /// The lane on which bytes came last.
    on: Option<LaneId>,
    /// A lane was lost since the last one began to bring what is wanted: who was to bring the next byte may be gone.
    unsure: bool,
}

impl Receiving {
    /// What ACK and RESUME say.
    pub(super) fn has(&self) -> u64 {
        self.position + u64::from(self.is_whole())
    }

    /// Everything was delivered.
    fn is_whole(&self) -> bool {
        self.fin == Some(self.position)
    }

    /// Everything was delivered, and the sender was told.
    pub(super) fn is_told(&self) -> bool {
        self.is_whole() && self.told == self.has()
    }

    /// A lane is gone or silent.
    pub(super) fn uncertain(&mut self) {
        self.unsure = true;
        // What was told may have gone with it.
        self.ack |= self.has() > 0;
    }

    /// An ACK goes out.
    pub(super) fn acked(&mut self) {
        (self.ack, self.ack_at, self.told) = (false, None, self.has());
    }

    pub(super) fn ack_at(&self) -> Option<Instant> {
        self.ack_at.filter(|_| !self.ack)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.ack |= self.ack_at.is_some_and(|at| at <= now);
    }

    fn advanced(&mut self, now: Instant) {
        self.ack |= self.has() - self.told >= ACK_BYTES || self.is_whole();
        self.ack_at.get_or_insert(now + ACK_TIME);
    }

    /// A number that an honest sender can have come to: it keeps so much, and not more.
    fn check(&self, byte: u64) -> Result<(), LinkError> {
        let position = self.position;
        if byte.abs_diff(position) > limits::LINK_KEPT {
            return Err(LinkError::TooFar { byte, position });
        }
        match self.fin {
            Some(fin) if byte > fin => Err(LinkError::BehindFin { fin, byte }),
            _ => Ok(()),
        }
    }
}

impl LinkMachine {
    /// Bytes that were delivered.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.receiving.position
    }

    /// Whether all bytes were delivered.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.receiving.is_whole()
    }

    /// When an ACK is to be written; at once: in the past.
    #[must_use]
    pub fn ack_at(&self, now: Instant) -> Option<Instant> {
        if self.receiving.ack {
            Some(now)
        } else {
            self.receiving.ack_at
        }
    }

    /// Whether everything was delivered and the sender was told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.receiving.is_told()
    }

    /// What to do with a lane next.
    #[must_use]
    pub fn incoming(&self, id: LaneId) -> Incoming {
        let Some(lane) = self.lane(id) else {
            return Incoming::Hold;
        };
        let position = self.receiving.position;
        match lane.incoming {
            _ if lane.frame_left == 0 => Incoming::Frame,
            In::At(at) if at < position => Incoming::Discard(lane.frame_left.min(position - at)),
            In::At(at) if at == position => Incoming::Deliver(lane.frame_left),
            _ if lane.asked => Incoming::Discard(lane.frame_left),
            _ => Incoming::Hold,
        }
    }

    /// The head of a STREAM frame with a payload of `len` bytes.
    ///
    /// # Errors
    /// [`LinkError`]: close the lane, and report it as lost.
    pub fn stream(&mut self, now: Instant, id: LaneId, len: usize) -> Result<(), LinkError> {
        let receiving = &self.receiving;
        let lane = self.lane(id).ok_or(LinkError::NoLane)?;
        let In::At(at) = lane.incoming else {
            return Err(LinkError::NoFrom);
        };
        match len {
            _ if lane.frame_left > 0 => return Err(LinkError::InsideStream),
            0 => return Err(LinkError::EmptyStream),
            1..=limits::LINK_STREAM => {}
            _ => return Err(LinkError::LongStream(len)),
        }
        receiving.check(at + len as u64)?;
        let lane = self.lane_mut(id).ok_or(LinkError::NoLane)?;
        lane.frame_left = len as u64;
        if lane.hear(now) {
            self.ask_if_needed();
        }
        Ok(())
    }

    /// So many bytes of payload were read, as [`Self::incoming`] said.
    pub fn took(&mut self, now: Instant, id: LaneId, bytes: u64) {
        let position = self.receiving.position;
        let Some(lane) = self.lane_mut(id) else {
            return;
        };
        let back = lane.hear(now);
        let bytes = bytes.min(lane.frame_left);
        lane.frame_left -= bytes;
        let In::At(at) = lane.incoming else {
            return;
        };
        lane.incoming = In::At(at + bytes);
        if at == position {
            self.receiving.position += bytes;
            self.receiving.on = Some(id);
            self.receiving.advanced(now);
        }
        if back {
            self.ask_if_needed();
        }
    }

    /// FROM.
    pub(super) fn from(&mut self, id: LaneId, byte: u64) -> Result<(), LinkError> {
        self.receiving.check(byte)?;
        let position = self.receiving.position;
        let lane = self.lane_mut(id).ok_or(LinkError::NoLane)?;
        if let In::At(at) = lane.incoming
            && byte < at
        {
            if lane.backwards == 0 {
                return Err(LinkError::Backwards { to: byte, at });
            }
            lane.backwards -= 1;
        }
        lane.incoming = In::At(byte);
        lane.fin_heard = false;
        if byte <= position {
            lane.asked = false;
            self.receiving.unsure = false;
        }
        self.ask_if_needed();
        Ok(())
    }

    /// MOVED.
    pub(super) fn moved(&mut self, id: LaneId, mark: u64) -> Result<(), LinkError> {
        let lane = self.lane_mut(id).ok_or(LinkError::NoLane)?;
        let In::At(at) = lane.incoming else {
            return Err(LinkError::NoFrom);
        };
        if mark != at {
            return Err(LinkError::WrongMark { mark, at });
        }
        lane.incoming = In::Moved;
        self.ask_if_needed();
        Ok(())
    }

    /// FIN.
    pub(super) fn fin(&mut self, now: Instant, id: LaneId, bytes: u64) -> Result<(), LinkError> {
        let (known, position) = (self.receiving.fin, self.receiving.position);
        let lane = self.lane_mut(id).ok_or(LinkError::NoLane)?;
        let In::At(at) = lane.incoming else {
            return Err(LinkError::NoFrom);
        };
        if lane.fin_heard {
            return Err(LinkError::FinTwice);
        }
        if bytes != at {
            return Err(LinkError::WrongMark { mark: bytes, at });
        }
        match known {
            Some(fin) if fin != bytes => return Err(LinkError::BehindFin { fin, byte: bytes }),
            _ if bytes < position => {
                return Err(LinkError::BehindFin {
                    fin: bytes,
                    byte: position,
                });
            }
            _ => {}
        }
        lane.fin_heard = true;
        self.receiving.fin = Some(bytes);
        self.receiving.advanced(now);
        Ok(())
    }

    /// Whether an ACK is to go out, and on this lane: the one that brings the bytes, if it can be written.
    pub(super) fn ack_for(&self, id: LaneId) -> bool {
        if !self.receiving.ack {
            return false;
        }
        let brings = self.receiving.on.filter(|on| {
            let lane = self.lane(*on);
            lane.is_some_and(Lane::is_good)
        });
        brings.or(self.sending.current) == Some(id)
    }

    /// Says RESUME if no lane will bring the next byte: on each lane that brings later ones, so that none is left unread (what the
    /// other side misses is asked for behind them), else on the best.
    pub(super) fn ask_if_needed(&mut self) {
        let position = self.receiving.position;
        let mut heard = self.lanes.iter().filter(|lane| !lane.silent);
        if self.receiving.is_whole() || heard.any(|lane| lane.brings(position)) {
            return;
        }
        let early = |lane: &&mut Lane| lane.is_good() && lane.is_ahead(position) && !lane.asked;
        for lane in self.lanes.iter_mut().filter(early) {
            lane.ask(position);
        }
        let mut good = self.lanes.iter().filter(|lane| lane.is_good());
        if self.receiving.unsure
            && !good.any(|lane| lane.asked)
            && let Some(best) = self.best(None)
            && let Some(lane) = self.lane_mut(best).filter(|lane| lane.is_good())
        {
            lane.ask(position);
        }
    }
}
