//! What goes into the pairing machine, and what comes out.

use std::net::{IpAddr, Ipv4Addr};

#[cfg(doc)]
use super::pairing::Pairing;
use super::refusal::Refusal;
use super::ticket::TicketKey;
use crate::wire::ars::Command;

/// A connection, as the caller numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Whom the relay serves.
#[derive(Clone, Debug)]
pub enum Access {
    /// Anybody.
    Open,
    /// Who shows a ticket made with this key. Old clients know of none: they are served if they are signed on to the relay's own
    /// host, see [`Input::Command`].
    Tickets(TicketKey),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time of [`Pairing::poll_timeout`] has come.
    Timeout,
    /// A connection came in.
    Opened {
        /// Its number, never used before.
        connection: ConnectionId,
        /// Its other end.
        address: IpAddr,
        /// The address that CREATED tells old clients to join at; unspecified where there is no IPv4.
        announce: Ipv4Addr,
    },
    /// The first frame of a connection.
    Command {
        /// Whose.
        connection: ConnectionId,
        /// What it says.
        command: Command,
        /// Whether an account of the name in it is signed on to the relay's own host from the address of this connection.
        signed_on: bool,
        /// The time of day, for tickets: seconds since 1970.
        unix_s: u64,
        /// Fresh random bytes, from which a token is drawn.
        random: [u8; 32],
    },
    /// The first frame of a connection could not be read, or more came before READY than is kept.
    Malformed {
        /// Whose.
        connection: ConnectionId,
    },
    /// A pair has carried bytes. Told from time to time, so that what an account carries in all its pairs is known.
    Carried {
        /// Of its creator.
        connection: ConnectionId,
        /// How many since this was told last, both directions together.
        bytes: u64,
    },
    /// A connection is gone. For a pair, of either side, and with it the whole pair.
    Closed {
        /// Whose.
        connection: ConnectionId,
        /// Bytes that its pair carried and that were not told yet, both directions together.
        carried: u64,
    },
    /// The relay is about to end: no session is made any more, those that wait are refused; pairs go on.
    Drain,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this frame.
    Send {
        /// To whom.
        connection: ConnectionId,
        /// What.
        command: Command,
    },
    /// Hang up, after what was sent. Nothing more is heard of this connection.
    Close {
        /// Whose.
        connection: ConnectionId,
    },
    /// Copy bytes both ways between these two, until one of them is [`Input::Closed`].
    Pair {
        /// Who created the session.
        creator: ConnectionId,
        /// Who joined it.
        joiner: ConnectionId,
        /// How many bytes at most.
        bytes_max: u64,
    },
    /// End this pair; its [`Input::Closed`] still comes.
    Cut {
        /// Who created the session.
        creator: ConnectionId,
    },
    /// Somebody was refused, or a pair ended for this reason: for counting. What is to be done about it is said apart.
    Refused(Refusal),
}
