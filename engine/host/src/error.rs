//! Why a host or a relay does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why a host or a relay does not start. Once it runs, nothing that a client does ends it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// No address to listen on was given.
    #[error("no address to listen on")]
    NoAddress,
    /// An address cannot be listened on: taken, foreign, or a port that needs rights.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What was handed over is no listening socket.
    #[error("what was handed over is no listening socket")]
    Socket(#[source] io::Error),
    /// The certificate or its key cannot be read or kept.
    #[error("cannot use {path}")]
    IdentityFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key is not PEM, or one does not belong to the other.
    #[error("the certificate and its key cannot be used: {reason}")]
    Identity {
        /// What the TLS library says.
        reason: String,
    },
    /// The numbers to give out are none, or not from 1 to 9999.
    #[error("numbers are from 1 to 9999")]
    Numbers,
    /// A relay that is not open needs the key of the host whose tickets it takes.
    #[error("a relay needs a ticket key, or must be open")]
    NoTicketKey,
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}
