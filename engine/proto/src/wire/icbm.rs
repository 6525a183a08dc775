//! ICBM, foodgroup 0x0004: the messages between two users, and what goes wrong with them.
//!
//! Bodies of the SNACs; [`super::snac::Snac`] is the envelope.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::codec::{Reader, wire_enum};
use super::error::DecodeError;
use super::rendezvous::{Cookie, NakCode};
use super::service::short_capability;
use super::snac::SnacError;
use super::text::ScreenName;
use super::tlv::TlvList;

mod event;

pub use event::{ClientEvent, MissedCall, MissedReason};

/// Subgroups of the foodgroup.
pub mod subgroup {
    /// Host to client: [`super::IcbmError`].
    pub const ERROR: u16 = 0x01;
    /// Client to host: set parameters.
    pub const SET_PARAMETERS: u16 = 0x02;
    /// Client to host: back to the parameters at sign-on; no body.
    pub const RESET_PARAMETERS: u16 = 0x03;
    /// Client to host: ask for the parameters; no body.
    pub const PARAMETER_QUERY: u16 = 0x04;
    /// Host to client: the parameters.
    pub const PARAMETER_REPLY: u16 = 0x05;
    /// Client to host: [`super::MessageToHost`].
    pub const MESSAGE_TO_HOST: u16 = 0x06;
    /// Host to client: [`super::MessageToClient`].
    pub const MESSAGE_TO_CLIENT: u16 = 0x07;
    /// Client to host: warn a user.
    pub const WARN: u16 = 0x08;
    /// Host to client: [`super::MissedCall`]s.
    pub const MISSED_CALLS: u16 = 0x0A;
    /// Both ways: [`super::ClientError`].
    pub const CLIENT_ERROR: u16 = 0x0B;
    /// Host to client: [`super::HostAck`].
    pub const HOST_ACK: u16 = 0x0C;
    /// Client to host: ask for stored messages; no body.
    pub const OFFLINE_RETRIEVE: u16 = 0x10;
    /// Both ways: [`super::ClientEvent`].
    pub const CLIENT_EVENT: u16 = 0x14;
    /// Host to client: there are no more stored messages; no body.
    pub const OFFLINE_DONE: u16 = 0x17;
}

/// Outer TLVs of a message.
pub mod tlv {
    /// Channel 1: the text in fragments.
    pub const MESSAGE: u16 = 0x0002;
    /// Empty: the sender wants a host ack.
    pub const REQUEST_HOST_ACK: u16 = 0x0003;
    /// Channel 2: the rendezvous block.
    pub const RENDEZVOUS: u16 = 0x0005;
    /// Empty: store if offline. Never used for a rendezvous.
    pub const STORE: u16 = 0x0006;
    /// In errors: what exactly is wrong, u16.
    pub const ERROR_SUB_CODE: u16 = 0x0008;
    /// Empty, set by the host: the sender wants typing events.
    pub const WANTS_EVENTS: u16 = 0x000B;
    /// Set by the host: when a stored message was sent, u32 Unix seconds.
    pub const SENT_TIME: u16 = 0x0016;
}

wire_enum! {
    /// What a message is about.
    pub struct Channel(u16) {
        /// Text.
        TEXT = 1,
        /// Rendezvous.
        RENDEZVOUS = 2,
        /// Chat rooms.
        CHAT = 3,
        /// ICQ.
        ICQ = 4,
    }
}

wire_enum! {
    /// Why a client could not make use of a message.
    pub struct ClientErrorCode(u16) {
        /// It does not support the channel.
        UNSUPPORTED_CHANNEL = 1,
        /// It could not read the message.
        BUSTED_PAYLOAD = 2,
        /// The channel's own reason follows; on channel 2 a NAK.
        CHANNEL_SPECIFIC = 3,
    }
}

/// A user as the host describes it: `[name: string08][warning: u16][TLVBlock]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserInfo {
    /// Formatted screen name.
    pub name: ScreenName,
    /// Warning level in tenths of a percent, 0 to 1000.
    pub warning: u16,
    /// See [`user_tlv`].
    pub tlvs: TlvList,
}

