//! Passwords: never printed, wiped when dropped, and how the host makes them.

use std::fmt;

use zeroize::Zeroizing;

use crate::random::random;

/// What generated passwords are made of: nothing that looks like something else in any font.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Characters of a generated password; old clients of AIM take no more.
pub(super) const GENERATED: usize = 16;
/// Characters of a password that is generated for an old ICQ client; they cut what is longer.
pub(super) const GENERATED_ICQ: usize = 8;
/// Shortest password that somebody may choose, in bytes.
const CHOSEN_MIN: usize = 8;
/// Longest one.
const CHOSEN_MAX: usize = 256;

/// A password. Prints as `***`; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Any text.
    pub fn new(password: impl Into<String>) -> Self {
        Self(Zeroizing::new(password.into()))
    }

    /// The text, to be shown once or checked.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Draws one of so many characters; `None` if the system has no random bytes.
    pub(super) fn generate(characters: usize) -> Option<Self> {
        let mut password = Zeroizing::new(String::with_capacity(characters));
        // A byte of 248 or more would favour the first characters of the alphabet.
        let fair = u8::try_from(256 / ALPHABET.len() * ALPHABET.len()).ok()?;
        while password.len() < characters {
            let bytes = Zeroizing::new(random::<32>().ok()?);
            let drawn = bytes
                .iter()
                .filter(|&&byte| byte < fair)
                .map(|&byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            let missing = characters - password.len();
            password.extend(drawn.take(missing));
        }
        Some(Self(password))
    }

    /// Whether somebody may choose it for normal sign-on.
    pub(super) fn is_acceptable(&self) -> bool {
        (CHOSEN_MIN..=CHOSEN_MAX).contains(&self.0.len()) && !self.0.chars().any(char::is_control)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn s_26_a_password_is_not_printed() {
        assert_eq!(format!("{:?}", Some(Password::new("otter"))), "Some(***)");
    }

    #[test]
    fn a_generated_password_uses_the_whole_alphabet_and_nothing_that_can_be_misread() {
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            let password = Password::generate(GENERATED).unwrap();
            assert_eq!(password.expose().len(), GENERATED);
            seen.extend(password.expose().bytes());
        }
        assert!(!seen.iter().any(|byte| b"il1o0".contains(byte)));
        assert_eq!(seen, ALPHABET.iter().copied().collect());
    }

    #[test]
    fn chosen_passwords_are_neither_too_short_nor_too_long_nor_invisible() {
        for (password, acceptable) in [
            ("1234567", false),
            ("12345678", true),
            ("correct horse battery staple", true),
            ("with\na line", false),
            (&"x".repeat(257), false),
        ] {
            assert_eq!(
                Password::new(password).is_acceptable(),
                acceptable,
                "{password}"
            );
        }
    }
}
