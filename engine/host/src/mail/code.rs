//! The code in a confirmation mail: 128 random bits in a form that is typed without mistakes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::HostError;
use crate::random::random;

/// Crockford's base 32: no I, L, O and U (<https://www.crockford.com/base32.html>).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Bytes of a code.
const BYTES: usize = 16;
/// Characters that hold them; the last two bits are 0.
const CHARACTERS: usize = 26;
/// Characters of each group.
const GROUPS: [usize; 5] = [5, 5, 6, 5, 5];

/// A code. Prints as `***`; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmCode(Zeroizing<[u8; BYTES]>);

impl ConfirmCode {
    /// Draws one.
    pub(crate) fn generate() -> Result<Self, HostError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// The code in the form that is typed, `7ZK3M-…`, to be shown to nobody but the owner of the address.
    pub fn expose(&self) -> String {
        let bits = u128::from_be_bytes(*self.0);
        let mut text = String::with_capacity(CHARACTERS + GROUPS.len());
        let mut place = 0;
        for (number, characters) in GROUPS.into_iter().enumerate() {
            if number > 0 {
                text.push('-');
            }
            for _ in 0..characters {
                text.push(character(bits, place));
                place += 1;
            }
        }
        text
    }

    /// What is stored of it: its SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(*self.0).into()
    }
}

/// The character of five bits; those behind the end of the code are 0.
fn character(bits: u128, place: usize) -> char {
    let index = match place {
        0..25 => bits >> (128 - 5 * (place + 1)) & 31,
        _ => bits << 2 & 31,
    };
    // Five bits are an index into 32 characters.
    char::from(ALPHABET[(index & 31) as usize])
}

/// Not such a code: too short, too long, or with characters that none has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has 26 letters and digits")]
pub struct NotACode;

impl FromStr for ConfirmCode {
    type Err = NotACode;

    /// Forgives case, spaces, dashes, and the letters that look like digits.
    fn from_str(typed: &str) -> Result<Self, NotACode> {
        let mut bits: u128 = 0;
        let mut characters = 0;
        for typed in typed.chars() {
            let typed = match typed.to_ascii_uppercase() {
                ' ' | '-' | '\t' | '\r' | '\n' => continue,
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let value = ALPHABET.iter().position(|&one| char::from(one) == typed);
            let value = value.and_then(|value| u128::try_from(value).ok());
            let value = value.ok_or(NotACode)?;
            characters += 1;
            bits = match characters {
                1..CHARACTERS => bits << 5 | value,
                CHARACTERS if value & 3 == 0 => bits << 3 | value >> 2,
                _ => return Err(NotACode),
            };
        }
        match characters {
            CHARACTERS => Ok(Self(Zeroizing::new(bits.to_be_bytes()))),
            _ => Err(NotACode),
        }
    }
}

impl fmt::Debug for ConfirmCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: [u8; BYTES]) -> ConfirmCode {
        ConfirmCode(Zeroizing::new(bytes))
    }

    #[test]
    fn a_code_is_typed_in_five_groups_and_read_again() {
        assert_eq!(code([0; 16]).expose(), "00000-00000-000000-00000-00000");
        assert_eq!(code([0xFF; 16]).expose(), "ZZZZZ-ZZZZZ-ZZZZZZ-ZZZZZ-ZZZZW");
        let counted = code(std::array::from_fn(|at| u8::try_from(at * 17).unwrap()));
        assert_eq!(counted.expose(), "008J4-CT4AN-K7F24S-NAXWS-QFEZW");
        for _ in 0..200 {
            let drawn = ConfirmCode::generate().unwrap();
            assert_eq!(drawn.expose().parse(), Ok(drawn));
        }
    }

    #[test]
    fn case_spaces_dashes_and_look_alikes_are_forgiven() {
        let right: ConfirmCode = "10J4C-T4ANK-7F24S9-NAXSV-QFZW0".parse().unwrap();
        for typed in [
            "10j4ct4ank7f24s9naxsvqfzw0",
            "IOJ4C T4ANK 7F24S9 NAXSV QFZWO",
            " l0J4C--T4ANK-7F24S9-NAXSV-QFZW0\r\n",
        ] {
            assert_eq!(typed.parse().as_ref(), Ok(&right), "{typed}");
        }
    }

    #[test]
    fn what_is_no_code_is_said() {
        for typed in [
            "",
            "10J4C-T4ANK-7F24S9-NAXSV-QFZW",
            "10J4C-T4ANK-7F24S9-NAXSV-QFZW00",
            "10J4C-T4ANK-7F24S9-NAXSV-QFZWU",
            "10J4C-T4ANK-7F24S9-NAXSV-QFZW1",
            "10J4C_T4ANK-7F24S9-NAXSV-QFZW0",
            "10J4C-T4ANK-7F24S9-NAXSV-QFZWé",
        ] {
            assert_eq!(typed.parse::<ConfirmCode>(), Err(NotACode), "{typed}");
        }
    }

    #[test]
    fn a_code_is_not_printed_and_another_one_has_another_digest() {
        let one = ConfirmCode::generate().unwrap();
        assert_eq!(format!("{one:?}"), "***");
        assert_ne!(one.digest(), ConfirmCode::generate().unwrap().digest());
        assert_eq!(one.digest(), one.clone().digest());
    }
}
