//! How the key of a host is believed.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rdv_proto::trust::Fingerprint;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use thiserror::Error;

use super::{KnownHosts, VERSIONS, key_hash, peer::WRONG_KEY, provider};

/// Which host key is the right one.
#[derive(Debug, Clone)]
pub enum HostTrust {
    /// The one with this fingerprint, given by the user.
    Pinned(Fingerprint),
    /// The one on file; on the first visit, whichever comes, and it is put on file.
    FirstUse(KnownHosts),
    /// Any: an embedded host. The key exchange with the code protects the transfer (rulings G-05).
    AcceptAny,
}

/// The host has another key than it should. Stop: no question to the user (S-07).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// Not the key that the user named.
    #[error("{address} has the key {presented}, not {pinned} as demanded")]
    NotPinned {
        /// The host, `HOST:PORT`.
        address: String,
        /// What the user named.
        pinned: Fingerprint,
        /// What the host has.
        presented: Fingerprint,
    },
    /// Not the key that it had before.
    #[error(
        "the key of {address} has changed: it was {known} and now is {presented}. \
         If that is right, remove line {line} of {file}",
        file = file.display()
    )]
    Changed {
        /// The host, `HOST:PORT`.
        address: String,
        /// What it had.
        known: Fingerprint,
        /// What it has now.
        presented: Fingerprint,
        /// The file of known hosts.
        file: PathBuf,
        /// The line to remove in order to forget the old key, counted from 1.
        line: usize,
    },
}

/// Compares a host's key with the expected one, if there is one, and notes which key came.
#[derive(Debug)]
pub(crate) struct HostKeyVerifier {
    expected: Option<Fingerprint>,
    presented: OnceLock<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl HostKeyVerifier {
    pub(crate) fn new(expected: Option<Fingerprint>) -> Arc<Self> {
        Arc::new(Self {
            expected,
            presented: OnceLock::new(),
            provider: Arc::new(provider()),
        })
    }

    /// The key that the host named; that it holds it is certain only after the handshake.
    pub(crate) fn presented(&self) -> Option<Fingerprint> {
        self.presented.get().map(Fingerprint::of)
    }

    /// Configuration of a connection to a host: TLS 1.3 only, no certificate of ours.
    pub(crate) fn client_config(self: &Arc<Self>) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(config)
    }
}

impl ServerCertVerifier for HostKeyVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = key_hash(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let presented = self.presented.get_or_init(|| presented);
        match &self.expected {
            Some(expected) if !expected.matches(presented) => Err(WRONG_KEY),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
