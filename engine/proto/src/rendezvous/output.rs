//! What the machine wants done.

use std::net::SocketAddr;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    AttemptError, AttemptId, Carrier, ConversationId, MoveReason, Path, RelayCandidate, Tried,
};
use crate::trust::Session;
use crate::wire::rendezvous::{CancelReason, Cookie, NakCode};
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// What is to be done. Outputs are carried out in the order in which they come.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send a message through the host.
    Send {
        /// To whom.
        to: ScreenName,
        /// An encoded [`Signal`](crate::wire::signal::Signal).
        body: Bytes,
        /// Ask the host for an acknowledgement (outer TLV 0x0003).
        host_ack: bool,
    },
    /// Open a listener and a UDP socket and find own addresses, then say
    /// [`Input::Gathered`](super::Input::Gathered). Never asked for with
    /// [`RelayPolicy::Only`](super::RelayPolicy::Only).
    Gather {
        /// For which conversation.
        id: ConversationId,
        /// Names the sockets: each order of a conversation has a larger one. Earlier ones stay
        /// open until they are retired.
        generation: u32,
        /// A TCP listener is wanted.
        listen: bool,
        /// Own addresses are wanted.
        addresses: bool,
        /// New sockets on new ports are wanted: nothing that was prepared before will do.
        fresh: bool,
    },
    /// Close the listener and the socket of one generation. Lanes on them stay.
    Retire {
        /// Of which conversation.
        id: ConversationId,
        /// As in the order to gather.
        generation: u32,
    },
    /// Close all listeners and sockets of a conversation, also those that are only about to be
    /// opened. It is over, or needs none any more.
    StopListening {
        /// Of which conversation.
        id: ConversationId,
    },
    /// Dial.
    Dial {
        /// For which conversation.
        id: ConversationId,
        /// The name of the attempt.
        attempt: AttemptId,
        /// From which sockets, where that matters: all but plain TCP.
        generation: u32,
        /// Whom.
        to: SocketAddr,
        /// How. [`Carrier::TcpOpen`]: from the port of the listener, and again after a refusal
        /// until 4 s are over. [`Carrier::Quic`]: the whole handshake.
        carrier: Carrier,
    },
    /// Send a datagram from the UDP socket of a generation.
    Probe {
        /// For which conversation.
        id: ConversationId,
        /// From which socket.
        generation: u32,
        /// Whom.
        to: SocketAddr,
        /// How many hops it may go. `None`: as many as usual.
        ttl: Option<u8>,
        /// What.
        datagram: Bytes,
    },
    /// Connect to our relay and create a session there, then say
    /// [`Input::RelayCreated`](super::Input::RelayCreated), and at READY
    /// [`Input::Connected`](super::Input::Connected).
    RelayCreate {
        /// For which conversation.
        id: ConversationId,
        /// The name of the attempt.
        attempt: AttemptId,
        /// Under which cookie. `None`: a random one that the driver chooses; it reaches the peer
        /// under the seal. Legacy peers join with the cookie of the conversation.
        cookie: Option<Cookie>,
    },
    /// Connect to a relay and join a session there; at READY say
    /// [`Input::Connected`](super::Input::Connected).
    RelayJoin {
        /// For which conversation.
        id: ConversationId,
        /// The name of the attempt.
        attempt: AttemptId,
        /// Where, and with what.
        relay: RelayCandidate,
    },
    /// Secure a connection that is up and have the other end prove itself, then say
    /// [`Input::Secured`](super::Input::Secured). Given a second time for an attempt (a legacy
    /// peer dropped TLS in its ACCEPT, and that is allowed), what was begun is left and the
    /// same connection goes on as the later one says.
    Secure {
        /// For which conversation.
        id: ConversationId,
        /// Which attempt.
        attempt: AttemptId,
        /// Whether we are the TLS client: who dialled or joined; if both dialled, the controller.
        /// QUIC: whether we dialled; then the handshake is done, else it is to be done now.
        tls_client: bool,
        /// How.
        session: Security,
    },
    /// Write USE on a lane: from here on it is the one. May come again for another one.
    Nominate {
        /// For which conversation.
        id: ConversationId,
        /// Which attempt.
        attempt: AttemptId,
        /// Rises with each nomination: USE on different lanes may overtake each other.
        number: u32,
    },
    /// Drop an attempt, whatever it is doing. Nothing more is heard of it.
    HangUp {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Tell the user of the machine.
    Event(Event),
}

/// How a connection is secured.
#[derive(Clone, Debug)]
pub enum Security {
    /// TLS 1.3 with both keys checked, then BIND.
    Native(Session),
    /// TLS as old clients speak it, from the first byte on. Encrypted, not verified: the cookie
    /// in the first header still tells a stranger from the peer.
    LegacyTls {
        /// As in [`Security::Plain`].
        zero_cookie_counts: bool,
    },
    /// No TLS. The cookie in the first header is all the proof there is.
    Plain {
        /// Whether eight zero bytes count as the cookie in a prompt (L-16): we dialled, or the
        /// relay paired us, or the other end has an address that the peer announced.
        zero_cookie_counts: bool,
    },
}

