//! Our own key and certificate.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

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
    /// The file of the key cannot be read or made.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no Ed25519 key. It is left as it is: a new key would be a stranger to everybody who knows the old one.
    #[error("{path} holds no key of ours", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
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
        Self::of(KeyPair::generate_for(&PKCS_ED25519)?)
    }

    /// The key of this install: that in the file at `path` (PKCS #8, PEM), or a fresh one that is put there, mode 0600. Of several
    /// processes that come first, one makes it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load_or_make(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::File {
            path: path.to_owned(),
            source,
        };
        loop {
            match fs::read_to_string(path) {
                Ok(pem) => return Self::from_pem(&pem, path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            let key = KeyPair::generate_for(&PKCS_ED25519)?;
            match create(path, &key.serialize_pem()) {
                Ok(()) => return Self::of(key),
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn from_pem(pem: &str, path: &Path) -> Result<Self, IdentityError> {
        let key = KeyPair::from_pem(pem).ok();
        let key = key.filter(|key| key.algorithm() == &PKCS_ED25519);
        Self::of(key.ok_or_else(|| IdentityError::NoKey {
            path: path.to_owned(),
        })?)
    }

    fn of(key: KeyPair) -> Result<Self, IdentityError> {
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

/// Puts a key where none is: whole, or not at all. Written beside and linked, so that nobody reads half of it.
fn create(path: &Path, pem: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let number = u64::from_be_bytes(crate::random::bytes());
    let new = folder.join(format!(".key-{number:016x}.new"));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&new).and_then(|mut file| {
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&new, path)
    });
    // What is left of a failure is no key of anybody.
    let _ = fs::remove_file(&new);
    written
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
    fn the_key_of_an_install_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/key.pem");
        let made: Vec<_> = std::thread::scope(|scope| {
            let load = || Identity::load_or_make(&path).unwrap().key_hash;
            let loads: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
            loads.into_iter().map(|load| load.join().unwrap()).collect()
        });
        assert!(made.iter().all(|hash| *hash == made[0]));
        let again = Identity::load_or_make(&path).unwrap();
        assert_eq!(again.key_hash, made[0]);
        assert_eq!(key_hash(&again.cert).unwrap(), made[0]);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_holds_no_key_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "not a key").unwrap();
        let refused = Identity::load_or_make(&path);
        assert!(
            matches!(refused, Err(IdentityError::NoKey { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }

    #[test]
    fn s_26_debug_shows_no_key() {
        let identity = Identity::generate().unwrap();
        assert_eq!(format!("{identity:?}"), "Identity { .. }");
    }
}
