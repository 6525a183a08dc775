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
