//! What can go wrong in a transfer, and whose fault it is.

use std::io;
use std::path::PathBuf;

use rdv_proto::transfer::oft::{OfferError, OftFault};
use rdv_proto::transfer::{ManifestError, NameError, ProtocolError, show};
use rdv_proto::wire::bulk::{AbortReason, Control};
use thiserror::Error;

/// A problem with what is to be sent, found before a byte of it went out. All of these are the sender's own.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The path does not exist.
    #[error("{} does not exist", shown(.path))]
    NotFound {
        /// As the user gave it.
        path: PathBuf,
    },
    /// A device, pipe or socket (F-8), or a path without a name, like `/`.
    #[error("{} is neither a file nor a folder", shown(.path))]
    NotAFile {
        /// As the user gave it.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{} cannot be read: {error}", shown(.path))]
    Unreadable {
        /// Where it happened.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Names that no receiver would take (F-1); at most 20 are kept.
    #[error("names that cannot be sent: {}", list_names(.names))]
    BadNames {
        /// The local path and what is wrong with it.
        names: Vec<(PathBuf, NameError)>,
    },
    /// The list as a whole is refused: two names that are one on other systems, too many files.
    #[error("the list cannot be sent: {}", refused(.0))]
    List(ManifestError),
    /// A text above 1 MiB.
    #[error("the text is too long; send it as a file")]
    TextTooLong,
    /// An old client can be sent nothing but files.
    #[error("a text cannot be sent to an old client; send it as a file")]
    TextForOldClient,
    /// Something that the protocol of old clients cannot carry.
    #[error("{}{why}", of(.path))]
    OldClient {
        /// The file, if it is one file's fault.
        path: Option<PathBuf>,
        /// What is wrong.
        why: OfferError,
    },
    /// Nothing was named.
    #[error("nothing to send")]
    Nothing,
}

/// Who is to blame, for wording and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The other side.
    Peer,
    /// The way between.
    Network,
    /// A file or disk on this side.
    Disk,
    /// A decision of this side's user.
    Us,
}

/// Why a transfer did not come to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The receiver's user said no: on both sides.
    #[error("declined")]
    Declined,
    /// The other side's user ended it, or did not answer in time.
    #[error("cancelled by the other side{}", peer_words(*.reason, .text))]
    CancelledByPeer {
        /// [`AbortReason::USER`] or [`AbortReason::TIMEOUT`].
        reason: AbortReason,
        /// Its words; foreign.
        text: String,
    },
    /// The other side had to give up.
    #[error("the other side gave up{}", peer_words(*.reason, .text))]
    PeerFailed {
        /// Why.
        reason: AbortReason,
        /// Its words; foreign.
        text: String,
    },
    /// The other side plays the same role, or speaks no version that we know.
    #[error("{0}")]
    Incompatible(ProtocolError),
    /// Cancelled here.
    #[error("cancelled")]
    CancelledLocally,
    /// The question was not answered in time.
    #[error("the question was not answered in time")]
    Unanswered,
    /// The connection broke.
    #[error("the connection was lost: {}", lost(.0))]
    LinkLost(io::Error),
    /// Nothing moved for 60 s.
    #[error("nothing moved for {} s", super::STALL.as_secs())]
    Stalled,
    /// What was to be sent cannot be.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file of ours changed while it was being sent (F-8).
    #[error("{} changed while it was being sent", shown(.path))]
    SourceChanged {
        /// The local path.
        path: PathBuf,
    },
    /// A file or folder of ours cannot be read or written.
    #[error("{}: {error}", shown(.path))]
    Local {
        /// The local path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A symbolic link stands where something is to be written (F-3).
    #[error("{} is a symbolic link; nothing is written through links", shown(.path))]
    Link {
        /// The local path.
        path: PathBuf,
    },
    /// The name is taken, and taken names were to be left alone.
    #[error("{} exists already", shown(.path))]
    Exists {
        /// The local path.
        path: PathBuf,
    },
    /// Another receiver is writing the same file (F-4).
    #[error("{} is being received by another process", shown(.path))]
    Busy {
        /// The local path.
        path: PathBuf,
    },
    /// The disk has no room for it (F-6).
    #[error("not enough space: {needed} bytes are needed and {free} are free")]
    NoSpace {
        /// Bytes to be written.
        needed: u64,
        /// Bytes that this user may still use.
        free: u64,
    },
    /// The bytes are not those that the sender hashed (S-23).
    #[error("{} did not arrive as it was sent", show(.name, 200))]
    Verification {
        /// Name in the list.
        name: String,
    },
    /// A name from the sender is refused (F-1, F-2).
    #[error("the offer is refused: {}", refused(.0))]
    BadName(ManifestError),
    /// The other side broke the protocol, or speaks a version that we do not know.
    #[error("the other side broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// An old client broke its protocol, or sends something else than was accepted.
    #[error("the other side broke the protocol: {0}")]
    OldProtocol(#[from] OftFault),
}

impl TransferError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Declined
            | Self::CancelledByPeer { .. }
            | Self::PeerFailed { .. }
            | Self::Incompatible(_)
            | Self::Verification { .. }
            | Self::BadName(_)
            | Self::Protocol(_)
            | Self::OldProtocol(_) => Fault::Peer,
            Self::LinkLost(_) | Self::Stalled => Fault::Network,
            Self::CancelledLocally | Self::Unanswered => Fault::Us,
            Self::Source(_)
            | Self::SourceChanged { .. }
            | Self::Local { .. }
            | Self::Link { .. }
            | Self::Exists { .. }
            | Self::Busy { .. }
            | Self::NoSpace { .. } => Fault::Disk,
        }
    }

    /// What the other side is told. Remote words name no local path (S-30). `None`: it knows, or cannot be told.
    pub(super) fn abort(&self) -> Option<Control> {
        let (reason, text) = match self {
            Self::Declined
            | Self::CancelledByPeer { .. }
            | Self::PeerFailed { .. }
            | Self::LinkLost(_) => return None,
            Self::CancelledLocally => (AbortReason::USER, "cancelled"),
            Self::Unanswered => (AbortReason::TIMEOUT, "no answer in time"),
            Self::Stalled => (AbortReason::STALLED, "nothing moved for too long"),
            Self::SourceChanged { .. } => (
                AbortReason::SOURCE_CHANGED,
                "a file changed while it was being sent",
            ),
            Self::NoSpace { .. } => (
                AbortReason::NO_SPACE,
                "not enough space on the receiver's disk",
            ),
            Self::Local { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                (AbortReason::NO_SPACE, "the receiver's disk is full")
            }
            Self::Source(_)
            | Self::Local { .. }
            | Self::Link { .. }
            | Self::Exists { .. }
            | Self::Busy { .. } => (AbortReason::FILE, "a problem with a local file"),
            Self::Verification { .. } => (AbortReason::VERIFICATION, "content did not verify"),
            Self::BadName(_) => (AbortReason::NAME, "a name in the list is refused"),
            Self::Incompatible(_) => (AbortReason::INCOMPATIBLE, "incompatible version or role"),
            Self::Protocol(_) | Self::OldProtocol(_) => (AbortReason::PROTOCOL, "protocol error"),
        };
        Some(Control::Abort {
            reason: reason.0,
            text: text.to_owned(),
        })
    }

    /// What the other side's last words mean.
    pub(super) fn aborted(reason: AbortReason, text: String) -> Self {
        match reason {
            AbortReason::UNKNOWN | AbortReason::USER | AbortReason::TIMEOUT => {
                Self::CancelledByPeer { reason, text }
            }
            _ => Self::PeerFailed { reason, text },
        }
    }

    pub(super) fn local(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Local { path, error }
    }
}

