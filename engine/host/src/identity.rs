//! The host's certificate: given, kept, or made for this run; and the TLS settings that go with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use crate::HostError;
use crate::private::create_private;

/// Where the host's certificate and key come from.
#[derive(Clone, Default)]
pub enum IdentitySource {
    /// Made at start and gone at the end: for an embedded host, where the transfer proves itself.
    #[default]
    Ephemeral,
    /// `host-cert.pem` and `host-key.pem` in this folder; made at the first start, so that the fingerprint is stable.
    Kept(PathBuf),
    /// PEM text.
    Pem {
        /// The certificate, and those that vouch for it.
        certificate: String,
        /// Its private key.
        key: String,
    },
}

impl IdentitySource {
    /// Whether the certificate and its key can be used. Nothing is made; what would be made at the first start is in order.
    ///
    /// # Errors
    /// What a host would not start for.
    pub fn check(&self) -> Result<(), HostError> {
        match self {
            Self::Kept(folder) if !folder.join("host-key.pem").exists() => Ok(()),
            source => Identity::load(source).map(|_| ()),
        }
    }
}

impl std::fmt::Debug for IdentitySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ephemeral => f.write_str("Ephemeral"),
            Self::Kept(folder) => f.debug_tuple("Kept").field(folder).finish(),
            Self::Pem { .. } => f.write_str("Pem(***)"),
        }
    }
}

/// TLS settings, and what clients pin.
pub(crate) struct Identity {
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// SHA-256 of the certificate's SubjectPublicKeyInfo.
    pub(crate) fingerprint: [u8; 32],
}

impl Identity {
    pub(crate) fn load(source: &IdentitySource) -> Result<Self, HostError> {
        match source {
            IdentitySource::Ephemeral => {
                let (certificate, key) = generate()?;
                Self::from_pem(&certificate, &key)
            }
            IdentitySource::Kept(folder) => {
                let (certificate, key) = keep(folder)?;
                Self::from_pem(&certificate, &key)
            }
            IdentitySource::Pem { certificate, key } => Self::from_pem(certificate, key),
        }
    }

    fn from_pem(certificate: &str, key: &str) -> Result<Self, HostError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(unusable)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unusable)?;
        let fingerprint = fingerprint(chain.first().ok_or_else(|| unusable("no certificate"))?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // 1.2 is for clients older than 1.3; ours refuse it themselves.
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        // No session outlives its connection.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self {
            tls: Arc::new(tls),
            fingerprint,
        })
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Result<[u8; 32], HostError> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(unusable)?;
    Ok(Sha256::digest(parsed.subject_public_key_info()).into())
}

/// A new self-signed certificate and its key, as PEM.
fn generate() -> Result<(String, String), HostError> {
    let key = rcgen::KeyPair::generate().map_err(unusable)?;
    Ok((certificate_of(&key)?, key.serialize_pem()))
}

fn certificate_of(key: &rcgen::KeyPair) -> Result<String, HostError> {
    rcgen::CertificateParams::new(vec!["rdv-host".to_owned()])
        .and_then(|params| params.self_signed(key))
        .map(|certificate| certificate.pem())
        .map_err(unusable)
}

/// Reads the pair in `folder`, or makes what is missing of it. Clients pin the key alone, and a certificate can be made of it
/// again: whatever a process that was killed leaves behind, the next one goes on from there.
fn keep(folder: &Path) -> Result<(String, String), HostError> {
    let key_path = folder.join("host-key.pem");
    let certificate_path = folder.join("host-cert.pem");
    fs::create_dir_all(folder).map_err(in_file(folder))?;
    let key = match fs::read_to_string(&key_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A certificate whose key was taken away says nothing any more.
            match fs::remove_file(&certificate_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(in_file(&certificate_path)(error));
                }
                _ => {}
            }
            let key = rcgen::KeyPair::generate().map_err(unusable)?;
            create_private(&key_path, &key.serialize_pem()).map_err(in_file(&key_path))?
        }
        key => key.map_err(in_file(&key_path))?,
    };
    let certificate = match fs::read_to_string(&certificate_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pair = rcgen::KeyPair::from_pem(&key).map_err(unusable)?;
            create_private(&certificate_path, &certificate_of(&pair)?)
                .map_err(in_file(&certificate_path))?
        }
        certificate => certificate.map_err(in_file(&certificate_path))?,
    };
    Ok((certificate, key))
}

fn in_file(path: &Path) -> impl Fn(io::Error) -> HostError {
    let path = path.to_owned();
    move |source| HostError::IdentityFile {
        path: path.clone(),
        source,
    }
}

fn unusable(reason: impl std::fmt::Display) -> HostError {
    HostError::Identity {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_identity_has_the_same_fingerprint_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let source = IdentitySource::Kept(folder.path().join("state"));
        let first = Identity::load(&source).unwrap().fingerprint;
        assert_eq!(Identity::load(&source).unwrap().fingerprint, first);
        assert_ne!(
            Identity::load(&IdentitySource::Ephemeral)
                .unwrap()
                .fingerprint,
            first
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_kept_key_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        Identity::load(&IdentitySource::Kept(folder.path().to_owned())).unwrap();
        let mode = fs::metadata(folder.path().join("host-key.pem"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_a_killed_process_left_of_the_pair_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let source = IdentitySource::Kept(folder.path().to_owned());
        let first = Identity::load(&source).unwrap().fingerprint;
        fs::remove_file(folder.path().join("host-cert.pem")).unwrap();
        assert_eq!(Identity::load(&source).unwrap().fingerprint, first);
        fs::remove_file(folder.path().join("host-key.pem")).unwrap();
        assert_ne!(Identity::load(&source).unwrap().fingerprint, first);
        let names = fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 2, "nothing else is left");
    }

    #[cfg(unix)]
    #[test]
    fn a_planted_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::os::unix::fs::symlink(&target, folder.path().join("host-key.pem")).unwrap();
        assert!(Identity::load(&IdentitySource::Kept(folder.path().to_owned())).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (certificate, _) = generate().unwrap();
        let (_, key) = generate().unwrap();
        let source = IdentitySource::Pem { certificate, key };
        assert!(matches!(
            Identity::load(&source),
            Err(HostError::Identity { .. })
        ));
        let empty = IdentitySource::Pem {
            certificate: String::new(),
            key: String::new(),
        };
        assert!(matches!(
            Identity::load(&empty),
            Err(HostError::Identity { .. })
        ));
    }
}
