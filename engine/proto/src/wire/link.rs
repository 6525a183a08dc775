//! Frames of a link: what travels over a lane after both sides proved themselves.
//!
//! `[length of type and payload: u32, 1 byte to 1 MiB][type: u8][payload]`. Types below 0x20 control the link, those above belong to
//! what uses it. A transfer is in the payloads of STREAM, which have at most 256 KiB each; its own frames look like these, and
//! have types of 0x20 and more, and PING, PONG and ABORT of their own.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::codec::{Reader, wire_enum};
use super::error::{DecodeError, EncodeError};
use crate::limits;

/// Bytes in front of the payload.
pub const HEADER_LEN: usize = 5;
/// First type that does not belong to the link.
pub const FIRST_APPLICATION_TYPE: u8 = 0x20;

wire_enum! {
    /// What a frame is. The link's own ones; the others are defined by what uses it.
    pub struct FrameType(u8) {
        /// First frame of the lane that the controller chose.
        USE = 0x01,
        /// The sender gives up.
        ABORT = 0x02,
        /// Asks for an answer.
        PING = 0x03,
        /// The answer.
        PONG = 0x04,
        /// The sender of a direction has moved to another lane.
        MOVED = 0x05,
        /// Where in the stream the next byte on this lane stands.
        FROM = 0x06,
        /// The receiver of a direction misses what a lost lane had.
        RESUME = 0x07,
        /// Bytes of the stream.
        STREAM = 0x08,
        /// What the receiver of a direction has.
        STREAM_ACK = 0x09,
        /// The stream ends here.
        FIN = 0x0A,
    }
}

impl FrameType {
    /// Whether the link itself handles the frame.
    pub fn is_control(self) -> bool {
        self.0 < FIRST_APPLICATION_TYPE
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameType,
    /// At most 1 MiB less one byte.
    pub payload: Bytes,
}

impl Frame {
    /// Reads the header alone, for those who read payloads on their own: the type and the payload's length in bytes.
    ///
    /// # Errors
    /// [`DecodeError::BadLength`] outside of 1 to 1,048,576.
    pub fn decode_header(header: [u8; HEADER_LEN]) -> Result<(FrameType, usize), DecodeError> {
        let [length @ .., kind] = header;
        let announced = u32::from_be_bytes(length);
        let max = limits::LINK_FRAME;
        match usize::try_from(announced).unwrap_or(usize::MAX) {
            length @ 1.. if length <= max => Ok((FrameType(kind), length - 1)),
            length => Err(DecodeError::BadLength {
                what: "link frame",
                length,
                min: 1,
                max,
            }),
        }
    }

    /// The header of a frame, for those who write payloads on their own.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] if the payload has more than 1 MiB less one byte.
    pub fn encode_header(
        kind: FrameType,
        payload_len: usize,
    ) -> Result<[u8; HEADER_LEN], EncodeError> {
        let max = limits::LINK_FRAME - 1;
        let length = u32::try_from(payload_len)
            .ok()
            .filter(|_| payload_len <= max);
        let length = length.ok_or(EncodeError::TooLong {
            what: "link frame",
            length: payload_len,
            max,
        })?;
        let [a, b, c, d] = (length + 1).to_be_bytes();
        Ok([a, b, c, d, kind.0])
    }

    /// Takes the next frame from the front of `buffer`, or nothing until all of it is there.
    ///
    /// # Errors
    /// As [`Frame::decode_header`]: close the lane.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let Some(&header) = buffer.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let (kind, length) = Self::decode_header(header)?;
        if buffer.len() - HEADER_LEN < length {
            return Ok(None);
        }
        buffer.advance(HEADER_LEN);
        Ok(Some(Self {
            kind,
            payload: buffer.split_to(length).freeze(),
        }))
    }

    /// Appends the frame.
    ///
    /// # Errors
    /// As [`Frame::encode_header`]; nothing is written then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_slice(&Self::encode_header(self.kind, self.payload.len())?);
        out.put_slice(&self.payload);
        Ok(())
    }
}

