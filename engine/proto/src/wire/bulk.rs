//! Frames of the native bulk protocol, as they stand on a lane after BIND and USE.
//!
//! Every frame is `[len u32][type u8][payload]`, big endian, `len` = 1 + payload. Types below 0x20 belong to the link (abort, ping, moving
//! between lanes), those from 0x20 on to the transfer. Control frames carry a protobuf message, so that fields can be added and old readers skip
//! them; [`FrameType::DATA`] alone has a fixed form, because it carries the bytes.
//!
//! ```text
//! DATA   [block u64] record*
//! record [1][file u32][offset u64][len u32][bytes]     bytes of a file
//!        [2][file u32][blake3 32]                      the file is complete, this is its hash
//! ```

use prost::Message;
use thiserror::Error;

/// Highest value of a frame's length field: 1 MiB.
pub const MAX_FRAME: u32 = 1 << 20;
/// Longest payload of one [`FrameType::MANIFEST`] frame. Small, because an empty entry takes two bytes on the wire and many more in memory.
pub const MAX_MANIFEST_FRAME: usize = 64 * 1024;
/// Longest text of an [`Abort`], in bytes.
pub const MAX_ABORT_TEXT: usize = 200;
/// Bytes in front of a frame's payload: length and type.
pub const FRAME_HEAD: usize = 5;
/// Bytes in front of the file bytes of a bytes record.
pub const BYTES_RECORD_HEAD: usize = 17;
/// Size of a hash record.
pub const HASH_RECORD: usize = 37;
/// Size of a DATA payload's block number.
pub const BLOCK_NUMBER: usize = 8;

/// What was wrong with a frame's bytes. The peer's fault, always.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field is 0 or above [`MAX_FRAME`].
    #[error("a frame of {0} bytes, where 1 to {MAX_FRAME} are allowed")]
    Length(u32),
    /// The payload of this frame type is longer than that type may be.
    #[error("frame type {kind:#04x} with {len} bytes of payload")]
    TooLong {
        /// Type of the frame.
        kind: u8,
        /// Length of its payload in bytes.
        len: usize,
    },
    /// The payload ended inside a field.
    #[error("frame type {0:#04x} ends too early")]
    Truncated(u8),
    /// The protobuf message could not be read.
    #[error("frame type {0:#04x} holds no readable message")]
    Message(u8),
    /// A record of a DATA frame has a kind that this version does not know.
    #[error("unknown record kind {0} in a data frame")]
    Record(u8),
}

/// The type byte of a frame. Unknown values survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameType(pub u8);

impl FrameType {
    /// Link: the controller nominates this lane. Empty.
    pub const USE: Self = Self(0x01);
    /// Link: the session ends; see [`Abort`].
    pub const ABORT: Self = Self(0x02);
    /// Link: a u64 to be echoed.
    pub const PING: Self = Self(0x03);
    /// Link: the echo of a ping.
    pub const PONG: Self = Self(0x04);
    /// Link, reserved: the last frame of an old lane, u64 = the next block.
    pub const MOVED: Self = Self(0x05);
    /// Link, reserved: the first frame of a new lane, u64 = the next block.
    pub const FROM: Self = Self(0x06);
    /// Link, reserved: the receiver asks for everything from this block on.
    pub const RESUME: Self = Self(0x07);
    /// Sender: a part of the list; [`ManifestChunk`].
    pub const MANIFEST: Self = Self(0x20);
    /// Sender: the list is complete; [`ManifestEnd`].
    pub const MANIFEST_END: Self = Self(0x21);
    /// Receiver: go on; [`Accept`].
    pub const ACCEPT: Self = Self(0x22);
    /// Receiver: no; [`Decline`].
    pub const DECLINE: Self = Self(0x23);
    /// Sender: a numbered block of file bytes and hashes.
    pub const DATA: Self = Self(0x24);
    /// Sender: no further block follows; [`End`].
    pub const END: Self = Self(0x25);
    /// Receiver: blocks taken, files finished; [`Ack`].
    pub const ACK: Self = Self(0x26);
    /// Receiver: everything is on disk under its final name; [`Done`].
    pub const DONE: Self = Self(0x27);
}

/// Splits a frame's head into its type and the length of its payload.
///
/// # Errors
/// [`FrameError::Length`], before anything is allocated.
pub fn parse_head(head: [u8; FRAME_HEAD]) -> Result<(FrameType, usize), FrameError> {
    let [a, b, c, d, kind] = head;
    let len = u32::from_be_bytes([a, b, c, d]);
    if len == 0 || len > MAX_FRAME {
        return Err(FrameError::Length(len));
    }
    let payload = len as usize - 1;
    if kind == FrameType::MANIFEST.0 && payload > MAX_MANIFEST_FRAME {
        return Err(FrameError::TooLong { kind, len: payload });
    }
    Ok((FrameType(kind), payload))
}

