//! What a name, a mail address, a registration status and a password may be; nothing here needs an account database.

use std::ops::RangeInclusive;

use super::Secret;
use crate::session::account::Party;
use crate::wire::admin::{AdminErrorCode, Registration};
use crate::wire::text::ScreenName;

/// Bytes of a screen name.
const NAME: RangeInclusive<usize> = 3..=16;
/// Characters of it that are not spaces.
const VISIBLE_MIN: usize = 3;
/// Guests are called this and some characters; no account is.
const GUEST: &str = "guest";
/// Bytes of a mail address: those of its local part, the `@` and those of its domain.
const EMAIL_MAX: usize = LOCAL_MAX + 1 + DOMAIN_MAX;
/// Bytes before the `@` (RFC 5321, 4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// Bytes behind it (RFC 5321, 4.5.3.1.2).
const DOMAIN_MAX: usize = 255;

/// Which password a client speaks of, and so how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordForm {
    /// The one that is sent over TLS by clients of ours.
    Normal,
    /// That of an old client of AIM.
    Aim,
    /// That of an old client of ICQ.
    Icq,
}

impl PasswordForm {
    /// The password that such a client of this account signs on with.
    pub fn of(party: Party, name: &ScreenName) -> Self {
        match party {
            Party::Guest | Party::Ours => Self::Normal,
            Party::Old if is_number(name) => Self::Icq,
            Party::Old => Self::Aim,
        }
    }

    /// Bytes of a new one.
    pub fn lengths(self) -> RangeInclusive<usize> {
        match self {
            Self::Normal => 8..=256,
            Self::Aim => 4..=16,
            Self::Icq => 6..=8,
        }
    }

    /// Bytes of an old one, which may have been made under other rules.
    fn old_lengths(self) -> RangeInclusive<usize> {
        match self {
            Self::Normal => 1..=256,
            Self::Aim | Self::Icq => 1..=64,
        }
    }
}

/// Whether this is the name of an ICQ account: digits alone.
pub fn is_number(name: &ScreenName) -> bool {
    name.normalized().bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the account can choose how its name is spelt: not those whose name is a number or a mail address.
pub fn is_formattable(name: &ScreenName) -> bool {
    !is_number(name) && !name.normalized().contains('@')
}

/// The name in a new spelling.
///
/// # Errors
/// In this order: [`AdminErrorCode::READ_ONLY_FIELD`], [`AdminErrorCode::INVALID_NICKNAME_LENGTH`],
/// [`AdminErrorCode::INVALID_NICKNAME`], [`AdminErrorCode::VALIDATE_NICKNAME`] if it is another name.
pub fn check_format(old: &ScreenName, new: &[u8]) -> Result<ScreenName, AdminErrorCode> {
    if !is_formattable(old) {
        return Err(AdminErrorCode::READ_ONLY_FIELD);
    }
    let new = check_spelling(new)?;
    match new == *old {
        true => Ok(new),
        false => Err(AdminErrorCode::VALIDATE_NICKNAME),
    }
}

/// The name of a new account.
///
/// # Errors
/// In this order: [`AdminErrorCode::INVALID_NICKNAME_LENGTH`], [`AdminErrorCode::INVALID_NICKNAME`], also for names that are
/// kept for guests.
pub fn check_new_name(new: &[u8]) -> Result<ScreenName, AdminErrorCode> {
    let name = check_spelling(new)?;
    match name.normalized().starts_with(GUEST) {
        true => Err(AdminErrorCode::INVALID_NICKNAME),
        false => Ok(name),
    }
}

/// Letters, digits and single spaces between them, a letter first.
fn check_spelling(new: &[u8]) -> Result<ScreenName, AdminErrorCode> {
    let text = String::from_utf8_lossy(new);
    let visible = text.chars().filter(|&c| c != ' ').count();
    if !NAME.contains(&new.len()) || visible < VISIBLE_MIN {
        return Err(AdminErrorCode::INVALID_NICKNAME_LENGTH);
    }
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let holds = text.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
    if !starts || !holds || text.ends_with(' ') || text.contains("  ") {
        return Err(AdminErrorCode::INVALID_NICKNAME);
    }
    ScreenName::new(text).map_err(|_| AdminErrorCode::INVALID_NICKNAME)
}

/// A mail address: an addr-spec of RFC 5322, 3.4.1, without comments, folding and obsolete forms.
///
/// # Errors
/// In this order: [`AdminErrorCode::INVALID_EMAIL_LENGTH`] if the whole or one of its two parts is too long,
/// [`AdminErrorCode::INVALID_EMAIL`].
pub fn check_email(new: &[u8]) -> Result<String, AdminErrorCode> {
    if new.len() > EMAIL_MAX {
        return Err(AdminErrorCode::INVALID_EMAIL_LENGTH);
    }
    let text = std::str::from_utf8(new).map_err(|_| AdminErrorCode::INVALID_EMAIL)?;
    // The last one: a quoted local part may hold others.
    let (local, domain) = text.rsplit_once('@').ok_or(AdminErrorCode::INVALID_EMAIL)?;
    if local.len() > LOCAL_MAX || domain.len() > DOMAIN_MAX {
        return Err(AdminErrorCode::INVALID_EMAIL_LENGTH);
    }
    match (is_dot_atom(local) || is_quoted(local)) && (is_dot_atom(domain) || is_literal(domain)) {
        true => Ok(text.to_owned()),
        false => Err(AdminErrorCode::INVALID_EMAIL),
    }
}

/// Dots between atoms (RFC 5322, 3.2.3).
fn is_dot_atom(text: &str) -> bool {
    let is_atext =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// A quoted string (RFC 5322, 3.2.4) of what can be seen, and spaces.
fn is_quoted(text: &str) -> bool {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else { return false };
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        let quoted = match byte {
            b'\\' => bytes.next(),
            b'"' => None,
            other => Some(other),
        };
        if !quoted.is_some_and(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return false;
        }
    }
    true
}

/// A domain literal, `[192.0.2.1]` (RFC 5322, 3.4.1).
fn is_literal(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| {
        inner
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"[]\\".contains(&byte))
    })
}

