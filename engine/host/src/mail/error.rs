//! Why a mail did not leave.

use thiserror::Error;

/// Why a mail did not leave. What a mail server says is not in here: it may repeat the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MailError {
    /// The mail server refused it for good, with this SMTP reply code, or none where it broke the protocol.
    #[error("the mail server refused the mail")]
    Refused {
        /// RFC 5321, 4.2.
        reply: Option<u16>,
    },
    /// The mail server cannot be reached, hangs up, is too slow, or its certificate does not fit.
    #[error("the mail server cannot be reached")]
    Unreachable,
    /// The name of the mail server, or the domain that the mail is for, is not known.
    #[error("the domain of the mail is not known")]
    Unresolved,
    /// Too many mails are on their way.
    #[error("too many mails are on their way")]
    Busy,
    /// No mail can be sent to such an address.
    #[error("no mail can be sent to such an address")]
    Address,
    /// The mailer itself failed.
    #[error("the mailer failed")]
    Internal,
}
