//! Two machines, the lanes between them, and what may befall them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::{Incoming, LaneId, LinkMachine, Outgoing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    A,
    B,
}

impl End {
    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// How a lane dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// What is on its way arrives, then both ends read its end.
    Drained,
    /// What is on its way is lost; both learn of it by and by.
    Cut,
    /// Nothing arrives at this end any more, and nobody is told.
    Deaf(End),
}

/// One way of a lane.
#[derive(Debug, Default)]
struct Way {
    frames: VecDeque<Outgoing>,
    /// What is left of the payload of a STREAM whose head was read.
    payload: Option<(Vec<u8>, usize)>,
    /// Nothing comes out any more.
    deaf: bool,
    /// After the last frame comes the end.
    ended: bool,
}

#[derive(Debug)]
struct Pipe {
    /// To A, to B.
    to: [Way; 2],
    /// Whether A and B have it.
    at: [bool; 2],
    gone: [bool; 2],
}

#[derive(Debug)]
struct Side {
    machine: LinkMachine,
    written: u64,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Two {
    now: Instant,
    sides: [Side; 2],
    lanes: Vec<Pipe>,
    bytes: u64,
    /// Bytes of the stream that each end said.
    streamed: [usize; 2],
    log: Vec<Happened>,
}

/// What is told when a test fails.
#[derive(Debug)]
#[allow(dead_code, reason = "they are there to be printed")]
pub(super) enum Happened {
    Has {
        end: usize,
        lane: usize,
    },
    Dies {
        lane: usize,
        death: Death,
    },
    Says {
        end: usize,
        lane: usize,
        frame: Outgoing,
    },
    ReadsTheEnd {
        end: usize,
        lane: usize,
    },
    GivesUp {
        end: usize,
        lane: usize,
    },
}

/// Byte number `at` of the stream to this end.
fn byte(to: usize, at: u64) -> u8 {
    (at as u8).wrapping_mul(31).wrapping_add(to as u8 * 101)
}

impl Two {
    /// With one lane, and so many bytes to go each way.
    pub(super) fn new(bytes: u64) -> Self {
        let side = || Side {
            machine: LinkMachine::new(),
            written: 0,
            read: Vec::new(),
        };
        let mut two = Self {
            now: Instant::now(),
            sides: [side(), side()],
            lanes: Vec::new(),
            bytes,
            streamed: [0; 2],
            log: Vec::new(),
        };
        two.add(End::A);
        two.join(End::B);
        for side in &mut two.sides {
            side.machine.set_taking(two.now, true);
        }
        two
    }

    /// This end adds a further lane, which the other does not know yet.
    pub(super) fn add(&mut self, end: End) {
        self.lanes.push(Pipe {
            to: Default::default(),
            at: [false; 2],
            gone: [false; 2],
        });
        self.has(end as usize, self.lanes.len() - 1);
    }

    /// The other end learns of the first lane that it does not know.
    pub(super) fn join(&mut self, end: End) {
        let end = end as usize;
        if let Some(lane) = self
            .lanes
            .iter()
            .position(|lane| !lane.at[end] && !lane.gone[end])
        {
            self.has(end, lane);
        }
    }

    /// The other end learns of the last lane that it does not know.
    pub(super) fn join_last(&mut self, end: End) {
        let end = end as usize;
        if let Some(lane) = self
            .lanes
            .iter()
            .rposition(|lane| !lane.at[end] && !lane.gone[end])
        {
            self.has(end, lane);
        }
    }

    fn has(&mut self, end: usize, lane: usize) {
        self.log.push(Happened::Has { end, lane });
        self.lanes[lane].at[end] = true;
        let surplus = self.sides[end]
            .machine
            .add(self.now, LaneId(lane as u64), None);
        if let Some(LaneId(surplus)) = surplus {
            self.close(end, surplus as usize);
        }
    }

    /// This end has let go of a lane.
    fn close(&mut self, end: usize, lane: usize) {
        self.lanes[lane].gone[end] = true;
        self.lanes[lane].to[1 - end].ended = true;
        self.lanes[lane].to[end].deaf = true;
    }

    pub(super) fn kill(&mut self, lane: usize, death: Death) {
        self.log.push(Happened::Dies { lane, death });
        let Some(pipe) = self.lanes.get_mut(lane) else {
            return;
        };
        match death {
            Death::Drained => pipe.to.iter_mut().for_each(|way| way.ended = true),
            Death::Cut => pipe.to.iter_mut().for_each(|way| {
                way.ended = true;
                way.frames.clear();
            }),
            Death::Deaf(end) => pipe.to[end as usize].deaf = true,
        }
    }

    /// One of many things, as a number says.
    pub(super) fn happen(&mut self, word: u16) {
        let [what, which] = word.to_be_bytes();
        let end = if which & 1 == 0 { End::A } else { End::B };
        let lane = usize::from(which >> 1) % self.lanes.len();
        match what {
            0..=5 => self.add(end),
            6..=14 => self.join(end),
            15..=18 => self.join_last(end),
            19 => self.kill(lane, Death::Drained),
            20 | 21 => self.kill(lane, Death::Cut),
            22 => self.kill(lane, Death::Deaf(end)),
            23..=26 => self.pass(Duration::from_millis(u64::from(which) * 10)),
            27 => self.sides[end as usize].machine.prefer(LaneId(lane as u64)),
            28 => {
                self.sides[end as usize]
                    .machine
                    .write_failed(LaneId(lane as u64));
            }
            29 => self.sides[end as usize].machine.close(LaneId(lane as u64)),
            30..=90 => self.write(end as usize, u64::from(which % 5)),
            91..=160 => self.send(end as usize, lane),
            _ => self.receive(end as usize, lane, u64::from(which % 4) + 1),
        }
        self.check();
    }

