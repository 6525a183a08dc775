//! Our own key and certificate.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use webpki::EndEntityCert;

/// Why there is no identity.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Making the key or the certificate failed: the system's generator, in all likelihood.
    #[error("could not make a key")]
    Generate(#[from] rcgen::Error),
}

/// An Ed25519 key with a self-signed certificate that carries nothing about the user: no name, no
/// address, and dates that are the same for everybody. Only the key counts (`security.md` 5.1).
pub struct Identity {
    /// The certificate, DER.
    pub cert: CertificateDer<'static>,
    /// The private key, PKCS #8.
    pub key: PrivateKeyDer<'static>,
    /// SHA-256 of the SubjectPublicKeyInfo: what the other side gets told.
    pub key_hash: [u8; 32],
}

impl Identity {
    /// A fresh key from the system's generator. One per code keeps transfers from being linked.
    ///
    /// # Errors
    /// [`IdentityError::Generate`].
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let cert = params.self_signed(&key)?;
        Ok(Self {
            cert: cert.der().clone(),
            key_hash: Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).into(),
            key: PrivatePkcs8KeyDer::from(key).into(),
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// SHA-256 of the SubjectPublicKeyInfo of a certificate, tag and length included.
///
/// # Errors
/// If it is no X.509 v3 certificate.
pub fn key_hash(certificate: &CertificateDer<'_>) -> Result<[u8; 32], webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    Ok(Sha256::digest(certificate.subject_public_key_info()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_certificates_key() {
        let identity = Identity::generate().unwrap();
        assert_eq!(key_hash(&identity.cert).unwrap(), identity.key_hash);
        assert_ne!(Identity::generate().unwrap().key_hash, identity.key_hash);
        assert!(key_hash(&CertificateDer::from(&b"no certificate"[..])).is_err());
    }

    #[test]
    fn a_certificate_says_nothing_but_its_key() {
        let certificate = Identity::generate().unwrap().cert;
        for text in [&b"rcgen"[..], b"rdv", b"localhost"] {
            let mut windows = certificate.windows(text.len());
            assert!(!windows.any(|window| window.eq_ignore_ascii_case(text)));
        }
    }

    #[test]
    fn s_26_debug_shows_no_key() {
        let identity = Identity::generate().unwrap();
        assert_eq!(format!("{identity:?}"), "Identity { .. }");
    }
}
