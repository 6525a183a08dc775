//! DATA frames: many small pieces of files, or one large one, read and written without copying the bytes once more.

use super::{FRAME_HEAD, FrameType};
use crate::limits;
use crate::wire::codec::Reader;
use crate::wire::error::DecodeError;

/// Bytes in front of the file bytes of a bytes record.
pub const BYTES_RECORD_HEAD: usize = 17;
/// Size of a hash record.
pub const HASH_RECORD: usize = 37;
/// Size of a DATA payload's block number.
pub const BLOCK_NUMBER: usize = 8;

const DATA: &str = "data frame";

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
    reader: Reader<'a>,
    len: usize,
    failed: bool,
}

impl<'a> Records<'a> {
    /// Splits a DATA payload into its block number and its records.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if it is shorter than a block number.
    pub fn new(payload: &'a [u8]) -> Result<(u64, Self), DecodeError> {
        let mut reader = Reader::new(payload, DATA);
        let block = reader.u64()?;
        Ok((
            block,
            Self {
                reader,
                len: payload.len(),
                failed: false,
            },
        ))
    }

    fn record(&mut self) -> Result<Record, DecodeError> {
        let kind = self.reader.u8()?;
        let file = self.reader.u32()?;
        match kind {
            1 => {
                let offset = self.reader.u64()?;
                let len = usize::try_from(self.reader.u32()?).unwrap_or(usize::MAX);
                let start = self.len - self.reader.remaining();
                let range = start..start + self.reader.take(len)?.len();
                Ok(Record::Bytes {
                    file,
                    offset,
                    range,
                })
            }
            2 => Ok(Record::Hash {
                file,
                hash: self.reader.array()?,
            }),
            other => Err(DecodeError::BadValue {
                what: "record of a data frame",
                value: other.into(),
            }),
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_empty() {
            return None;
        }
        let record = self.record();
        self.failed = record.is_err();
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
    /// Starts block `block` in `buffer`, whose length is the size of the frame that may result: what a link frame may have.
    pub fn new(mut buffer: Vec<u8>, block: u64) -> Self {
        let least = FRAME_HEAD + BLOCK_NUMBER + BYTES_RECORD_HEAD + 1;
        buffer.resize(
            buffer
                .len()
                .clamp(least, FRAME_HEAD - 1 + limits::LINK_FRAME),
            0,
        );
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