/// TLVs of a user info block that we look at.
pub mod user_tlv {
    /// User class, u16.
    pub const CLASS: u16 = 0x0001;
    /// Sign-on time, u32 Unix seconds.
    pub const SIGN_ON_TIME: u16 = 0x0003;
    /// Minutes without a touch of the keyboard, u16.
    pub const IDLE: u16 = 0x0004;
    /// Flags and status of ICQ, u32.
    pub const STATUS: u16 = 0x0006;
    /// Addresses for old ICQ clients, 37 bytes.
    pub const ICQ_DIRECT: u16 = 0x000C;
    /// Number of the session, u8; own info only.
    pub const INSTANCE: u16 = 0x0014;
    /// Icons and status texts.
    pub const BART: u16 = 0x001D;
    /// External IPv4 as the host sees it, u32; own info only.
    pub const EXTERNAL_IP: u16 = 0x000A;
    /// Capabilities, 16 bytes each.
    pub const CAPABILITIES: u16 = 0x000D;
    /// Capabilities in short form, 2 bytes each.
    pub const SHORT_CAPABILITIES: u16 = 0x0019;
}

impl UserInfo {
    /// Reads a block. `reader` must read from `data`; it is left behind the block.
    ///
    /// # Errors
    /// What is wrong with the name or the TLVs.
    pub fn decode(reader: &mut Reader<'_>, data: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            name: ScreenName::decode(reader)?,
            warning: reader.u16()?,
            tlvs: TlvList::decode_block(reader, data)?,
        })
    }

    /// Appends the block.
    pub fn encode(&self, out: &mut BytesMut) {
        self.name.encode(out);
        out.put_u16(self.warning);
        self.tlvs.encode_block(out);
    }

    /// Capabilities of both forms in one list, without repetitions, in the order of the wire. Cut-off entries are skipped.
    pub fn capabilities(&self) -> Vec<Uuid> {
        let full = self
            .tlvs
            .all(user_tlv::CAPABILITIES)
            .flat_map(|list| list.chunks_exact(16));
        let full = full.filter_map(|bytes| Uuid::from_slice(bytes).ok());
        let short = self
            .tlvs
            .all(user_tlv::SHORT_CAPABILITIES)
            .flat_map(|list| list.chunks_exact(2));
        let short = short
            .filter_map(|bytes| bytes.try_into().ok().map(u16::from_be_bytes))
            .map(short_capability);
        let mut seen = std::collections::BTreeSet::new();
        full.chain(short)
            .filter(|&uuid| seen.insert(uuid))
            .collect()
    }
}

/// 0x0004/0x0006: `[cookie][channel: u16][recipient: string08][TLVs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageToHost {
    /// Opaque; in a rendezvous the cookie of the conversation.
    pub cookie: Cookie,
    /// What the message is about.
    pub channel: Channel,
    /// As the sender typed it.
    pub recipient: ScreenName,
    /// See [`tlv`].
    pub tlvs: TlvList,
}

impl MessageToHost {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed; a host answers with error 0x0E.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "message to host");
        Ok(Self {
            cookie: Cookie(reader.array()?),
            channel: Channel(reader.u16()?),
            recipient: ScreenName::decode(&mut reader)?,
            tlvs: TlvList::decode_rest(body.slice_ref(reader.rest()))?,
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&self.cookie.0);
        out.put_u16(self.channel.0);
        self.recipient.encode(&mut out);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
    }
}

/// 0x0004/0x0007: `[cookie][channel: u16][user info of the sender][TLVs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageToClient {
    /// As the sender chose it.
    pub cookie: Cookie,
    /// What the message is about.
    pub channel: Channel,
    /// Who sent it, as the host says.
    pub sender: UserInfo,
    /// See [`tlv`].
    pub tlvs: TlvList,
}

impl MessageToClient {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "message to client");
        Ok(Self {
            cookie: Cookie(reader.array()?),
            channel: Channel(reader.u16()?),
            sender: UserInfo::decode(&mut reader, body)?,
            tlvs: TlvList::decode_rest(body.slice_ref(reader.rest()))?,
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&self.cookie.0);
        out.put_u16(self.channel.0);
        self.sender.encode(&mut out);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
    }
}

