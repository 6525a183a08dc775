//! What can happen to the machine.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::{Carrier, LocalCandidate, Network, RelayCandidate};
use crate::trust::{CodeWords, Randomness, Secret};
use crate::wire::rendezvous::{CancelReason, Cookie, NakCode};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// Names a conversation: a cookie means something only together with the peer (T-02).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId {
    /// The other side.
    pub peer: ScreenName,
    /// Chosen by the initiator: 8 random bytes, never all zero (T-01).
    pub cookie: Cookie,
}

/// Names one try at one connection. Never used twice by an `Endpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What happened. Handed to `Endpoint::handle_input` together with the time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// The time named by `Endpoint::poll_timeout` has come.
    Timeout,
    /// A message of the rendezvous channel arrived.
    Signal {
        /// Who sent it, as the host says.
        from: ScreenName,
        /// An encoded [`Signal`](crate::wire::signal::Signal).
        body: Bytes,
    },
    /// A peer has signed on anew: its next messages come from another session than those before. Old clients choose the same
    /// cookies in each, so that what has ended says nothing about what comes.
    NewSession {
        /// Who, as the host says.
        peer: ScreenName,
    },
    /// The host could not deliver something that we sent (SNAC 0x0004/0x0001).
    Undelivered {
        /// To whom.
        to: ScreenName,
        /// Of which conversation.
        cookie: Cookie,
        /// The host's error code; 4: not signed on.
        code: u16,
    },

    /// A code was shown: the first native proposal of `service` is answered with this secret.
    /// Good or bad, it uses the expectation up (S-06).
    Expect {
        /// Chosen by the caller; comes back in [`Event::Matched`](super::Event::Matched).
        expectation: u64,
        /// The service that the proposal has to name.
        service: Uuid,
        /// The words of the code.
        secret: CodeWords,
        /// SHA-256 of the SubjectPublicKeyInfo that we present on lanes.
        key_hash: [u8; 32],
        /// Fresh randomness for the key exchange.
        random: Randomness,
        /// Whether the relay may, or must, be used.
        relay: RelayPolicy,
        /// When the code ceases to be valid. `None`: until used or taken back.
        expires: Option<Instant>,
    },
    /// The code is taken back. Unknown or used-up expectations: nothing happens.
    Unexpect {
        /// As in [`Input::Expect`].
        expectation: u64,
    },

    /// The user wants to meet a peer: we send the first proposal.
    Propose {
        /// Peer, and a fresh cookie.
        id: ConversationId,
        /// What is proposed.
        proposal: Proposal,
        /// Whether the relay may, or must, be used.
        relay: RelayPolicy,
    },
    /// The user said yes to [`Event::Proposed`](super::Event::Proposed).
    Accept {
        /// Which conversation.
        id: ConversationId,
        /// What the policy of that conversation needs to go on.
        answer: Answer,
        /// Whether the relay may, or must, be used.
        relay: RelayPolicy,
    },
    /// The user said no to [`Event::Proposed`](super::Event::Proposed).
    Decline {
        /// Which conversation.
        id: ConversationId,
    },
    /// The program says no to [`Event::Proposed`](super::Event::Proposed) by a rule of its own,
    /// and why: NAK, then CANCEL 0.
    Refuse {
        /// Which conversation.
        id: ConversationId,
        /// What the peer is told.
        nak: NakCode,
    },
    /// The user, or the program, gives the conversation up, in whatever state it is.
    Cancel {
        /// Which conversation.
        id: ConversationId,
        /// What the peer is told.
        reason: CancelReason,
    },

    /// Answer to [`Output::Gather`](super::Output::Gather). May come again with more addresses:
    /// a native conversation tells the peer about them.
    Gathered {
        /// Which conversation.
        id: ConversationId,
        /// As in the order.
        generation: u32,
        /// The TCP port of the listener that was opened for it. `None`: there is none, and a
        /// TCP connection from outside cannot be hoped for.
        listen_port: Option<u16>,
        /// All own addresses found so far, with the port that the peer has to dial.
        candidates: Vec<LocalCandidate>,
        /// What stands between these sockets and the world, as far as it is known.
        network: Network,
        /// Nothing more will come of this generation, unless something changes.
        complete: bool,
    },
    /// A datagram came in at the UDP socket of a conversation that looks like STUN and is not an
    /// answer of host or relay.
    Datagram {
        /// Whose socket.
        id: ConversationId,
        /// Of which generation the socket is.
        generation: u32,
        /// Where it comes from.
        from: SocketAddr,
        /// All of it.
        bytes: Bytes,
    },
    /// The relay made a session for [`Output::RelayCreate`](super::Output::RelayCreate). The
    /// attempt stays open and waits for READY.
    RelayCreated {
        /// The attempt that was to create it.
        attempt: AttemptId,
        /// What the peer needs in order to join.
        relay: RelayCandidate,
    },
    /// The listener of a conversation accepted a TCP connection, or its UDP socket the beginning
    /// of a QUIC one, which nothing is known of yet.
    Incoming {
        /// Whose listener.
        id: ConversationId,
        /// Named by `Endpoint::new_attempt`.
        attempt: AttemptId,
        /// Where it comes from.
        from: SocketAddr,
        /// [`Carrier::Tcp`] or [`Carrier::Quic`].
        carrier: Carrier,
    },
    /// The other end of an accepted connection has sent its first byte. Silent connections make
    /// room first when too many wait; a driver that does not say it loses only that distinction.
    Heard {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A dial is up (TCP: connected; QUIC: the handshake is done and both keys are the right
    /// ones), or the relay said READY.
    Connected {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// What [`Output::Secure`](super::Output::Secure) asked for is done: TLS and BIND, or in
    /// plain mode the cookie was seen.
    Secured {
        /// Which attempt.
        attempt: AttemptId,
        /// What a round trip on it takes, if that was measured.
        round_trip: Option<Duration>,
    },
    /// Nothing was heard on a lane in use for longer than is normal, although it had reason to
    /// speak.
    LaneSilent {
        /// Which one.
        attempt: AttemptId,
    },
    /// A silent lane speaks again.
    LaneHeard {
        /// Which one.
        attempt: AttemptId,
    },
    /// Interfaces, addresses or the default route of this machine have changed.
    NetworkChanged,
    /// The controller's USE arrived on a lane.
    Nominated {
        /// Which attempt.
        attempt: AttemptId,
        /// The number that it said.
        number: u32,
    },
    /// An attempt is over, at whatever stage; also a lane in use that broke.
    Failed {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        error: AttemptError,
    },
    /// The transfer is over. The conversation ends without a word and is remembered.
    Finished {
        /// Which conversation.
        id: ConversationId,
    },
}

/// What a first proposal proposes, and under which policy.
#[derive(Debug)]
pub enum Proposal {
    /// To a client of our own kind: keys first, addresses sealed.
    Native {
        /// Normally [`NATIVE`](crate::wire::service::NATIVE).
        service: Uuid,
        /// A code, or nothing but fresh keys.
        secret: Secret,
        /// SHA-256 of the SubjectPublicKeyInfo that we present on lanes.
        key_hash: [u8; 32],
        /// Fresh randomness for the key exchange.
        random: Randomness,
    },
    /// To a client of the old kind.
    Legacy {
        /// Send file, get file, direct IM, …
        service: Uuid,
        /// The tags from 0x2711 on, as they go into the first proposal (L-31: in the service
        /// data of send-file the name stands twice).
        service_tags: TlvList,
        /// Whether REQUEST_SECURE is asked for, and what happens if the peer drops it.
        security: LegacySecurity,
    },
}

/// What goes with the user's yes.
#[derive(Debug)]
pub enum Answer {
    /// To a native proposal without a code.
    Native {
        /// SHA-256 of the SubjectPublicKeyInfo that we present on lanes.
        key_hash: [u8; 32],
        /// Fresh randomness for the key exchange.
        random: Randomness,
    },
    /// To a legacy proposal.
    Legacy {
        /// What this peer is held to.
        security: LegacySecurity,
    },
}

/// What TLS means to us in a conversation with a legacy peer. Local policy, not a tag (S-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacySecurity {
    /// TLS or nothing.
    Required,
    /// TLS is asked for; plain if the peer says so in a counter-proposal or an ACCEPT, or did
    /// not ask for TLS in its own first proposal.
    Opportunistic,
    /// Never TLS: a peer that asks for it is refused with NAK 0x0A.
    Plain,
}

/// Whether the relay may, or must, carry a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayPolicy {
    /// Beside direct connections (native), or after them (legacy).
    #[default]
    Auto,
    /// Nothing else: no address is gathered, sent or dialled.
    Only,
    /// Not at all.
    Never,
}

/// Why an attempt is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The other end said no to the connection.
    #[error("connection refused")]
    Refused,
    /// There is no road to that address.
    #[error("unreachable")]
    Unreachable,
    /// It took too long.
    #[error("timed out")]
    TimedOut,
    /// The other end closed it, or it broke.
    #[error("connection closed")]
    Closed,
    /// The first byte was not that of a TLS record.
    #[error("the other end does not speak TLS")]
    NotTls,
    /// The TLS handshake failed, or the certificate is not the one that was announced.
    #[error("TLS handshake failed")]
    Tls,
    /// The other end did not prove that it belongs to this conversation.
    #[error("the other end could not prove who it is")]
    WrongProof,
    /// The relay sent an error code.
    #[error("the relay refused, code {0:#06x}")]
    Relay(u16),
    /// Nobody knows of a relay that could be asked.
    #[error("no relay")]
    NoRelay,
    /// Something on this machine: no sockets left, no permission.
    #[error("local fault")]
    Local,
}