    /// A little of everything, in an order that depends on the step.
    pub(super) fn turn(&mut self, step: usize) {
        for end in [step % 2, 1 - step % 2] {
            self.write(end, 1);
            for lane in 0..self.lanes.len() {
                self.send(end, lane);
                if step % 3 != 0 || lane % 2 == 0 {
                    self.receive(end, lane, 2);
                }
            }
        }
        self.check();
    }

    fn write(&mut self, end: usize, bytes: u64) {
        let side = &mut self.sides[end];
        let to = side.written.saturating_add(bytes).min(self.bytes);
        while side.written < to {
            let next = byte(1 - end, side.written);
            if side.machine.write(&[next]) == 0 {
                return;
            }
            side.written += 1;
        }
        if side.written == self.bytes {
            side.machine.finish();
        }
    }

    /// One frame goes out.
    fn send(&mut self, end: usize, lane: usize) {
        let (pipe, side) = (&mut self.lanes[lane], &mut self.sides[end]);
        if !pipe.at[end] || pipe.gone[end] {
            return;
        }
        if let Some(frame) = side.machine.next_frame(self.now, LaneId(lane as u64)) {
            self.log.push(Happened::Says {
                end,
                lane,
                frame: frame.clone(),
            });
            if let Outgoing::Stream(bytes) = &frame {
                self.streamed[end] += bytes.len();
            }
            if !pipe.to[1 - end].ended {
                pipe.to[1 - end].frames.push_back(frame);
            }
        }
    }

    /// A frame comes in, or some bytes of one.
    fn receive(&mut self, end: usize, lane: usize, bytes: u64) {
        let id = LaneId(lane as u64);
        let (pipe, side) = (&mut self.lanes[lane], &mut self.sides[end]);
        let way = &mut pipe.to[end];
        if !pipe.at[end] || pipe.gone[end] || way.deaf {
            return;
        }
        let what = side.machine.incoming(id);
        match what {
            Incoming::Hold => {}
            Incoming::Frame => {
                assert!(
                    way.payload
                        .as_ref()
                        .is_none_or(|(all, read)| all.len() == *read)
                );
                way.payload = None;
                match way.frames.pop_front() {
                    Some(Outgoing::Control(control)) => {
                        let heard = side.machine.control(self.now, id, &control);
                        assert_eq!(
                            heard,
                            Ok(()),
                            "{control:?} on {lane} to {end}: {:#?}",
                            self.log
                        );
                    }
                    Some(Outgoing::Stream(payload)) => {
                        let heard = side.machine.stream(self.now, id, payload.len());
                        assert_eq!(heard, Ok(()), "on {lane} to {end}: {:#?}", self.log);
                        way.payload = Some((payload.to_vec(), 0));
                    }
                    None if way.ended => {
                        self.log.push(Happened::ReadsTheEnd { end, lane });
                        side.machine.lost(id);
                        self.close(end, lane);
                    }
                    None => {}
                }
            }
            Incoming::Deliver(most) | Incoming::Discard(most) => {
                let (payload, read) = way.payload.as_mut().expect("a payload");
                let some = &payload[*read..][..most.min(bytes) as usize];
                *read += some.len();
                if matches!(what, Incoming::Deliver(_)) {
                    side.read.extend_from_slice(some);
                }
                let len = some.len() as u64;
                side.machine.took(self.now, id, len);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for end in 0..2 {
            for LaneId(lane) in self.sides[end].machine.handle_timeout(self.now) {
                self.log.push(Happened::GivesUp {
                    end,
                    lane: lane as usize,
                });
                self.close(end, lane as usize);
            }
            while let Some(LaneId(lane)) = self.sides[end].machine.closable() {
                self.sides[end].machine.lost(LaneId(lane));
                self.close(end, lane as usize);
            }
        }
    }

    fn check(&self) {
        for (end, side) in self.sides.iter().enumerate() {
            let start = side.read.len().saturating_sub(64);
            for (at, got) in side.read.iter().enumerate().skip(start) {
                assert_eq!(
                    *got,
                    byte(end, at as u64),
                    "byte {at} to {end}: {:#?}",
                    self.log
                );
            }
            assert_eq!(side.machine.position(), side.read.len() as u64);
        }
    }

    /// A good lane comes, nothing more befalls any: both come to the end.
    pub(super) fn finish(mut self, what: impl FnOnce() -> String) {
        for _ in 0..self.lanes.len() {
            self.join(End::A);
            self.join(End::B);
        }
        self.add(End::A);
        self.join(End::B);
        for round in 0..2000 {
            if self.sides.iter().all(|side| side.machine.is_over()) {
                self.check();
                return;
            }
            for end in 0..2 {
                self.write(end, 64);
                for lane in 0..self.lanes.len() {
                    for _ in 0..8 {
                        self.send(end, lane);
                        self.receive(end, lane, 64);
                    }
                }
            }
            self.pass(Duration::from_millis(if round % 4 == 0 { 200 } else { 10 }));
        }
        panic!("{}: no end: {self:#?}", what());
    }

    pub(super) fn read(&self, end: End) -> &[u8] {
        &self.sides[end as usize].read
    }

    /// Bytes of the stream that an end sent, repeated ones included.
    pub(super) fn streamed(&self, end: End) -> usize {
        self.streamed[end as usize]
    }

    /// All of it, in order.
    pub(super) fn happened(&self) -> &[Happened] {
        &self.log
    }
}
