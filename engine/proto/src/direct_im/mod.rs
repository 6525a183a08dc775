//! One direct IM: which frame means what, and who proves what to whom.
//!
//! ```text
//! connector ── frame with the cookie, flags 0x60 ──▶ listener       the connector shows the cookie at once
//! connector ◀── the same kind of frame ───────────── listener       the listener answers to any first frame with the cookie
//! connector ◀──────── messages, typing ────────────▶ listener       until one side closes; there is no farewell
//! ```
//! A [`DirectIm`] takes the bytes of the connection and yields [`Event`]s; what is to be sent it hands out as bytes. It knows no
//! time: [`DirectIm::stage`] tells what is being waited for.

mod message;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

pub use crate::wire::odc::markup::plain_text;
pub use crate::wire::odc::payload::PayloadFault;
pub use message::{Image, Message, Received};

use crate::limits;
use crate::wire::error::{DecodeError, EncodeError};
use crate::wire::odc::payload::PayloadDecoder;
use crate::wire::odc::{Flags, Header};
use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;

/// What a user is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// Typing.
    Typing,
    /// Has typed something, and paused.
    Typed,
    /// Has erased what was typed, or has nothing to say.
    Stopped,
}

impl Typing {
    fn flags(self) -> Flags {
        Flags::TYPING_PACKET
            | match self {
                Self::Typing => Flags::TYPING,
                Self::Typed => Flags::TYPED,
                Self::Stopped => Flags::default(),
            }
    }

    fn of(flags: Flags) -> Option<Self> {
        match flags {
            flags if !flags.contains(Flags::TYPING_PACKET) => None,
            flags if flags.contains(Flags::TYPING) => Some(Self::Typing),
            flags if flags.contains(Flags::TYPED) => Some(Self::Typed),
            _ => Some(Self::Stopped),
        }
    }
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Listener only, first and once: the other end knows the cookie. The bytes go out before anything else.
    Confirmed(Bytes),
    /// What the other user is doing.
    Typing(Typing),
    /// A message.
    Message(Received),
}

/// Why the connection is to be closed. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A frame carries another cookie: the other end is a stranger.
    #[error("the other end does not know the cookie")]
    WrongCookie,
    /// A payload over 50 MiB.
    #[error("a message of {length} bytes, allowed are {max}")]
    TooLong {
        /// What was announced, in bytes.
        length: u32,
        /// The limit, in bytes.
        max: usize,
    },
    /// These are no frames of a direct IM.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The next frame, which may take hours.
    Between,
    /// The rest of a header.
    Header,
    /// The rest of a payload.
    Payload {
        /// All of it, in bytes; at most 50 MiB.
        length: u32,
        /// What has not arrived yet, in bytes.
        left: u32,
    },
}

/// One end of a direct IM.
#[derive(Debug)]
pub struct DirectIm {
    cookie: Cookie,
    local: ScreenName,
    confirmed: bool,
    state: State,
    header_begun: bool,
    headers: u64,
}

#[derive(Debug)]
enum State {
    Header,
    Payload {
        automatic: bool,
        length: u32,
        decoder: PayloadDecoder,
    },
    /// The payload of a frame that means nothing to us.
    Skipping {
        length: u32,
        left: u32,
    },
}

impl DirectIm {
    /// The end that dialled, or joined at the relay, and the frame that it sends at once.
    #[must_use]
    pub fn connector(cookie: Cookie, local: ScreenName) -> (Self, Bytes) {
        let machine = Self::new(cookie, local, true);
        let hello = machine.bare(Flags::CONFIRMS_COOKIE);
        (machine, hello)
    }

    /// The end that was dialled. Nothing may be sent before [`Event::Confirmed`].
    #[must_use]
    pub fn listener(cookie: Cookie, local: ScreenName) -> Self {
        Self::new(cookie, local, false)
    }

    fn new(cookie: Cookie, local: ScreenName, confirmed: bool) -> Self {
        Self {
            cookie,
            local,
            confirmed,
            state: State::Header,
            header_begun: false,
            headers: 0,
        }
    }

