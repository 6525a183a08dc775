//! Why an attempt came to nothing.

use rdv_proto::rendezvous::AttemptError;

use super::connect::DIAL_TIMEOUT;
use crate::transport::ars::ArsError;
use crate::transport::join::JoinError;
use crate::transport::opening::OpeningError;
use crate::transport::tls::SecureError;

/// Why an attempt ended, told in our own log; the machine gets the class of it, the peer nothing (S-10, S-30).
#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("could not connect: {0}")]
    Dial(std::io::Error),
    #[error("no answer to the connect within {} s", DIAL_TIMEOUT.as_secs())]
    DialTimeout,
    #[error("no relay is known")]
    NoRelay,
    #[error("relay: {0}")]
    Relay(#[from] ArsError),
    #[error("{0}")]
    Join(JoinError),
    #[error("{0}")]
    Secure(#[from] SecureError),
    #[error("{0}")]
    Opening(#[from] OpeningError),
    #[error("the lane closed before it was nominated")]
    NotNominated,
    #[error("given up")]
    Dropped,
}

impl From<JoinError> for Why {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Relay(error) => Self::Relay(error),
            other => Self::Join(other),
        }
    }
}

impl From<Why> for AttemptError {
    fn from(why: Why) -> Self {
        use std::io::ErrorKind;
        match why {
            Why::Dial(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Self::Refused,
                ErrorKind::TimedOut => Self::TimedOut,
                _ => Self::Unreachable,
            },
            Why::DialTimeout | Why::Relay(ArsError::Timeout(_)) => Self::TimedOut,
            Why::Relay(ArsError::Refused(code)) => Self::Relay(code.0),
            Why::NoRelay => Self::NoRelay,
            Why::Join(_) | Why::Relay(ArsError::Unreachable(_)) => Self::Unreachable,
            Why::Secure(SecureError::HandshakeTimedOut | SecureError::BindTimedOut)
            | Why::Opening(OpeningError::TimedOut) => Self::TimedOut,
            Why::Secure(SecureError::NotTls) => Self::NotTls,
            Why::Opening(OpeningError::Foreign | OpeningError::WrongCookie) => Self::WrongProof,
            Why::Secure(SecureError::WrongKey | SecureError::Tls(_)) => Self::Tls,
            Why::Secure(SecureError::BindMismatch) => Self::WrongProof,
            Why::Relay(_) | Why::Secure(_) | Why::Opening(_) | Why::NotNominated | Why::Dropped => {
                Self::Closed
            }
        }
    }
}
