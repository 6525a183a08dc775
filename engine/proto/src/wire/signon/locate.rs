//! What users say about themselves, and what a client accepts: foodgroups 0x0002 to 0x0004.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::bucp::tlv_body;
use crate::wire::codec::Reader;
use crate::wire::error::DecodeError;
use crate::wire::icbm::UserInfo;
use crate::wire::tlv::TlvList;

/// TLV of 0x0002/0x0004: capabilities, 16 bytes each.
const CAPABILITIES: u16 = 0x0005;

tlv_body! {
    /// 0x0002/0x0003: what the host accepts. Tags 0x0001 profile bytes, 0x0002 capabilities, 0x0005 short capabilities; u16 each.
    pub struct LocateRights;
}

tlv_body! {
    /// 0x0002/0x0004: profile, away text and capabilities of a client. What is absent stays as it was.
    pub struct LocateInfo;
}

impl LocateInfo {
    /// Capabilities alone.
    pub fn of_capabilities(capabilities: &[Uuid]) -> Self {
        let list: Vec<u8> = capabilities
            .iter()
            .flat_map(|uuid| *uuid.as_bytes())
            .collect();
        Self {
            tlvs: TlvList::new().with(CAPABILITIES, list),
        }
    }

    /// The new set of capabilities, repetitions included; none if it stays as it was.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if the length is no multiple of 16; a host answers with error 0x0E.
    pub fn capabilities(&self) -> Result<Option<Vec<Uuid>>, DecodeError> {
        let Some(list) = self.tlvs.first(CAPABILITIES) else {
            return Ok(None);
        };
        let mut reader = Reader::new(list, "capabilities");
        let mut capabilities = Vec::new();
        while !reader.is_empty() {
            capabilities.push(Uuid::from_bytes(reader.array()?));
        }
        Ok(Some(capabilities))
    }
}

/// User info blocks back to back: 0x0001/0x000F (oneself, then maybe one for each session), 0x0003/0x000B (arrived),
/// 0x0003/0x000C (departed).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserList {
    /// In the order of the wire.
    pub users: Vec<UserInfo>,
}

impl UserList {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Missing`] if no block is there, else what is wrong with one.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "user info");
        let mut users = Vec::new();
        while !reader.is_empty() {
            users.push(UserInfo::decode(&mut reader, body)?);
        }
        if users.is_empty() {
            return Err(DecodeError::Missing { what: "user info" });
        }
        Ok(Self { users })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for user in &self.users {
            user.encode(&mut out);
        }
        out.freeze()
    }
}

/// 0x0004/0x0002 from a client and 0x0004/0x0005 from a host, 16 bytes.
///
/// `[channel or slots: u16][flags: u32][longest message: u16][warning of senders: u16][own warning: u16][pause in ms: u32]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcbmParameters {
    /// From a client: which channel, 0 for all. From a host: how many there are.
    pub channel: u16,
    /// 0x001 messages allowed, 0x002 missed-call notices, 0x008 typing events, 0x100 offline messages.
    pub flags: u32,
    /// Longest message that may come in, in bytes.
    pub incoming_max: u16,
    /// Highest warning level of a sender, tenths of a percent.
    pub source_warning_max: u16,
    /// Highest warning level of the recipient, tenths of a percent.
    pub destination_warning_max: u16,
    /// Shortest time between two messages, in milliseconds.
    pub interval_min_ms: u32,
    /// Bytes behind; none in any frame seen so far.
    pub trailing: Bytes,
}

impl IcbmParameters {
    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] below 16 bytes.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "ICBM parameters");
        Ok(Self {
            channel: reader.u16()?,
            flags: reader.u32()?,
            incoming_max: reader.u16()?,
            source_warning_max: reader.u16()?,
            destination_warning_max: reader.u16()?,
            interval_min_ms: reader.u32()?,
            trailing: body.slice_ref(reader.rest()),
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(self.channel);
        out.put_u32(self.flags);
        out.put_u16(self.incoming_max);
        out.put_u16(self.source_warning_max);
        out.put_u16(self.destination_warning_max);
        out.put_u32(self.interval_min_ms);
        out.put_slice(&self.trailing);
        out.freeze()
    }
}
