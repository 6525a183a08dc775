//! Native policy: what is wrong with the security of a message, and the end that follows.

use super::common::{Common, Ending};
use super::sealed::Whereabouts;
use super::{EndReason, SecurityFault, WrongCodeSeenBy};
use crate::trust::HandshakeError;
use crate::wire::rendezvous::{CancelReason, Message, NakCode};
use crate::wire::service::NATIVE_VERSION;

/// What was sealed into a message, or why the conversation cannot go on.
pub(super) fn sealed_whereabouts(
    message: &Message,
    open: impl FnOnce(&[u8]) -> Result<Vec<u8>, HandshakeError>,
) -> Result<Option<Whereabouts>, Ending> {
    if !message.request_secure() {
        return Err(fault(SecurityFault::NotSecure));
    }
    let Some(block) = message.security_block() else {
        return Err(fault(SecurityFault::NoBlock));
    };
    let block = block.map_err(|error| ending_for(&error.into()))?;
    let Some(sealed) = block.sealed() else {
        return Ok(None);
    };
    let opened = open(&sealed).map_err(|error| ending_for(&error))?;
    // The peer itself sealed it: what cannot be read is its doing, not the host's.
    let read = Whereabouts::decode(&opened);
    read.map(Some).map_err(|_| {
        Ending::refuse(
            EndReason::Malformed,
            NakCode::BUSTED_PARAMETERS,
            CancelReason::UNKNOWN,
        )
    })
}

/// Whether we speak a version that the message names.
pub(super) fn check_versions(message: &Message) -> Result<(), Ending> {
    if message.versions_overlap(NATIVE_VERSION, NATIVE_VERSION) {
        return Ok(());
    }
    Err(Ending::refuse(
        EndReason::VersionMismatch,
        NakCode::VERSION_MISMATCH,
        CancelReason::UNKNOWN,
    ))
}

/// The end that follows from a failed key exchange. With a code, a proof that does not fit means
/// a wrong code; without one, that somebody changed the messages.
pub(super) fn security_ending(common: &Common, error: &HandshakeError) -> Ending {
    if *error == HandshakeError::WrongConfirmation && common.code_unproven {
        let reason = EndReason::WrongCode(WrongCodeSeenBy::Us);
        return Ending::refuse(reason, error.nak(), CancelReason::UNKNOWN);
    }
    ending_for(error)
}

pub(super) fn fault(fault: SecurityFault) -> Ending {
    Ending::refuse(
        EndReason::Security(fault),
        NakCode::SECURITY_MISMATCH,
        CancelReason::UNKNOWN,
    )
}

fn ending_for(error: &HandshakeError) -> Ending {
    let fault = match error {
        HandshakeError::NoBlock => SecurityFault::NoBlock,
        HandshakeError::NotSecure => SecurityFault::NotSecure,
        HandshakeError::UnsupportedVersion(_) | HandshakeError::UnsupportedPake(_) => {
            SecurityFault::BlockVersion
        }
        HandshakeError::NoCommonAlpn => SecurityFault::NoCommonProtocol,
        HandshakeError::BadSeal => SecurityFault::BrokenSeal,
        HandshakeError::Malformed(_) | HandshakeError::MissingItem(_) => SecurityFault::BadBlock,
        _ => SecurityFault::Tampered,
    };
    Ending::refuse(
        EndReason::Security(fault),
        error.nak(),
        CancelReason::UNKNOWN,
    )
}
