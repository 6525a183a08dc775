//! Frames of the native bulk protocol, as they stand on a lane after BIND and USE, in the form of [`super::link`].
//!
//! Types from 0x20 on are ours. Control frames carry a protobuf message, so that fields can be added and old readers skip
//! them; [`FrameType::DATA`] alone has a fixed form, because it carries the bytes.
//!
//! ```text
//! DATA   [block u64] record*
//! record [1][file u32][offset u64][len u32][bytes]     bytes of a file
//!        [2][file u32][blake3 32]                      the file is complete, this is its hash
//! ```

mod block;

use bytes::Bytes;
use prost::Message;

use super::codec::wire_enum;
use super::error::{DecodeError, EncodeError};
pub use block::{BLOCK_NUMBER, BYTES_RECORD_HEAD, BlockWriter, HASH_RECORD, Record, Records};

pub use super::link::{Control, FrameType};
use super::link::{Frame, HEADER_LEN};

/// Version of this protocol. A peer that speaks a later one speaks this one too.
pub const VERSION: u32 = 1;
/// Longest payload of one [`FrameType::MANIFEST`] frame. Small, because an empty entry takes two bytes on the wire and many more in memory.
pub const MAX_MANIFEST_FRAME: usize = 64 * 1024;
/// Bytes in front of a frame's payload: length and type.
pub const FRAME_HEAD: usize = HEADER_LEN;

impl FrameType {
    /// Both sides, first: version and role; [`Hello`].
    pub const HELLO: Self = Self(0x20);
    /// Sender: a part of the list; [`ManifestChunk`].
    pub const MANIFEST: Self = Self(0x21);
    /// Sender: the list is complete; [`ManifestEnd`].
    pub const MANIFEST_END: Self = Self(0x22);
    /// Receiver: go on; [`Accept`].
    pub const ACCEPT: Self = Self(0x23);
    /// Receiver: no; [`Decline`].
    pub const DECLINE: Self = Self(0x24);
    /// Sender: a numbered block of file bytes and hashes.
    pub const DATA: Self = Self(0x25);
    /// Sender: no further block follows; [`End`].
    pub const END: Self = Self(0x26);
    /// Receiver: blocks taken, files finished; [`Ack`].
    pub const ACK: Self = Self(0x27);
    /// Receiver: everything is on disk under its final name; [`Done`].
    pub const DONE: Self = Self(0x28);
}

/// Splits a frame's head into its type and the length of its payload, and holds the length to the limit of its type.
///
/// # Errors
/// [`DecodeError::BadLength`], before anything is allocated.
pub fn parse_head(head: [u8; FRAME_HEAD]) -> Result<(FrameType, usize), DecodeError> {
    let (kind, length) = Frame::decode_header(head)?;
    if kind == FrameType::MANIFEST && length > MAX_MANIFEST_FRAME {
        return Err(DecodeError::BadLength {
            what: "manifest frame",
            length,
            min: 0,
            max: MAX_MANIFEST_FRAME,
        });
    }
    Ok((kind, length))
}

/// A whole frame around `payload`.
///
/// # Errors
/// [`EncodeError::TooLong`] if the payload does not fit into a frame.
pub fn frame(kind: FrameType, payload: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(FRAME_HEAD + payload.len());
    out.extend_from_slice(&Frame::encode_header(kind, payload.len())?);
    out.extend_from_slice(payload);
    Ok(out)
}

/// A whole frame around a protobuf message.
///
/// # Errors
/// [`EncodeError::TooLong`] if the message does not fit into a frame.
pub fn message_frame(kind: FrameType, message: &impl Message) -> Result<Vec<u8>, EncodeError> {
    frame(kind, &message.encode_to_vec())
}

/// A whole frame that says something about the link.
///
/// # Errors
/// [`EncodeError::TooLong`], which no control frame is.
pub fn control_frame(control: &Control) -> Result<Vec<u8>, EncodeError> {
    let built = control.to_frame();
    frame(built.kind, &built.payload)
}

