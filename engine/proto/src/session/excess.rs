//! Which of its limits a client went over: for whoever counts that.

use crate::wire::error::DecodeError;

/// A limit of the session that a frame went over. What the client is told, if anything, is among the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excess {
    /// More items in a message than it may have.
    Items,
    /// A field that is longer than it may be.
    Field,
    /// The message was dropped, for its rate class of this id is used up.
    Rate(u16),
    /// A rate class was overrun so far that the session is over.
    Overrun,
}

impl Excess {
    /// What a message went over that could not be read; none if it is just broken.
    pub(super) fn of(error: DecodeError) -> Option<Self> {
        match error {
            DecodeError::TooMany { .. } => Some(Self::Items),
            DecodeError::BadLength { length, max, .. } if length > max => Some(Self::Field),
            _ => None,
        }
    }
}

/// Why a proposal is one too many. The client is told 0x0D of 0x0004/0x0001 for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposalExcess {
    /// Too many with this cookie.
    PerCookie,
    /// Too many rendezvous of the account are open.
    Open,
    /// Too many first ones of the account in this time.
    First,
    /// Too many first ones to this stranger in this time.
    ToOne,
}