/// What a control frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// This lane is the one. The controller's first frame on it. `[number: u32]`: rises with each lane that it chooses; words on
    /// different lanes may overtake each other, and the highest counts.
    Use(u32),
    /// The sender gives up. `[reason: u16][UTF-8 text, at most 200 bytes]`
    Abort {
        /// A cancel reason, or a code of what uses the link.
        reason: u16,
        /// Foreign text.
        text: String,
    },
    /// Asks for an answer. `[any number: u64]`
    Ping(u64),
    /// The answer, with the same number.
    Pong(u64),
    /// The stream goes on elsewhere: this lane had its bytes up to this one, which is the first that it does not have. `[byte: u64]`
    Moved(u64),
    /// The next byte of STREAM on this lane is this one. `[byte: u64]`
    From(u64),
    /// The receiver has everything below this byte and misses it: go on from there, on this lane. `[byte: u64]`
    Resume(u64),
    /// The receiver has everything below this byte; FIN counts as one. `[byte: u64]`
    Ack(u64),
    /// The stream has so many bytes, and all of them went out. `[bytes: u64]`
    Fin(u64),
}

impl Control {
    /// Reads a control frame; none if its type is not one of the link's known ones. Those below 0x20 are to be ignored then.
    ///
    /// # Errors
    /// What is wrong with the payload. Bytes behind it are ignored.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(&frame.payload, "link control frame");
        Ok(Some(match frame.kind {
            FrameType::USE => Self::Use(reader.u32()?),
            FrameType::ABORT => {
                let reason = reader.u16()?;
                let text = reader.rest();
                if text.len() > limits::ABORT_TEXT {
                    let (length, max) = (text.len(), limits::ABORT_TEXT);
                    return Err(DecodeError::BadLength {
                        what: "abort text",
                        length,
                        min: 0,
                        max,
                    });
                }
                let text = std::str::from_utf8(text)
                    .map_err(|_| DecodeError::NotText { what: "abort text" })?;
                Self::Abort {
                    reason,
                    text: text.to_owned(),
                }
            }
            FrameType::PING => Self::Ping(reader.u64()?),
            FrameType::PONG => Self::Pong(reader.u64()?),
            FrameType::MOVED => Self::Moved(reader.u64()?),
            FrameType::FROM => Self::From(reader.u64()?),
            FrameType::RESUME => Self::Resume(reader.u64()?),
            FrameType::STREAM_ACK => Self::Ack(reader.u64()?),
            FrameType::FIN => Self::Fin(reader.u64()?),
            _ => return Ok(None),
        }))
    }

    /// The frame that says it. The text of an abort is cut at 200 bytes.
    pub fn to_frame(&self) -> Frame {
        let (kind, payload) = match self {
            Self::Use(number) => (
                FrameType::USE,
                Bytes::copy_from_slice(&number.to_be_bytes()),
            ),
            Self::Abort { reason, text } => {
                let mut payload = BytesMut::from(&reason.to_be_bytes()[..]);
                payload.put_slice(&text.as_bytes()[..text.floor_char_boundary(limits::ABORT_TEXT)]);
                (FrameType::ABORT, payload.freeze())
            }
            Self::Ping(number) => (FrameType::PING, number_payload(*number)),
            Self::Pong(number) => (FrameType::PONG, number_payload(*number)),
            Self::Moved(byte) => (FrameType::MOVED, number_payload(*byte)),
            Self::From(byte) => (FrameType::FROM, number_payload(*byte)),
            Self::Resume(byte) => (FrameType::RESUME, number_payload(*byte)),
            Self::Ack(byte) => (FrameType::STREAM_ACK, number_payload(*byte)),
            Self::Fin(byte) => (FrameType::FIN, number_payload(*byte)),
        };
        Frame { kind, payload }
    }
}

