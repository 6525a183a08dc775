//! Every time and count of the machine, in one place.
//!
//! Sources: the timer table of the rendezvous flows (T-07) and the limits on open things and times
//! of the security rules.

use std::time::Duration;

/// How long a user may think about a proposal; then NAK 0x04 and CANCEL 2 go out.
pub const USER_DECISION: Duration = Duration::from_secs(120);
/// How long we wait for the answer to a first proposal that a user has to decide about (L-28).
pub const FIRST_ANSWER: Duration = Duration::from_secs(120);
/// How long we wait for the answer to a first proposal made with a code: a machine answers it.
pub const CODE_ANSWER: Duration = Duration::from_secs(30);
/// How long our own listener waits for a connection after a further proposal.
pub const LISTENER_WAIT: Duration = Duration::from_secs(30);
/// Legacy: first answer to connected; then CANCEL 2.
pub const LEGACY_NEGOTIATION: Duration = Duration::from_secs(90);
/// Native: keys exchanged to the first lane; then CANCEL 2.
pub const NATIVE_NEGOTIATION: Duration = Duration::from_secs(15);
/// How long own addresses may take to find before a proposal goes out without them.
pub const GATHER_BUDGET: Duration = Duration::from_millis(300);
/// Legacy: how long opening a listener may take before the next method is used.
pub const LISTENER_OPEN: Duration = Duration::from_secs(5);

/// Time between the starts of two dials (RFC 8305 §5).
pub const DIAL_PACE: Duration = Duration::from_millis(250);
/// Life of one dial; in legacy conversations of all dials of a proposal together.
pub const DIAL_LIFE: Duration = Duration::from_secs(5);
/// TCP dials open at once in a native conversation.
pub const DIALS_OPEN_MAX: usize = 3;

/// How long TCP waits where UDP may come first.
pub const TCP_HEAD_START: Duration = Duration::from_millis(100);
/// QUIC handshakes that begin together.
pub const QUIC_AT_ONCE: usize = 2;
/// Time between the starts of further QUIC handshakes.
pub const QUIC_PACE: Duration = Duration::from_millis(50);
/// QUIC handshakes of ours under way at once.
pub const QUIC_OPEN_MAX: usize = 4;
/// Life of one QUIC handshake if others wait for its place.
pub const QUIC_LIFE: Duration = Duration::from_secs(2);
/// QUIC handshakes to one source of probes.
pub const HANDSHAKES_PER_SOURCE_MAX: usize = 3;
/// When both sides dial each other at once over TCP, if UDP may work.
pub const SIMULTANEOUS_OPEN_AFTER: Duration = Duration::from_millis(600);
/// Life of such a dial, its repetitions included.
pub const SIMULTANEOUS_OPEN_LIFE: Duration = Duration::from_secs(4);
/// Addresses dialled that way in one round.
pub const SIMULTANEOUS_OPEN_MAX: usize = 2;

/// Life of each of the first two rounds.
pub const ROUND: Duration = Duration::from_secs(4);
/// Life of a later round, and from its beginning to that of the next in the first time on a relay.
pub const ROUNDS_OFTEN: Duration = Duration::from_secs(3);
/// How long the time of frequent rounds lasts.
pub const ROUNDS_OFTEN_FOR: Duration = Duration::from_secs(30);
/// From the beginning of a round to that of the next, later on a relay.
pub const ROUNDS_SELDOM: Duration = Duration::from_secs(60);
/// The least time between the beginnings of two rounds.
pub const ROUND_PAUSE: Duration = Duration::from_secs(3);
/// How long the side that does not begin the next round waits for the other to do it.
pub const ROUND_PATIENCE: Duration = Duration::from_secs(1);
/// Hops of an opener in the first round, and in later ones.
pub const OPENER_TTL: [u8; 2] = [4, 6];
/// How often the peer is told of one generation.
pub const TELLINGS_MAX: usize = 6;
/// Addresses of the peer per protocol that one round dials, however often the peer tells of others: twice what one list may name.
pub const OFFERED_MAX: usize = 16;
/// Direct dials of one conversation, so that a peer with ever new addresses makes no scanner of us (S-10).
pub const DIALS_MAX: usize = 160;
/// After this number a session on a relay looks for nothing better by itself; the rest is for repairs.
pub const SEQUENCE_ROUNDS_MAX: u16 = 30;
/// After this number a session tells nothing any more.
pub const SEQUENCE_TOLD_MAX: u16 = 58;

/// How long the controller keeps proven lanes beside the one in use.
pub const JUDGING: Duration = Duration::from_secs(5);
/// The same for the other side: it must not be the first to drop what the controller may choose.
pub const JUDGING_OTHER: Duration = Duration::from_secs(7);
/// The least time between two changes of lane that are not needed.
pub const MOVE_PAUSE: Duration = Duration::from_secs(5);
/// A change to another lane of the same kind needs this much advantage in its round trip.
pub const MOVE_ADVANTAGE: Duration = Duration::from_millis(5);
/// Round trips up to this are those of one network: TCP is preferred there.
pub const NEAR_ROUND_TRIP: Duration = Duration::from_millis(3);
/// A side whose address has changed is away for a moment: that the host does not reach it ends a session without a lane only after this time.
pub const AWAY: Duration = Duration::from_secs(4);
/// The same between two addresses of one subnet, where what is measured beyond it is how busy the machines are.
pub const SUBNET_ROUND_TRIP: Duration = Duration::from_millis(15);
/// How long a session without a lane looks for another one.
pub const REPAIR: Duration = Duration::from_secs(30);

