//! What users say about themselves, and what a client accepts: foodgroups 0x0002 to 0x0004.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::bucp::tlv_body;
use crate::wire::codec::Reader;
use crate::wire::error::DecodeError;
use crate::wire::icbm::UserInfo;
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

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
            tlvs: TlvList::new().with(locate_tlv::CAPABILITIES, list),
        }
    }

    /// The new set of capabilities, repetitions included; none if it stays as it was.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if the length is no multiple of 16; a host answers with error 0x0E.
    pub fn capabilities(&self) -> Result<Option<Vec<Uuid>>, DecodeError> {
        let Some(list) = self.tlvs.first(locate_tlv::CAPABILITIES) else {
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

/// TLVs of 0x0002/0x0004 and 0x0002/0x0006.
pub mod locate_tlv {
    /// MIME type of the profile.
    pub const PROFILE_MIME: u16 = 0x0001;
    /// Profile.
    pub const PROFILE: u16 = 0x0002;
    /// MIME type of the away text.
    pub const AWAY_MIME: u16 = 0x0003;
    /// Away text; empty: back.
    pub const AWAY: u16 = 0x0004;
    /// Capabilities, 16 bytes each.
    pub const CAPABILITIES: u16 = 0x0005;
}

/// 0x0002/0x0005 and 0x0002/0x0015, a client asks about a user.
///
/// The first form is `[kind: u16][name: string08]`, the second `[flags: u32][name: string08]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoQuery {
    /// Bits of the second form: 1 profile, 2 away text, 4 capabilities.
    pub wants: u32,
    /// About whom.
    pub name: ScreenName,
}

impl InfoQuery {
    /// The profile is wanted.
    pub const PROFILE: u32 = 1;
    /// The away text is wanted.
    pub const AWAY: u32 = 2;
    /// The capabilities are wanted.
    pub const CAPABILITIES: u32 = 4;

    /// Reads a body of the first form.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode_kind(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "info query");
        let wants = match reader.u16()? {
            1 => Self::PROFILE,
            3 => Self::AWAY,
            4 => Self::CAPABILITIES,
            _ => 0,
        };
        Ok(Self {
            wants,
            name: ScreenName::decode(&mut reader)?,
        })
    }

    /// Reads a body of the second form.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode_flags(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "info query");
        Ok(Self {
            wants: reader.u32()?,
            name: ScreenName::decode(&mut reader)?,
        })
    }

    /// A body of the first form that asks for capabilities.
    pub fn encode_capabilities(name: &ScreenName) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(4);
        name.encode(&mut out);
        out.freeze()
    }
}

/// 0x0002/0x0006: `[user info][TLVs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoReply {
    /// The user, with capabilities.
    pub user: UserInfo,
    /// See [`locate_tlv`].
    pub tlvs: TlvList,
}

impl InfoReply {
    /// Reads a body.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, "info reply");
        Ok(Self {
            user: UserInfo::decode(&mut reader, body)?,
            tlvs: TlvList::decode_rest(body.slice_ref(reader.rest()))?,
        })
    }

    /// The body's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.user.encode(&mut out);
        self.tlvs.encode_rest(&mut out);
        out.freeze()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use crate::wire::service::{NATIVE, SEND_FILE};

    #[test]
    fn capabilities_are_written_and_read_in_order() {
        let info = LocateInfo::of_capabilities(&[NATIVE, SEND_FILE]);
        assert_eq!(info.capabilities(), Ok(Some(vec![NATIVE, SEND_FILE])));
        assert_eq!(LocateInfo::default().capabilities(), Ok(None));
    }

    #[test]
    fn capabilities_of_an_odd_length_are_malformed() {
        let info = LocateInfo::decode(&hex("0005000100")).expect("a good body");
        assert!(info.capabilities().is_err());
    }

    #[test]
    fn a_user_list_has_at_least_one_user() {
        let body = hex("05616c696365 0000 0001 000100020010");
        let list = UserList::decode(&body).expect("a good list");
        assert_eq!(
            (list.users.len(), list.users[0].name.as_str()),
            (1, "alice")
        );
        assert_eq!(list.encode(), body);
        assert_eq!(
            UserList::decode(&Bytes::new()),
            Err(DecodeError::Missing { what: "user info" })
        );
    }

    #[test]
    fn a_user_is_asked_about_in_two_forms() {
        let asked = InfoQuery {
            wants: InfoQuery::CAPABILITIES,
            name: ScreenName::new("bob").expect("a good name"),
        };
        let first = InfoQuery::encode_capabilities(&asked.name);
        assert_eq!(first, hex("0004 03626f62"));
        assert_eq!(InfoQuery::decode_kind(&first), Ok(asked.clone()));
        assert_eq!(
            InfoQuery::decode_flags(&hex("00000004 03626f62")),
            Ok(asked)
        );
        assert!(InfoQuery::decode_flags(&first).is_err());
        let body = hex("03626f62 0000 0001 000100020010 000400026869");
        let reply = InfoReply::decode(&body).expect("a good reply");
        assert_eq!(reply.tlvs.first(locate_tlv::AWAY), Some(&hex("6869")));
        assert_eq!(reply.encode(), body);
    }

    #[test]
    fn icbm_parameters_are_16_bytes() {
        let body = hex("0000 0000051b 1f40 03e7 03e7 00000000");
        let parameters = IcbmParameters::decode(&body).expect("good parameters");
        assert_eq!((parameters.flags, parameters.incoming_max), (0x051B, 8_000));
        assert_eq!(parameters.encode(), body);
        assert!(IcbmParameters::decode(&body.slice(..15)).is_err());
    }
}