/// What the user of the machine learns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A peer proposes something; answer with [`Input::Accept`](super::Input::Accept) or
    /// [`Input::Decline`](super::Input::Decline).
    Proposed {
        /// The conversation.
        id: ConversationId,
        /// What is proposed. Foreign text: escape it before it is shown.
        offer: Offer,
    },
    /// A first proposal was refused without asking the user: nobody wants its service, its terms
    /// of security are not ours, it cannot be read, or too many wait. There is no conversation.
    Refused {
        /// Which conversation it would have been.
        id: ConversationId,
        /// The service that it named.
        service: Uuid,
        /// What the peer was told.
        nak: NakCode,
    },
    /// A first proposal used an expectation up. The conversation follows, or its end.
    Matched {
        /// As in [`Input::Expect`](super::Input::Expect).
        expectation: u64,
        /// The conversation.
        id: ConversationId,
    },
    /// An expectation is over unused: its time ran out, or too many are open.
    Expired {
        /// As in [`Input::Expect`](super::Input::Expect).
        expectation: u64,
    },
    /// Both sides hold the same key.
    Keyed {
        /// The conversation.
        id: ConversationId,
    },
    /// The peer is being told for the first time where we are.
    Told {
        /// The conversation.
        id: ConversationId,
    },
    /// The first lane that carries the conversation. Comes at most once.
    Established {
        /// The conversation.
        id: ConversationId,
        /// The attempt that won.
        attempt: AttemptId,
        /// Which way it takes.
        path: Path,
        /// The expectation that this conversation used up.
        expectation: Option<u64>,
    },
    /// A further lane carries the conversation from here on. The one before it stays until it
    /// is hung up.
    Moved {
        /// The conversation.
        id: ConversationId,
        /// The attempt that took over.
        attempt: AttemptId,
        /// Which way it takes.
        path: Path,
        /// What it is better at.
        why: MoveReason,
    },
    /// The lane in use is gone, and no other one takes its place for now; another one is being looked for.
    LaneLost {
        /// The conversation.
        id: ConversationId,
    },
    /// An attempt is over, or has become the lane in use.
    Tried {
        /// The conversation.
        id: ConversationId,
        /// What became of it.
        report: Tried,
    },
    /// The conversation is over. Comes exactly once, except after
    /// [`Input::Finished`](super::Input::Finished).
    Ended {
        /// The conversation.
        id: ConversationId,
        /// Why.
        reason: EndReason,
        /// Whether the peers got as far as telling each other where they are: tells "nobody
        /// there" from "no way to get there".
        candidates_exchanged: bool,
    },
}

/// What a peer proposes. All of it is the peer's word; nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The service.
    pub service: Uuid,
    /// Whether the peer asked for TLS. Always so in native conversations.
    pub secure: bool,
    /// Native: the key hash that the peer will prove on the lane.
    pub key_hash: Option<[u8; 32]>,
    /// The tags from 0x2711 on but the security block, as they came in the first proposal.
    pub service_tags: TlvList,
    /// The words to the user (tag 0x000C), decoded, of at most 2,048 bytes.
    pub invitation: Option<String>,
}

/// Why a conversation is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The peer refused with a client error. `None`: it did not say why.
    Refused(Option<NakCode>),
    /// The peer cancelled.
    Cancelled(CancelReason),
    /// We declined.
    Declined,
    /// We cancelled.
    Withdrawn(CancelReason),
    /// The host could not deliver a message of ours.
    Undeliverable {
        /// Code of SNAC 0x0004/0x0001; 4: not signed on.
        code: u16,
    },
    /// The code is wrong, or the host changed what belongs to it. The code is burnt.
    WrongCode(WrongCodeSeenBy),
    /// We found the security of the conversation broken (we said NAK 0x0A, 0x09 or 0x03).
    Security(SecurityFault),
    /// The peer says that the security of the conversation is broken (NAK 0x0A).
    SecurityRefusedByPeer,
    /// The versions do not overlap.
    VersionMismatch,
    /// The peer's message could not be read.
    Malformed,
    /// A wait is over.
    TimedOut(Wait),
    /// Everything was tried.
    NoPath {
        /// How the last attempt failed, if there was one.
        last: Option<AttemptError>,
    },
    /// The lane in use broke.
    LinkLost(AttemptError),
    /// The numbers of the conversation passed the limit.
    TooManyProposals,
    /// Too many conversations are open: this one was not begun, or made room for another.
    TooManyConversations,
    /// Another proposal of the peer, or by both at once, took its place.
    Superseded,
    /// Asked for something that this machine cannot do (a cookie used twice, an answer of the
    /// wrong kind).
    Misused,
}

/// Which side found the code wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongCodeSeenBy {
    /// We did: the peer's confirmation does not fit our words.
    Us,
    /// The peer did, and said so.
    Peer,
}

/// What is wrong with the security of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecurityFault {
    /// REQUEST_SECURE is missing where it has to be: a downgrade.
    NotSecure,
    /// The security block is missing.
    NoBlock,
    /// The security block cannot be read, or there are two.
    BadBlock,
    /// The security block has a version that we do not know.
    BlockVersion,
    /// The keys do not fit: something that matters was changed on the way.
    Tampered,
    /// No common way to speak on a lane.
    NoCommonProtocol,
    /// What was sealed does not open.
    BrokenSeal,
    /// The peer wants TLS, and we are not to use it.
    SecureUnwanted,
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Our own user's decision.
    Decision,
    /// The answer to our first proposal.
    Answer,
    /// A connection.
    Connection,
}
