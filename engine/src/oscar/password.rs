//! The password of an account, and what is made of it.

use std::fmt;

use rdv_proto::wire::signon::{DigestKind, digest};
use zeroize::Zeroizing;

/// What is left of a password for hosts that say so (challenge TLV 0x0026).
const SHORT: usize = 8;

/// A password. Shown nowhere (S-26), wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes it over.
    #[must_use]
    pub fn new(password: impl Into<String>) -> Self {
        Self(Zeroizing::new(password.into()))
    }

    /// The password itself: for the file in which it is kept.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The newer digest of the old sign-on, as the answer to `key`; with `short`, of the first eight bytes.
    pub(super) fn digest(&self, key: &[u8], short: bool) -> [u8; 16] {
        let mut password = self.0.as_bytes();
        if short {
            password = password.get(..SHORT).unwrap_or(password);
        }
        digest(DigestKind::New, key, password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_04_the_digest_is_the_one_that_libpurple_sent() {
        let expected = [
            0x05, 0x4b, 0x24, 0x94, 0xf6, 0xd2, 0x23, 0x07, 0x8f, 0x90, 0xb1, 0xd1, 0x33, 0x3b,
            0x75, 0x7f,
        ];
        let secret = Password::new("secret");
        assert_eq!(secret.digest(b"1234567890", false), expected);
        assert_eq!(secret.digest(b"1234567890", true), expected);
        let long = Password::new("longer than eight");
        let cut = Password::new("longer t");
        assert_eq!(long.digest(b"key", true), cut.digest(b"key", false));
        assert_ne!(long.digest(b"key", false), cut.digest(b"key", false));
    }

    #[test]
    fn s_26_debug_shows_no_password() {
        assert_eq!(format!("{:?}", Password::new("secret")), "Password(***)");
    }
}
