//! What a host tells of an account.

use rdv_proto::wire::admin::{Permissions, Registration, ReplyBlock, tag};
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::text::ScreenName;

use super::error::AdminError;

/// Longest mail address, in bytes: 64 before the `@` and 255 behind it (RFC 5321, 4.5.3.1).
const EMAIL_MAX: usize = 320;

/// A field of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<T> {
    /// What it holds.
    pub value: T,
    /// Whether its owner may change it now.
    pub changeable: bool,
}

impl<T> Field<T> {
    pub(super) fn new(block: &ReplyBlock, value: T) -> Self {
        Self {
            value,
            changeable: block.permissions == Permissions::CHANGEABLE,
        }
    }
}

/// What a host tells its owner of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountInfo {
    /// The name, as its owner formats it.
    pub name: Field<ScreenName>,
    /// The mail address; none if there is none, or if the host does not tell it. Foreign text.
    pub email: Field<Option<String>>,
    /// What those who know the mail address may find out.
    pub registration: Field<Registration>,
}

/// What became of the wish to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// A mail is on its way. (Hosts that send none confirm at once.)
    MailSent,
    /// There was nothing to confirm.
    Already,
}

pub(super) fn name_in(block: &ReplyBlock) -> Result<ScreenName, AdminError> {
    let told = block
        .tlvs
        .first(tag::FORMAT)
        .ok_or(AdminError::Unanswered)?;
    Ok(ScreenName::from_bytes(told)?)
}

pub(super) fn email_in(block: &ReplyBlock) -> Option<String> {
    let told = block.tlvs.first(tag::EMAIL)?;
    let told = told.get(..told.len().min(EMAIL_MAX))?;
    Some(String::from_utf8_lossy(told).into_owned()).filter(|email| !email.is_empty())
}

pub(super) fn registration_in(block: &ReplyBlock) -> Result<Registration, AdminError> {
    let told = block.tlvs.u16(tag::REGISTRATION).map(Registration);
    Ok(told.ok_or(DecodeError::Missing {
        what: "registration status",
    })?)
}
