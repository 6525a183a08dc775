//! Which names an account may have (protocol page of ADMIN, section 5).

use std::ops::RangeInclusive;

use rdv_proto::wire::text::ScreenName;
use thiserror::Error;

/// Bytes of a name.
const LENGTH: RangeInclusive<usize> = 3..=16;
/// Characters of a name that are not spaces.
const VISIBLE_MIN: usize = 3;
/// Numbers that may be names. Those below are given to guests who share a code.
const ICQ_NUMBERS: RangeInclusive<u32> = 10_000..=2_147_483_646;
/// Guests who have no number are called this and some characters.
const GUEST: &str = "guest";

/// Why a name cannot be that of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Fewer than 3 characters that are not spaces, or more than 16 in all.
    #[error("a name has 3 to 16 characters, at least 3 of them not spaces")]
    Length,
    /// It starts with something else than a letter, holds something else than letters, digits and single spaces, or ends
    /// with a space.
    #[error("a name starts with a letter and holds letters, digits and single spaces")]
    Characters,
    /// Nothing but digits, but not an ICQ number.
    #[error("a name of digits is a number from 10000 to 2147483646, without leading zeros")]
    Number,
    /// Kept for guests.
    #[error("names that start with \"guest\" are kept for guests")]
    Reserved,
}

/// Checks a name as it was typed.
///
/// # Errors
/// [`NameError`], in this order: length, characters, what is reserved.
pub(super) fn check(typed: &str) -> Result<ScreenName, NameError> {
    if is_number(typed) {
        let number: u32 = typed.parse().map_err(|_| NameError::Number)?;
        if !ICQ_NUMBERS.contains(&number) || number.to_string() != typed {
            return Err(NameError::Number);
        }
    } else {
        let visible = typed.chars().filter(|&c| c != ' ').count();
        if !LENGTH.contains(&typed.len()) || visible < VISIBLE_MIN {
            return Err(NameError::Length);
        }
        let starts = typed.starts_with(|c: char| c.is_ascii_alphabetic());
        let holds = typed.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
        if !starts || !holds || typed.ends_with(' ') || typed.contains("  ") {
            return Err(NameError::Characters);
        }
    }
    let name = ScreenName::new(typed).map_err(|_| NameError::Characters)?;
    if name.normalized().starts_with(GUEST) {
        return Err(NameError::Reserved);
    }
    Ok(name)
}

/// Whether this is the name of an ICQ account: digits alone.
pub(super) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_and_single_spaces_and_starts_with_a_letter() {
        for (typed, expected) in [
            ("abc", Ok("abc")),
            ("Alice Smith", Ok("alicesmith")),
            ("a LI ce", Ok("alice")),
            ("sixteen letters1", Ok("sixteenletters1")),
            ("10000", Ok("10000")),
            ("2147483646", Ok("2147483646")),
            ("", Err(NameError::Length)),
            ("a b", Err(NameError::Length)),
            ("seventeen letters", Err(NameError::Length)),
            ("alice ", Err(NameError::Characters)),
            (" alice", Err(NameError::Characters)),
            ("al  ice", Err(NameError::Characters)),
            ("1alice", Err(NameError::Characters)),
            ("al_ice", Err(NameError::Characters)),
            ("älice", Err(NameError::Characters)),
            ("al\u{7}ce", Err(NameError::Characters)),
            ("9999", Err(NameError::Number)),
            ("7", Err(NameError::Number)),
            ("010000", Err(NameError::Number)),
            ("2147483647", Err(NameError::Number)),
            ("99999999999999999999", Err(NameError::Number)),
            ("guest", Err(NameError::Reserved)),
            ("Gu Est Smith", Err(NameError::Reserved)),
        ] {
            let checked = check(typed);
            assert_eq!(
                checked.as_ref().map(ScreenName::normalized),
                expected.as_ref().copied(),
                "{typed:?}"
            );
        }
    }

    #[test]
    fn a_name_is_kept_as_it_was_typed() {
        assert_eq!(check("Alice Smith").unwrap().as_str(), "Alice Smith");
    }
}
