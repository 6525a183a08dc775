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
        /// Ours, as all that follow: the ticket cannot be read, or was forged.
        TICKET_FORGED = 0x5201,
        /// The ticket is of another host, or somebody else's than the session.
        TICKET_FOREIGN = 0x5202,
        /// The ticket has expired.
        TICKET_EXPIRED = 0x5203,
        /// The ticket is for another rendezvous.
        TICKET_COOKIE = 0x5204,
        /// The ticket has had its pair.
        TICKET_SPENT = 0x5205,
        /// The bytes that the ticket or its account may have carried are used up.
        BUDGET_SPENT = 0x5206,
        /// Too much is open already: of the account, of the address, or in all.
        TOO_MANY = 0x5207,
        /// The relay is about to end and begins nothing new.
        DRAINING = 0x5208,
    }
}

impl ErrorCode {
    /// Whether it is one of those that only our relays send.
    pub fn is_of_ours(self) -> bool {
        (0x5200..0x5300).contains(&self.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use crate::wire::service::SEND_FILE;

    const CREATE_BYTES: &str = "002c044a000200000000000005616c696365545259535430310000010010094613434c7f11d18222444553540000";
    const JOIN_BYTES: &str = "002c044a000400000000000003626f622337545259535430310000010010094613434c7f11d18222444553540000";

    fn name(text: &str) -> ScreenName {
        ScreenName::new(text).expect("a good name")
    }

    fn decode(bytes: &Bytes) -> Result<Option<Frame>, DecodeError> {
        Frame::decode(&mut BytesMut::from(&bytes[..]))
    }

    #[test]
    fn frames_of_both_directions_have_their_bytes() {
        let cookie = Cookie(*b"TRYST01\0");
        let tlvs = TlvList::new().with(TLV_SERVICE, SEND_FILE.as_bytes().to_vec());
        let relay = Ipv4Addr::new(198, 51, 100, 80);
        let frames = [
            (
                Command::Create {
                    name: name("alice"),
                    cookie,
                    tlvs: tlvs.clone(),
                },
                CREATE_BYTES,
            ),
            (
                Command::Created {
                    token: 0x2337,
                    ip: relay,
                },
                "0010044a00030000000002202337c6336450",
            ),
            (
                Command::Join {
                    name: name("bob"),
                    token: 0x2337,
                    cookie,
                    tlvs,
                },
                JOIN_BYTES,
            ),
            (Command::Ready, "000a044a0005000000000220"),
            (
                Command::Error(ErrorCode::BAD_REQUEST),
                "000c044a0001000000000220000d",
            ),
            (
                Command::Error(ErrorCode::NO_FIRST_COMMAND),
                "000c044a00010000000002200010",
            ),
            (
                Command::Error(ErrorCode::PEER_DID_NOT_JOIN),
                "000c044a0001000000000220001a",
            ),
        ];
        for (command, bytes) in frames {
            let frame = Frame::new(command);
            assert_eq!(frame.encode(), hex(bytes));
            assert_eq!(decode(&hex(bytes)), Ok(Some(frame)));
        }
    }

    #[test]
    fn t_15_the_length_is_10_to_1024() {
        for length in [0, 9, 1_025, 65_535] {
            let refused = DecodeError::BadLength {
                what: "ARS frame",
                length: usize::from(length),
                min: 10,
                max: 1_024,
            };
            assert_eq!(
                decode(&u16::to_be_bytes(length).to_vec().into()),
                Err(refused),
                "before more arrives"
            );
        }
        let longest = Frame::new(Command::Unknown {
            command: 7,
            data: vec![0; 1_014].into(),
        });
        assert_eq!(decode(&longest.encode()), Ok(Some(longest)));
    }

    #[test]
    fn t_15_another_version_is_refused_as_soon_as_it_is_seen() {
        let refused = DecodeError::UnsupportedVersion {
            what: "ARS frame",
            version: 0x044B,
        };
        assert_eq!(decode(&hex("000a044b")), Err(refused));
    }

    #[test]
    fn t_15_bytes_behind_ready_stay_in_the_buffer() {
        let mut buffer = BytesMut::from(&hex("000a044a0005000000000220 4f465432")[..]);
        assert!(matches!(
            Frame::decode(&mut buffer),
            Ok(Some(Frame {
                command: Command::Ready,
                ..
            }))
        ));
        assert_eq!(&buffer[..], b"OFT2");
    }

    #[test]
    fn a_frame_in_pieces_is_waited_for() {
        let whole = hex(CREATE_BYTES);
        for length in 0..whole.len() {
            assert_eq!(decode(&whole.slice(..length)), Ok(None), "{length}");
        }
    }

    #[test]
    fn unknown_commands_reserved_bytes_and_flags_survive() {
        for bytes in [
            "000c044a 0042 12345678 abcd cafe",
            "0010044a 0005 00000000 0220 aabbccddeeff",
            "000e044a 0001 00000000 0220 000e ffff",
        ] {
            let frame = decode(&hex(bytes))
                .expect("a good frame")
                .expect("all of it");
            assert_eq!(frame.encode(), hex(bytes));
        }
    }

    #[test]
    fn a_command_that_is_cut_off_inside_is_malformed() {
        for bytes in [
            "000a044a0001000000000220",
            "000e044a0003000000000220 2337c633",
            "000b044a00020000000000 00 05",
        ] {
            assert!(decode(&hex(bytes)).is_err(), "{bytes}");
        }
    }
}
