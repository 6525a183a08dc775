//! What stands for QUIC: a handshake in datagrams that pass every router, are lost and repeated.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use rdv_proto::rendezvous::{AttemptId, Carrier, ConversationId, Input};

use super::lanes::{Lane, Way};
use super::{End, NetPair, Parcel, Tick};

/// First repetition of a QUIC packet that has no answer; doubles.
const QUIC_REPEAT: Duration = Duration::from_millis(300);
/// So often at most.
const QUIC_REPEATS: u32 = 6;
/// What the QUIC packet of a stranger looks like: the beginning of a handshake.
pub const STRANGE_QUIC: [u8; 11] = [QUIC, 1, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];
/// First byte of what stands for QUIC.
const QUIC: u8 = 0xC0;

impl NetPair {
    /// Sends a stage of the handshake, and will again unless it is answered.
    pub(super) fn send_quic(&mut self, end: End, stage: u8, sent: u32) {
        let Some(lane) = self.lane(end) else { return };
        let Way::Quic {
            remote, generation, ..
        } = lane.way
        else {
            return;
        };
        let client = lane.far.filter(|_| stage.is_multiple_of(2)).unwrap_or(end);
        let mut packet = BytesMut::new();
        packet.put_u8(QUIC);
        packet.put_u8(stage);
        packet.put_u8(u8::try_from(client.0).unwrap_or(0));
        packet.put_u64(client.1.0);
        self.send_from(end.0, generation, remote, None, packet.freeze());
        if stage < 4 && sent < QUIC_REPEATS {
            let again = Tick::Quic(end.1, stage, sent + 1);
            self.post(QUIC_REPEAT * (1 << sent), end.0, Parcel::Tick(again));
        }
    }

    pub(super) fn repeat_quic(&mut self, side: usize, attempt: AttemptId, stage: u8, sent: u32) {
        let end = (side, attempt);
        if self
            .lane(end)
            .is_some_and(|lane| lane.heard <= stage && lane.said == stage)
        {
            self.send_quic(end, stage, sent);
        }
    }

    /// A QUIC packet comes in: for the client itself, or of a client.
    pub(super) fn quic_arrives(
        &mut self,
        side: usize,
        generation: u32,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        let mut bytes = bytes;
        if bytes.len() < 11 || bytes.get_u8() != QUIC {
            return;
        }
        let (stage, of) = (bytes.get_u8(), usize::from(bytes.get_u8()));
        let client = (of, AttemptId(bytes.get_u64()));
        if of >= self.sides.len() {
            return self.stranger_arrives(side, generation, from);
        }
        if stage.is_multiple_of(2) {
            let known = self.lane(client).is_some_and(
                |lane| matches!(lane.way, Way::Quic { remote, client: true, .. } if remote == from),
            );
            if side == client.0 && known {
                self.stage_arrives(client, stage);
            }
            return;
        }
        let mut lanes = self.sides[side].lanes.iter();
        let known = lanes.find_map(|(attempt, lane)| {
            let server = matches!(lane.way, Way::Quic { client: false, .. });
            (server && lane.far == Some(client)).then_some(*attempt)
        });
        if let Some(attempt) = known {
            if let Some(Lane {
                way: Way::Quic { remote, .. },
                ..
            }) = self.lane((side, attempt))
            {
                *remote = from;
            }
            return self.stage_arrives((side, attempt), stage);
        }
        let Some(id) = self
            .conversation_of(side, generation)
            .filter(|_| stage == 1)
        else {
            return;
        };
        // Whoever dialled may have given up meanwhile.
        if self.lane(client).is_some() {
            self.quic_begins(side, generation, id, from, Some(client));
        }
    }

    /// Somebody else begins a handshake and never goes on.
    fn stranger_arrives(&mut self, side: usize, generation: u32, from: SocketAddr) {
        let mut lanes = self.sides[side].lanes.values();
        let known =
            lanes.any(|lane| matches!(lane.way, Way::Quic { remote, .. } if remote == from));
        if let Some(id) = self.conversation_of(side, generation).filter(|_| !known) {
            self.quic_begins(side, generation, id, from, None);
        }
    }

    fn quic_begins(
        &mut self,
        side: usize,
        generation: u32,
        id: ConversationId,
        from: SocketAddr,
        far: Option<End>,
    ) {
        let attempt = self.sides[side].endpoint.new_attempt();
        let mut lane = Lane::new(Way::Quic {
            remote: from,
            generation,
            client: false,
        });
        lane.far = far;
        lane.heard = 1;
        self.sides[side].lanes.insert(attempt, lane);
        let carrier = Carrier::Quic;
        self.input(
            side,
            Input::Incoming {
                id,
                attempt,
                from,
                carrier,
            },
        );
    }

    pub(super) fn server_of(&self, client: End) -> Option<End> {
        [0, 1].into_iter().find_map(|side| {
            let mut lanes = self.sides[side].lanes.iter();
            lanes.find_map(|(attempt, lane)| {
                let server = matches!(lane.way, Way::Quic { client: false, .. });
                (server && lane.far == Some(client)).then_some((side, *attempt))
            })
        })
    }
}
