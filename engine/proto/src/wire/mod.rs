//! What bytes mean; stateless.
//!
//! Outermost first: [`flap`] frames carry a [`snac`], whose body is one of [`signon`], [`icbm`] or [`admin`]; an ICBM of channel 2
//! carries a [`rendezvous`] message with its [`service`] data, [`address`]es and [`security`] block. [`signal`] is the
//! same message free of the host's envelope, [`ars`] speaks to the relay, [`stun`] asks how the world sees us and probes paths, [`link`] frames the finished connection, and [`oft`] is what
//! old clients send over theirs.
//!
//! Decoding is total: any bytes give a value or a [`error::DecodeError`]. What a decoder does not know survives: unknown types,
//! tags, reasons, flags and trailing bytes are kept, and a decoded value encodes to the bytes that it came from.

pub mod address;
pub mod admin;
pub mod ars;
pub mod codec;
pub mod error;
pub mod flap;
pub mod icbm;
pub mod link;
pub mod odc;
pub mod oft;
pub mod rendezvous;
pub mod security;
pub mod service;
pub mod signal;
pub mod signon;
pub mod snac;
pub mod stun;
pub mod text;
pub mod tlv;

#[cfg(test)]
mod properties;

/// Bytes of a hex string, for tests.
#[cfg(test)]
pub(crate) fn hex(digits: &str) -> bytes::Bytes {
    let digits: Vec<u8> = digits
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hex digits");
        u8::from_str_radix(pair, 16).expect("hex digits")
    };
    digits.chunks(2).map(byte).collect()
}
pub mod bulk;
