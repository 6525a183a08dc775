//! What the host asks of a store of accounts beyond sign-on: the requests of ADMIN, and messages for those who are away.
//!
//! [`Accounts`](super::Accounts) is both. An embedder may bring another one; tests bring some that fail on purpose.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use rdv_proto::wire::text::ScreenName;
use thiserror::Error;

use super::{AccountId, Password};

/// What a store will say.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store does not answer as it should. All of them pass: the next call may work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such account (any more).
    #[error("there is no such account")]
    Unknown,
    /// Nothing can be changed now.
    #[error("the accounts are read-only now")]
    ReadOnly,
    /// It is gone, or does not answer.
    #[error("the accounts cannot be reached")]
    Unreachable,
    /// What is stored does not parse.
    #[error("what is stored of the account is damaged")]
    Damaged,
    /// It answers with something that cannot be.
    #[error("the accounts are in an unexpected state")]
    Unexpected,
    /// Others keep it busy.
    #[error("the accounts are locked")]
    Busy,
    /// It has no room left.
    #[error("there is no room to store anything")]
    Full,
    /// A bug, or a machine without memory or random bytes.
    #[error("an error of the host")]
    Internal,
}

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It can.
    Active,
    /// The operator lets nobody sign on.
    Disabled,
    /// Its owner deleted it. The name stays taken until the operator removes the account.
    Deleted,
    /// It was not used for too long, or was made for a time that is over.
    Expired,
}

/// A set of fields of an account: those that are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Fields(u8);

impl Fields {
    /// None.
    pub const NONE: Self = Self(0);
    /// How the name is written.
    pub const FORMAT: Self = Self(1);
    /// The e-mail address.
    pub const EMAIL: Self = Self(1 << 1);
    /// What those who know the address may find out.
    pub const REGISTRATION: Self = Self(1 << 2);
    /// The password.
    pub const PASSWORD: Self = Self(1 << 3);
    /// All of them.
    pub const ALL: Self = Self(0b1111);

    /// As it is stored: one bit per field.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// What was stored; none if it holds a bit of no field.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Self(bits))
    }

    /// Whether it holds all of those.
    pub fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl std::ops::BitOr for Fields {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is stored of an account, without its secrets. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub id: AccountId,
    /// Its name, as its owner likes to see it.
    pub name: ScreenName,
    /// The e-mail address.
    pub email: Option<String>,
    /// The address that it is to become, and until when that can be confirmed; none if that is over.
    pub email_pending: Option<(String, u64)>,
    /// Until when the account can be confirmed by the mail that was sent; none if that is over.
    pub confirm_outstanding: Option<u64>,
    /// Whether it was confirmed.
    pub confirmed: bool,
    /// What those who know the address may find out: 1 nothing, 2 that there is an account, 3 its name.
    pub registration: u8,
    /// What its owner may not change now.
    pub frozen: Fields,
    /// Whether it can be used.
    pub state: State,
    /// Whether old clients may sign on, with the password made for them.
    pub legacy: bool,
    /// When it was made.
    pub created_unix_s: u64,
}

/// Which of the two passwords of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordKind {
    /// The one for sign-on over TLS.
    Normal,
    /// The one for old clients.
    Legacy,
}

/// What is to be said of a password that somebody who is signed on gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It is right: earlier failures are forgotten.
    Right,
    /// It is wrong, or there is none of that kind.
    Wrong,
    /// It was not looked at, after [`PASSWORD_FAILURES_MAX`] wrong ones within [`PASSWORD_FAILURES_S`].
    TooMany,
}

/// Wrong passwords that are taken, per account.
pub const PASSWORD_FAILURES_MAX: u32 = 5;
/// The time that they count for, in seconds.
pub const PASSWORD_FAILURES_S: u32 = 600;

/// SHA-256 of the code in a confirmation mail. The code itself is nowhere but there.
pub type CodeHash = [u8; 32];

/// The accounts, as the ADMIN foodgroup sees them. What is changed is on disk when the answer comes, with a line in the audit
/// table. Which changes are allowed, the caller knows.
pub trait AdminStore: std::fmt::Debug + Send + Sync {
    /// What is stored; none if there is no such account.
    fn record(&self, id: AccountId) -> Answer<'_, Option<Record>>;

