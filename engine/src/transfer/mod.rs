//! File bytes between a secured stream and the disk.
//!
//! [`send()`] and [`receive()`] run the native protocol over one stream, `oft` that of old clients; `rdv_proto::transfer` decides which frame may come,
//! this room moves the bytes.
//!
//! ```text
//! disk -> blocks (thread: read, hash, pack) -> send (frames out, acks in)  ~~>  receive (frames in, acks out) -> writer, arriving (thread: hash, write)
//!                                                                                              -> finish (threads: fsync, rename) -> ack
//! ```
//! Buffers go round in fixed numbers, so that the slowest part stops all others and memory does not depend on sizes. `folder` alone opens, makes and
//! renames anything in the output folder, always by handles and never through links.

mod arriving;
mod blocks;
mod control;
mod digest;
mod error;
mod finish;
mod folder;
mod frames;
mod metadata;
mod offer;
pub(crate) mod oft;
mod part;
mod reading;
mod receive;
mod record;
mod send;
mod session;
mod shared;
mod sink;
mod source;
mod tree;
mod unlisted;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use control::{Control, Phase, Progress};
pub use error::{Fault, SourceError, TransferError};
pub use offer::{Offer, OfferedName};
pub use rdv_proto::transfer::{Mark, show};
pub use rdv_proto::wire::bulk::AbortReason;
pub use receive::receive;
pub use send::send;
pub(crate) use shared::SharedFolder;
pub use sink::{IfExists, Sink, SinkOptions};
pub use source::{Skipped, Source, SourceOptions};

/// After this long without a sign of progress a transfer ends (security rules, section 6.4).
pub const STALL: Duration = Duration::from_secs(60);
/// How long the receiver's user may think.
pub const QUESTION: Duration = Duration::from_secs(120);

/// A transfer that came to its end: everything is checked and stands at the receiver under its final name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Files that were transferred.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From the first byte to the last word; the question is not part of it.
    pub elapsed: Duration,
    /// BLAKE3 of the only file, or of the list (`rdv_proto::transfer::ListHash`); none if there was no file.
    pub hash: Option<blake3::Hash>,
    /// Sender: how many links, devices, pipes, sockets and excluded files were found and not sent ([`Skipped`]).
    pub left_out: u64,
    /// Receiver: where the top-level files and folders are.
    pub saved: Vec<PathBuf>,
    /// Receiver: the text, if one was sent. Foreign.
    pub text: Option<String>,
}

impl Summary {
    fn of(meter: &control::Meter) -> Self {
        let (files, bytes) = meter.totals();
        Self {
            files,
            bytes,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
