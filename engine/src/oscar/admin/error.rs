//! What can go wrong between the owner of an account and the host that keeps it.

use std::fmt;

use rdv_proto::wire::admin::AdminErrorCode;
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::snac::ErrorCode;

use crate::oscar::OscarError;

/// Why something about an account could not be learnt or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The sign-on failed, or the second connection that the service has for itself.
    #[error(transparent)]
    Host(#[from] OscarError),
    /// The host has no such service (01/01), or not now.
    #[error("the host lets nobody manage accounts (code {:#06x})", code.0)]
    NoService {
        /// What it says of that.
        code: ErrorCode,
    },
    /// The host named no service that we could use.
    #[error("the host does not say where accounts are managed")]
    Nowhere,
    /// The host refused: one of the reasons of the protocol.
    #[error("the host refused: {}", Named(*code))]
    Refused {
        /// Its reason.
        code: AdminErrorCode,
        /// Where it explains that. Foreign text; never opened.
        url: Option<String>,
    },
    /// The host did not take the request as such (07/01).
    #[error("the host does not know or not allow this request (code {:#06x})", code.0)]
    NotTaken {
        /// What it says of that.
        code: ErrorCode,
    },
    /// The host's answer lacks what was asked for.
    #[error("the host's answer does not fit the question")]
    Unanswered,
    /// The host's answer cannot be read.
    #[error("the host's answer cannot be read")]
    Protocol(#[from] DecodeError),
    /// No answer in time. Whether the request was carried out is not known.
    #[error("the host did not answer in time")]
    Timeout,
    /// The connection broke. Whether the request was carried out is not known.
    #[error("the connection to the host broke")]
    Closed(#[source] Option<std::io::Error>),
}

/// A code as people see it: its name and number.
struct Named(AdminErrorCode);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => write!(f, "{name} ({:#04x})", self.0.0),
            None => write!(f, "code {:#04x}", self.0.0),
        }
    }
}
