//! Why somebody is turned away or cut off.

use super::ticket::TicketError;
use crate::wire::ars::ErrorCode;

/// Why the relay refuses a command, or ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The first frame is none, or none for a relay.
    Malformed,
    /// No ticket, and not known to the relay's own host.
    Stranger,
    /// The ticket is not good.
    Ticket(TicketError),
    /// The ticket is for another rendezvous.
    WrongCookie,
    /// The ticket is somebody else's than the session that it is shown for.
    NotOfSession,
    /// The ticket has had its pair.
    Spent,
    /// The bytes that the ticket allows are used up, or those of a pair.
    PairBytes,
    /// The bytes that the account may have carried in a day are used up.
    AccountBytes,
    /// No session waits under that token and cookie.
    NoSession,
    /// The session exists already.
    SessionExists,
    /// A limit on open things.
    TooMany(Bound),
    /// Nothing new is begun any more.
    Draining,
    /// The first command did not come in time.
    NoFirstCommand,
    /// The partner did not come in time.
    NoPartner,
    /// The address had too many wrong joins. It is told nothing.
    ClosedAddress,
}

/// A limit on open things of a relay, see [`RelayLimits`](super::RelayLimits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// Connections without a first command, per address. They are told nothing.
    SilentPerAddress,
    /// Connections without a first command, in all. They are told nothing.
    Silent,
    /// Sessions that wait, per address.
    WaitingPerAddress,
    /// Sessions that wait, per account.
    WaitingPerAccount,
    /// Sessions that wait, in all.
    Waiting,
    /// Pairs, per address.
    PairsPerAddress,
    /// Pairs, per account.
    PairsPerAccount,
    /// Pairs, in all.
    Pairs,
    /// Tokens: none that was drawn is free.
    Tokens,
    /// Accounts that something is remembered of.
    Accounts,
    /// Tickets of one account that are remembered.
    TicketsPerAccount,
}

impl Refusal {
    /// What the client is told. Codes of ours are for clients that showed a ticket (`ours`): old ones know none of them.
    pub fn code(self, ours: bool) -> ErrorCode {
        let of_ours = match self {
            Self::Malformed => return ErrorCode::MALFORMED,
            Self::NoFirstCommand => return ErrorCode::NO_FIRST_COMMAND,
            Self::NoPartner => return ErrorCode::PEER_DID_NOT_JOIN,
            Self::Stranger | Self::NoSession | Self::SessionExists | Self::ClosedAddress => {
                return ErrorCode::BAD_REQUEST;
            }
            Self::Ticket(TicketError::Malformed | TicketError::Forged) => ErrorCode::TICKET_FORGED,
            Self::Ticket(TicketError::Foreign) | Self::NotOfSession => ErrorCode::TICKET_FOREIGN,
            Self::Ticket(TicketError::Expired) => ErrorCode::TICKET_EXPIRED,
            Self::WrongCookie => ErrorCode::TICKET_COOKIE,
            Self::Spent => ErrorCode::TICKET_SPENT,
            Self::PairBytes | Self::AccountBytes => ErrorCode::BUDGET_SPENT,
            Self::TooMany(_) => ErrorCode::TOO_MANY,
            Self::Draining => ErrorCode::DRAINING,
        };
        if ours {
            of_ours
        } else {
            ErrorCode::BAD_REQUEST
        }
    }

    /// Whether a join that is refused so may have been a guess.
    pub(super) fn is_wrong_join(self) -> bool {
        !matches!(
            self,
            Self::TooMany(_) | Self::PairBytes | Self::AccountBytes | Self::Draining
        )
    }
}
