//! Peer-to-peer rendezvous and file transfer: bring any channel that carries short messages between two users, and files get
//! across, directly if the network allows it, through a relay if not, encrypted and authenticated end to end.

mod builder;
mod driver;
mod engine;
mod error;
mod handle;
mod proposal;
mod random;
mod report;
mod security;
mod service;

pub mod direct_im;
pub mod oscar;
pub mod share;
pub mod signaling;
pub mod transfer;
pub mod transport;
pub mod trust;

pub use builder::Builder;
pub use engine::Engine;
pub use error::{By, Error};
pub use handle::{Transfer, TransferEvent};
pub use proposal::{LegacyOffer, Proposal, ProposalKind, Refused, RefusedWhy};
pub use rdv_proto::rendezvous::{Carrier, RelayPolicy};
pub use rdv_proto::transfer::show;
pub use rdv_proto::trust::{Code, CodeError, CodeWords, Fingerprint};
pub use rdv_proto::wire::text::ScreenName;
pub use report::{OwnCandidate, PathUsed, TransferReport, TriedLine};
pub use security::{PlainPolicy, Security};
pub use service::{OfferOptions, ServiceChoice, Services};
pub use share::{Served, Share, SharedEntry, SharedFiles};
pub use transfer::{
    IfExists, Offer, Progress, Sink, SinkOptions, Source, SourceError, SourceOptions, Summary,
    TransferError,
};
pub use transport::{Path, PathKind, SocksProxy};
pub use trust::KnownPeers;

/// Three words for a new code, from the system's random numbers.
#[must_use]
pub fn new_code_words() -> CodeWords {
    loop {
        // A draw is refused only if it would favour some words; the next one is as good as the first.
        if let Ok(words) =
            CodeWords::generate(&random::bytes::<{ rdv_proto::trust::CODE_RANDOMNESS_LEN }>())
        {
            return words;
        }
    }
}
