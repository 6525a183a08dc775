//! What a session is told at its start, and what comes out of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::proposals::ProposalLimits;
use super::rate::RateClass;
#[cfg(doc)]
use super::server::Session;
use crate::wire::flap::Channel;
use crate::wire::icbm::{ClientError, MessageToHost};
use crate::wire::signon::IcbmParameters;

/// What a session is told about its connection and its limits.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Where the client is seen from.
    pub peer: SocketAddr,
    /// Whether guests may sign on: over TLS only.
    pub guests: bool,
    /// Random bytes for the one challenge of this connection.
    pub challenge: [u8; 16],
    /// Rate class of everything but messages.
    pub rate_general: RateClass,
    /// Rate class of messages.
    pub rate_icbm: RateClass,
    /// Rendezvous of the account.
    pub proposals: ProposalLimits,
}

/// What a guest asks for when signing on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A number of its own, which takes nobody new after `life`.
    Number {
        /// From now on.
        life: Duration,
    },
    /// To speak to the owner of a number.
    Join,
    /// The number that it had.
    Reclaim {
        /// Which.
        number: u16,
        /// What it got with it.
        token: Bytes,
    },
}

/// A message on its way to another client.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// For the answer.
    pub request_id: u32,
    /// Whether the sender wants to know that it was accepted.
    pub ack: bool,
    /// Whether it is a proposal.
    pub proposes: bool,
    /// The service that the recipient must have, if the sender asked for that check.
    pub required: Option<Uuid>,
    /// The message; its TLVs are those that go on.
    pub message: MessageToHost,
}

/// What the caller has to do.
#[derive(Debug)]
pub enum Output {
    /// Write a frame.
    Send(Channel, Bytes),
    /// Answer with [`Session::signed_on`] or [`Session::refused`].
    SignOn(Wish),
    /// The client says what it can do; replaces what it said before.
    Capabilities(Vec<Uuid>),
    /// The client says what it wants to get.
    Parameters(IcbmParameters),
    /// The client is ready: from now on messages reach it.
    Online,
    /// Answer with [`Session::relay`].
    Relay {
        /// For the answer.
        request_id: u32,
    },
    /// Answer with [`Session::delivered`] or [`Session::undelivered`].
    Deliver(Outbound),
    /// Pass on a refusal, if the one who is named may be spoken to; otherwise forget it.
    PassOn(ClientError),
    /// Hang up, after what was sent.
    Close,
}
