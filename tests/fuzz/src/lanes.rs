//! A link whose peer may say anything on its two lanes.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use rdv_proto::limits;
use rdv_proto::link::{Incoming, LaneId, LinkMachine};
use rdv_proto::wire::link::{Control, Frame, FrameType};

/// Frames for two lanes in turns, as the first byte says; time passes, and we write, between them.
pub fn link_machine(data: &[u8]) {
    let [turns, data @ ..] = data else {
        return;
    };
    let mut now = Instant::now();
    let mut machine = LinkMachine::new();
    machine.set_taking(now, true);
    let lanes = [LaneId(0), LaneId(1)];
    for lane in lanes {
        machine.add(now, lane, (lane == lanes[0]).then_some(1));
    }
    let mut buffer = BytesMut::from(data);
    let (mut step, mut delivered) = (0_u32, 0);
    while let Ok(Some(frame)) = Frame::decode(&mut buffer) {
        let lane = lanes[usize::from(turns.rotate_left(step) & 1)];
        step = step.wrapping_add(1);
        now += Duration::from_millis(u64::from(*turns));
        machine.handle_timeout(now);
        machine.write(&data[..data.len().min(9)]);
        for lane in lanes {
            while machine.next_frame(now, lane).is_some() {}
        }
        let heard = match frame.kind {
            FrameType::STREAM => machine.stream(now, lane, frame.payload.len()),
            _ => match Control::decode(&frame) {
                Ok(Some(said)) => machine.control(now, lane, &said),
                Ok(None) => machine.unknown(now, lane),
                Err(error) => Err(error.into()),
            },
        };
        if heard.is_err() {
            machine.lost(lane);
        }
        loop {
            match machine.incoming(lane) {
                Incoming::Deliver(bytes) => {
                    delivered += bytes;
                    machine.took(now, lane, bytes);
                }
                Incoming::Discard(bytes) => machine.took(now, lane, bytes),
                Incoming::Frame | Incoming::Hold => break,
            }
        }
        let sent = machine.sent();
        assert_eq!(machine.position(), delivered);
        assert!(delivered <= data.len() as u64, "bytes that nobody sent");
        assert!(sent.acknowledged <= sent.next && sent.next <= sent.written);
        assert!(sent.written - sent.acknowledged <= limits::LINK_KEPT);
    }
}
