//! Mail by which the owner of an account proves that an address is its own.
//!
//! [`Mailer`] is the border: the host says what is to be proven, the mailer finds words and a way. [`SmtpMailer`] is the one
//! for operators, who name a server that takes mail; a program that embeds the host may bring another one.

mod code;
mod config;
mod error;
mod letter;
mod smtp;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rdv_proto::wire::text::ScreenName;

pub use code::ConfirmCode;
pub use config::{MailConfig, MailConfigError};
pub use error::MailError;
pub use smtp::SmtpMailer;

/// What an address is to be proven with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Where to: an `addr-spec` of RFC 5322, checked by the host.
    pub to: String,
    /// Whose account it is, as its owner likes to see it.
    pub name: ScreenName,
    /// What the mail has to bring over.
    pub code: ConfirmCode,
    /// For how long the code is good.
    pub life: Duration,
}

/// A mail on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>>;

/// Who carries mail.
///
/// The client waits for the outcome, so a mailer answers within seconds, bounds what it keeps, and says [`MailError::Busy`]
/// when that is full.
pub trait Mailer: fmt::Debug + Send + Sync {
    /// Hands a mail over. It is good news that a mail server has it, or will be asked again: nobody knows whether it arrives.
    fn confirm(&self, confirmation: Confirmation) -> Sending<'_>;
}
