//! A key as people compare it.
//!
//! The first 130 bits of SHA-256(SubjectPublicKeyInfo) are 26 base32 characters (RFC 4648,
//! `A-Z2-7`). Two check letters follow, so that there are seven groups of four:
//! `MFRG-GZDF-MZTW-Q2LK-NNWG-23TP-OAQQ` (`security.md` 5.1). Read as a number in base 32, the 26
//! characters leave a remainder modulo 1021, which the check letters write down. 1021 is a prime, so
//! one wrong character and two neighbours that changed places are always noticed.

use std::{fmt, str::FromStr};

use subtle::ConstantTimeEq as _;
use thiserror::Error;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters that carry the key hash.
const DATA_CHARS: usize = 26;
/// Characters that guard against typing errors.
const CHECK_CHARS: usize = 2;
const CHECK_MODULUS: u32 = 1_021;
/// 26 characters of 5 bits are 16 bytes and 2 bits.
const BYTES: usize = 17;
const LAST_BYTE_MASK: u8 = 0b1100_0000;

/// What is wrong with the text of a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Not 28 characters.
    #[error("a fingerprint has 28 letters and digits, this one has {found}")]
    Length {
        /// Characters found, separators not counted.
        found: usize,
    },
    /// A character that is not in `A-Z2-7`.
    #[error("a fingerprint has only the letters A-Z and the digits 2-7")]
    Character,
    /// The check letters do not fit: mistyped.
    #[error("the check letters do not fit: mistyped?")]
    Check,
}

/// 130 bits of a key hash. Public: nothing to hide.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; BYTES]);

impl Fingerprint {
    /// The fingerprint of a key whose SHA-256(SubjectPublicKeyInfo) is `key_hash`.
    pub fn of(key_hash: &[u8; 32]) -> Self {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&key_hash[..BYTES]);
        bytes[BYTES - 1] &= LAST_BYTE_MASK;
        Self(bytes)
    }

    /// Whether the key with this hash has this fingerprint. Takes the same time either way.
    pub fn matches(&self, key_hash: &[u8; 32]) -> bool {
        self.0.ct_eq(&Self::of(key_hash).0).into()
    }

    /// The 26 values of 5 bits.
    fn digits(&self) -> [u8; DATA_CHARS] {
        std::array::from_fn(|index| {
            let bit = index * 5;
            let two_bytes = |at: usize| self.0.get(at).copied().unwrap_or(0);
            let window = u16::from_be_bytes([two_bytes(bit / 8), two_bytes(bit / 8 + 1)]);
            (window >> (11 - bit % 8) & 31) as u8
        })
    }
}

/// Both check letters as values of 5 bits.
fn check(digits: &[u8]) -> [u8; CHECK_CHARS] {
    let remainder = digits.iter().fold(0, |rest, digit| {
        (rest * 32 + u32::from(*digit)) % CHECK_MODULUS
    });
    [(remainder >> 5) as u8, (remainder & 31) as u8]
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        for (index, digit) in digits.into_iter().chain(check(&digits)).enumerate() {
            if index > 0 && index % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(digit)]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Upper or lower case; spaces and dashes anywhere are skipped.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut digits = Vec::with_capacity(DATA_CHARS + CHECK_CHARS);
        let mut found = 0_usize;
        for c in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            found += 1;
            if found > DATA_CHARS + CHECK_CHARS {
                continue;
            }
            let upper = c.to_ascii_uppercase();
            let digit = (0_u8..)
                .zip(ALPHABET)
                .find(|(_, letter)| char::from(**letter) == upper)
                .ok_or(FingerprintError::Character)?;
            digits.push(digit.0);
        }
        if found != DATA_CHARS + CHECK_CHARS {
            return Err(FingerprintError::Length { found });
        }
        let (data, guard) = digits.split_at(DATA_CHARS);
        if guard != check(data) {
            return Err(FingerprintError::Check);
        }
        let mut bytes = [0_u8; BYTES];
        for (index, digit) in data.iter().enumerate() {
            let bit = index * 5;
            let [high, low] = (u16::from(*digit) << (11 - bit % 8)).to_be_bytes();
            bytes[bit / 8] |= high;
            if let Some(byte) = bytes.get_mut(bit / 8 + 1) {
                *byte |= low;
            }
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(seed: u8) -> [u8; 32] {
        std::array::from_fn(|i| (i as u8).wrapping_mul(37).wrapping_add(seed))
    }

    #[test]
    fn a_fingerprint_is_seven_groups_of_four() {
        let text = Fingerprint::of(&hash(1)).to_string();
        assert_eq!(text.len(), 34);
        assert!(text.split('-').all(|group| group.len() == 4));
        // base32(hash)[..26] by another implementation, and its value modulo 1021.
        assert_eq!(text, "AETE-W4EV-XLPQ-IKKO-OOML-3YQH-FRFJ");
    }

    #[test]
    fn it_reads_what_it_prints_in_any_case_and_spacing() {
        let key = Fingerprint::of(&hash(9));
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_lowercase().replace('-', " ").parse(), Ok(key));
        assert!(key.matches(&hash(9)) && !key.matches(&hash(10)));
    }

    #[test]
    fn only_the_first_130_bits_count() {
        let mut other = hash(3);
        other[16] ^= 0x3f;
        other[31] ^= 0xff;
        assert!(Fingerprint::of(&hash(3)).matches(&other));
        other[16] ^= 0x40;
        assert!(!Fingerprint::of(&hash(3)).matches(&other));
    }

    #[test]
    fn what_is_not_a_fingerprint_is_refused() {
        let parse = str::parse::<Fingerprint>;
        assert_eq!(parse(""), Err(FingerprintError::Length { found: 0 }));
        let text = Fingerprint::of(&hash(1)).to_string();
        let longer = format!("{text}A");
        assert_eq!(parse(&longer), Err(FingerprintError::Length { found: 29 }));
        assert_eq!(
            parse(&text.replace('-', "1")),
            Err(FingerprintError::Character)
        );
    }

    proptest! {
        #[test]
        fn every_fingerprint_survives_printing_and_parsing(key: [u8; 32]) {
            let fingerprint = Fingerprint::of(&key);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }

        #[test]
        fn one_wrong_letter_or_a_swap_is_noticed(key: [u8; 32], at in 0_usize..27, new in 0_usize..32) {
            let plain = Fingerprint::of(&key).to_string().replace('-', "");
            let mut wrong = plain.clone().into_bytes();
            wrong[at] = ALPHABET[new];
            let mut swapped = plain.clone().into_bytes();
            // Across the border of data and check letters a swap is noticed in most cases only.
            if at != DATA_CHARS - 1 {
                swapped.swap(at, at + 1);
            }
            for changed in [wrong, swapped] {
                let changed = String::from_utf8(changed).unwrap();
                if changed != plain {
                    prop_assert_eq!(changed.parse::<Fingerprint>(), Err(FingerprintError::Check));
                }
            }
        }
    }
}