    /// Another form of the name, the same in normal form.
    fn set_format(&self, id: AccountId, name: ScreenName) -> Answer<'_, ()>;

    /// Remembers an address that is to be confirmed by the code until `expires_unix_s`. False: another one is pending.
    fn set_email_pending(
        &self,
        id: AccountId,
        email: String,
        code: CodeHash,
        expires_unix_s: u64,
    ) -> Answer<'_, bool>;

    /// Another address at once; what is pending is forgotten, and the account is no longer a confirmed one.
    fn set_email(&self, id: AccountId, email: String) -> Answer<'_, ()>;

    /// What those who know the address may find out: 1 to 3.
    fn set_registration(&self, id: AccountId, registration: u8) -> Answer<'_, ()>;

    /// Checks the password of somebody who is signed on. Failures are counted.
    fn check_password(
        &self,
        id: AccountId,
        kind: PasswordKind,
        password: Password,
    ) -> Answer<'_, Checked>;

    /// Another password. [`StoreError::Unexpected`] if there was none of that kind before.
    fn set_password(&self, id: AccountId, kind: PasswordKind, password: Password)
    -> Answer<'_, ()>;

    /// Remembers that the account can be confirmed by the code until `expires_unix_s`. False: a confirmation is outstanding.
    fn start_confirm(&self, id: AccountId, code: CodeHash, expires_unix_s: u64)
    -> Answer<'_, bool>;

    /// Confirms the pending address, or the account, whichever the code is for. False: for neither, or too late.
    fn confirm(&self, id: AccountId, code: CodeHash) -> Answer<'_, bool>;

    /// Forgets a code whose mail could not be sent, and what it was to confirm.
    fn withdraw(&self, id: AccountId, code: CodeHash) -> Answer<'_, ()>;

    /// Marks the account as deleted. Contacts, messages and the address are taken away, the name stays taken.
    fn mark_deleted(&self, id: AccountId) -> Answer<'_, ()>;

    /// How many accounts have this address, or one that differs from it in case alone, or wait for it to be confirmed.
    fn emails_like(&self, email: String) -> Answer<'_, u32>;

    /// How many changes its owner made in the last 24 hours.
    fn changes_today(&self, id: AccountId) -> Answer<'_, u32>;
}

/// A message for somebody who is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Who sent it.
    pub from: ScreenName,
    /// When the host got it, in seconds since 1970.
    pub at_unix_s: u64,
    /// Channel of the ICBM.
    pub channel: u16,
    /// What it says, as the sender's client wrote it; not looked at.
    pub content: Bytes,
}

/// The number of a stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub i64);

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is stored.
    Yes,
    /// It is not: one of the limits is reached.
    Full,
}

/// Messages stored for one account.
pub const MESSAGES_MAX: u32 = 100;
/// Bytes of their contents.
pub const MESSAGES_BYTES_MAX: usize = 256 * 1024;
/// Messages of one sender that are stored for one account.
pub const MESSAGES_PER_SENDER_MAX: u32 = 20;
/// How long they are kept, in seconds.
pub const MESSAGES_KEPT_S: u32 = 30 * 24 * 3600;

/// Messages for accounts that are away.
pub trait MessageStore: std::fmt::Debug + Send + Sync {
    /// Stores a message within the limits. It is on disk when the answer comes.
    fn keep(&self, to: AccountId, message: StoredMessage) -> Answer<'_, Kept>;

    /// What is stored, the oldest first. It stays stored until [`MessageStore::done`].
    fn take(&self, to: AccountId) -> Answer<'_, Vec<(MessageId, StoredMessage)>>;

    /// Forgets messages that were delivered.
    fn done(&self, to: AccountId, messages: Vec<MessageId>) -> Answer<'_, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_stored() {
        for bits in 0..=u8::MAX {
            assert_eq!(
                Fields::from_bits(bits).map(Fields::bits),
                (bits < 16).then_some(bits)
            );
        }
        let frozen = Fields::EMAIL | Fields::PASSWORD;
        assert!(frozen.contains(Fields::EMAIL) && !frozen.contains(Fields::FORMAT));
        assert!(Fields::ALL.contains(frozen) && frozen.contains(Fields::NONE));
    }
}