/// 0x0004/0x000C, accepted for delivery: `[cookie][channel: u16][recipient: string08]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAck {
    /// Of the message.
    pub cookie: Cookie,
    /// Of the message.
    pub channel: Channel,
    /// As the sender typed it.
    pub recipient: ScreenName,
    /// Bytes behind; none in any frame seen so far.
    pub trailing: Bytes,
}

impl HostAck {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "host ack");
        Ok(Self {
            cookie: Cookie(reader.array()?),
            channel: Channel(reader.u16()?),
            recipient: ScreenName::decode(&mut reader)?,
            trailing: body.slice_ref(reader.rest()),
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&self.cookie.0);
        out.put_u16(self.channel.0);
        self.recipient.encode(&mut out);
        out.put_slice(&self.trailing);
        out.freeze()
    }
}

/// 0x0004/0x000B, a client refuses a message: `[cookie][channel: u16][name: string08][code: u16][info]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    /// Of the refused message. AIM for Windows always writes zeros.
    pub cookie: Cookie,
    /// Of the refused message.
    pub channel: Channel,
    /// To the host: whose message is refused. From the host: who refused.
    pub name: ScreenName,
    /// Why.
    pub code: ClientErrorCode,
    /// For code 3 on channel 2: `[length: u16 = 2][NAK: u16]`; old clients leave parts of it out.
    pub info: Bytes,
}

impl ClientError {
    /// A refusal of a rendezvous message.
    pub fn rendezvous(cookie: Cookie, name: ScreenName, nak: NakCode) -> Self {
        let (channel, code) = (Channel::RENDEZVOUS, ClientErrorCode::CHANNEL_SPECIFIC);
        Self {
            cookie,
            channel,
            name,
            code,
            info: nak_info(nak),
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "client error");
        Ok(Self {
            cookie: Cookie(reader.array()?),
            channel: Channel(reader.u16()?),
            name: ScreenName::decode(&mut reader)?,
            code: ClientErrorCode(reader.u16()?),
            info: body.slice_ref(reader.rest()),
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&self.cookie.0);
        out.put_u16(self.channel.0);
        self.name.encode(&mut out);
        out.put_u16(self.code.0);
        out.put_slice(&self.info);
        out.freeze()
    }

    /// The NAK of a refused rendezvous; none if the refuser did not say, or the error is about another channel.
    pub fn nak(&self) -> Option<NakCode> {
        if self.channel == Channel::RENDEZVOUS {
            nak_from(self.code, &self.info)
        } else {
            None
        }
    }
}

/// Error info that carries a NAK.
pub(super) fn nak_info(nak: NakCode) -> Bytes {
    let [high, low] = nak.0.to_be_bytes();
    Bytes::copy_from_slice(&[0, 2, high, low])
}

/// The NAK in the error info: alone, or behind its length.
pub(super) fn nak_from(code: ClientErrorCode, info: &[u8]) -> Option<NakCode> {
    match (code, info) {
        (ClientErrorCode::CHANNEL_SPECIFIC, &[high, low] | &[0, 2, high, low, ..]) => {
            Some(NakCode(u16::from_be_bytes([high, low])))
        }
        _ => None,
    }
}

/// 0x0004/0x0001, the host refuses a message. The request id says which one.
pub type IcbmError = SnacError;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use crate::wire::rendezvous::Message;
    use crate::wire::service::SEND_FILE;

    const COOKIE: &str = "5452595354303100";

    fn refusal(info: &str) -> ClientError {
        let body = hex(&format!("{COOKIE}0002 05616c696365 {info}"));
        let error = ClientError::decode(&body).expect("a good client error");
        assert_eq!(error.encode(), body);
        error
    }

    #[test]
    fn r_38_a_rendezvous_goes_out_as_tlv_5_of_channel_2() {
        let accept = hex("00025452595354303100094613434c7f11d18222444553540000");
        let message = MessageToHost {
            cookie: Cookie(*b"TRYST01\0"),
            channel: Channel::RENDEZVOUS,
            recipient: ScreenName::new("alice").expect("a good name"),
            tlvs: TlvList::new().with(tlv::RENDEZVOUS, accept.clone()),
        };
        let body = hex(&format!("{COOKIE}0002 05616c696365 0005001a"))
            .iter()
            .chain(&accept)
            .copied()
            .collect::<Bytes>();
        assert_eq!(message.encode(), body);
        assert_eq!(MessageToHost::decode(&body), Ok(message));
    }

