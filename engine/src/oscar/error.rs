//! What can go wrong between us and a host.

use std::io;

use rdv_proto::wire::admin::AdminErrorCode;
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::signon::LoginErrorCode;

use crate::transport::connect::ConnectError;
use crate::transport::tls::HostTlsError;

/// Why a sign-on failed, or why we do not come back to a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OscarError {
    /// There is no TCP connection to the host.
    #[error("host {host} cannot be reached")]
    Unreachable {
        /// `HOST:PORT` as it was asked for.
        host: String,
        /// Why.
        source: ConnectError,
    },
    /// TLS did not come about, or the host has another key than it should.
    #[error("no secure connection to host {host}")]
    TlsFailed {
        /// `HOST:PORT` as it was asked for.
        host: String,
        /// Why.
        source: HostTlsError,
    },
    /// The host knows the old sign-on only, which the user has not allowed for it (rulings G-10).
    #[error("the host knows the old sign-on only, which is not allowed for it")]
    OldSignOnOnly,
    /// The host is not one of our kind, and so makes no accounts at sign-on.
    #[error("the host makes no accounts for people who come to it")]
    NoAccountsMade,
    /// The host does not make this account: its name is taken ([`AdminErrorCode::VALIDATE_NICKNAME`]), or name, password or mail
    /// address are none that it takes.
    #[error("the host does not make this account: {code:?}")]
    NotCreated {
        /// Its reason.
        code: AdminErrorCode,
    },
    /// The host said no.
    #[error("the host refused the sign-on: {code:?}")]
    Refused {
        /// Its reason.
        code: LoginErrorCode,
    },
    /// Not signed on in time.
    #[error("the host did not answer in time")]
    Timeout,
    /// The host sent something that is not OSCAR.
    #[error("the host does not speak our protocol")]
    Protocol(#[from] DecodeError),
    /// The connection ended before the sign-on was complete.
    #[error("the host closed the connection during sign-on")]
    Closed(#[source] Option<io::Error>),
    /// The host gave our number away.
    #[error("the host gave the number to somebody else")]
    NumberLost,
    /// The account signed on elsewhere, and the host lets it be in one place only.
    #[error("signed on from another place")]
    SignedOnElsewhere,
    /// The host ended the session because there is no such account any more.
    #[error("the account was deleted")]
    AccountDeleted,
}

impl OscarError {
    /// Whether the host shows a key that it should not: no matter how often it is tried, somebody must look at it (S-07).
    pub(super) fn is_about_the_host_key(&self) -> bool {
        matches!(
            self,
            Self::TlsFailed {
                source: HostTlsError::Key(_),
                ..
            }
        )
    }
}
