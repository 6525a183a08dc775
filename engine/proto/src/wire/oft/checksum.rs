//! The checksum of OFT2: the Internet checksum (RFC 1071) of a fork, in the upper half of 32 bits. It finds accidents, not
//! forgery.

use std::fmt;

/// Bytes that are summed up before carries are folded away; far below what 64 bits hold.
const STRIDE: usize = 1 << 20;

/// A checksum as it stands in a header.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum(pub u32);

impl Checksum {
    /// Of no bytes, and of zeros.
    pub const EMPTY: Self = Self(0xFFFF_0000);

    /// Whether both mean the same: 0x00000000 and 0xFFFF0000 are one value, of which libpurple and Miranda write now this, now
    /// that (L-27).
    pub fn agrees(self, other: Self) -> bool {
        let usual = |sum: Self| if sum.0 == 0 { Self::EMPTY } else { sum };
        usual(self) == usual(other)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({:#010x})", self.0)
    }
}

/// A checksum that grows with the bytes of a fork. How they are cut into pieces changes nothing.
#[derive(Debug, Clone, Default)]
pub struct RunningChecksum {
    /// Sum of 16-bit words with the carries added back; 0 only if no byte was other than 0.
    sum: u64,
    /// Bytes so far: says whether the next one is the high or the low half of its word.
    len: u64,
}

impl RunningChecksum {
    /// Of no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on where `value`, the checksum of the first `offset` bytes, ended.
    pub fn from_header(value: Checksum, offset: u64) -> Self {
        Self {
            sum: u64::from(!value.0 >> 16),
            len: offset,
        }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        let mut rest = data;
        if !self.len.is_multiple_of(2)
            && let Some((&low, behind)) = data.split_first()
        {
            self.add(u64::from(low));
            rest = behind;
        }
        for stride in rest.chunks(STRIDE) {
            self.add(u64::from(words(stride)));
        }
        self.len = self.len.wrapping_add(data.len() as u64);
    }

    /// Checksum of all bytes so far.
    pub fn value(&self) -> Checksum {
        Checksum(u32::from(!fold(self.sum)) << 16)
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn add(&mut self, word: u64) {
        self.sum = u64::from(fold(self.sum + word));
    }
}

/// Sum of the big-endian words of `data`, an odd last byte being the high half of one.
///
/// The sum of words in the machine's own order is the same with its bytes swapped, and eight bytes are four words added at once:
/// the loop becomes vector instructions.
fn words(data: &[u8]) -> u16 {
    let (eights, rest) = data.as_chunks::<8>();
    let mut sum = 0_u64;
    for eight in eights {
        let eight = u64::from_ne_bytes(*eight);
        // Cannot wrap: a stride has few words. Checked additions would keep the loop from becoming vectors.
        sum = sum.wrapping_add((eight & 0xFFFF_FFFF).wrapping_add(eight >> 32));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let last = u64::from_ne_bytes(last);
    sum += (last & 0xFFFF_FFFF) + (last >> 32);
    fold(sum).to_be()
}

/// Adds the carries back in until 16 bits are left; never makes 0 of anything else.
fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while let Some(carries) = std::num::NonZeroU64::new(sum >> 16) {
        sum = (sum & 0xFFFF) + carries.get();
    }
    sum as u16
}
