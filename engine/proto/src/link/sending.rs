//! The direction that goes out: what is kept, on which lane it goes, from where.

use std::time::{Duration, Instant};

use super::kept::Kept;
use super::{LaneId, LinkError, LinkMachine, Outgoing};
use crate::limits;
use crate::wire::link::{Control, HEADER_LEN};

/// Bytes of one STREAM frame as we make them: with its head, four whole TLS records.
const PIECE: usize = 64 * 1024 - HEADER_LEN;
/// Bytes that may wait to be taken by a lane: those that take part in what a slow line shows as progress,
const WAITING_SLOW: u64 = 64 * 1024;
/// and those that a fast one needs, so that it never waits.
const WAITING_FAST: u64 = 512 * 1024;
/// A line is fast that takes so many bytes
const PACED: u64 = 256 * 1024;
/// in this time.
const FAST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Sending {
    kept: Kept,
    /// Everything below is with the receiver.
    acked: u64,
    /// The next byte on the current lane.
    next: u64,
    /// Where the current lane began, for the last time.
    from: u64,
    /// The highest byte that ever went out, plus one.
    top: u64,
    pub(super) current: Option<LaneId>,
    /// FIN is to follow.
    finished: bool,
    fin_said: bool,
    fin_acked: bool,
    /// Since when, and from which byte on, the pace is measured.
    paced: Option<(Instant, u64)>,
    fast: bool,
}

impl Sending {
    pub(super) fn acknowledged(&self) -> u64 {
        self.acked
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.fin_acked
    }

    /// Bytes that may be written now.
    fn room(&self) -> u64 {
        let (end, next) = (self.kept.end(), self.next);
        let kept = limits::LINK_KEPT.saturating_sub(end - self.acked);
        let waiting = if self.fast {
            WAITING_FAST
        } else {
            WAITING_SLOW
        };
        kept.min(waiting.saturating_sub(end.saturating_sub(next)))
    }

    fn pace(&mut self, now: Instant) {
        let (since, from) = *self.paced.get_or_insert((now, self.next));
        if self.next < from {
            self.paced = Some((now, self.next));
        } else if self.next - from >= PACED {
            self.fast = now.saturating_duration_since(since) < FAST;
            self.paced = Some((now, self.next));
        }
    }
}

impl LinkMachine {
    /// Bytes that [`Self::write`] would take now. 0: wait.
    #[must_use]
    pub fn room(&self) -> u64 {
        if self.sending.finished {
            0
        } else {
            self.sending.room()
        }
    }