fn number_payload(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    fn decode(bytes: &str) -> Result<Option<Frame>, DecodeError> {
        Frame::decode(&mut BytesMut::from(&hex(bytes)[..]))
    }

    fn bytes(frame: &Frame) -> BytesMut {
        let mut out = BytesMut::new();
        frame.encode(&mut out).expect("it fits");
        out
    }

    #[test]
    fn control_frames_have_their_bytes() {
        let frames = [
            (Control::Use(1), "0000000501 00000001"),
            (
                Control::Abort {
                    reason: 1,
                    text: "no".into(),
                },
                "0000000502 0001 6e6f",
            ),
            (Control::Ping(7), "0000000903 0000000000000007"),
            (Control::Pong(7), "0000000904 0000000000000007"),
            (Control::Moved(1), "0000000905 0000000000000001"),
            (Control::From(2), "0000000906 0000000000000002"),
            (Control::Resume(3), "0000000907 0000000000000003"),
            (Control::Ack(4), "0000000909 0000000000000004"),
            (Control::Fin(5), "000000090a 0000000000000005"),
        ];
        for (control, expected) in frames {
            assert_eq!(bytes(&control.to_frame()), hex(expected));
            let frame = decode(expected).expect("a good frame").expect("all of it");
            assert!(frame.kind.is_control());
            assert_eq!(Control::decode(&frame), Ok(Some(control)));
        }
    }

    #[test]
    fn frames_of_others_are_passed_on() {
        let frame = decode("0000000320cafe")
            .expect("a good frame")
            .expect("all of it");
        assert_eq!(
            (frame.kind, frame.kind.is_control()),
            (FrameType(0x20), false)
        );
        assert_eq!(
            (Control::decode(&frame), bytes(&frame)),
            (Ok(None), BytesMut::from(&hex("0000000320cafe")[..]))
        );
    }

    #[test]
    fn t_18_a_length_of_0_or_over_1_mib_is_refused_before_the_payload_arrives() {
        for (header, length) in [
            ("0000000000", 0),
            ("0010000120", 1_048_577),
            ("ffffffff20", 0xFFFF_FFFF),
        ] {
            let refused = DecodeError::BadLength {
                what: "link frame",
                length,
                min: 1,
                max: 1_048_576,
            };
            assert_eq!(decode(header), Err(refused));
        }
        assert_eq!(decode("0010000020"), Ok(None), "1 MiB is waited for");
    }

    #[test]
    fn a_payload_over_1_mib_is_not_sent() {
        let largest = limits::LINK_FRAME - 1;
        assert_eq!(
            Frame::encode_header(FrameType(0x20), largest),
            Ok([0, 0x10, 0, 0, 0x20])
        );
        let refused = EncodeError::TooLong {
            what: "link frame",
            length: largest + 1,
            max: largest,
        };
        assert_eq!(
            Frame::encode_header(FrameType(0x20), largest + 1),
            Err(refused)
        );
    }

    #[test]
    fn the_text_of_an_abort_is_at_most_200_bytes() {
        let long = Control::Abort {
            reason: 0,
            text: "é".repeat(101),
        };
        let sent = long.to_frame();
        assert_eq!(sent.payload.len(), 2 + 200);
        assert_eq!(
            Control::decode(&sent),
            Ok(Some(Control::Abort {
                reason: 0,
                text: "é".repeat(100)
            }))
        );
        let received = Frame {
            kind: FrameType::ABORT,
            payload: vec![b'a'; 203].into(),
        };
        assert!(matches!(
            Control::decode(&received),
            Err(DecodeError::BadLength {
                length: 201,
                max: 200,
                ..
            })
        ));
        let noise = Frame {
            kind: FrameType::ABORT,
            payload: vec![0, 0, 0xFF].into(),
        };
        assert_eq!(
            Control::decode(&noise),
            Err(DecodeError::NotText { what: "abort text" })
        );
    }
}
