//! From the many ways in which things end to the few that a caller can act on.

use rdv_proto::rendezvous::{EndReason, SecurityFault, Wait, WrongCodeSeenBy};
use rdv_proto::wire::bulk::AbortReason;
use rdv_proto::wire::rendezvous::{CancelReason, NakCode};

use crate::error::{By, Error};
use crate::transfer::TransferError;

/// Why a conversation ended before it had a lane.
pub(super) fn of_conversation(reason: &EndReason, candidates_exchanged: bool) -> Error {
    match reason {
        EndReason::Refused(nak) => of_nak(*nak, candidates_exchanged),
        EndReason::Cancelled(CancelReason::TIMEOUT) => silent(candidates_exchanged),
        EndReason::Cancelled(CancelReason::ACCEPTED_ELSEWHERE) => Error::AcceptedElsewhere,
        EndReason::Cancelled(CancelReason::USER) => Error::Cancelled { by: By::Peer },
        EndReason::Cancelled(reason) => Error::Refused {
            what: format!("cancelled, reason {}", reason.0),
        },
        EndReason::Superseded => Error::Crossed,
        EndReason::Declined => Error::Declined { by: By::Us },
        EndReason::Withdrawn(_) => Error::Cancelled { by: By::Us },
        EndReason::Undeliverable { code: 4 } => Error::PeerUnknown,
        EndReason::Undeliverable { code: 9 } => Error::Incompatible {
            what: "the other side does not know this service".into(),
        },
        EndReason::Undeliverable { code } => Error::HostRefused { code: *code },
        EndReason::WrongCode(WrongCodeSeenBy::Us) => Error::WrongCode { by: By::Us },
        EndReason::WrongCode(WrongCodeSeenBy::Peer) => Error::WrongCode { by: By::Peer },
        EndReason::Security(fault) => Error::Security {
            by: By::Us,
            what: of_fault(*fault),
        },
        EndReason::SecurityRefusedByPeer => Error::Security {
            by: By::Peer,
            what: "the other side found the messages changed on their way",
        },
        EndReason::VersionMismatch => Error::Incompatible {
            what: "the versions do not overlap".into(),
        },
        EndReason::Malformed => Error::Incompatible {
            what: "a message of the other side could not be read".into(),
        },
        EndReason::TimedOut(Wait::Answer) => Error::PeerSilent,
        EndReason::TimedOut(Wait::Decision) => Error::Declined { by: By::Us },
        EndReason::TimedOut(_) => silent(candidates_exchanged),
        EndReason::NoPath { .. } => Error::NoPath,
        EndReason::LinkLost(_) => Error::Transfer(TransferError::LinkLost(
            std::io::ErrorKind::ConnectionReset.into(),
        )),
        EndReason::TooManyConversations | EndReason::TooManyProposals => Error::RateLimited,
        _ => Error::Refused {
            what: format!("{reason:?}"),
        },
    }
}

/// Why a proposal that waited for our user is not open any more.
pub(super) fn of_proposal(reason: &EndReason, candidates_exchanged: bool) -> Error {
    match reason {
        // Its maker starts again.
        EndReason::Superseded => Error::Cancelled { by: By::Peer },
        other => of_conversation(other, candidates_exchanged),
    }
}

/// Why a conversation with an old client ended before it had a lane. They say less, and some of it in other words. `unanswered`:
/// we proposed, and this is the first answer.
pub(super) fn of_old_conversation(
    reason: &EndReason,
    candidates_exchanged: bool,
    unanswered: bool,
) -> Error {
    match reason {
        // One word for "no", "not now" and "enough"; Miranda gives no reason at all.
        EndReason::Cancelled(CancelReason::USER | CancelReason::UNKNOWN) => {
            match unanswered && !candidates_exchanged {
                true => Error::Declined { by: By::Peer },
                false => Error::Cancelled { by: By::Peer },
            }
        }
        EndReason::Security(SecurityFault::NotSecure) => Error::Security {
            by: By::Us,
            what: "the other side does not encrypt, and without that nothing is sent to it or taken from it",
        },
        EndReason::SecurityRefusedByPeer => Error::Security {
            by: By::Peer,
            what: "the other side refused the terms: it wants encryption, and the request for it was missing or could not be met",
        },
        other => of_conversation(other, candidates_exchanged),
    }
}

/// Nobody there, or no way to get there: tells whether addresses were exchanged before.
fn silent(candidates_exchanged: bool) -> Error {
    if candidates_exchanged {
        Error::NoPath
    } else {
        Error::PeerSilent
    }
}

fn of_nak(nak: Option<NakCode>, candidates_exchanged: bool) -> Error {
    match nak {
        Some(NakCode::DENIED | NakCode::NOT_AVAILABLE) => Error::Declined { by: By::Peer },
        Some(NakCode::TIMED_OUT) => silent(candidates_exchanged),
        Some(NakCode::RATE_LIMITED) => Error::RateLimited,
        Some(NakCode::SECURITY_MISMATCH) => Error::WrongCode { by: By::Peer },
        Some(NakCode::UNSUPPORTED | NakCode::BUSTED_PARAMETERS | NakCode::VERSION_MISMATCH) => {
            Error::Incompatible {
                what: format!("the other side refused the proposal ({nak:?})"),
            }
        }
        other => Error::Refused {
            what: format!("{other:?}"),
        },
    }
}

fn of_fault(fault: SecurityFault) -> &'static str {
    match fault {
        SecurityFault::NotSecure => {
            "the request for encryption was missing: it was removed on the way, or the other side is no rdv"
        }
        SecurityFault::NoBlock => {
            "the security block was missing: it was removed on the way, or the other side is no rdv"
        }
        SecurityFault::BadBlock => "the security block could not be read",
        SecurityFault::BlockVersion => "the security block has a version that is not known here",
        SecurityFault::Tampered => "the host changed the proposal",
        SecurityFault::NoCommonProtocol => "no common protocol for the encrypted channel",
        SecurityFault::BrokenSeal => "sealed addresses did not open: the host changed a message",
        _ => "the terms of encryption do not fit",
    }
}

/// Why a transfer ended on its lane. `receives`: we are the receiver.
pub(super) fn of_transfer(error: TransferError, receives: bool) -> Error {
    match error {
        TransferError::Declined => Error::Declined {
            by: if receives { By::Us } else { By::Peer },
        },
        TransferError::CancelledLocally => Error::Cancelled { by: By::Us },
        TransferError::CancelledByPeer { reason, .. } if reason == AbortReason::USER => {
            Error::Cancelled { by: By::Peer }
        }
        TransferError::CancelledByPeer { reason, .. } if reason == AbortReason::TIMEOUT => {
            Error::Declined { by: By::Peer }
        }
        TransferError::Unanswered => Error::Declined { by: By::Us },
        other => Error::Transfer(other),
    }
}
