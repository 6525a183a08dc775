//! The errors of the front door: one variant for each thing that a caller can act on.

use std::path::PathBuf;

use rdv_proto::trust::Fingerprint;
use rdv_proto::wire::text::ScreenName;

use crate::signaling::SignalingError;
use crate::transfer::TransferError;

/// Whose act or finding ended something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// This side.
    Us,
    /// The other side.
    Peer,
}

/// Why a transfer ended without success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody of that name is there, or the code is unknown, used or expired.
    #[error("nobody answers under that name or number")]
    PeerUnknown,
    /// The other side was found but fell silent before anything was agreed.
    #[error("the other side does not answer")]
    PeerSilent,
    /// Somebody said no.
    #[error("{}", match .by { By::Us => "declined", By::Peer => "the other side declined" })]
    Declined {
        /// Who.
        by: By,
    },
    /// Somebody called it off.
    #[error("{}", match .by { By::Us => "cancelled", By::Peer => "cancelled by the other side" })]
    Cancelled {
        /// Who.
        by: By,
    },
    /// The words of the code were not those of the other side, or the signalling was changed on its way. Which of the two
    /// cannot be told apart. The code is used up.
    #[error("the code was wrong, or the host changed the messages")]
    WrongCode {
        /// Who found it.
        by: By,
    },
    /// What must be secure was not.
    #[error("security mismatch: {what}")]
    Security {
        /// Who found it.
        by: By,
        /// What was found, in words of our own.
        what: &'static str,
    },
    /// The two know of no way to each other that works.
    #[error("no path between the two sides")]
    NoPath,
    /// The other side speaks another version, or lacks a feature.
    #[error("incompatible: {what}")]
    Incompatible {
        /// What is missing.
        what: String,
    },
    /// A rate limit or quota was reached.
    #[error("rate limit reached")]
    RateLimited,
    /// Both sides proposed a direct IM at once, and the proposal of the other side counts. It waits for an answer.
    #[error("the other side proposed the same at once")]
    Crossed,
    /// Another device of the same user took it.
    #[error("accepted on another device")]
    AcceptedElsewhere,
    /// The signalling channel is gone.
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    /// The transfer itself failed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The other side refused for a reason of its own.
    #[error("the other side refused: {what}")]
    Refused {
        /// The code on the wire, by name.
        what: String,
    },
    /// The host refused to carry a message.
    #[error("the host refused a message (code {code:#06x})")]
    HostRefused {
        /// The general SNAC error code.
        code: u16,
    },
    /// Nobody used the code in its time.
    #[error("the code expired unused")]
    CodeExpired,
    /// No key could be made.
    #[error(transparent)]
    Identity(#[from] crate::trust::IdentityError),
    /// The peer of that name had another key before (S-07). Nothing was sent.
    #[error("{} has another key than before: {presented} instead of {known}", rdv_proto::transfer::show(peer.as_str(), 64))]
    PeerKeyChanged {
        /// Who.
        peer: ScreenName,
        /// The key on file.
        known: Fingerprint,
        /// The key that it has now.
        presented: Fingerprint,
        /// The file of known peers.
        file: PathBuf,
        /// Where the key stands in it, counted from 1.
        line: usize,
    },
    /// The file of known peers cannot be used.
    #[error(transparent)]
    KnownPeers(#[from] crate::trust::KnownPeersError),
    /// The engine is shut down.
    #[error("the engine has ended")]
    EngineEnded,
}
