//! The tools of every decoder: [`Reader`], length-prefixed strings, and numbers that keep unknown values.

use bytes::{BufMut, BytesMut};

use super::error::DecodeError;

/// Reads big-endian fields from the front of a byte string and never past its end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    what: &'static str,
    data: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `data`; `what` names the structure in errors.
    pub fn new(data: &'a [u8], what: &'static str) -> Self {
        Self {
            what,
            data,
            offset: 0,
        }
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.data.len() - self.offset
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left; nothing is consumed then.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let available = self.remaining();
        if n > available {
            return Err(DecodeError::Truncated {
                what: self.what,
                offset: self.offset,
                needed: n,
                available,
            });
        }
        let taken = &self.data[self.offset..self.offset + n];
        self.offset += n;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// The next two bytes, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// The next four bytes, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// The next eight bytes, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A string08: `[len: u8][bytes]`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if the length runs past the end.
    pub fn string08(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A string16: `[len: u16][bytes]`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if the length runs past the end.
    pub fn string16(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.data[self.offset..];
        self.offset = self.data.len();
        rest
    }
}

/// Appends a string08, `[len: u8][bytes]`.
///
/// # Panics
/// If `bytes` has more than 255: callers hold names and entries to their own, smaller limits.
pub fn put_string08(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u8(u8::try_from(bytes.len()).expect("a string08 is limited by its caller"));
    out.put_slice(bytes);
}

/// Appends a string16, `[len: u16][bytes]`.
///
/// # Panics
/// If `bytes` has more than 65,535: callers hold their strings to smaller limits.
pub fn put_string16(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u16(u16::try_from(bytes.len()).expect("a string16 is limited by its caller"));
    out.put_slice(bytes);
}

/// Declares a number of the protocol: a newtype with named constants, so that unknown values survive, print and go out
/// unchanged. `CancelReason(0x77)` prints as `CancelReason(0x0077)`, a known one as `CancelReason::TIMEOUT`.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($int:ty) {
            $($(#[$item_meta:meta])* $item:ident = $value:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$item_meta])* pub const $item: Self = Self($value);)*

            /// The name of the value, if it is one that we know.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$item => Some(stringify!($item)),)*
                    _ => None,
                }
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{}::{name}", stringify!($name)),
                    None => write!(f, "{}({:#0width$x})", stringify!($name), self.0, width = 2 + 2 * size_of::<$int>()),
                }
            }
        }
    };
}
pub(crate) use wire_enum;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rendezvous::CancelReason;

    #[test]
    fn a_reader_takes_what_is_there_and_names_what_is_missing() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 9], "sample");
        assert_eq!(
            (reader.u8(), reader.u16(), reader.u32()),
            (Ok(1), Ok(2), Ok(3))
        );
        assert_eq!(
            reader.u16(),
            Err(DecodeError::Truncated {
                what: "sample",
                offset: 7,
                needed: 2,
                available: 1
            })
        );
        assert_eq!(reader.rest(), [9], "a failed read consumes nothing");
        assert!(reader.is_empty());
    }

    #[test]
    fn strings_carry_their_length_in_front() {
        let mut out = BytesMut::new();
        put_string08(&mut out, b"alice");
        put_string16(&mut out, b"alice");
        assert_eq!(&out[..], b"\x05alice\x00\x05alice");
        let mut reader = Reader::new(&out, "names");
        assert_eq!(
            (reader.string08(), reader.string16()),
            (Ok(&b"alice"[..]), Ok(&b"alice"[..]))
        );
        assert!(Reader::new(b"\x06alice", "name").string08().is_err());
    }

    #[test]
    fn unknown_numbers_print_in_hex_and_known_ones_by_name() {
        assert_eq!(
            format!("{:?} {:?}", CancelReason::TIMEOUT, CancelReason(0x77)),
            "CancelReason::TIMEOUT CancelReason(0x0077)"
        );
    }
}
