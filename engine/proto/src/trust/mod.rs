//! Who is at the other end: codes, key exchange, transcript and channel binding, as arithmetic.
//!
//! No I/O and no randomness of its own: [`Randomness`] is handed in. The road of one handshake
//! (`security.md` 5.3 and 5.4):
//!
//! ```text
//! proposer                                         answerer
//! Proposing::start ── P1 block: key, pake ───────▶ Answering::start
//!                                                  Answering::seal (candidates)
//! Proposing::finish ◀── C2 block: key, pake, ───── Answering::finish
//!        │                confirm, sealed                │
//!        ▼                                               ▼
//!     Session ◀──── later proposals: sealed ────▶     Session
//!        └─── each TLS lane: BIND of 32 bytes both ways ──┘
//! ```
//!
//! [`code`] is what people type, `words` the list behind it; `pake` agrees on a key;
//! `transcript` is the hash over everything that must not change on the way; `schedule` makes
//! one key for each use; `seal` hides candidates from the host; [`handshake`] and [`session`] put
//! them together; [`fingerprint`] is a key in a form that people compare.

pub mod code;
pub mod fingerprint;
pub mod handshake;
mod pake;
mod schedule;
mod seal;
pub mod session;
#[cfg(test)]
mod tests;
mod transcript;
mod words;

pub use code::{CODE_RANDOMNESS_LEN, Code, CodeError, CodeWords, code_words_password};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use handshake::{
    Answering, Context, HandshakeError, Proposing, Randomness, SEALED_PLAINTEXT_MAX, Secret, Terms,
};
pub use session::{BIND_LEN, BindCarrier, EXPORTER_LABEL, Session};

/// Which end of a rendezvous somebody is; fixed by who sent the first proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sent the first proposal (P1).
    Proposer,
    /// Answered it (C2).
    Answerer,
}

impl Role {
    /// The role of the other end.
    pub fn peer(self) -> Self {
        match self {
            Self::Proposer => Self::Answerer,
            Self::Answerer => Self::Proposer,
        }
    }

    /// How the role is written where bytes are hashed or authenticated: `P` or `A`.
    pub(crate) fn letter(self) -> u8 {
        match self {
            Self::Proposer => b'P',
            Self::Answerer => b'A',
        }
    }
}
