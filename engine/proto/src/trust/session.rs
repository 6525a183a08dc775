//! What both ends hold after C2: keys for sealed candidates and for the BIND step of each lane.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use subtle::ConstantTimeEq as _;

use super::{
    Role,
    handshake::HandshakeError,
    schedule::Keys,
    seal::{self, Place},
};
use crate::wire::{
    rendezvous::{Cookie, SequenceNumber},
    security::{ALPN_QUIC, ALPN_TCP},
};

/// Label of the TLS exporter value that BIND uses; its context is [`Session::th0`], its length
/// 32 bytes.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-rdv-bind-v1";
/// Bytes of a BIND message.
pub const BIND_LEN: usize = 32;

/// What a lane runs over, as far as its proof is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindCarrier {
    /// TLS over TCP, also through a relay.
    Tcp,
    /// QUIC.
    Quic,
}

impl BindCarrier {
    /// The application protocol that is named in the handshake of such a lane, and in its BIND.
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Tcp => ALPN_TCP,
            Self::Quic => ALPN_QUIC,
        }
    }
}

/// The result of a handshake: both ends hold the same one, with swapped roles. Cheap to clone.
///
/// In code mode the other end has not proved anything yet when the *answerer* gets its session; in
/// every mode a connection counts only after [`Session::bind_matches`].
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    role: Role,
    cookie: Cookie,
    own_key_hash: [u8; 32],
    peer_key_hash: [u8; 32],
    quic: bool,
    th0: [u8; 32],
    keys: Keys,
}

impl Session {
    pub(crate) fn new(
        role: Role,
        cookie: Cookie,
        own_key_hash: [u8; 32],
        peer_key_hash: [u8; 32],
        quic: bool,
        th0: [u8; 32],
        keys: Keys,
    ) -> Self {
        Self(Arc::new(Inner {
            role,
            cookie,
            own_key_hash,
            peer_key_hash,
            quic,
            th0,
            keys,
        }))
    }

    /// Our end.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// SHA-256 of the SubjectPublicKeyInfo that we present in TLS.
    pub fn own_key_hash(&self) -> [u8; 32] {
        self.0.own_key_hash
    }

    /// SHA-256 of the SubjectPublicKeyInfo that the other end must present in TLS.
    pub fn peer_key_hash(&self) -> [u8; 32] {
        self.0.peer_key_hash
    }

    /// Whether both ends speak such lanes. TLS over TCP all do.
    pub fn speaks(&self, carrier: BindCarrier) -> bool {
        match carrier {
            BindCarrier::Tcp => true,
            BindCarrier::Quic => self.0.quic,
        }
    }

    /// The key under which both ends sign the datagrams with which they look for a way. It proves
    /// membership in this conversation and nothing about a lane.
    pub fn probe_key(&self) -> [u8; 32] {
        **self.0.keys.probe()
    }

    /// Hash of the terms, and context of the TLS exporter.
    pub fn th0(&self) -> &[u8; 32] {
        &self.0.th0
    }

    /// Hides `plaintext` from everyone but the other end, for the proposal that we send with this
    /// sequence number. Never seal two different texts for one sequence number: the cipher's nonce
    /// comes from it.
    pub fn seal(&self, sequence: SequenceNumber, plaintext: &[u8]) -> Bytes {
        let place = self.place(sequence, self.0.role);
        seal::seal(self.0.keys.seal(place.sender), place, plaintext)
    }

    /// Opens what the other end sealed into its proposal with this sequence number.
    ///
    /// # Errors
    /// [`HandshakeError::BadSeal`] if a byte was changed or it belongs to another message.
    pub fn open(&self, sequence: SequenceNumber, sealed: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let place = self.place(sequence, self.0.role.peer());
        seal::open(self.0.keys.seal(place.sender), place, sealed)
            .map_err(|_| HandshakeError::BadSeal)
    }

    /// The BIND message that we send on a lane as its first bytes. `exporter`: see
    /// [`EXPORTER_LABEL`].
    pub fn bind_ours(
        &self,
        carrier: BindCarrier,
        lane: u32,
        exporter: &[u8; 32],
    ) -> [u8; BIND_LEN] {
        self.bind(self.0.role, carrier, lane, exporter)
    }

    /// Whether `theirs` is the BIND message of the other end of this very connection. In constant
    /// time.
    pub fn bind_matches(
        &self,
        carrier: BindCarrier,
        lane: u32,
        exporter: &[u8; 32],
        theirs: &[u8; BIND_LEN],
    ) -> bool {
        self.bind(self.0.role.peer(), carrier, lane, exporter)
            .ct_eq(theirs)
            .into()
    }

    fn bind(
        &self,
        sender: Role,
        carrier: BindCarrier,
        lane: u32,
        exporter: &[u8; 32],
    ) -> [u8; BIND_LEN] {
        let Inner { th0, keys, .. } = &*self.0;
        keys.bind(sender, th0, carrier.alpn(), lane, exporter)
    }

    fn place(&self, sequence: SequenceNumber, sender: Role) -> Place {
        Place {
            cookie: self.0.cookie,
            sequence,
            sender,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.0.role)
            .field("quic", &self.0.quic)
            .finish_non_exhaustive()
    }
}
