//! The item `sealed` of a security block: what only the other end may read.
//!
//! ChaCha20-Poly1305 under the sender's direction key. Nonce: 10 zero bytes and the sequence number
//! (u16 BE). Associated data: cookie (8), sequence number (u16 BE), the sender's role (`P` or `A`).
//! So a sealed item opens only in the very message that it was made for.

use bytes::Bytes;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use thiserror::Error;

use super::{Role, schedule::Key};
use crate::wire::rendezvous::{Cookie, SequenceNumber};

/// Bytes that sealing adds.
pub(crate) const TAG_LEN: usize = 16;

/// The sealed bytes are not what that sender sealed for that message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("sealed bytes do not open")]
pub(crate) struct DoesNotOpen;

/// Which message something is sealed into. One direction key must never seal two different texts
/// for the same place.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) cookie: Cookie,
    pub(crate) sequence: SequenceNumber,
    pub(crate) sender: Role,
}

impl Place {
    fn nonce(&self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[10..].copy_from_slice(&self.sequence.get().to_be_bytes());
        nonce
    }

    fn associated_data(&self) -> Vec<u8> {
        let sequence = self.sequence.get().to_be_bytes();
        [&self.cookie.0[..], &sequence, &[self.sender.letter()]].concat()
    }
}

pub(crate) fn seal(key: &Key, place: Place, plaintext: &[u8]) -> Bytes {
    let payload = Payload {
        msg: plaintext,
        aad: &place.associated_data(),
    };
    ChaCha20Poly1305::new((&**key).into())
        .encrypt(&place.nonce(), payload)
        .expect("ChaCha20-Poly1305 seals anything below 256 GiB")
        .into()
}

pub(crate) fn open(key: &Key, place: Place, sealed: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
    let payload = Payload {
        msg: sealed,
        aad: &place.associated_data(),
    };
    ChaCha20Poly1305::new((&**key).into())
        .decrypt(&place.nonce(), payload)
        .map_err(|_| DoesNotOpen)
}
