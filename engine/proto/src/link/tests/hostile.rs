//! What a peer must not say.

use std::time::{Duration, Instant};

use super::super::{Incoming, LaneId, LinkError, LinkMachine, Outgoing};
use crate::limits::{LINK_KEPT, LINK_STREAM};
use crate::wire::link::Control;

const LANE: LaneId = LaneId(1);
const OTHER: LaneId = LaneId(2);

struct Peer {
    now: Instant,
    machine: LinkMachine,
}

impl Peer {
    fn new() -> Self {
        let now = Instant::now();
        let mut machine = LinkMachine::new();
        machine.add(now, LANE, None);
        machine.set_taking(now, true);
        Self { now, machine }
    }

    fn says(&mut self, control: Control) -> Result<(), LinkError> {
        self.machine.control(self.now, LANE, &control)
    }

    fn streams(&mut self, len: usize) -> Result<(), LinkError> {
        self.machine.stream(self.now, LANE, len)?;
        loop {
            match self.machine.incoming(LANE) {
                Incoming::Deliver(n) | Incoming::Discard(n) => self.machine.took(self.now, LANE, n),
                Incoming::Frame | Incoming::Hold => return Ok(()),
            }
        }
    }

    /// We write, and it goes out.
    fn hears(&mut self, bytes: &[u8]) {
        assert_eq!(self.machine.write(bytes), bytes.len());
        self.drain(LANE);
    }

    fn drain(&mut self, lane: LaneId) -> Vec<Outgoing> {
        std::iter::from_fn(|| self.machine.next_frame(self.now, lane)).collect()
    }
}

#[test]
fn bytes_need_a_number() {
    let mut peer = Peer::new();
    assert_eq!(peer.streams(1), Err(LinkError::NoFrom));
    assert_eq!(peer.says(Control::Moved(0)), Err(LinkError::NoFrom));
    assert_eq!(peer.says(Control::Fin(0)), Err(LinkError::NoFrom));
    peer.says(Control::From(0)).unwrap();
    peer.streams(3).unwrap();
    peer.says(Control::Moved(3)).unwrap();
    assert_eq!(peer.streams(1), Err(LinkError::NoFrom));
}

#[test]
fn from_goes_back_only_where_that_was_asked() {
    let mut peer = Peer::new();
    peer.says(Control::From(0)).unwrap();
    peer.streams(10).unwrap();
    let back = LinkError::Backwards { to: 9, at: 10 };
    assert_eq!(peer.says(Control::From(9)), Err(back));
    // A gap that no lane fills is asked for: once, and answered once.
    peer.says(Control::From(20)).unwrap();
    assert!(
        peer.drain(LANE)
            .contains(&Outgoing::Control(Control::Resume(10)))
    );
    peer.streams(5).unwrap();
    assert_eq!(peer.machine.position(), 10, "thrown away");
    peer.says(Control::From(10)).unwrap();
    peer.streams(15).unwrap();
    assert_eq!(peer.machine.position(), 25);
    let back = LinkError::Backwards { to: 0, at: 25 };
    assert_eq!(peer.says(Control::From(0)), Err(back));
}

#[test]
fn numbers_are_near_the_position() {
    let mut peer = Peer::new();
    let far = |byte| LinkError::TooFar { byte, position: 0 };
    assert_eq!(
        peer.says(Control::From(LINK_KEPT + 1)),
        Err(far(LINK_KEPT + 1))
    );
    assert_eq!(peer.says(Control::From(u64::MAX)), Err(far(u64::MAX)));
    peer.says(Control::From(LINK_KEPT)).unwrap();
    assert_eq!(peer.streams(1), Err(far(LINK_KEPT + 1)));
}

#[test]
fn streams_have_a_size() {
    let mut peer = Peer::new();
    peer.says(Control::From(0)).unwrap();
    assert_eq!(peer.streams(0), Err(LinkError::EmptyStream));
    assert_eq!(
        peer.streams(LINK_STREAM + 1),
        Err(LinkError::LongStream(LINK_STREAM + 1))
    );
    peer.machine.stream(peer.now, LANE, 2).unwrap();
    assert_eq!(
        peer.machine.stream(peer.now, LANE, 2),
        Err(LinkError::InsideStream)
    );
    assert_eq!(peer.says(Control::Ping(1)), Err(LinkError::InsideStream));
}

#[test]
fn marks_stand_where_the_lane_stands() {
    let mut peer = Peer::new();
    peer.says(Control::From(0)).unwrap();
    peer.streams(3).unwrap();
    for mark in [0, 2, 4, u64::MAX] {
        let wrong = LinkError::WrongMark { mark, at: 3 };
        assert_eq!(peer.says(Control::Moved(mark)), Err(wrong));
        assert_eq!(peer.says(Control::Fin(mark)), Err(wrong));
    }
}

