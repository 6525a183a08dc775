//! Passwords for old clients, sealed with a key that is kept outside of the database.
//!
//! MD5 sign-on needs the password itself, or something as good. So it is stored such that the database alone gives nothing
//! away (S-31): `[version: u8 = 1][nonce: 24][XChaCha20-Poly1305]`, bound to the account by its number and name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rdv_proto::wire::text::ScreenName;
use zeroize::Zeroizing;

use super::error::AccountsError;
use super::secret::Password;
use crate::private::create_private;
use crate::random::random;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;
const KEY_LEN: usize = 32;

/// The key.
pub(super) struct Seal(XChaCha20Poly1305);

impl Seal {
    /// Reads the key file, or makes it. Where it `must_exist`, a new key would not open what is stored.
    pub(super) fn load(path: &Path, must_exist: bool) -> Result<Self, AccountsError> {
        let in_file = |source| AccountsError::KeyFile {
            path: path.to_owned(),
            source,
        };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && must_exist => {
                return Err(AccountsError::KeyMissing {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key =
                    Zeroizing::new(random::<KEY_LEN>().map_err(|_| AccountsError::Resources)?);
                create_private(path, &hex(&key)).map_err(in_file)?
            }
            read => read.map_err(in_file)?,
        };
        let text = Zeroizing::new(text);
        if is_exposed(path).map_err(in_file)? {
            return Err(AccountsError::KeyExposed {
                path: path.to_owned(),
            });
        }
        let key = unhex(text.trim_end()).ok_or_else(|| AccountsError::KeyMalformed {
            path: path.to_owned(),
        })?;
        Ok(Self(XChaCha20Poly1305::new(key.as_ref().into())))
    }

    pub(super) fn seal(
        &self,
        id: i64,
        name: &ScreenName,
        password: &Password,
    ) -> Result<Vec<u8>, AccountsError> {
        let nonce: [u8; NONCE_LEN] = random().map_err(|_| AccountsError::Resources)?;
        let payload = Payload {
            msg: password.expose().as_bytes(),
            aad: &bound_to(id, name),
        };
        let sealed = self
            .0
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| AccountsError::Resources)?;
        Ok([&[VERSION], &nonce[..], &sealed].concat())
    }

    pub(super) fn open(
        &self,
        id: i64,
        name: &ScreenName,
        sealed: &[u8],
    ) -> Result<Password, AccountsError> {
        let (nonce, sealed) = sealed
            .strip_prefix(&[VERSION])
            .and_then(|rest| rest.split_first_chunk::<NONCE_LEN>())
            .ok_or(AccountsError::Sealed)?;
        let payload = Payload {
            msg: sealed,
            aad: &bound_to(id, name),
        };
        let password = self
            .0
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_| AccountsError::Sealed)?;
        String::from_utf8(password)
            .map(Password::new)
            .map_err(|_| AccountsError::Sealed)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(***)")
    }
}

/// The key file of a database file: its name and `.key`.
pub(super) fn key_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".key");
    path.into()
}

fn bound_to(id: i64, name: &ScreenName) -> Vec<u8> {
    [
        b"rdv legacy password 1\0",
        &id.to_be_bytes()[..],
        name.normalized().as_bytes(),
    ]
    .concat()
}

#[cfg(unix)]
fn is_exposed(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Elsewhere the folder decides.
#[cfg(not(unix))]
fn is_exposed(_path: &Path) -> io::Result<bool> {
    Ok(false)
}

fn hex(key: &[u8; KEY_LEN]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_LEN + 1));
    for byte in key {
        for digit in [byte >> 4, byte & 0xF] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text.push('\n');
    text
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    if text.len() != 2 * KEY_LEN {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_LEN]);
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        for &digit in digits {
            let digit = char::from(digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(digit).ok()?;
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).unwrap()
    }

    #[test]
    fn s_31_what_is_sealed_opens_for_its_account_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let seal = Seal::load(&path, false).unwrap();
        let password = Password::new("otter");
        let alice = name("Alice");
        let sealed = seal.seal(7, &alice, &password).unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"otter"));
        assert_ne!(sealed, seal.seal(7, &alice, &password).unwrap());
        let again = Seal::load(&path, true).unwrap();
        assert_eq!(again.open(7, &name("al ice"), &sealed).unwrap(), password);
        let other = Seal::load(&folder.path().join("other"), false).unwrap();
        for opened in [
            seal.open(8, &alice, &sealed),
            seal.open(7, &name("bob"), &sealed),
            seal.open(7, &alice, &sealed[1..]),
            seal.open(7, &alice, &sealed[..20]),
            seal.open(7, &alice, b""),
            other.open(7, &alice, &sealed),
        ] {
            assert!(matches!(opened, Err(AccountsError::Sealed)));
        }
        for place in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[place / 8] ^= 1 << (place % 8);
            assert!(seal.open(7, &alice, &changed).is_err(), "bit {place}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn s_31_the_key_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Seal::load(&path, false).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let loaded = Seal::load(&path, false);
        assert!(matches!(loaded, Err(AccountsError::KeyExposed { .. })));
    }

    #[test]
    fn a_key_that_is_missing_or_none_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let missing = Seal::load(&path, true);
        assert!(matches!(missing, Err(AccountsError::KeyMissing { .. })));
        assert!(!path.exists());
        for text in ["", "abc", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            fs::remove_file(&path).ok();
            create_private(&path, text).unwrap();
            let loaded = Seal::load(&path, false);
            assert!(
                matches!(loaded, Err(AccountsError::KeyMalformed { .. })),
                "{text:?}"
            );
        }
    }
}