/// A whole frame around `payload`.
///
/// # Errors
/// [`FrameError::TooLong`] if the payload does not fit into a frame.
pub fn frame(kind: FrameType, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let too_long = FrameError::TooLong {
        kind: kind.0,
        len: payload.len(),
    };
    let len = u32::try_from(payload.len())
        .ok()
        .and_then(|n| n.checked_add(1))
        .filter(|&n| n <= MAX_FRAME)
        .ok_or(too_long)?;
    let mut out = Vec::with_capacity(FRAME_HEAD + payload.len());
    out.extend_from_slice(&len.to_be_bytes());
    out.push(kind.0);
    out.extend_from_slice(payload);
    Ok(out)
}

/// A whole frame around a protobuf message.
///
/// # Errors
/// [`FrameError::TooLong`] if the message does not fit into a frame.
pub fn message_frame(kind: FrameType, message: &impl Message) -> Result<Vec<u8>, FrameError> {
    frame(kind, &message.encode_to_vec())
}

/// Reads the protobuf message of a control frame; fields that are not known are skipped.
///
/// # Errors
/// [`FrameError::Message`].
pub fn message<M: Message + Default>(kind: FrameType, payload: &[u8]) -> Result<M, FrameError> {
    M::decode(payload).map_err(|_| FrameError::Message(kind.0))
}

/// Reads the u64 that PING, PONG, MOVED, FROM and RESUME carry; bytes after it are ignored.
///
/// # Errors
/// [`FrameError::Truncated`].
pub fn number(kind: FrameType, payload: &[u8]) -> Result<u64, FrameError> {
    payload
        .first_chunk()
        .map(|b| u64::from_be_bytes(*b))
        .ok_or(FrameError::Truncated(kind.0))
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

/// Why a session was ended. Values below 0x100 are those of CANCEL_REASON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbortReason(pub u16);

impl AbortReason {
    /// No reason given.
    pub const UNKNOWN: Self = Self(0);
    /// The user cancelled.
    pub const USER: Self = Self(1);
    /// A time was over.
    pub const TIMEOUT: Self = Self(2);
    /// Something on the other side's disk.
    pub const FILE: Self = Self(0x0101);
    /// Not enough room on the receiver's disk.
    pub const NO_SPACE: Self = Self(0x0102);
    /// A file changed while it was being sent.
    pub const SOURCE_CHANGED: Self = Self(0x0103);
    /// A hash did not fit.
    pub const VERIFICATION: Self = Self(0x0104);
    /// The other side broke the protocol.
    pub const PROTOCOL: Self = Self(0x0105);
    /// A name or a combination of names is refused.
    pub const NAME: Self = Self(0x0106);
    /// Nothing moved for too long.
    pub const STALLED: Self = Self(0x0107);
}

/// The session ends; the last frame of who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abort {
    /// Why.
    pub reason: AbortReason,
    /// For people; foreign text, at most [`MAX_ABORT_TEXT`] bytes.
    pub text: String,
}

impl Abort {
    /// A whole frame; a text that is too long is cut at a character.
    pub fn frame(&self) -> Vec<u8> {
        let mut end = self.text.len().min(MAX_ABORT_TEXT);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &self.text.as_bytes()[..end];
        let mut out = Vec::with_capacity(FRAME_HEAD + 2 + text.len());
        out.extend_from_slice(&(3 + text.len() as u32).to_be_bytes());
        out.push(FrameType::ABORT.0);
        out.extend_from_slice(&self.reason.0.to_be_bytes());
        out.extend_from_slice(text);
        out
    }

    /// Reads a payload; a text that is no UTF-8 is repaired, one that is too long is cut.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if there is no reason.
    pub fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let (reason, text) = payload
            .split_first_chunk()
            .ok_or(FrameError::Truncated(FrameType::ABORT.0))?;
        let text = &text[..text.len().min(MAX_ABORT_TEXT)];
        Ok(Self {
            reason: AbortReason(u16::from_be_bytes(*reason)),
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }
}

/// One record of a DATA frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Bytes of a file; `range` says where they stand in the payload.
    Bytes {
        /// Index of the file in the list.
        file: u32,
        /// Where in the file they belong.
        offset: u64,
        /// Where in the payload they are.
        range: core::ops::Range<usize>,
    },
    /// The file is complete.
    Hash {
        /// Index of the file in the list.
        file: u32,
        /// BLAKE3 of all its bytes.
        hash: [u8; 32],
    },
}