/// Time between the first probes to two addresses.
pub const PROBE_PACE: Duration = Duration::from_millis(5);
/// Pauses between the first probes to one address.
pub const PROBE_REPEATS: [Duration; 5] = [
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// Pause between later probes to one address.
pub const PROBE_REPEATS_LATER: Duration = Duration::from_millis(500);
/// From the first full probe to an address to the last one.
pub const PROBE_LIFE: Duration = Duration::from_secs(3);
/// Probes to one address in one round, openers among them.
pub const PROBES_PER_PAIR_MAX: u32 = 12;
/// Probes in one round.
pub const PROBES_PER_ROUND_MAX: u32 = 150;
/// Probes with a short life that open our own NAT.
pub const OPENERS: u32 = 2;
/// After its openers a side is silent for the round trip through the host and this much more.
pub const OPENER_HOLD_EXTRA: Duration = Duration::from_millis(50);
/// The least silence after openers.
pub const OPENER_HOLD_MIN: Duration = Duration::from_millis(150);
/// The silence after openers if the round trip through the host is not known.
pub const OPENER_HOLD_UNKNOWN: Duration = Duration::from_millis(250);
/// Sources of authentic probes that nobody announced and that are taken up.
pub const PEER_REFLEXIVE_MAX: usize = 4;
/// Requests of the peer that are remembered, so that replayed ones do nothing.
pub const TRANSACTIONS_REMEMBERED_MAX: usize = 256;

/// Relay connect and CREATED.
pub const RELAY_CREATE: Duration = Duration::from_secs(10);
/// Pauses before a relay session is made anew that failed: at once, then ever more seldom.
pub const RELAY_PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// The longest of such pauses.
pub const RELAY_PAUSE_MAX: Duration = Duration::from_secs(8);
/// A relayed lane that lived as long as this was good: the peer may be told of others as often as in the beginning.
pub const RELAY_LASTS: Duration = Duration::from_secs(10);
/// Relay sessions that are waited for, one after the other, if there is no other hope for a first lane.
pub const RELAY_TRIES: usize = 3;
/// Relay READY after a further proposal.
pub const RELAY_READY: Duration = Duration::from_secs(60);
/// Relay READY when the relay was in the first proposal: a user is deciding.
pub const RELAY_READY_FIRST: Duration = Duration::from_secs(120);
/// The TCP port that every relay listens on for legacy peers (L-25).
pub const RELAY_PORT: u16 = 5190;

/// From a connection that is up to the proof, native: TLS handshake 10 s and BIND 5 s.
pub const PROOF: Duration = Duration::from_secs(15);
/// The same for a connection that somebody made to our listener, native.
pub const ACCEPTED_PROOF: Duration = Duration::from_secs(10);
/// Connections at a listener that have not proven themselves yet.
pub const ACCEPTED_MAX: usize = 8;
/// Connections at a listener that have proven themselves and wait for the choice. An honest peer has as many as it knows ways.
pub const ACCEPTED_PROVEN_MAX: usize = 8;

/// A relayed lane waits at least this long for a direct one, plus one estimated round trip.
pub const RELAY_GRACE: Duration = Duration::from_millis(300);
/// A relayed lane never waits longer than this for a direct one.
pub const RELAY_GRACE_MAX: Duration = Duration::from_secs(1);

/// ADDR_LIST entries that are looked at (T-06).
pub const ADDRESSES_READ_MAX: usize = 16;
/// Foreign addresses that are tried in one conversation.
pub const ADDRESSES_TRIED_MAX: usize = 8;
/// Own addresses that are told to the peer.
pub const ADDRESSES_TOLD_MAX: usize = 8;
/// Candidates that are told to a client of our own kind, each for one protocol.
pub const CANDIDATES_TOLD_MAX: usize = 16;
/// Candidates of a client of our own kind that are looked at.
pub const CANDIDATES_READ_MAX: usize = 32;

/// A conversation whose numbers pass this is cancelled (T-03).
pub const SEQUENCE_MAX: u16 = 64;
/// Native proposals that arrived before the answer they build upon, kept until it comes.
pub const EARLY_MAX: usize = 4;

/// Incoming proposals of one peer that nobody has answered.
pub const UNANSWERED_PER_PEER_MAX: usize = 4;
/// Incoming proposals of all peers that nobody has answered.
pub const UNANSWERED_MAX: usize = 16;
/// Outgoing conversations open at once.
pub const OUTGOING_MAX: usize = 16;
/// Codes waited for at once.
pub const EXPECTATIONS_MAX: usize = 64;

/// Conversations remembered after their end (T-05).
pub const REMEMBERED_MAX: usize = 1_024;
/// How long a conversation is remembered after its end (T-05).
pub const REMEMBERED_FOR: Duration = Duration::from_secs(300);
