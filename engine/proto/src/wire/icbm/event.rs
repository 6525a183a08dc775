//! Small notices about messages: typing, and what was missed.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Channel, UserInfo};
use crate::wire::codec::{Reader, wire_enum};
use crate::wire::error::DecodeError;
use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;

/// 0x0004/0x0014, typing: `[cookie][channel: u16][other party: string08][event: u16]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientEvent {
    /// Zero is usual.
    pub cookie: Cookie,
    /// 1.
    pub channel: Channel,
    /// To the host: who is to know. From the host: who types.
    pub name: ScreenName,
    /// 0 finished, 1 typed, 2 typing; and bytes behind, if any.
    pub event: Bytes,
}

impl ClientEvent {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "client event");
        let cookie = Cookie(reader.array()?);
        let channel = Channel(reader.u16()?);
        let name = ScreenName::decode(&mut reader)?;
        reader.clone().u16()?;
        Ok(Self {
            cookie,
            channel,
            name,
            event: body.slice_ref(reader.rest()),
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&self.cookie.0);
        out.put_u16(self.channel.0);
        self.name.encode(&mut out);
        out.put_slice(&self.event);
        out.freeze()
    }
}

wire_enum! {
    /// Why a message did not arrive.
    pub struct MissedReason(u16) {
        /// It could not be read.
        INVALID = 0,
        /// It was longer than the recipient takes.
        TOO_LARGE = 1,
        /// The sender was too fast.
        RATE_EXCEEDED = 2,
        /// The sender's warning level is too high.
        SENDER_TOO_EVIL = 3,
        /// The recipient's warning level is too high.
        RECIPIENT_TOO_EVIL = 4,
    }
}

/// One entry of 0x0004/0x000A: `[channel: u16][sender][count: u16][reason: u16]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedCall {
    /// Of the messages.
    pub channel: Channel,
    /// Who sent them.
    pub sender: UserInfo,
    /// How many.
    pub count: u16,
    /// Why.
    pub reason: MissedReason,
}

impl MissedCall {
    /// Reads the first entry of a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "missed call");
        Ok(Self {
            channel: Channel(reader.u16()?),
            sender: UserInfo::decode(&mut reader, body)?,
            count: reader.u16()?,
            reason: MissedReason(reader.u16()?),
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(self.channel.0);
        self.sender.encode(&mut out);
        out.put_u16(self.count);
        out.put_u16(self.reason.0);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn a_typing_event_keeps_its_bytes() {
        let body = hex("0000000000000000 0001 0736323138383935 0002");
        let event = ClientEvent::decode(&body).expect("a good event");
        assert_eq!(
            (event.name.as_str(), &event.event[..]),
            ("6218895", &[0, 2][..])
        );
        assert_eq!(event.encode(), body);
        assert!(ClientEvent::decode(&body.slice(..body.len() - 1)).is_err());
    }

    #[test]
    fn a_missed_call_is_read_by_tag() {
        let body = hex(
            "0002 0736323138383935 0000 0004 0001000200060004000200000 00f00040000000000030004 3de7388b 0001 0001",
        );
        let missed = MissedCall::decode(&body).expect("a good entry");
        assert_eq!(
            (missed.channel, missed.count, missed.reason),
            (Channel::RENDEZVOUS, 1, MissedReason::TOO_LARGE)
        );
        assert_eq!((missed.sender.tlvs.0.len(), missed.encode()), (4, body));
    }
}
