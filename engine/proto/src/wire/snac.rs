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
        /// Account administration.
        ADMIN = 0x0007,
        /// Permit and deny lists.
        PD = 0x0009,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
