//! Foodgroup 0x0007: the connection on which an account asks about itself and changes itself.
//!
//! The machine reads what is asked and judges what can be judged by looking at it ([`rules`]). It hands the judgement to the
//! caller together with the question, because others come first: whether the account still is, whether the field may be
//! changed at all, whether the old password is right.

mod machine;
pub mod rules;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use zeroize::Zeroizing;

pub(super) use self::machine::Asked;
pub use self::rules::PasswordForm;
use crate::wire::admin::{AdminErrorCode, ConfirmStatus, Permissions, Registration, tag};
use crate::wire::text::ScreenName;

/// A password or a code from the wire. Prints as `***`, is wiped when dropped, compares to nothing.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Keeps a copy of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes, to be checked.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What an account wants. What is an error in one of these was judged by the bytes alone; it is the answer, unless the
/// caller knows of a reason that comes first.
#[derive(Clone, Debug)]
pub enum AdminRequest {
    /// The values of these fields, each of [`tag::FORMAT`], [`tag::EMAIL`] and [`tag::REGISTRATION`] once at most. Answer with
    /// [`AdminAnswer::Info`].
    Query(Vec<u16>),
    /// Answer with [`AdminAnswer::Changed`].
    Change(Change),
    /// Answer with [`AdminAnswer::Confirm`].
    Confirm {
        /// What the mail said; none: a mail is wanted.
        code: Option<Secret>,
    },
    /// Answer with [`AdminAnswer::Deleted`].
    Delete {
        /// The proof that it is meant.
        password: Result<Secret, AdminErrorCode>,
    },
}

/// One field gets a new value.
#[derive(Clone, Debug)]
pub enum Change {
    /// The spelling of the name.
    Format(Result<ScreenName, AdminErrorCode>),
    /// The mail address.
    Email(Result<String, AdminErrorCode>),
    /// What its mail address gives away.
    Registration(Result<Registration, AdminErrorCode>),
    /// The password that this kind of client signs on with.
    Password {
        /// To be checked first.
        old: Result<Secret, AdminErrorCode>,
        /// Counts if the old one is right. UTF-8.
        new: Result<Secret, AdminErrorCode>,
    },
}

impl Change {
    /// The field.
    pub fn tag(&self) -> u16 {
        match self {
            Self::Format(_) => tag::FORMAT,
            Self::Email(_) => tag::EMAIL,
            Self::Registration(_) => tag::REGISTRATION,
            Self::Password { .. } => tag::PASSWORD,
        }
    }
}

/// What is said of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldAnswer {
    /// Which.
    pub tag: u16,
    /// Whether it may be changed.
    pub permissions: Permissions,
    /// Its value as it is now, or why there is none, or why it was not changed. Of a password the value is not told, whatever stands here.
    pub value: Result<Bytes, AdminErrorCode>,
}

impl FieldAnswer {
    /// It has this value.
    pub fn value(tag: u16, permissions: Permissions, value: impl Into<Bytes>) -> Self {
        let value = Ok(value.into());
        Self {
            tag,
            permissions,
            value,
        }
    }

    /// It is not told or not changed.
    pub fn refused(tag: u16, permissions: Permissions, code: AdminErrorCode) -> Self {
        Self {
            tag,
            permissions,
            value: Err(code),
        }
    }
}

/// What the caller answers to an [`AdminRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAnswer {
    /// The fields that were asked for, in that order.
    Info(Vec<FieldAnswer>),
    /// What became of a change.
    Changed(FieldAnswer),
    /// What became of the wish to be confirmed.
    Confirm {
        /// In short.
        status: ConfirmStatus,
        /// Why not.
        code: Option<AdminErrorCode>,
    },
    /// The account is deleted, or why not. If it is, all its sessions are to be signed off, with reason 2.
    Deleted(Result<(), AdminErrorCode>),
}
