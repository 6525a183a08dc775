//! TLS between two peers: one key is right, everything else is a stranger.
//!
//! Names, dates and chains are ignored; the key is compared, and the handshake signature proves that
//! the other side holds it. Nothing outlives the connection: no tickets, no resumption, no early
//! data (S-08).

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use super::{Identity, VERSIONS, key_hash, provider};

/// The only signatures between peers: our keys are Ed25519.
const ED25519_ONLY: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::ring::ED25519])],
};

/// What a refused key looks like in a rustls error: the other side presented a certificate with
/// another key than the one that was announced.
pub(crate) const WRONG_KEY: Error =
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

/// Configuration of the side that dialled.
///
/// # Errors
/// If `identity` does not hold a usable key.
pub fn client_config(
    identity: &Identity,
    peer_key_hash: [u8; 32],
    alpn: &str,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(peer_provider())
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedKey(peer_key_hash)))
        .with_client_auth_cert(vec![identity.cert.clone()], identity.key.clone_key())?;
    config.alpn_protocols = vec![alpn.into()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(config)
}

/// Configuration of the side that was dialled. It demands a certificate, too.
///
/// # Errors
/// If `identity` does not hold a usable key.
pub fn server_config(
    identity: &Identity,
    peer_key_hash: [u8; 32],
    alpn: &str,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(peer_provider())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(Arc::new(PinnedKey(peer_key_hash)))
        .with_single_cert(vec![identity.cert.clone()], identity.key.clone_key())?;
    config.alpn_protocols = vec![alpn.into()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Configuration of a side that can be dialled before it knows by whom: it has no certificate, and nobody gets in with it.
///
/// # Errors
/// If TLS 1.3 is not to be had.
pub(crate) fn closed_server_config() -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(peer_provider())
        .with_protocol_versions(VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Configuration of the side that dialled an old client: any certificate will do, and is asked for its key afterwards.
///
/// # Errors
/// If `identity` does not hold a usable key.
pub fn legacy_client_config(identity: &Identity) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey))
        .with_client_auth_cert(vec![identity.cert.clone()], identity.key.clone_key())?;
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(config)
}

/// Configuration of the side that an old client dialled. It demands a certificate, too.
///
/// # Errors
/// If `identity` does not hold a usable key.
pub fn legacy_server_config(identity: &Identity) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(Arc::new(AnyKey))
        .with_single_cert(vec![identity.cert.clone()], identity.key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn peer_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        signature_verification_algorithms: ED25519_ONLY,
        ..provider()
    })
}

/// Has nothing to show.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Believes in the one key with this SHA-256(SubjectPublicKeyInfo).
#[derive(Debug)]
struct PinnedKey([u8; 32]);

impl PinnedKey {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let found = key_hash(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if found == self.0 {
            Ok(())
        } else {
            Err(WRONG_KEY)
        }
    }
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(certificate)
            .map(|()| ServerCertVerified::assertion())
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
        verify_tls13_signature(message, certificate, signature, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}

impl ClientCertVerifier for PinnedKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(certificate)
            .map(|()| ClientCertVerified::assertion())
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
        verify_tls13_signature(message, certificate, signature, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}

/// Believes in any key whose holder signs the handshake: encrypted, not verified.
#[derive(Debug)]
struct AnyKey;

/// All signatures that *ring* can check.
fn any_signature() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
        verify_tls13_signature(message, certificate, signature, &any_signature())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        any_signature().supported_schemes()
    }
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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
        verify_tls13_signature(message, certificate, signature, &any_signature())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        any_signature().supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

    use super::*;

    #[test]
    fn s_08_no_tickets_no_resumption_no_early_data() {
        let identity = Identity::generate().unwrap();
        let server = server_config(&identity, [0; 32], "rdv-tcp/1").unwrap();
        assert_eq!(server.send_tls13_tickets, 0);
        assert_eq!(server.max_early_data_size, 0);
        assert!(!server.session_storage.can_cache());
        assert!(!server.ticketer.enabled());
        let client = client_config(&identity, [0; 32], "rdv-tcp/1").unwrap();
        assert!(!client.enable_early_data);
        assert!(
            format!("{:?}", client.resumption).contains("NoClientSessionStorage"),
            "{:?}",
            client.resumption
        );
    }

    #[test]
    fn s_02_tls_1_3_with_ephemeral_keys_is_all_that_is_offered() {
        let provider = peer_provider();
        let suites: Vec<_> = provider.cipher_suites.iter().collect();
        assert!(
            suites
                .iter()
                .all(|suite| suite.version().version == ProtocolVersion::TLSv1_3)
        );
        assert_eq!(suites[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        let groups: Vec<_> = provider
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect();
        assert!(groups.contains(&NamedGroup::X25519));
        let schemes = ServerCertVerifier::supported_verify_schemes(&PinnedKey([0; 32]));
        assert_eq!(schemes, [SignatureScheme::ED25519]);
    }
}