impl From<ProtocolError> for TransferError {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Manifest(
                error @ (ManifestError::Name { .. } | ManifestError::Collision { .. }),
            ) => Self::BadName(error),
            other @ ProtocolError::Incompatible(_) => Self::Incompatible(other),
            other => Self::Protocol(other),
        }
    }
}

/// TLS has a long word of its own for a peer that just went away.
fn lost(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the other side went away".to_owned(),
        _ => error.to_string(),
    }
}

fn of(path: &Option<PathBuf>) -> String {
    path.as_deref()
        .map_or_else(String::new, |path| format!("{}: ", shown(path)))
}

fn shown(path: &std::path::Path) -> String {
    show(&path.to_string_lossy(), 200)
}

fn list_names(names: &[(PathBuf, NameError)]) -> String {
    names
        .iter()
        .map(|(path, why)| format!("{} ({why})", shown(path)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn refused(error: &ManifestError) -> String {
    match error {
        ManifestError::Name { name, why } => format!("{}: {why}", show(name, 200)),
        ManifestError::Collision { name } => {
            format!(
                "{} stands there twice, at least for systems that do not tell case apart",
                show(name, 200)
            )
        }
        other => other.to_string(),
    }
}

fn peer_words(reason: AbortReason, text: &str) -> String {
    let known = match reason {
        AbortReason::USER => return String::new(),
        AbortReason::TIMEOUT => "nobody answered there in time",
        AbortReason::FILE => "a problem with a file there",
        AbortReason::NO_SPACE => "not enough space on the disk there",
        AbortReason::SOURCE_CHANGED => "a file changed while it was being sent",
        AbortReason::VERIFICATION => "content did not arrive there as it was sent",
        AbortReason::PROTOCOL => "it found us breaking the protocol",
        AbortReason::NAME => "a name in the list is refused there",
        AbortReason::STALLED => "nothing moved for too long",
        AbortReason::INCOMPATIBLE => "versions or roles do not fit",
        _ => return format!(" (reason {}, {})", reason.0, show(text, 200)),
    };
    format!(": {known}")
}
