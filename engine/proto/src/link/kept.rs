//! The bytes of one direction that the receiver has not acknowledged.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Room of one segment: a block of a transfer and a little more.
const SEGMENT: usize = 272 * 1024;
/// Below this, a segment that goes out is copied into a buffer of its own size, and the room is used again.
const SMALL: usize = SEGMENT / 2;
/// Segments at most, so that tiny ones do not take more memory than their bytes.
const SEGMENTS: usize = 4096;
/// Empty buffers that are held for use.
const SPARE: usize = 4;

/// A queue of bytes by their numbers. What was taken out for sending stays until it is released.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Whole ones, with the number of their first byte.
    segments: VecDeque<(u64, Bytes)>,
    /// What is being filled, and stands behind them.
    tail: BytesMut,
    tail_start: u64,
    spare: Vec<BytesMut>,
}

impl Kept {
    /// Number of the byte after the last one.
    pub(super) fn end(&self) -> u64 {
        self.tail_start + self.tail.len() as u64
    }

    /// Appends what fits into one segment; 0: there are too many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.tail.len() == SEGMENT {
            self.seal();
        }
        if self.tail.is_empty() && self.segments.len() >= SEGMENTS {
            return 0;
        }
        if self.tail.capacity() == 0 {
            self.tail = self
                .spare
                .pop()
                .unwrap_or_else(|| BytesMut::with_capacity(SEGMENT));
        }
        let len = bytes.len().min(SEGMENT - self.tail.len());
        self.tail.extend_from_slice(&bytes[..len]);
        len
    }

    /// Up to `max` bytes from number `at` on, as many as lie in one piece; empty if there are none.
    pub(super) fn get(&mut self, at: u64, max: usize) -> Bytes {
        if at >= self.tail_start && at < self.end() {
            self.seal();
        }
        let after = self.segments.partition_point(|(start, _)| *start <= at);
        let Some((start, bytes)) = after.checked_sub(1).and_then(|i| self.segments.get(i)) else {
            return Bytes::new();
        };
        let Some(offset) = usize::try_from(at - start)
            .ok()
            .filter(|offset| *offset < bytes.len())
        else {
            return Bytes::new();
        };
        bytes.slice(offset..bytes.len().min(offset.saturating_add(max)))
    }

    /// Forgets everything below number `to`.
    pub(super) fn release(&mut self, to: u64) {
        while let Some((start, bytes)) = self.segments.front() {
            if start + bytes.len() as u64 > to {
                return;
            }
            let Some((_, bytes)) = self.segments.pop_front() else {
                return;
            };
            if self.spare.len() < SPARE
                && let Ok(mut buffer) = bytes.try_into_mut()
            {
                buffer.clear();
                if buffer.capacity() >= SEGMENT {
                    self.spare.push(buffer);
                }
            }
        }
    }

    /// What is being filled becomes a segment.
    fn seal(&mut self) {
        let len = self.tail.len();
        if len == 0 {
            return;
        }
        let bytes = if len < SMALL {
            let bytes = Bytes::copy_from_slice(&self.tail);
            self.tail.clear();
            bytes
        } else {
            std::mem::take(&mut self.tail).freeze()
        };
        self.segments.push_back((self.tail_start, bytes));
        self.tail_start += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_by_their_numbers_until_they_are_released() {
        let mut kept = Kept::default();
        assert_eq!(kept.push(b"abcdef"), 6);
        assert_eq!(kept.get(2, 3), &b"cde"[..]);
        assert_eq!(kept.push(b"gh"), 2);
        assert_eq!(
            (kept.get(0, 99), kept.get(6, 99)),
            (b"abcdef"[..].into(), b"gh"[..].into())
        );
        assert_eq!(kept.get(8, 99), Bytes::new());
        kept.release(5);
        assert_eq!(kept.get(0, 1), &b"a"[..], "a segment goes as a whole");
        kept.release(6);
        assert_eq!(
            (kept.get(0, 1), kept.get(7, 1)),
            (Bytes::new(), b"h"[..].into())
        );
        assert_eq!(kept.end(), 8);
    }

    #[test]
    fn buffers_go_round() {
        let mut kept = Kept::default();
        let block = vec![7; SEGMENT];
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..20_u64 {
            assert_eq!(kept.push(&block), SEGMENT);
            let out = kept.get(round * SEGMENT as u64, SEGMENT);
            seen.insert(out.as_ptr() as usize);
            drop(out);
            kept.release((round + 1) * SEGMENT as u64);
        }
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn many_tiny_pieces_are_bounded_and_take_little_more_than_their_bytes() {
        let mut kept = Kept::default();
        let mut pushed = 0;
        while kept.push(b"x") == 1 {
            pushed += 1;
            assert!(pushed <= 2 * SEGMENT, "no bound");
            let _ = kept.get(pushed as u64 - 1, 1);
        }
        assert_eq!(kept.segments.len(), SEGMENTS);
    }
}
