//! What a probe looks like: a STUN Binding request or answer (RFC 8489) that only the two ends of a session can make.
//!
//! Attributes: RDV-PROBE 0xC052 `[generation u32][role u8]`, in answers XOR-MAPPED-ADDRESS, and MESSAGE-INTEGRITY-SHA256
//! under the probe key of the session, last. The first byte is 0 or 1, which tells probes from QUIC packets at the same
//! socket (RFC 9443).

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::wire::stun::{Class, RDV_PROBE, Stun, is_stun};

/// Name of a request; its answer repeats it.
pub(super) type TransactionId = [u8; 12];

/// What all probes of one side have in common.
#[derive(Clone)]
pub(super) struct Signature {
    /// Probe key of the session.
    pub(super) key: [u8; 32],
    /// Generation of the sender's candidates.
    pub(super) generation: u32,
    /// Whether the sender is the controller.
    pub(super) controller: bool,
    /// Makes ids of this run differ from those of any other under the same key.
    pub(super) seed: u64,
}

/// A probe that the other end of the session made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) transaction: TransactionId,
    pub(super) generation: u32,
    pub(super) is_answer: bool,
}

impl Signature {
    /// The request with that number. The same number gives the same bytes.
    pub(super) fn request(&self, number: u32) -> (TransactionId, Bytes) {
        let transaction = self.transaction(number);
        let stun = Stun::new(Class::Request, transaction).with(RDV_PROBE, self.mark());
        (transaction, stun.encode_signed(&self.key))
    }

    /// The answer to a request that came from there.
    pub(super) fn answer(&self, transaction: TransactionId, from: SocketAddr) -> Bytes {
        Stun::new(Class::Success, transaction)
            .with(RDV_PROBE, self.mark())
            .with_xor_mapped(from)
            .encode_signed(&self.key)
    }

    /// What a datagram is, if the other end made it: our own ones that come back are nobody's.
    pub(super) fn read(&self, datagram: &[u8]) -> Option<Probe> {
        if !is_stun(datagram) {
            return None;
        }
        let stun = Stun::decode(datagram).ok()?;
        let is_answer = match stun.class {
            Class::Request => false,
            Class::Success => true,
            _ => return None,
        };
        let mark = stun.attribute(RDV_PROBE)?;
        let (generation, rest) = mark.split_first_chunk()?;
        let role = *rest.first()?;
        let from_peer = role == u8::from(!self.controller);
        (from_peer && Stun::verify(datagram, &self.key)).then_some(Probe {
            transaction: stun.transaction,
            generation: u32::from_be_bytes(*generation),
            is_answer,
        })
    }

    fn mark(&self) -> Bytes {
        let mut mark = BytesMut::with_capacity(5);
        mark.put_u32(self.generation);
        mark.put_u8(u8::from(self.controller));
        mark.freeze()
    }

    fn transaction(&self, number: u32) -> TransactionId {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(b"transaction");
        mac.update(&self.seed.to_be_bytes());
        mac.update(&self.mark());
        mac.update(&number.to_be_bytes());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let mut id = [0; 12];
        id.copy_from_slice(&digest[..12]);
        id
    }
}
