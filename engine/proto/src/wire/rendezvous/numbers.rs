//! The numbers of rendezvous messages.

use std::fmt;
use std::num::NonZeroU16;

use crate::wire::codec::wire_enum;

/// Names a conversation together with the peer; the same in all of its messages. The proposer takes eight random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub [u8; 8]);

impl Cookie {
    /// What AIM for Windows writes into client errors, and what means "absent" in OFT.
    pub const ZERO: Self = Self([0; 8]);

    /// Whether it is [`Cookie::ZERO`], which we never choose.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// Shows the first two bytes only: cookies are weak secrets and get into logs.
impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// Number of a proposal within its conversation; the first is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(NonZeroU16);

impl SequenceNumber {
    /// That of the first proposal.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// None for 0.
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }

    /// The one after; none after 65,535.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SequenceNumber({})", self.0)
    }
}

wire_enum! {
    /// What a rendezvous message does. Drop those that are not one of the first three.
    pub struct MessageKind(u16) {
        /// Offers a way to meet, or a better one.
        PROPOSE = 0,
        /// Ends the conversation.
        CANCEL = 1,
        /// The connection is up.
        ACCEPT = 2,
        /// Reserved; never seen and never sent. Refusals are client errors.
        NAK = 3,
    }
}

wire_enum! {
    /// Why a conversation was ended. Source: NINA wiki, ICBM__RENDEZVOUS_CANCEL_REASONS.
    pub struct CancelReason(u16) {
        /// Also: none was given.
        UNKNOWN = 0,
        /// The user declined or cancelled.
        USER = 1,
        /// Took too long.
        TIMEOUT = 2,
        /// Accepted by another session of the same user.
        ACCEPTED_ELSEWHERE = 3,
    }
}

wire_enum! {
    /// Why a proposal was refused; travels in a client error. Source: NINA wiki, ICBM__RENDEZVOUS_NAK.
    pub struct NakCode(u16) {
        /// The service is not supported.
        UNSUPPORTED = 0x00,
        /// The user declined, or does not allow it.
        DENIED = 0x01,
        /// Never sent; to ignore is to send nothing.
        IGNORED = 0x02,
        /// The proposal is malformed.
        BUSTED_PARAMETERS = 0x03,
        /// Acting on the proposal took too long.
        TIMED_OUT = 0x04,
        /// Away or busy.
        NOT_AVAILABLE = 0x05,
        /// Internal error.
        INSUFFICIENT_RESOURCES = 0x06,
        /// The recipient is rate limited.
        RATE_LIMITED = 0x07,
        /// Nothing to send.
        NO_DATA = 0x08,
        /// No version in common.
        VERSION_MISMATCH = 0x09,
        /// Security settings that do not fit.
        SECURITY_MISMATCH = 0x0A,
        /// The service's own reason.
        SERVICE_SPECIFIC = 0x0F,
    }
}