    #[test]
    fn r_38_a_host_ack_is_asked_for_by_tlv_3_and_repeats_the_message() {
        assert_eq!(tlv::REQUEST_HOST_ACK, 3);
        let body = hex(&format!("{COOKIE}000203626f62"));
        let ack = HostAck::decode(&body).expect("a good ack");
        assert_eq!(
            (ack.channel, ack.recipient.as_str()),
            (Channel::RENDEZVOUS, "bob")
        );
        assert_eq!(ack.encode(), body);
    }

    #[test]
    fn r_38_a_proposal_arrives_with_its_sender_in_front() {
        let block = format!("0000{COOKIE}094613434c7f11d18222444553540000000a00020001");
        let body = format!(
            "{COOKIE}0002 05616c696365 0000 0002 000100020010 0003000466000000 00050020{block}"
        );
        let message = MessageToClient::decode(&hex(&body)).expect("a good message");
        assert_eq!(
            (message.sender.name.as_str(), message.sender.tlvs.0.len()),
            ("alice", 2)
        );
        let inner = message
            .tlvs
            .first(tlv::RENDEZVOUS)
            .expect("a rendezvous")
            .clone();
        assert_eq!(
            Message::decode(inner).map(|inner| inner.cookie),
            Ok(message.cookie)
        );
        assert_eq!(message.encode(), hex(&body));
    }

    #[test]
    fn r_25_a_nak_travels_in_the_error_info() {
        for nak in (0..=0x0A).chain([0x0F]).map(NakCode) {
            let error = ClientError::rendezvous(
                Cookie(*b"TRYST01\0"),
                ScreenName::new("alice").expect("good"),
                nak,
            );
            assert_eq!(
                error.encode(),
                hex(&format!(
                    "{COOKIE}0002 05616c696365 0003 0002 {:04x}",
                    nak.0
                ))
            );
            assert_eq!(error.nak(), Some(nak));
        }
    }

    #[test]
    fn r_25_refusals_of_old_clients_are_read_with_0_2_and_4_bytes_of_info() {
        assert_eq!(refusal("0003").nak(), None);
        assert_eq!(refusal("0003 0001").nak(), Some(NakCode::DENIED));
        assert_eq!(
            refusal("0003 0002 0009").nak(),
            Some(NakCode::VERSION_MISMATCH)
        );
        assert_eq!(
            refusal("0003 0002 0077").nak(),
            Some(NakCode(0x77)),
            "unknown codes survive"
        );
        assert_eq!(
            (refusal("0001").nak(), refusal("0002 0001").nak()),
            (None, None),
            "only code 3 has a NAK"
        );
    }

    #[test]
    fn a_refusal_on_another_channel_has_no_nak() {
        let error = ClientError {
            channel: Channel::TEXT,
            ..refusal("0003 0002 0001")
        };
        assert_eq!(error.nak(), None);
    }

    #[test]
    fn capabilities_of_both_forms_are_united() {
        let full = SEND_FILE.as_bytes().to_vec();
        let user = UserInfo {
            name: ScreenName::new("alice").expect("a good name"),
            warning: 0,
            tlvs: TlvList::new()
                .with(user_tlv::SHORT_CAPABILITIES, hex("1343 1345 13"))
                .with(
                    user_tlv::CAPABILITIES,
                    [&full[..], &full[..], &[9, 9]].concat(),
                ),
        };
        assert_eq!(user.capabilities(), [SEND_FILE, short_capability(0x1345)]);
    }

    #[test]
    fn a_name_over_64_bytes_is_refused() {
        let body = hex(&format!("{COOKIE}0002 41{}", "61".repeat(65)));
        let refused = DecodeError::BadLength {
            what: "screen name",
            length: 65,
            min: 1,
            max: 64,
        };
        assert_eq!(MessageToHost::decode(&body), Err(refused));
    }

    #[test]
    fn a_message_that_is_cut_off_anywhere_is_an_error() {
        let body = hex(&format!("{COOKIE}0002 03626f62 000100020010"));
        for length in (0..body.len()).filter(|&length| length != 14) {
            assert!(
                MessageToHost::decode(&body.slice(..length)).is_err(),
                "{length}"
            );
        }
    }
}
