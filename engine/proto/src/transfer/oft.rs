//! The two sides of OFT2, the transfer of old clients, and of their shared folders. Sees headers, names, lengths and checksums; never a file's bytes.
//!
//! Over one connection, without frames: header, header, raw bytes, header, … Whoever drives a machine reads a header
//! ([`wire::oft::Header::decode`](crate::wire::oft::Header::decode)), hands it in, writes what comes out in one write each, and moves the
//! bytes that the machine names.
//!
//! ```text
//! sender   OftSend                         receiver   OftReceive
//! prompt(file) ── PROMPT ────────────────→ handle → Offered(file)
//! SendBody     ←─ ACK ──────────────────── accept()
//!        or    ←─ RESUME ───────────────── resume(have, checksum)
//! CheckResume → resume_checked() ────────→ handle → ReceiveBody { reply, .. }
//! SendBody     ←─ RESUME_ACK ───────────── reply
//! body_sent()  ══ bytes ═════════════════→ received(checksum)
//! FileDone     ←─ DONE ─────────────────── its header
//! ```
//!
//! There is no frame for errors: after an [`OftFault`] the connection is closed, and the rendezvous cancelled if it is still known.
//! Time is not kept here.

mod listing;
mod names;
mod offer;
mod receive;
mod send;

#[cfg(test)]
mod chance;
#[cfg(test)]
mod tests;

pub use listing::{ListOwner, ListRequester, OwnerEvent, RequesterEvent};
pub use names::{clean_path, proposed_name};
pub use offer::{OfferError, OftTotals};
pub use receive::{Incoming, OftReceive, ReceiveTerms, ReceivedEvent};
pub use send::{FileEnd, FileFacts, OftSend, SentEvent};

use crate::wire::error::{DecodeError, EncodeError};
use crate::wire::oft::{Checksum, Header, Kind};
use crate::wire::rendezvous::Cookie;

/// The other side broke the rules of OFT2, or what it says does not fit what was agreed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OftFault {
    /// Bytes that are no header, or a name that is too long.
    #[error(transparent)]
    Header(#[from] DecodeError),
    /// A path of ours that no header can carry.
    #[error(transparent)]
    Name(#[from] EncodeError),
    /// Not the cookie of the rendezvous: somebody else. The wait for the peer goes on (T-08).
    #[error("the connection is not the peer's: another cookie")]
    Cookie,
    /// A header that has no place in this state.
    #[error("{0:?} at the wrong time")]
    Unexpected(Kind),
    /// Encryption or compression, which nobody ever defined (T-13).
    #[error("the other side wants encryption or compression of a kind that nobody knows")]
    Encoded,
    /// A file with a resource fork (T-13).
    #[error("a file in {0} parts")]
    Parts(u16),
    /// More files than were accepted (T-14).
    #[error("more files than the {accepted} that were accepted")]
    TooManyFiles {
        /// How many were.
        accepted: u32,
    },
    /// The sender calls a file the last one, and more were accepted (S-22).
    #[error("only {received} of the {accepted} files that were accepted")]
    TooFewFiles {
        /// How many came.
        received: u32,
        /// How many were accepted.
        accepted: u32,
    },
    /// More bytes than were accepted, or for a single file another size (T-14).
    #[error("{announced} bytes where {accepted} were accepted")]
    Size {
        /// What the header says.
        announced: u64,
        /// What is left of what was accepted.
        accepted: u64,
    },
    /// Another file than the one that was accepted.
    #[error("another file than the one that was accepted")]
    AnotherFile,
    /// The sender wants to go on at an offset that was not asked for.
    #[error("resumed at {0}, which was not asked for")]
    ResumeOffset(u32),
    /// The receiver calls a file complete that is not.
    #[error(
        "the receiver has {received} bytes modulo 2^32 and calls them the whole file of {size}"
    )]
    Short {
        /// What the header says.
        received: u32,
        /// The true size.
        size: u64,
    },
    /// What arrived is not what the sender announced (S-23).
    #[error("the checksum is {found:?}, announced was {announced:?}")]
    Checksum {
        /// What the header says.
        announced: Checksum,
        /// Of what arrived.
        found: Checksum,
    },
    /// Bytes between the last one of a file and our DONE.
    #[error("bytes after the end of a file")]
    EarlyBytes,
    /// A listing above 4 MiB.
    #[error("a listing of {0} bytes")]
    ListingTooLarge(u32),
    /// The other side could not read our listing.
    #[error("the listing came damaged")]
    ListingCorrupt,
    /// A path that leads out of the shared folder, or is none.
    #[error("a path that is not shared")]
    Path,
}

/// Whether a header carries the cookie of the rendezvous. A zero one counts only in the first header of those who have the data
/// (libpurple writes no other), and only if `zero_counts`: we dialled, the relay paired us, or the source address is one that the peer
/// named (L-16).
pub fn cookie_fits(header: &Header, cookie: Cookie, zero_counts: bool) -> bool {
    let first = matches!(header.kind, Kind::PROMPT | Kind::LIST_PROMPT);
    header.cookie == cookie || (zero_counts && first && header.cookie.is_zero())
}

/// What holds for every header that arrives: its cookie, and T-13.
fn check(header: &Header, cookie: Cookie, zero_counts: bool) -> Result<(), OftFault> {
    if !cookie_fits(header, cookie, zero_counts) {
        return Err(OftFault::Cookie);
    }
    if header.encryption != 0 || header.compression != 0 {
        return Err(OftFault::Encoded);
    }
    Ok(())
}

/// A number of bytes as headers say it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the fields are defined modulo 2^32"
)]
fn modulo(bytes: u64) -> u32 {
    bytes as u32
}
