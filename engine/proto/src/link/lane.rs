//! One lane, as both directions see it.

use std::time::{Duration, Instant};

use super::LaneId;
use crate::pace::{Bucket, Pace};

/// Control frames beyond those that tell of progress: what may come at once, as after a time in which the lane was not read, and how
/// fast they may go on coming.
const CONTROL: Pace = Pace::new(4096, Duration::from_secs(16));
/// Silence is at least this long.
const SILENT_MIN: Duration = Duration::from_millis(1500);
/// After this much silence the lane is lost.
const SILENT_LOST: Duration = Duration::from_secs(15);
/// A lane on which nothing else went out for this long gets a PING.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Where the bytes stand that come in on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum In {
    /// No FROM yet.
    Unbegun,
    /// The next byte is this one.
    At(u64),
    /// MOVED has come.
    Moved,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    /// Writing to it has not failed.
    pub(super) writes: bool,
    /// Nothing was heard for too long.
    pub(super) silent: bool,
    /// Not wanted any more.
    pub(super) closing: bool,
    pub(super) round_trip: Option<Duration>,

    // What goes out, in this order.
    pub(super) say_use: Option<u32>,
    /// What is ahead of this byte is thrown away from now on: it must be said as it was.
    pub(super) say_resume: Option<u64>,
    pub(super) say_pong: Option<u64>,
    pub(super) say_moved: Option<u64>,
    pub(super) say_from: Option<u64>,
    /// It was left before FROM went out, which is said all the same (somebody may have asked for it), and MOVED behind it.
    pub(super) left: bool,
    pub(super) say_ping: bool,
    /// FIN went out behind the last FROM.
    pub(super) fin_said: bool,
    /// Where the bytes stand that go out on it, between FROM and MOVED.
    pub(super) outgoing: Option<u64>,
    /// What went over it ends before this byte.
    pub(super) mark: u64,

    // What comes in.
    pub(super) incoming: In,
    /// Bytes of the STREAM frame that was begun.
    pub(super) frame_left: u64,
    /// RESUME was said here, and its FROM has not come: what is too far is thrown away until then.
    pub(super) asked: bool,
    /// How often FROM may go back here.
    pub(super) backwards: u32,
    pub(super) fin_heard: bool,
    /// The highest ACK or RESUME that came.
    pub(super) acked: u64,

    heard: Instant,
    wrote: Instant,
    pings: u64,
    pinged: Option<Instant>,
    control: Bucket,
}

impl Lane {
    pub(super) fn new(now: Instant, id: LaneId, nominate: Option<u32>) -> Self {
        Self {
            id,
            writes: true,
            silent: false,
            closing: false,
            round_trip: None,
            say_use: nominate,
            say_resume: None,
            say_pong: None,
            say_moved: None,
            say_from: None,
            left: false,
            // Its round trip is wanted.
            say_ping: true,
            fin_said: false,
            outgoing: None,
            mark: 0,
            incoming: In::Unbegun,
            frame_left: 0,
            asked: false,
            backwards: 0,
            fin_heard: false,
            acked: 0,
            heard: now,
            wrote: now,
            pings: 0,
            pinged: None,
            control: Bucket::new(CONTROL),
        }
    }

    /// Whether bytes can be sent and expected here.
    pub(super) fn is_good(&self) -> bool {
        self.writes && !self.silent
    }

    /// Whether the next byte that the receiver wants will come here.
    pub(super) fn brings(&self, position: u64) -> bool {
        matches!(self.incoming, In::At(at) if at <= position)
    }

    /// Whether it holds bytes that the receiver wants later.
    pub(super) fn is_ahead(&self, position: u64) -> bool {
        matches!(self.incoming, In::At(at) if at > position)
    }

    /// Something came in. Returns whether that is news.
    pub(super) fn hear(&mut self, now: Instant) -> bool {
        self.heard = now;
        std::mem::take(&mut self.silent)
    }

    /// It is not read: what it has to say cannot be heard.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.heard = now;
    }

    /// RESUME is to go out.
    pub(super) fn ask(&mut self, position: u64) {
        self.say_resume = Some(position);
        self.asked = true;
        self.backwards = self.backwards.saturating_add(1);
    }

    /// Something went out.
    pub(super) fn write(&mut self, now: Instant) {
        self.wrote = now;
    }

    /// One more control frame that tells of no progress.
    pub(super) fn may_control(&mut self, now: Instant) -> bool {
        self.control.take(now)
    }

    /// The number of the PING that goes out now.
    pub(super) fn ping(&mut self, now: Instant) -> u64 {
        self.pings += 1;
        self.pinged = Some(now);
        self.pings
    }

    /// A PONG came.
    pub(super) fn ponged(&mut self, now: Instant, number: u64) {
        if number == self.pings
            && let Some(pinged) = self.pinged.take()
        {
            let sample = now.saturating_duration_since(pinged);
            self.round_trip = Some(match self.round_trip {
                None => sample,
                Some(smooth) => smooth * 7 / 8 + sample / 8,
            });
        }
    }

    /// When a PING is due.
    pub(super) fn heartbeat_at(&self) -> Option<Instant> {
        (self.writes && !self.say_ping).then(|| self.wrote + HEARTBEAT)
    }

    /// When it counts as silent, and when as lost.
    pub(super) fn silence_at(&self) -> Instant {
        let patience = self.round_trip.map_or(SILENT_MIN, |trip| trip * 4);
        match self.silent {
            false => self.heard + patience.clamp(SILENT_MIN, SILENT_LOST),
            true => self.heard + SILENT_LOST,
        }
    }

    pub(super) fn is_lost(&self, now: Instant) -> bool {
        now >= self.heard + SILENT_LOST
    }
}
