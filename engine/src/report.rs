//! What was tried for a transfer, and what it ran on: for the user who wants to know why it went the way it did.
//!
//! Plain values; whoever keeps them chooses the form. Everything in it is bounded, and no text of it is raw text of the peer.

mod log;

use std::net::SocketAddr;
use std::time::SystemTime;

use rdv_proto::rendezvous::Carrier;
use rdv_proto::wire::text::ScreenName;

pub(crate) use self::log::Log;
use crate::transport::Path;

/// Lines of each list in a report at most; of what was tried later only the number is kept.
pub(crate) const LINES_MAX: usize = 256;

/// How the two sides of a transfer looked for each other. Times count from [`TransferReport::started`], in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferReport {
    /// Names the transfer on this machine: 8 random hexadecimal digits.
    pub id: String,
    /// The other side, once it is known.
    pub peer: Option<ScreenName>,
    /// When the transfer was begun.
    pub started: SystemTime,
    /// Every attempt that is over, in the order of their ends, with how each ended; 256 at most.
    pub tried: Vec<TriedLine>,
    /// Attempts that did not fit.
    pub tried_more: u64,
    /// What the bytes went over, in order; the last one may still be in use.
    pub paths: Vec<PathUsed>,
    /// From our first message with addresses to our first proven lane, in milliseconds.
    pub lane_ms: Option<u64>,
    /// What was found of our own addresses.
    pub own: Vec<OwnCandidate>,
    /// How our NAT treats UDP and TCP: `unknown`, `open`, `independent`, `dependent` or `blocked`.
    pub network: Option<(&'static str, &'static str)>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriedLine {
    /// What was to carry it. `None`: a relay.
    pub carrier: Option<Carrier>,
    /// Where it went, or came from, as text.
    pub address: Option<String>,
    /// Where the address was from: `host`, `mapped`, `reflexive`, …, `accepted`, `relay`.
    pub source: &'static str,
    /// When it began.
    pub at_ms: u64,
    /// How long it took.
    pub took_ms: u64,
    /// `won`, `lost` (proven, another was better), `not needed` or `failed`.
    pub result: &'static str,
    /// Why it failed; or the round trip of a proven one.
    pub why: Option<String>,
}

/// A path that carried bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathUsed {
    /// Which.
    pub path: Path,
    /// When it was taken.
    pub from_ms: u64,
    /// When it was left. `None`: not yet.
    pub to_ms: Option<u64>,
    /// Bytes of the session that it carried, both ways together.
    pub bytes: u64,
}

/// An own address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnCandidate {
    /// Where a peer may reach us.
    pub address: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Where it is from, as in [`TriedLine::source`].
    pub source: &'static str,
}
