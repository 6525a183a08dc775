//! ARS: the frames by which two clients meet at a relay. After READY the relay copies bytes.
//!
//! `[length of what follows: u16][version: u16 = 0x044A][command: u16][reserved: u32][flags: u16][data]`
//!
//! Commands are odd from the relay and even from a client.

use std::net::Ipv4Addr;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::codec::{Reader, wire_enum};
use super::error::DecodeError;
use super::rendezvous::Cookie;
use super::text::ScreenName;
use super::tlv::TlvList;
use crate::limits;

/// The version in every frame.
pub const VERSION: u16 = 0x044A;
/// Flags of a frame from the relay.
pub const FLAGS_RELAY: u16 = 0x0220;
/// Flags of a frame from a client.
pub const FLAGS_CLIENT: u16 = 0x0000;
/// TLV of create and join: the service UUID.
pub const TLV_SERVICE: u16 = 0x0001;
/// TLV of create and join: the ticket from the host, at most 512 bytes. Ours only.
pub const TLV_TICKET: u16 = 0x0002;

const ERROR: u16 = 1;
const CREATE: u16 = 2;
const CREATED: u16 = 3;
const JOIN: u16 = 4;
const READY: u16 = 5;

wire_enum! {
    /// Why a relay refuses.
    pub struct ErrorCode(u16) {
        /// Bad request: wrong token or cookie, or no free place.
        BAD_REQUEST = 0x000D,
        /// The frame could not be read.
        MALFORMED = 0x000E,
        /// The first command did not come in time.
        NO_FIRST_COMMAND = 0x0010,
        /// The peer did not join in time.
        PEER_DID_NOT_JOIN = 0x001A,
        /// Invalid data.
        INVALID_DATA = 0x001C,
    }
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// The relay refuses; the connection ends.
    Error(ErrorCode),
    /// A client opens a session. `[name: string08][cookie][TLVs]`
    Create {
        /// The client's own name; proves nothing.
        name: ScreenName,
        /// Cookie of the rendezvous (native: a random one of its own).
        cookie: Cookie,
        /// See [`TLV_SERVICE`] and [`TLV_TICKET`].
        tlvs: TlvList,
    },
    /// The session is open. `[token: u16][ip: u32]`
    Created {
        /// What the peer must name to join.
        token: u16,
        /// Where the peer must connect to, port 5190; 0.0.0.0 where only native peers are expected.
        ip: Ipv4Addr,
    },
    /// The other client joins. `[name: string08][token: u16][cookie][TLVs]`
    Join {
        /// The client's own name; proves nothing.
        name: ScreenName,
        /// From [`Command::Created`].
        token: u16,
        /// As in [`Command::Create`].
        cookie: Cookie,
        /// As in [`Command::Create`].
        tlvs: TlvList,
    },
    /// Both are there; sent to both. What follows is the peer's.
    Ready,
    /// A command that we do not know. Ignore odd ones; a relay answers even ones with [`ErrorCode::BAD_REQUEST`].
    Unknown {
        /// The command's number.
        command: u16,
        /// Its data.
        data: Bytes,
    },
}

impl Command {
    /// The command's number.
    pub fn number(&self) -> u16 {
        match self {
            Self::Error(_) => ERROR,
            Self::Create { .. } => CREATE,
            Self::Created { .. } => CREATED,
            Self::Join { .. } => JOIN,
            Self::Ready => READY,
            Self::Unknown { command, .. } => *command,
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Sent as 0 and ignored.
    pub reserved: u32,
    /// [`FLAGS_RELAY`] or [`FLAGS_CLIENT`]; ignored.
    pub flags: u16,
    /// What it says.
    pub command: Command,
    /// Bytes behind a command of fixed size; none in any frame seen so far.
    pub trailing: Bytes,
}

impl Frame {
    /// A frame with the flags that go with the direction of the command.
    pub fn new(command: Command) -> Self {
        let flags = if command.number() % 2 == 1 {
            FLAGS_RELAY
        } else {
            FLAGS_CLIENT
        };
        Self {
            reserved: 0,
            flags,
            command,
            trailing: Bytes::new(),
        }
    }

    /// Takes the next frame from the front of `buffer`, or nothing until all of it is there. Bytes behind it stay in the
    /// buffer: behind [`Command::Ready`] they are the peer's.
    ///
    /// # Errors
    /// [`DecodeError::BadLength`] outside of 10 to 1,024, [`DecodeError::UnsupportedVersion`], or what is wrong with the command: close
    /// the connection.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let &[high, low, ref rest @ ..] = &buffer[..] else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (min, max) = (limits::ARS_LENGTH_MIN, limits::ARS_LENGTH_MAX);
        if !(min..=max).contains(&length) {
            return Err(DecodeError::BadLength {
                what: "ARS frame",
                length,
                min,
                max,
            });
        }
        if let &[high, low, ..] = rest {
            let version = u16::from_be_bytes([high, low]);
            if version != VERSION {
                return Err(DecodeError::UnsupportedVersion {
                    what: "ARS frame",
                    version,
                });
            }
        }
        if rest.len() < length {
            return Ok(None);
        }
        buffer.advance(2);
        Self::decode_whole(buffer.split_to(length).freeze()).map(Some)
    }

    /// The bytes of the frame, length field included.
    ///
    /// # Panics
    /// Above 65,535 bytes: names, tickets and UUIDs, of which it is made, have limits of their own.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16(0);
        out.put_u16(VERSION);
        out.put_u16(self.command.number());
        out.put_u32(self.reserved);
        out.put_u16(self.flags);
        match &self.command {
            Command::Error(code) => out.put_u16(code.0),
            Command::Create { name, cookie, tlvs } => {
                name.encode(&mut out);
                out.put_slice(&cookie.0);
                tlvs.encode_rest(&mut out);
            }
            Command::Created { token, ip } => {
                out.put_u16(*token);
                out.put_u32(ip.to_bits());
            }
            Command::Join {
                name,
                token,
                cookie,
                tlvs,
            } => {
                name.encode(&mut out);
                out.put_u16(*token);
                out.put_slice(&cookie.0);
                tlvs.encode_rest(&mut out);
            }
            Command::Ready => {}
            Command::Unknown { data, .. } => out.put_slice(data),
        }
        out.put_slice(&self.trailing);
        let length = u16::try_from(out.len() - 2).expect("an ARS frame is made of limited parts");
        out[..2].copy_from_slice(&length.to_be_bytes());
        out.freeze()
    }

    fn decode_whole(frame: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&frame, "ARS frame");
        let _version = reader.u16()?;
        let number = reader.u16()?;
        let reserved = reader.u32()?;
        let flags = reader.u16()?;
        let command = match number {
            ERROR => Command::Error(ErrorCode(reader.u16()?)),
            CREATE => Command::Create {
                name: ScreenName::decode(&mut reader)?,
                cookie: Cookie(reader.array()?),
                tlvs: TlvList::decode_rest(frame.slice_ref(reader.rest()))?,
            },
            CREATED => Command::Created {
                token: reader.u16()?,
                ip: Ipv4Addr::from_bits(reader.u32()?),
            },
            JOIN => Command::Join {
                name: ScreenName::decode(&mut reader)?,
                token: reader.u16()?,
                cookie: Cookie(reader.array()?),
                tlvs: TlvList::decode_rest(frame.slice_ref(reader.rest()))?,
            },
            READY => Command::Ready,
            command => Command::Unknown {
                command,
                data: frame.slice_ref(reader.rest()),
            },
        };
        Ok(Self {
            reserved,
            flags,
            command,
            trailing: frame.slice_ref(reader.rest()),
        })
    }
}