/// Walks over the records of a DATA payload. After an error there is nothing more.
#[derive(Debug)]
pub struct Records<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// Splits a DATA payload into its block number and its records.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if it is shorter than a block number.
    pub fn new(payload: &'a [u8]) -> Result<(u64, Self), FrameError> {
        Ok((
            number(FrameType::DATA, payload)?,
            Self {
                payload,
                at: BLOCK_NUMBER,
            },
        ))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let bytes = self
            .payload
            .get(self.at..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(FrameError::Truncated(FrameType::DATA.0))?;
        self.at += N;
        Ok(*bytes)
    }

    fn record(&mut self) -> Result<Record, FrameError> {
        let [kind] = self.take()?;
        let file = u32::from_be_bytes(self.take()?);
        match kind {
            1 => {
                let offset = u64::from_be_bytes(self.take()?);
                let len = u32::from_be_bytes(self.take()?) as usize;
                let end = self
                    .at
                    .checked_add(len)
                    .filter(|&end| end <= self.payload.len());
                let range = self.at..end.ok_or(FrameError::Truncated(FrameType::DATA.0))?;
                self.at = range.end;
                Ok(Record::Bytes {
                    file,
                    offset,
                    range,
                })
            }
            2 => Ok(Record::Hash {
                file,
                hash: self.take()?,
            }),
            other => Err(FrameError::Record(other)),
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.payload.len() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.at = self.payload.len();
        }
        Some(record)
    }
}

/// Fills one DATA frame in a buffer that is used again and again; file bytes are read straight into it.
#[derive(Debug)]
pub struct BlockWriter {
    buffer: Vec<u8>,
    at: usize,
    open: Option<usize>,
}

impl BlockWriter {
    /// Starts block `block` in `buffer`, whose length is the size of the frame that may result: at most [`MAX_FRAME`] + 4.
    pub fn new(mut buffer: Vec<u8>, block: u64) -> Self {
        let least = FRAME_HEAD + BLOCK_NUMBER + BYTES_RECORD_HEAD + 1;
        buffer.resize(buffer.len().clamp(least, MAX_FRAME as usize + 4), 0);
        buffer[4] = FrameType::DATA.0;
        buffer[FRAME_HEAD..FRAME_HEAD + BLOCK_NUMBER].copy_from_slice(&block.to_be_bytes());
        Self {
            buffer,
            at: FRAME_HEAD + BLOCK_NUMBER,
            open: None,
        }
    }

    /// Nothing is in it yet.
    pub fn is_empty(&self) -> bool {
        self.at == FRAME_HEAD + BLOCK_NUMBER
    }

    /// How many file bytes one more record could carry.
    pub fn room(&self) -> usize {
        (self.buffer.len() - self.at).saturating_sub(BYTES_RECORD_HEAD)
    }

    /// There is room for a hash record.
    pub fn has_room_for_hash(&self) -> bool {
        self.buffer.len() - self.at >= HASH_RECORD
    }

    /// Opens a bytes record and lends its space, [`Self::room`] bytes; [`Self::commit`] closes it. Without room, the slice is empty and no record is opened.
    pub fn bytes(&mut self, file: u32, offset: u64) -> &mut [u8] {
        if self.room() == 0 {
            return &mut [];
        }
        let head = &mut self.buffer[self.at..self.at + BYTES_RECORD_HEAD];
        head[0] = 1;
        head[1..5].copy_from_slice(&file.to_be_bytes());
        head[5..13].copy_from_slice(&offset.to_be_bytes());
        self.open = Some(self.at);
        let start = self.at + BYTES_RECORD_HEAD;
        &mut self.buffer[start..]
    }

    /// Closes the open record with the `len` bytes that were put into it; with 0 the record is taken back.
    pub fn commit(&mut self, len: usize) {
        let Some(head) = self.open.take() else { return };
        let start = head + BYTES_RECORD_HEAD;
        let len = len.min(self.buffer.len() - start);
        if len > 0 {
            self.buffer[head + 13..start].copy_from_slice(&(len as u32).to_be_bytes());
            self.at = start + len;
        }
    }

    /// Adds a hash record, if [`Self::has_room_for_hash`]; says whether it did.
    pub fn hash(&mut self, file: u32, hash: &[u8; 32]) -> bool {
        if !self.has_room_for_hash() {
            return false;
        }
        let record = &mut self.buffer[self.at..self.at + HASH_RECORD];
        record[0] = 2;
        record[1..5].copy_from_slice(&file.to_be_bytes());
        record[5..].copy_from_slice(hash);
        self.at += HASH_RECORD;
        true
    }

    /// The buffer, and how many of its bytes are the frame.
    pub fn finish(mut self) -> (Vec<u8>, usize) {
        let len = (self.at - 4) as u32;
        self.buffer[..4].copy_from_slice(&len.to_be_bytes());
        (self.buffer, self.at)
    }
}

#[cfg(test)]
mod tests;