/// Reads the protobuf message of a control frame; fields that are not known are skipped.
///
/// # Errors
/// [`DecodeError::BadValue`] with the frame's type, if it is no such message.
pub fn message<M: Message + Default>(kind: FrameType, payload: &[u8]) -> Result<M, DecodeError> {
    M::decode(payload).map_err(|_| DecodeError::BadValue {
        what: "message of a bulk frame",
        value: kind.0.into(),
    })
}

/// Reads a frame of the link's own; none if it is not known.
///
/// # Errors
/// As [`Control::decode`].
pub fn control(kind: FrameType, payload: &[u8]) -> Result<Option<Control>, DecodeError> {
    Control::decode(&Frame {
        kind,
        payload: Bytes::copy_from_slice(payload),
    })
}

wire_enum! {
    /// What a side of a transfer does.
    pub struct BulkRole(u32) {
        /// It has the files.
        SENDER = 1,
        /// It wants them.
        RECEIVER = 2,
    }
}

/// The first frame of each side.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Hello {
    /// Highest version that it speaks.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// A [`BulkRole`].
    #[prost(uint32, tag = "2")]
    pub role: u32,
}

/// One thing that is offered.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ManifestEntry {
    /// 0 a file, 1 a folder, 2 a text to be shown.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// UTF-8, NFC, `/` between the parts. Bytes, so that a wrong one can be named.
    #[prost(bytes = "vec", tag = "2")]
    pub path: Vec<u8>,
    /// Bytes of content; 0 for a folder.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// Time of the last change, seconds since 1970.
    #[prost(sint64, optional, tag = "4")]
    pub mtime: Option<i64>,
    /// Nanoseconds to add to `mtime`.
    #[prost(uint32, tag = "5")]
    pub mtime_nanos: u32,
    /// The owner's bits: 4 read, 2 write, 1 execute.
    #[prost(uint32, tag = "6")]
    pub mode: u32,
}

/// Some entries of the list, in order. Their index counts over all chunks, from 0.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ManifestChunk {
    /// The entries.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<ManifestEntry>,
}

/// The totals; they must be what the entries add up to.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ManifestEnd {
    /// Files, texts included.
    #[prost(uint64, tag = "1")]
    pub files: u64,
    /// Folders that are entries of their own.
    #[prost(uint64, tag = "2")]
    pub folders: u64,
    /// Sum of all sizes.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
}

/// The receiver's yes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Accept {
    /// Indexes of files that it does not want, ascending.
    #[prost(uint32, repeated, tag = "1")]
    pub skip: Vec<u32>,
}

/// The receiver's no.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Decline {}

/// What follows the last block.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct End {
    /// Number of blocks sent.
    #[prost(uint64, tag = "1")]
    pub blocks: u64,
}

/// How far the receiver is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ack {
    /// All blocks below this one are written.
    #[prost(uint64, tag = "1")]
    pub blocks: u64,
    /// Files that stand under their final name since the last ack.
    #[prost(uint32, repeated, tag = "2")]
    pub files: Vec<u32>,
}

/// Everything is final.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Done {}

wire_enum! {
    /// Why a session was ended. Values below 0x100 are those of CANCEL_REASON.
    pub struct AbortReason(u16) {
        /// No reason given.
        UNKNOWN = 0,
        /// The user cancelled.
        USER = 1,
        /// A time was over.
        TIMEOUT = 2,
        /// Something on the other side's disk.
        FILE = 0x0101,
        /// Not enough room on the receiver's disk.
        NO_SPACE = 0x0102,
        /// A file changed while it was being sent.
        SOURCE_CHANGED = 0x0103,
        /// A hash did not fit.
        VERIFICATION = 0x0104,
        /// The other side broke the protocol.
        PROTOCOL = 0x0105,
        /// A name or a combination of names is refused.
        NAME = 0x0106,
        /// Nothing moved for too long.
        STALLED = 0x0107,
        /// The versions or the roles do not fit.
        INCOMPATIBLE = 0x0108,
    }
}

#[cfg(test)]
mod tests;
