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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the data is.
    pub channel: Channel,
    /// Per direction, one more with each frame of any channel, 0x0000 after 0xFFFF. Receivers do not check it.
    pub sequence: u16,
    /// At most 65,535 bytes.
    pub data: Bytes,
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