    /// Appends to the stream; returns how many bytes were taken.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let mut taken = 0;
        let bytes = &bytes[..bytes.len().min(room)];
        while taken < bytes.len() {
            match self.sending.kept.push(&bytes[taken..]) {
                0 => break,
                n => taken += n,
            }
        }
        taken
    }

    /// Nothing more will be written.
    pub fn finish(&mut self) {
        self.sending.finished = true;
    }

    /// How many bytes were written in all, how many of them are with the receiver, and from which on they wait for a lane.
    #[must_use]
    pub fn sent(&self) -> Sent {
        Sent {
            written: self.sending.kept.end(),
            acknowledged: self.sending.acked,
            next: self.sending.next,
            fin_acknowledged: self.sending.fin_acked,
        }
    }

    /// The lane that the stream goes out on.
    #[must_use]
    pub fn current(&self) -> Option<LaneId> {
        self.sending.current
    }

    /// The stream goes on over another lane.
    pub(super) fn send_on(&mut self, id: LaneId) {
        let alive = self.sending.current.is_some_and(|current| {
            let lane = self.lane(current);
            lane.is_some_and(|lane| lane.writes)
        });
        let from = if alive {
            self.sending.next
        } else {
            self.sending.acked
        };
        self.begin_on(id, from);
    }

    /// Leaves the current lane, if it can still be told, and begins at byte `from` on this one.
    fn begin_on(&mut self, id: LaneId, from: u64) {
        if let Some(current) = self.sending.current
            && let Some(lane) = self.lane_mut(current)
        {
            lane.left = lane.say_from.is_some();
            lane.say_moved = lane.outgoing;
        }
        // What was promised there is not taken back.
        let promised = self.lane(id).and_then(|lane| lane.say_from);
        let from = promised.map_or(from, |byte| byte.max(self.sending.acked).min(from));
        (self.sending.next, self.sending.from) = (from, from);
        self.sending.current = Some(id);
        if let Some(lane) = self.lane_mut(id) {
            lane.say_from = Some(from);
            lane.left = false;
            lane.fin_said = false;
        }
    }

    /// A lane cannot be used for sending any more.
    pub(super) fn left_lane(&mut self, id: LaneId) {
        if self.sending.current != Some(id) {
            return;
        }
        self.sending.current = None;
        match self.best(Some(id)) {
            Some(other) => self.begin_on(other, self.sending.acked),
            None => self.sending.next = self.sending.next.max(self.sending.acked),
        }
    }

    /// The next STREAM, or FIN.
    pub(super) fn next_of_stream(&mut self, now: Instant, id: LaneId) -> Option<Outgoing> {
        let sending = &mut self.sending;
        if sending.current != Some(id) {
            return None;
        }
        let bytes = sending.kept.get(sending.next, PIECE);
        let finished = sending.finished;
        if !bytes.is_empty() {
            sending.next += bytes.len() as u64;
            sending.top = sending.top.max(sending.next);
            sending.pace(now);
            let mark = sending.next;
            let lane = self.lane_mut(id)?;
            lane.outgoing = Some(mark);
            lane.mark = lane.mark.max(mark);
            lane.write(now);
            return Some(Outgoing::Stream(bytes));
        }
        let end = sending.kept.end();
        let lane = self.lane_mut(id)?;
        if !finished || lane.fin_said {
            return None;
        }
        lane.fin_said = true;
        lane.write(now);
        self.sending.fin_said = true;
        Some(Outgoing::Control(Control::Fin(end)))
    }

    /// ACK.
    pub(super) fn acked(&mut self, id: LaneId, byte: u64) -> Result<(), LinkError> {
        let sent = self.sending.top + u64::from(self.sending.fin_said);
        if byte > sent {
            return Err(LinkError::BeyondSent { byte, sent });
        }
        let lane = self.lane_mut(id).ok_or(LinkError::NoLane)?;
        if byte < lane.acked {
            let before = lane.acked;
            return Err(LinkError::Unacknowledged { byte, before });
        }
        lane.acked = byte;
        let sending = &mut self.sending;
        if byte <= sending.acked {
            return Ok(());
        }
        let end = sending.kept.end();
        sending.fin_acked |= sending.fin_said && byte > end;
        sending.acked = byte.min(end);
        sending.kept.release(sending.acked);
        if sending.next < sending.acked {
            // On its way again, and not needed.
            let acked = sending.acked;
            (sending.next, sending.from) = (acked, acked);
            if let Some(current) = sending.current
                && let Some(lane) = self.lane_mut(current)
            {
                lane.say_from = Some(acked);
                lane.fin_said = false;
            }
        }
        Ok(())
    }

    /// RESUME: the receiver can be reached on this lane, and misses everything from this byte on.
    pub(super) fn resume(&mut self, id: LaneId, byte: u64) -> Result<(), LinkError> {
        self.acked(id, byte)?;
        let writes = self.lane(id).is_some_and(|lane| lane.writes);
        let comes = self.sending.current == Some(id) && self.sending.from <= byte;
        if writes && !comes {
            self.begin_again(id);
        }
        Ok(())
    }

    fn begin_again(&mut self, id: LaneId) {
        if self.sending.current == Some(id) {
            // Not left, so that MOVED would be a lie.
            self.sending.current = None;
        }
        self.begin_on(id, self.sending.acked);
    }
}

/// How far sending is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes written to the stream.
    pub written: u64,
    /// Bytes of them that the receiver has.
    pub acknowledged: u64,
    /// Bytes of them that were taken for a lane.
    pub next: u64,
    /// The receiver has the end, too.
    pub fin_acknowledged: bool,
}
