//! The key that a host and its relays share, in a file: 64 hex digits that only their owner may read.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::HostError;
use crate::private::create_private;
use crate::random::random;

/// Its name in the folder of a host.
const FILE: &str = "relay.key";
/// More than any such file has, in bytes.
const FILE_MAX: u64 = 1024;

/// Why the key of the relays cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RelayKeyError {
    /// The file cannot be read or made.
    #[error("cannot use the relay key in \"{path}\"")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("\"{path}\" is no relay key: one is 64 hex digits")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// Others on this machine may read the file.
    #[error(
        "others may read the relay key in \"{path}\"; make it yours alone (chmod 600), or make a new one if they had time to"
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("no relay key can be made: {0}")]
    Random(#[from] HostError),
}

/// Reads the key from a file.
///
/// # Errors
/// [`RelayKeyError`]; a file that others may read is one.
pub fn read_relay_key(path: &Path) -> Result<[u8; 32], RelayKeyError> {
    let failed = |source| RelayKeyError::File {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(RelayKeyError::Exposed { path });
        }
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    io::Read::read_to_string(&mut io::Read::take(file, FILE_MAX), &mut text).map_err(failed)?;
    parse(&text).ok_or_else(|| RelayKeyError::Malformed {
        path: path.to_owned(),
    })
}

/// The key in the folder of a host, and its file; made if there is none.
///
/// # Errors
/// [`RelayKeyError`].
pub fn keep_relay_key(folder: &Path) -> Result<([u8; 32], PathBuf), RelayKeyError> {
    let path = folder.join(FILE);
    if !path.exists() {
        let key = zeroize::Zeroizing::new(random::<32>()?);
        let text = zeroize::Zeroizing::new(print(&key));
        create_private(&path, &format!("{}\n", *text)).map_err(|source| RelayKeyError::File {
            path: path.clone(),
            source,
        })?;
    }
    // As it stands there: another process may have been faster.
    Ok((read_relay_key(&path)?, path))
}

fn print(key: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(65);
    for byte in key {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.trim_ascii().as_bytes().try_into().ok()?;
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_host_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (key, path) = keep_relay_key(folder.path()).unwrap();
        assert_eq!(keep_relay_key(folder.path()).unwrap().0, key);
        assert_eq!(read_relay_key(&path).unwrap(), key);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(keep_relay_key(other.path()).unwrap().0, key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |mode| std::fs::Permissions::from_mode(mode);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, mode(0o640)).unwrap();
            let exposed = read_relay_key(&path);
            assert!(
                matches!(exposed, Err(RelayKeyError::Exposed { .. })),
                "{exposed:?}"
            );
        }
    }

    #[test]
    fn a_key_is_64_hex_digits_and_nothing_else() {
        assert_eq!(parse(&print(&[0xA5; 32])), Some([0xA5; 32]));
        assert_eq!(
            parse(&format!(" {}\r\n", "0F".repeat(32))),
            Some([0x0F; 32])
        );
        for bad in [
            String::new(),
            "0".repeat(63),
            "0".repeat(65),
            "g".repeat(64),
            "+f".repeat(32),
            "ü".repeat(32),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