/// A registration status as it stands on the wire.
///
/// # Errors
/// [`AdminErrorCode::INVALID_REGISTRATION_PREFERENCE`] if it has not two bytes, or is none of the three.
pub fn check_registration(new: &[u8]) -> Result<Registration, AdminErrorCode> {
    let status = new.try_into().map(u16::from_be_bytes).map(Registration);
    let status = status.ok().filter(|status| status.name().is_some());
    status.ok_or(AdminErrorCode::INVALID_REGISTRATION_PREFERENCE)
}

/// The password that somebody proves with who they are, before it is compared.
///
/// # Errors
/// [`AdminErrorCode::NEED_OLD_PASSWORD`] if there is none, [`AdminErrorCode::INVALID_OLD_PASSWORD_LENGTH`] if it is empty or longer
/// than any can be.
pub fn check_old_password(
    form: PasswordForm,
    old: Option<&[u8]>,
) -> Result<Secret, AdminErrorCode> {
    let old = old.ok_or(AdminErrorCode::NEED_OLD_PASSWORD)?;
    match form.old_lengths().contains(&old.len()) {
        true => Ok(Secret::new(old)),
        false => Err(AdminErrorCode::INVALID_OLD_PASSWORD_LENGTH),
    }
}

/// A new password of the account of that name; UTF-8, if it is good.
///
/// # Errors
/// In this order: [`AdminErrorCode::INVALID_PASSWORD_LENGTH`]; [`AdminErrorCode::INVALID_PASSWORD`] if it holds control characters
/// or is no text, or is the name in any spelling.
pub fn check_password(
    form: PasswordForm,
    name: &ScreenName,
    new: &[u8],
) -> Result<Secret, AdminErrorCode> {
    if !form.lengths().contains(&new.len()) {
        return Err(AdminErrorCode::INVALID_PASSWORD_LENGTH);
    }
    let text = std::str::from_utf8(new).map_err(|_| AdminErrorCode::INVALID_PASSWORD)?;
    let visible = text.chars().filter(|&c| c != ' ');
    let is_name = visible
        .map(|c| c.to_ascii_lowercase())
        .eq(name.normalized().chars());
    match is_name || text.chars().any(char::is_control) {
        true => Err(AdminErrorCode::INVALID_PASSWORD),
        false => Ok(Secret::new(new)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).expect("a good name")
    }

    #[test]
    fn a_09_a_format_is_the_same_name_of_good_length_and_characters_in_this_order_of_checks() {
        let length = AdminErrorCode::INVALID_NICKNAME_LENGTH;
        let characters = AdminErrorCode::INVALID_NICKNAME;
        let other = AdminErrorCode::VALIDATE_NICKNAME;
        for (old, new, expected) in [
            ("alice", "a LI ce", Ok("a LI ce")),
            ("alice", "A l i c e", Ok("A l i c e")),
            ("alice", "alicf", Err(other)),
            ("alice", "alice ", Err(characters)),
            ("alice", " alice", Err(characters)),
            ("alice", "al  ice", Err(characters)),
            ("1alice", "1alice", Err(characters)),
            ("al.ice", "al.ice", Err(characters)),
            ("älice", "älice", Err(characters)),
            ("al\u{a0}ice", "al\u{a0}ice", Err(characters)),
            (
                "sixteenletters16",
                "SixteenLetters16",
                Ok("SixteenLetters16"),
            ),
            ("sixteenletters16", "sixteen letters16", Err(length)),
            ("alice", "seventeen letters", Err(length)),
            ("ab", "a b", Err(length)),
            ("abc", "a b c", Ok("a b c")),
            ("ab", "éa", Err(length)),
            ("alice", "", Err(length)),
            ("alice", "   ", Err(length)),
        ] {
            let checked = check_format(&name(old), new.as_bytes());
            let checked = checked.as_ref().map(ScreenName::as_str);
            assert_eq!(checked, expected.as_ref().copied(), "{old:?} {new:?}");
        }
        let no_text = check_format(&name("alice"), b"al\xffce");
        assert_eq!(no_text.map(drop), Err(characters));
        let nul = check_format(&name("alice"), b"alice\0");
        assert_eq!(nul.map(drop), Err(characters));
    }

    #[test]
    fn a_19_names_that_are_numbers_or_mail_addresses_cannot_be_formatted() {
        for old in ["10000", "123 456", "user@mac.com"] {
            assert!(!is_formattable(&name(old)));
            for new in [
                old,
                "1 0000",
                "x",
                "a name of far more than sixteen letters",
            ] {
                let checked = check_format(&name(old), new.as_bytes());
                assert_eq!(checked.map(drop), Err(AdminErrorCode::READ_ONLY_FIELD));
            }
        }
    }

    #[test]
    fn a_new_name_is_none_of_a_guest() {
        let check = |new: &str| check_new_name(new.as_bytes()).map(|name| name.as_str().to_owned());
        assert_eq!(check("Alice Smith"), Ok("Alice Smith".to_owned()));
        for (new, code) in [
            ("Gu Est 7", AdminErrorCode::INVALID_NICKNAME),
            ("12345", AdminErrorCode::INVALID_NICKNAME),
            ("al", AdminErrorCode::INVALID_NICKNAME_LENGTH),
        ] {
            assert_eq!(check(new), Err(code), "{new:?}");
        }
    }

    #[test]
    fn a_11_a_mail_address_is_an_addr_spec() {
        let literal = format!("a@[{}]", "1".repeat(20));
        for good in [
            "me@example.org",
            "aaaaa@kpsm.khstu.ru",
            "first.last+tag@sub.example.org",
            "o'hara!#$%&*-/=?^_`{|}~@example.org",
            "a@b",
            "\"\"@example.org",
            "\"two words\"@example.org",
            "\"a@b\"@example.org",
            "\"a\\\"b\\\\\"@example.org",
            "a@[192.0.2.1]",
            "a@[IPv6:2001:db8::1]",
            &literal,
        ] {
            assert_eq!(check_email(good.as_bytes()), Ok(good.to_owned()), "{good}");
        }
        for bad in [
            "",
            "@",
            "me",
            "me@",
            "@example.org",
            "a b@example.org",
            ".a@example.org",
            "a.@example.org",
            "a..b@example.org",
            "a@example..org",
            "a@example.org.",
            "a@b@c",
            "a@exam ple",
            "\"a@example.org",
            "\"@example.org",
            "\"a\"b\"@example.org",
            "\"a\\\"@example.org",
            "a(comment)@example.org",
            "<a@example.org>",
            "Me <a@example.org>",
            "a@[1.2.3.4",
            "a@[[]",
            "a@[\\]",
            "a,b@example.org",
            "a@example.org\r\nBcc: b@example.org",
            "\"a\r\n b\"@example.org",
            "\"a\0\"@example.org",
            "ä@example.org",
            "a@exämple.org",
        ] {
            let checked = check_email(bad.as_bytes());
            assert_eq!(checked, Err(AdminErrorCode::INVALID_EMAIL), "{bad}");
        }
        assert_eq!(
            check_email(b"\xff@example.org"),
            Err(AdminErrorCode::INVALID_EMAIL)
        );
    }

    #[test]
    fn a_11_a_mail_address_of_321_bytes_is_too_long_and_one_of_320_is_not() {
        let address = |local: usize, domain: usize| {
            let address = format!("{}@{}", "l".repeat(local), "d".repeat(domain));
            check_email(address.as_bytes()).map(|address| address.len())
        };
        let long = Err(AdminErrorCode::INVALID_EMAIL_LENGTH);
        assert_eq!(address(64, 255), Ok(320));
        assert_eq!(address(64, 256), long);
        assert_eq!(address(65, 10), long);
        assert_eq!(address(10, 256), long);
        let spaces = check_email(&[b' '; 321]).map(|address| address.len());
        assert_eq!(spaces, long, "length comes first");
    }

    #[test]
    fn a_12_a_registration_status_is_1_to_3_in_two_bytes() {
        for (value, status) in [
            (&[0, 1][..], Registration::NONE),
            (&[0, 2], Registration::LIMITED),
            (&[0, 3], Registration::FULL),
        ] {
            assert_eq!(check_registration(value), Ok(status));
        }
        let refused = Err(AdminErrorCode::INVALID_REGISTRATION_PREFERENCE);
        for value in [&[0, 0][..], &[0, 4], &[1, 1], &[1], &[0, 0, 1], &[]] {
            assert_eq!(check_registration(value), refused, "{value:?}");
        }
    }

    /// What is said of passwords of these many letters.
    fn verdicts(form: PasswordForm, lengths: &[usize]) -> Vec<Option<AdminErrorCode>> {
        let check = |&length: &usize| {
            check_password(form, &name("alice"), "x".repeat(length).as_bytes()).err()
        };
        lengths.iter().map(check).collect()
    }

    #[test]
    fn a_13_a_new_password_has_4_to_16_bytes_at_aim_6_to_8_at_icq_and_8_to_256_with_us() {
        let short = Some(AdminErrorCode::INVALID_PASSWORD_LENGTH);
        let expected = [short, None, None, short];
        assert_eq!(verdicts(PasswordForm::Aim, &[3, 4, 16, 17]), expected);
        assert_eq!(verdicts(PasswordForm::Icq, &[5, 6, 8, 9]), expected);
        assert_eq!(verdicts(PasswordForm::Normal, &[7, 8, 256, 257]), expected);
        assert_eq!(verdicts(PasswordForm::Aim, &[0]), [short]);
    }

    #[test]
    fn a_13_a_new_password_is_neither_the_name_nor_unprintable() {
        let check = |new: &[u8]| check_password(PasswordForm::Aim, &name("Alice S"), new).err();
        let bad = Some(AdminErrorCode::INVALID_PASSWORD);
        for new in [&b"alices"[..], b"ALICE S", b"a lice s"] {
            assert_eq!(check(new), bad, "{new:?}");
        }
        for new in [
            &b"pass\0word"[..],
            b"pass\x1fword",
            b"pass\nword",
            b"p\xffssword",
        ] {
            assert_eq!(check(new), bad, "{new:?}");
        }
        assert_eq!(check("pässwörd".as_bytes()), None);
        assert_eq!(check(b"alices1"), None);
    }

    #[test]
    fn a_13_the_old_password_is_there_and_of_a_length_that_can_be() {
        let check = |form, old: Option<usize>| {
            let old = old.map(|length| vec![b'x'; length]);
            check_old_password(form, old.as_deref()).err()
        };
        let length = Some(AdminErrorCode::INVALID_OLD_PASSWORD_LENGTH);
        for (form, max) in [
            (PasswordForm::Aim, 64),
            (PasswordForm::Icq, 64),
            (PasswordForm::Normal, 256),
        ] {
            let missing = Some(AdminErrorCode::NEED_OLD_PASSWORD);
            assert_eq!(check(form, None), missing);
            assert_eq!(check(form, Some(0)), length);
            assert_eq!(check(form, Some(1)), None);
            assert_eq!(check(form, Some(max)), None);
            assert_eq!(check(form, Some(max + 1)), length);
        }
    }

    #[test]
    fn an_old_client_speaks_of_the_password_for_old_clients_and_ours_of_the_normal_one() {
        let form = |party, of: &str| PasswordForm::of(party, &name(of));
        assert_eq!(form(Party::Old, "alice"), PasswordForm::Aim);
        assert_eq!(form(Party::Old, "10000"), PasswordForm::Icq);
        assert_eq!(form(Party::Ours, "10000"), PasswordForm::Normal);
    }

    proptest! {
        #[test]
        fn any_bytes_are_good_values_as_they_stand_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "[ -~]{0,40}", old in "[a-zA-Z][a-zA-Z0-9 ]{2,12}",
        ) {
            let old = name(&old);
            for new in [&bytes[..], text.as_bytes(), old.as_str().as_bytes()] {
                if let Ok(format) = check_format(&old, new) {
                    prop_assert_eq!(format.as_str().as_bytes(), new);
                    prop_assert_eq!(&format, &old);
                }
                if let Ok(address) = check_email(new) {
                    prop_assert_eq!(address.as_bytes(), new);
                    prop_assert!(!address.chars().any(char::is_control));
                }
                if let Ok(status) = check_registration(new) {
                    prop_assert_eq!(&status.0.to_be_bytes()[..], new);
                }
                for form in [PasswordForm::Normal, PasswordForm::Aim, PasswordForm::Icq] {
                    if let Ok(password) = check_password(form, &old, new) {
                        prop_assert_eq!(password.expose(), new);
                    }
                }
            }
        }
    }
}
