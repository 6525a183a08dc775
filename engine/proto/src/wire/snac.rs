//! SNAC: what a FLAP frame of the data channel holds.
//!
//! `[foodgroup: u16][subgroup: u16][flags: u16][request id: u32][body]`

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::{Reader, wire_enum};
use super::error::DecodeError;
use super::tlv::TlvList;

/// Flag: more replies with the same request id follow.
pub const FLAG_MORE: u16 = 0x0001;
/// Flag: the body is preceded by a TLVLBlock, see [`Snac::prefix`].
pub const FLAG_PREFIX: u16 = 0x8000;
/// Bit of the request id that a host sets on what answers no request.
pub const HOST_REQUEST: u32 = 0x8000_0000;
/// Subgroup of every foodgroup: error; the body is a u16 code and TLVs.
pub const ERROR: u16 = 0x0001;

wire_enum! {
    /// A family of SNACs.
    pub struct Foodgroup(u16) {
        /// Session, versions, rates, service requests.
        OSERVICE = 0x0001,
        /// Capabilities and profiles.
        LOCATE = 0x0002,
        /// Arrivals and departures.
        BUDDY = 0x0003,
        /// Messages, rendezvous among them.
        ICBM = 0x0004,
        /// Invitations by mail.
        INVITE = 0x0006,
        /// Account administration.
        ADMIN = 0x0007,
        /// Windows that a host opens at the client.
        POPUP = 0x0008,
        /// Permit and deny lists.
        PD = 0x0009,
        /// Search by mail address.
        USER_LOOKUP = 0x000A,
        /// Reports of clients about themselves.
        STATS = 0x000B,
        /// Chat rooms.
        CHAT = 0x000E,
        /// The buddy list kept by the host.
        FEEDBAG = 0x0013,
        /// ICQ extensions.
        ICQ = 0x0015,
        /// Sign-on.
        BUCP = 0x0017,
        /// The relay service, as a service request names it.
        ARS = 0x044A,
    }
}

/// One SNAC.
#[derive(Clone, PartialEq, Eq)]
pub struct Snac {
    /// Family.
    pub foodgroup: Foodgroup,
    /// Which message of the family.
    pub subgroup: u16,
    /// See [`FLAG_MORE`]. [`FLAG_PREFIX`] follows [`Snac::prefix`] when encoding.
    pub flags: u16,
    /// Chosen by the asking side and repeated in the reply.
    pub request_id: u32,
    /// TLVs that an old host puts in front of the body (usually tag 0x0001, the foodgroup's version). We never send any.
    pub prefix: Option<TlvList>,
    /// Layout by foodgroup and subgroup.
    pub body: Bytes,
}

/// Shows how long the body is, and of the foodgroups that carry passwords no more than that.
impl std::fmt::Debug for Snac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut snac = f.debug_struct("Snac");
        snac.field("foodgroup", &self.foodgroup)
            .field("subgroup", &self.subgroup)
            .field("flags", &self.flags)
            .field("request_id", &self.request_id)
            .field("bytes", &self.body.len());
        if !matches!(self.foodgroup, Foodgroup::ADMIN | Foodgroup::BUCP) {
            snac.field("prefix", &self.prefix).field("body", &self.body);
        }
        snac.finish()
    }
}

impl Snac {
    /// A SNAC without flags and prefix.
    pub fn new(
        foodgroup: Foodgroup,
        subgroup: u16,
        request_id: u32,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            foodgroup,
            subgroup,
            flags: 0,
            request_id,
            prefix: None,
            body: body.into(),
        }
    }

    /// Whether this is that message.
    pub fn is(&self, foodgroup: Foodgroup, subgroup: u16) -> bool {
        (self.foodgroup, self.subgroup) == (foodgroup, subgroup)
    }

    /// Reads the data of a FLAP frame of the data channel.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] below ten bytes, or if the prefix runs past the end.
    pub fn decode(data: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&data, "SNAC");
        let foodgroup = Foodgroup(reader.u16()?);
        let subgroup = reader.u16()?;
        let flags = reader.u16()?;
        let request_id = reader.u32()?;
        let prefix = match flags & FLAG_PREFIX {
            0 => None,
            _ => Some(TlvList::decode_lblock(&mut reader, &data)?),
        };
        let body = data.slice_ref(reader.rest());
        Ok(Self {
            foodgroup,
            subgroup,
            flags,
            request_id,
            prefix,
            body,
        })
    }

    /// The bytes of the SNAC.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(10 + self.body.len());
        out.put_u16(self.foodgroup.0);
        out.put_u16(self.subgroup);
        out.put_u16(
            self.flags & !FLAG_PREFIX
                | if self.prefix.is_some() {
                    FLAG_PREFIX
                } else {
                    0
                },
        );
        out.put_u32(self.request_id);
        if let Some(prefix) = &self.prefix {
            prefix.encode_lblock(&mut out);
        }
        out.put_slice(&self.body);
        out.freeze()
    }
}

