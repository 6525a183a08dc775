//! A [`Signal`]: one message of a rendezvous channel, whatever carries it.
//!
//! `[kind: u8][rest]`, with kind 0x06 = a rendezvous block, 0x0B = a client error `[cookie][code: u16][info]`. Over OSCAR the first
//! is an ICBM of channel 2 (0x0004/0x0006 out, 0x0004/0x0007 in), the second 0x0004/0x000B.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::Reader;
use super::error::DecodeError;
use super::icbm::{self, ClientErrorCode};
use super::rendezvous::{Cookie, Message, NakCode};

const RENDEZVOUS: u8 = 0x06;
const CLIENT_ERROR: u8 = 0x0B;

/// One message of a rendezvous channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Propose, cancel or accept.
    Rendezvous(Message),
    /// The peer refuses a message of ours. Answered by nothing.
    ClientError {
        /// Of the refused message; zero from AIM for Windows.
        cookie: Cookie,
        /// See [`ClientErrorCode`].
        code: u16,
        /// With code 3: the NAK.
        info: Bytes,
    },
}

impl Signal {
    /// A refusal with a NAK.
    pub fn client_error(cookie: Cookie, nak: NakCode) -> Self {
        Self::ClientError {
            cookie,
            code: ClientErrorCode::CHANNEL_SPECIFIC.0,
            info: icbm::nak_info(nak),
        }
    }

    /// Reads a signal.
    ///
    /// # Errors
    /// [`DecodeError::BadValue`] for another kind, else what is wrong with the content.
    pub fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&body, "signal");
        match reader.u8()? {
            RENDEZVOUS => Message::decode(body.slice_ref(reader.rest())).map(Self::Rendezvous),
            CLIENT_ERROR => Ok(Self::ClientError {
                cookie: Cookie(reader.array()?),
                code: reader.u16()?,
                info: body.slice_ref(reader.rest()),
            }),
            other => Err(DecodeError::BadValue {
                what: "kind of signal",
                value: other.into(),
            }),
        }
    }

    /// The bytes of the signal.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Rendezvous(message) => {
                out.put_u8(RENDEZVOUS);
                out.put_slice(&message.encode());
            }
            Self::ClientError { cookie, code, info } => {
                out.put_u8(CLIENT_ERROR);
                out.put_slice(&cookie.0);
                out.put_u16(*code);
                out.put_slice(info);
            }
        }
        out.freeze()
    }

    /// The conversation that it belongs to.
    pub fn cookie(&self) -> Cookie {
        match self {
            Self::Rendezvous(message) => message.cookie,
            Self::ClientError { cookie, .. } => *cookie,
        }
    }

    /// The NAK of a client error; none if the peer did not say.
    pub fn nak(&self) -> Option<NakCode> {
        match self {
            Self::Rendezvous(_) => None,
            Self::ClientError { code, info, .. } => icbm::nak_from(ClientErrorCode(*code), info),
        }
    }
}