#[test]
fn the_end_is_said_once_and_holds() {
    let mut peer = Peer::new();
    peer.says(Control::From(0)).unwrap();
    peer.streams(3).unwrap();
    peer.says(Control::Fin(3)).unwrap();
    assert!(peer.machine.is_whole());
    assert_eq!(peer.says(Control::Fin(3)), Err(LinkError::FinTwice));
    assert_eq!(
        peer.streams(1),
        Err(LinkError::BehindFin { fin: 3, byte: 4 })
    );
    assert_eq!(
        peer.says(Control::From(4)),
        Err(LinkError::BehindFin { fin: 3, byte: 4 })
    );
}

#[test]
fn a_second_end_elsewhere_is_refused() {
    let mut peer = Peer::new();
    peer.machine.add(peer.now, OTHER, None);
    for lane in [LANE, OTHER] {
        peer.machine
            .control(peer.now, lane, &Control::From(0))
            .unwrap();
    }
    peer.streams(3).unwrap();
    let early = peer.machine.control(peer.now, OTHER, &Control::Fin(0));
    assert_eq!(early, Err(LinkError::BehindFin { fin: 0, byte: 3 }));
    peer.says(Control::Fin(3)).unwrap();
    let again = peer.machine.control(peer.now, OTHER, &Control::Fin(0));
    assert_eq!(again, Err(LinkError::BehindFin { fin: 3, byte: 0 }));
}

#[test]
fn nothing_is_acknowledged_that_was_not_sent() {
    let mut peer = Peer::new();
    peer.hears(b"abc");
    for said in [Control::Ack(4), Control::Resume(4), Control::Ack(u64::MAX)] {
        let (Control::Ack(byte) | Control::Resume(byte)) = said else {
            unreachable!()
        };
        assert_eq!(
            peer.says(said),
            Err(LinkError::BeyondSent { byte, sent: 3 })
        );
    }
    peer.machine.finish();
    assert_eq!(
        peer.says(Control::Ack(4)),
        Err(LinkError::BeyondSent { byte: 4, sent: 3 })
    );
    peer.drain(LANE);
    peer.says(Control::Ack(4)).unwrap();
    assert!(peer.machine.sent().fin_acknowledged);
}

#[test]
fn what_was_acknowledged_is_not_asked_for_again() {
    let mut peer = Peer::new();
    peer.hears(b"abcdef");
    peer.says(Control::Ack(4)).unwrap();
    let gone = |byte| LinkError::Unacknowledged { byte, before: 4 };
    assert_eq!(peer.says(Control::Resume(3)), Err(gone(3)));
    assert_eq!(peer.says(Control::Ack(3)), Err(gone(3)));
    // On another lane it was only slow: the answer begins where it can.
    peer.machine.add(peer.now, OTHER, None);
    peer.drain(LANE);
    peer.drain(OTHER);
    peer.machine
        .control(peer.now, OTHER, &Control::Resume(3))
        .unwrap();
    let frames = peer.drain(OTHER);
    assert!(
        frames.contains(&Outgoing::Control(Control::From(4))),
        "{frames:?}"
    );
    assert!(
        frames.contains(&Outgoing::Stream(b"ef"[..].into())),
        "{frames:?}"
    );
}

#[test]
fn a_flood_of_control_frames_closes_the_lane() {
    let mut peer = Peer::new();
    let flood = (0..5000).find_map(|number| peer.says(Control::Ping(number)).err());
    assert_eq!(flood, Some(LinkError::Flood));
    let answers = peer.drain(LANE);
    let pongs = answers
        .iter()
        .filter(|frame| matches!(frame, Outgoing::Control(Control::Pong(_))));
    assert_eq!(pongs.count(), 1, "one answer at most waits");
    peer.now += Duration::from_secs(1);
    peer.says(Control::Ping(1)).unwrap();
}

#[test]
fn words_that_have_no_place_here() {
    let mut peer = Peer::new();
    assert_eq!(peer.says(Control::Use(1)), Err(LinkError::UsedTwice));
    let abort = Control::Abort {
        reason: 7,
        text: "no".into(),
    };
    assert_eq!(peer.says(abort), Err(LinkError::Aborted(7)));
    peer.machine.lost(LANE);
    assert_eq!(peer.says(Control::Ping(1)), Err(LinkError::NoLane));
    assert_eq!(peer.streams(1), Err(LinkError::NoLane));
}

#[test]
fn no_more_is_kept_than_16_mib() {
    let mut peer = Peer::new();
    let block = vec![1; 100_000];
    let mut written = 0;
    loop {
        let taken = peer.machine.write(&block) as u64;
        written += taken;
        if taken == 0 && peer.drain(LANE).is_empty() {
            break;
        }
        assert!(written <= LINK_KEPT);
    }
    assert_eq!(written, LINK_KEPT);
    peer.says(Control::Ack(1_000_000)).unwrap();
    assert_eq!(peer.machine.write(&block), block.len());
}
