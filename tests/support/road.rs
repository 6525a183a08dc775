//! The simulated road between two endpoints: signalling through a host, TCP in both directions, a
//! relay. All of it is data; [`Pair`](super::pair::Pair) drives over it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::wire::signal::Signal;

/// How things are between the two.
pub struct Road {
    /// What happens to messages, by sender.
    pub signalling: [Signalling; 2],
    /// What happens to a dial, by dialler.
    pub tcp: [Tcp; 2],
    /// From dialling to both ends being up; also one way for what is said on a connection.
    pub tcp_delay: Duration,
    /// From a connection being up to both ends having proven themselves, beside the delay.
    pub proof_delay: Duration,
    /// The relay.
    pub relay: Relay,
    /// Addresses at which somebody else listens: takes the connection and says nothing.
    pub strangers: Vec<SocketAddr>,
    /// Time that an endpoint takes to find its own addresses.
    pub gather_delay: Duration,
    /// A host between the two that does more than carry: gets sender and message, says what is
    /// delivered, and with which additional delay.
    pub meddler: Option<Meddler>,
}

/// What a meddling host makes of one message.
pub type Meddler = Box<dyn FnMut(usize, Signal) -> Vec<(Duration, Signal)>>;

/// What happens to the messages of one side.
#[derive(Clone, Copy, Debug)]
pub struct Signalling {
    /// One way.
    pub delay: Duration,
    /// Up to this much is added at random: messages overtake each other.
    pub jitter: Duration,
    /// Of 100 messages so many are lost without a word.
    pub loss_percent: u32,
    /// Of 100 messages so many arrive twice.
    pub twice_percent: u32,
    /// The host says that the recipient is not there.
    pub undelivered: bool,
    /// The host adds the address that it sees (tag 0x0004), and puts it into 0x0003.
    pub adds_verified: bool,
}

/// What happens to a dial in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// It comes through.
    Open,
    /// It is refused.
    Refused,
    /// Nothing comes back.
    Dropped,
}

/// What the relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// It works; each command takes so long.
    Open(Duration),
    /// It cannot be connected to.
    Unreachable,
    /// It takes connections and is silent.
    Silent,
    /// It answers each command with this error.
    Error(u16),
}

impl Default for Signalling {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(40),
            jitter: Duration::ZERO,
            loss_percent: 0,
            twice_percent: 0,
            undelivered: false,
            adds_verified: true,
        }
    }
}

impl Default for Road {
    /// Everything works: 80 ms round trips, direct in both directions, a relay.
    fn default() -> Self {
        Self {
            signalling: [Signalling::default(); 2],
            tcp: [Tcp::Open; 2],
            tcp_delay: Duration::from_millis(80),
            proof_delay: Duration::from_millis(80),
            relay: Relay::Open(Duration::from_millis(80)),
            strangers: Vec::new(),
            gather_delay: Duration::from_millis(5),
            meddler: None,
        }
    }
}

impl fmt::Debug for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Road")
            .field("signalling", &self.signalling)
            .field("tcp", &self.tcp)
            .field("tcp_delay", &self.tcp_delay)
            .field("proof_delay", &self.proof_delay)
            .field("relay", &self.relay)
            .field("gather_delay", &self.gather_delay)
            .field("meddled_with", &self.meddler.is_some())
            .finish_non_exhaustive()
    }
}

impl Road {
    /// A road on which dials fare like this: of the first side, of the second.
    pub fn with_tcp(first: Tcp, second: Tcp) -> Self {
        Self {
            tcp: [first, second],
            ..Self::default()
        }
    }
}

/// A relay session: who created it, and what a joiner has to know.
#[derive(Debug)]
pub(super) struct RelaySession {
    pub(super) creator: super::pair::End,
    pub(super) cookie: [u8; 8],
    pub(super) joined: bool,
}

/// Sessions by token.
pub(super) type RelaySessions = BTreeMap<u16, RelaySession>;

/// A generator of numbers for roads that are not always the same: the same seed, the same road.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number (xorshift64*).
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// True in so many of 100 cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.roll() % 100 < u64::from(percent)
    }

    /// A duration below `limit`.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.roll() % limit)
    }
}
