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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use crate::wire::rendezvous::CancelReason;
    use crate::wire::service::NATIVE;

    const COOKIE: Cookie = Cookie(*b"TRYST01\0");

    #[test]
    fn a_signal_is_its_kind_and_its_content() {
        let cancel = Message::cancel(COOKIE, NATIVE, CancelReason::USER);
        let bytes = hex("06 0001 5452595354303100 7d6b8a523c1e4f0a9b47d2e5610c98af 000b00020001");
        assert_eq!(Signal::Rendezvous(cancel.clone()).encode(), bytes);
        assert_eq!(Signal::decode(bytes), Ok(Signal::Rendezvous(cancel)));
        let refusal = Signal::client_error(COOKIE, NakCode::SECURITY_MISMATCH);
        let bytes = hex("0b 5452595354303100 0003 0002000a");
        assert_eq!(
            (refusal.encode(), refusal.nak()),
            (bytes.clone(), Some(NakCode::SECURITY_MISMATCH))
        );
        assert_eq!(
            Signal::decode(bytes).map(|signal| signal.cookie()),
            Ok(COOKIE)
        );
    }

    #[test]
    fn unknown_kinds_and_cut_off_signals_are_errors() {
        let unknown = DecodeError::BadValue {
            what: "kind of signal",
            value: 7,
        };
        assert_eq!(Signal::decode(hex("07")), Err(unknown));
        for bytes in ["", "06", "0b", "0b5452595354303100 00", "060000"] {
            assert!(Signal::decode(hex(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_client_error_without_nak_is_read() {
        let silent = Signal::ClientError {
            cookie: Cookie::ZERO,
            code: 2,
            info: Bytes::new(),
        };
        assert_eq!(
            (silent.nak(), Signal::decode(silent.encode())),
            (None, Ok(silent))
        );
    }
}
