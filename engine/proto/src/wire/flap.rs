//! FLAP: the frame of every connection to a host.
//!
//! `[0x2A][channel: u8][sequence: u16][length of the data: u16][data]`

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::wire_enum;
use super::error::{DecodeError, EncodeError};

/// First byte of every frame.
pub const MARKER: u8 = 0x2A;
/// Bytes in front of the data.
pub const HEADER_LEN: usize = 6;
/// Data of the first frame of either side: FLAP version 1. TLVs may follow.
pub const VERSION: [u8; 4] = [0, 0, 0, 1];

wire_enum! {
    /// What a frame carries.
    pub struct Channel(u8) {
        /// Version, then TLVs; the first frame of either side.
        SIGN_ON = 1,
        /// One SNAC.
        DATA = 2,
        /// Rare.
        ERROR = 3,
        /// End of the session; no data, or TLVs. Old hosts cut this frame to four bytes.
        SIGN_OFF = 4,
        /// No data, no answer.
        KEEP_ALIVE = 5,
    }
}

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the data is.
    pub channel: Channel,
    /// Per direction, one more with each frame of any channel, 0x0000 after 0xFFFF. Receivers do not check it.
    pub sequence: u16,
    /// At most 65,535 bytes.
    pub data: Bytes,
}

/// Shows how long the data is, not the data: passwords may be in there.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("channel", &self.channel)
            .field("sequence", &self.sequence)
            .field("bytes", &self.data.len())
            .finish()
    }
}

impl Frame {
    /// Takes the next frame from the front of `buffer`, or nothing until all of it is there.
    ///
    /// A sign-off of which the length field has not arrived is taken as it stands: old hosts send none, and nothing follows it.
    ///
    /// # Errors
    /// [`DecodeError::BadMarker`] or [`DecodeError::BadLength`] (more than `max_payload` bytes of data announced): the
    /// connection cannot be used any more.
    pub fn decode(buffer: &mut BytesMut, max_payload: usize) -> Result<Option<Self>, DecodeError> {
        match buffer.first() {
            None => return Ok(None),
            Some(&MARKER) => {}
            Some(&found) => {
                return Err(DecodeError::BadMarker {
                    what: "FLAP frame",
                    found: found.into(),
                });
            }
        }
        let &[_, channel, high, low, ref rest @ ..] = &buffer[..] else {
            return Ok(None);
        };
        let channel = Channel(channel);
        let sequence = u16::from_be_bytes([high, low]);
        let &[high, low, ref data @ ..] = rest else {
            if channel != Channel::SIGN_OFF {
                return Ok(None);
            }
            buffer.clear();
            return Ok(Some(Self {
                channel,
                sequence,
                data: Bytes::new(),
            }));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > max_payload {
            return Err(DecodeError::BadLength {
                what: "FLAP data",
                length,
                min: 0,
                max: max_payload,
            });
        }
        if data.len() < length {
            return Ok(None);
        }
        let data = buffer
            .split_to(HEADER_LEN + length)
            .freeze()
            .slice(HEADER_LEN..);
        Ok(Some(Self {
            channel,
            sequence,
            data,
        }))
    }

    /// Appends the frame.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 65,535 bytes of data; nothing is written then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let length = u16::try_from(self.data.len()).map_err(|_| EncodeError::TooLong {
            what: "FLAP data",
            length: self.data.len(),
            max: usize::from(u16::MAX),
        })?;
        out.reserve(HEADER_LEN + self.data.len());
        out.put_u8(MARKER);
        out.put_u8(self.channel.0);
        out.put_u16(self.sequence);
        out.put_u16(length);
        out.put_slice(&self.data);
        Ok(())
    }
}

/// The sign-off of four bytes, without a length, that clients of the first generation need to end.
pub fn bodiless_sign_off(sequence: u16) -> [u8; 4] {
    let [high, low] = sequence.to_be_bytes();
    [MARKER, Channel::SIGN_OFF.0, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    fn decode(bytes: &str) -> Result<Option<Frame>, DecodeError> {
        Frame::decode(&mut BytesMut::from(&hex(bytes)[..]), 65_535)
    }

    #[test]
    fn a_keep_alive_is_a_frame_without_data() {
        let frame = Frame {
            channel: Channel::KEEP_ALIVE,
            sequence: 0x0102,
            data: Bytes::new(),
        };
        let mut out = BytesMut::new();
        frame.encode(&mut out).expect("it fits");
        assert_eq!(out, hex("2a0501020000"));
        assert_eq!(decode("2a0501020000"), Ok(Some(frame)));
    }

    #[test]
    fn frames_are_taken_one_by_one() {
        let mut buffer = BytesMut::from(&hex("2a05ffff00002a0500000000")[..]);
        let sequences: Vec<_> =
            std::iter::from_fn(|| Frame::decode(&mut buffer, 0).expect("good frames"))
                .map(|f| f.sequence)
                .collect();
        assert_eq!(sequences, [0xFFFF, 0]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn another_marker_is_seen_at_the_first_byte() {
        assert_eq!(
            decode("16"),
            Err(DecodeError::BadMarker {
                what: "FLAP frame",
                found: 0x16
            })
        );
    }

    #[test]
    fn t_18_too_much_data_is_refused_before_it_arrives() {
        let mut header = BytesMut::from(&hex("2a0200001001")[..]);
        let refused = DecodeError::BadLength {
            what: "FLAP data",
            length: 4_097,
            min: 0,
            max: 4_096,
        };
        assert_eq!(Frame::decode(&mut header, 4_096), Err(refused));
        assert_eq!(Frame::decode(&mut header, 4_097), Ok(None));
    }

    #[test]
    fn l_29_a_sign_off_may_come_without_a_length() {
        let expected = Frame {
            channel: Channel::SIGN_OFF,
            sequence: 7,
            data: Bytes::new(),
        };
        for bytes in ["2a040007", "2a04000700", "2a0400070000"] {
            assert_eq!(decode(bytes), Ok(Some(expected.clone())), "{bytes}");
        }
        assert_eq!(decode("2a020007"), Ok(None), "other channels have a length");
        assert_eq!(bodiless_sign_off(7), hex("2a040007")[..]);
    }

    #[test]
    fn a_sign_off_with_a_reason_is_read_whole() {
        assert_eq!(decode("2a04000700060009000200"), Ok(None));
        let frame = decode("2a0400070006000900020001").expect("a good frame");
        assert_eq!(frame.map(|frame| frame.data), Some(hex("000900020001")));
    }

    #[test]
    fn data_that_does_not_fit_the_length_field_is_refused() {
        let frame = Frame {
            channel: Channel::DATA,
            sequence: 0,
            data: vec![0; 65_536].into(),
        };
        let mut out = BytesMut::new();
        let refused = EncodeError::TooLong {
            what: "FLAP data",
            length: 65_536,
            max: 65_535,
        };
        assert_eq!((frame.encode(&mut out), out.len()), (Err(refused), 0));
    }

    #[test]
    fn a_25_a_frame_does_not_show_what_is_in_it() {
        let data = Bytes::from_static(b"hunter2");
        let frame = Frame {
            channel: Channel::DATA,
            sequence: 5,
            data,
        };
        let expected = "Frame { channel: Channel::DATA, sequence: 5, bytes: 7 }";
        assert_eq!(format!("{frame:?}"), expected);
    }
}