wire_enum! {
    /// Why a host refuses a request. Not all of them leave a host of ours.
    pub struct ErrorCode(u16) {
        /// The foodgroup has no such subgroup.
        INVALID_SNAC = 0x01,
        /// Dropped by the rate limit.
        RATE_TO_HOST = 0x02,
        /// The recipient's rate limit is reached.
        RATE_TO_CLIENT = 0x03,
        /// The recipient is offline, unknown, or blocks the sender: deliberately the same.
        NOT_LOGGED_ON = 0x04,
        /// The service is down.
        SERVICE_UNAVAILABLE = 0x05,
        /// There is no such service.
        SERVICE_NOT_DEFINED = 0x06,
        /// An old message that is gone.
        OBSOLETE_SNAC = 0x07,
        /// Not listed among the host's foodgroups, or an unknown ICBM channel.
        NOT_SUPPORTED_BY_HOST = 0x08,
        /// The recipient lacks the capability.
        NOT_SUPPORTED_BY_CLIENT = 0x09,
        /// Larger than the recipient takes.
        REFUSED_BY_CLIENT = 0x0A,
        /// The answer would be too long.
        REPLY_TOO_BIG = 0x0B,
        /// The recipient's queue overflowed.
        RESPONSES_LOST = 0x0C,
        /// Not allowed.
        REQUEST_DENIED = 0x0D,
        /// The body could not be read.
        BUSTED_PAYLOAD = 0x0E,
        /// The account may not.
        INSUFFICIENT_RIGHTS = 0x0F,
        /// The sender himself blocks the recipient.
        IN_LOCAL_PERMIT_DENY = 0x10,
        /// The sender's warning level is above what the recipient takes.
        TOO_EVIL_SENDER = 0x11,
        /// The recipient's warning level is too high.
        TOO_EVIL_RECEIVER = 0x12,
        /// The recipient is about to be back.
        USER_TEMP_UNAVAILABLE = 0x13,
        /// Nothing was found.
        NO_MATCH = 0x14,
        /// A list has no room left.
        LIST_OVERFLOW = 0x15,
        /// More than one was found.
        REQUEST_AMBIGUOUS = 0x16,
        /// The host's queue is full.
        QUEUE_FULL = 0x17,
        /// Not for users of another network.
        NOT_WHILE_ON_AOL = 0x18,
    }
}

/// Subgroup 0x0001 of every foodgroup, the host refuses a request: `[code: u16][TLVs]`. The request id says which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnacError {
    /// See [`ErrorCode`].
    pub code: u16,
    /// Tag 0x0008 is a u16 sub-code.
    pub tlvs: TlvList,
}

impl SnacError {
    /// A refusal without TLVs.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code: code.0,
            tlvs: TlvList::new(),
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "SNAC error");
        Ok(Self {
            code: reader.u16()?,
            tlvs: TlvList::decode_rest(body.slice_ref(reader.rest()))?,
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(self.code);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn l_30_a_flagged_prefix_is_skipped_and_kept() {
        let bytes = hex("000400078000800000010006000100020004cafe");
        let snac = Snac::decode(bytes.clone()).expect("a good SNAC");
        assert!(snac.is(Foodgroup::ICBM, 7));
        assert_eq!(
            (snac.request_id, &snac.body[..]),
            (0x8000_0001, &[0xCA, 0xFE][..])
        );
        assert_eq!(snac.prefix, Some(TlvList::new().with_u16(1, 4)));
        assert_eq!(snac.encode(), bytes);
    }

    #[test]
    fn l_30_a_prefix_past_the_end_is_malformed() {
        assert!(Snac::decode(hex("000400078000800000010007000100020004")).is_err());
        assert!(Snac::decode(hex("00040007800080000001")).is_err());
    }

    #[test]
    fn a_snac_of_ours_has_no_flags_and_no_prefix() {
        let snac = Snac::new(Foodgroup::OSERVICE, 6, 4, Bytes::new());
        assert_eq!(snac.encode(), hex("00010006000000000004"));
        let mut flagged = snac.clone();
        flagged.flags = FLAG_PREFIX | FLAG_MORE;
        assert_eq!(
            flagged.encode(),
            hex("00010006000100000004"),
            "the flag goes with the prefix"
        );
    }

    #[test]
    fn a_25_a_snac_of_a_foodgroup_with_passwords_shows_none() {
        for foodgroup in [Foodgroup::ADMIN, Foodgroup::BUCP] {
            let mut snac = Snac::new(foodgroup, 4, 0, &b"hunter2"[..]);
            snac.prefix = Some(TlvList::new().with(1, &b"hunter2"[..]));
            let shown = format!("{snac:?}");
            assert!(shown.contains("bytes: 7"), "{shown}");
            // As text and as numbers.
            assert!(
                !shown.contains("hunter2") && !shown.contains("104"),
                "{shown}"
            );
        }
        let message = Snac::new(Foodgroup::ICBM, 6, 0, &b"hello"[..]);
        assert!(format!("{message:?}").contains("hello"));
    }

    #[test]
    fn unknown_families_survive_and_short_ones_are_refused() {
        let bytes = hex("7fff1234004000000001aabb");
        assert_eq!(
            Snac::decode(bytes.clone()).map(|snac| snac.encode()),
            Ok(bytes.clone())
        );
        assert!(matches!(
            Snac::decode(bytes.slice(..9)),
            Err(DecodeError::Truncated {
                needed: 4,
                available: 3,
                ..
            })
        ));
    }

    #[test]
    fn an_error_names_its_code() {
        let error = SnacError::decode(&hex("0004")).expect("a good error");
        assert_eq!(error, SnacError::new(ErrorCode::NOT_LOGGED_ON));
        assert_eq!(error.encode(), hex("0004"));
        assert!(SnacError::decode(&hex("00")).is_err());
    }

    #[test]
    fn e_01_e_03_every_general_code_up_to_0x18_has_a_name_of_its_own_and_none_above() {
        let named = (0..0x40).filter(|&code| ErrorCode(code).name().is_some());
        assert_eq!(named.collect::<Vec<_>>(), (1..=0x18).collect::<Vec<_>>());
    }
}