    /// Takes bytes from the front of `arrived` until something has happened. `None`: more of them are needed, all that is there
    /// was taken but the start of a header, which is at most 65,535 bytes long.
    ///
    /// # Errors
    /// [`Fault`]: close the connection.
    pub fn handle(&mut self, arrived: &mut BytesMut) -> Result<Option<Event>, Fault> {
        loop {
            let event = match &mut self.state {
                State::Header => {
                    let Some(header) = Header::decode(arrived)? else {
                        self.header_begun = !arrived.is_empty();
                        return Ok(None);
                    };
                    self.header_begun = false;
                    self.headers += 1;
                    self.begin(&header)?
                }
                State::Payload { decoder, .. } => {
                    decoder.push(arrived);
                    if decoder.left() > 0 {
                        return Ok(None);
                    }
                    self.message()
                }
                State::Skipping { left, .. } => {
                    let there = u32::try_from(arrived.len()).unwrap_or(u32::MAX);
                    let skipped = there.min(*left);
                    let _ = arrived.split_to(skipped as usize);
                    *left -= skipped;
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Header;
                    None
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// A header is there.
    fn begin(&mut self, header: &Header) -> Result<Option<Event>, Fault> {
        let length = header.payload_len;
        let (left, max) = (length, limits::ODC_PAYLOAD);
        if length as usize > max {
            return Err(Fault::TooLong { length, max });
        }
        if !header.is_known() {
            self.state = State::Skipping { length, left };
            return Ok(None);
        }
        if header.cookie != self.cookie {
            return Err(Fault::WrongCookie);
        }
        if length > 0 {
            self.state = State::Payload {
                automatic: header.flags.contains(Flags::AUTO_RESPONSE),
                length,
                decoder: PayloadDecoder::new(length, header.charset),
            };
        }
        if !std::mem::replace(&mut self.confirmed, true) {
            // What else the frame says, it says in its payload.
            return Ok(Some(Event::Confirmed(self.bare(Flags::CONFIRMS_COOKIE))));
        }
        let bare = length == 0 && !header.flags.confirms_cookie();
        Ok(Typing::of(header.flags).filter(|_| bare).map(Event::Typing))
    }

    /// A payload is whole.
    fn message(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.state, State::Header) {
            State::Payload {
                automatic, decoder, ..
            } => {
                let received = Received::new(decoder.finish(), automatic);
                Some(Event::Message(received))
            }
            _ => None,
        }
    }

    /// What is being waited for.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::Header if self.header_begun => Stage::Header,
            State::Header => Stage::Between,
            State::Payload {
                length, decoder, ..
            } => Stage::Payload {
                length: *length,
                left: decoder.left(),
            },
            State::Skipping { length, left } => Stage::Payload {
                length: *length,
                left: *left,
            },
        }
    }

    /// Headers that have arrived so far: tells whether it is still the same one, or payload, that is being waited for.
    #[must_use]
    pub fn headers(&self) -> u64 {
        self.headers
    }

    /// The bytes of a message, in pieces that are to be written one after the other: header and text stand in the first.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] for more than 64 images or 50 MiB, [`EncodeError::Marker`] for HTML that holds `<BINARY>`.
    pub fn message_bytes(&self, message: &Message) -> Result<Vec<Bytes>, EncodeError> {
        let flags = match message.is_automatic() {
            true => Flags::AUTO_RESPONSE,
            false => Flags::default(),
        };
        let (charset, mut pieces) = message.encode()?;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let header = Header {
            payload_len: u32::try_from(length).expect("invariant: a payload has at most 50 MiB"),
            charset,
            ..Header::new(self.cookie, &self.local, flags)
        };
        let mut first = BytesMut::new();
        header.encode(&mut first);
        if let Some(text) = pieces.first_mut() {
            first.extend_from_slice(text);
            *text = first.freeze();
        }
        Ok(pieces)
    }

    /// The bytes that tell what our user is doing.
    #[must_use]
    pub fn typing_bytes(&self, typing: Typing) -> Bytes {
        self.bare(typing.flags())
    }

    /// A frame without payload.
    fn bare(&self, flags: Flags) -> Bytes {
        let mut out = BytesMut::new();
        Header::new(self.cookie, &self.local, flags).encode(&mut out);
        out.freeze()
    }
}

#[cfg(test)]
mod tests;
