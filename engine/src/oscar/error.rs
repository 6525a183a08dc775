//! What can go wrong between us and a host.

use std::io;

use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::signon::LoginErrorCode;

use crate::transport::connect::ConnectError;
use crate::transport::tls::HostTlsError;

/// Why a sign-on failed.
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
}
