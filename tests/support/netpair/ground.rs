//! Where the two are, and how things are between them.

use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::rendezvous::RelayPolicy;

use crate::simnet::Line;
use crate::simnet::kinds::Kind;

/// Where the two are, and how things are between them.
#[derive(Clone, Debug)]
pub struct Ground {
    /// What each sits behind.
    pub kinds: [Kind; 2],
    /// Their lines.
    pub lines: [Line; 2],
    /// Both in the network of the first.
    pub one_lan: bool,
    /// Both have IPv6, behind a firewall.
    pub ipv6: bool,
    /// How much later than need be the messages of each arrive.
    pub skew: [Duration; 2],
    /// Up to this much is added at random: messages overtake each other.
    pub jitter: Duration,
    /// Of 100 messages so many arrive twice.
    pub twice_percent: u32,
    /// Addresses that each names beside its own.
    pub named: [Vec<SocketAddr>; 2],
    /// What each does with the relay.
    pub relay: [RelayPolicy; 2],
    /// Whether own addresses were looked for before the two meet.
    pub prepared: bool,
    /// Decides what is left to chance.
    pub seed: u64,
}

impl Ground {
    /// Those two kinds, 80 ms round trips, no loss.
    pub fn between(first: Kind, second: Kind) -> Self {
        Self {
            kinds: [first, second],
            lines: [Line::default(); 2],
            one_lan: false,
            ipv6: false,
            skew: [Duration::ZERO; 2],
            jitter: Duration::ZERO,
            twice_percent: 0,
            named: [Vec::new(), Vec::new()],
            relay: [RelayPolicy::Auto; 2],
            prepared: true,
            seed: 1,
        }
    }

    /// The same with another round trip.
    pub fn with_round_trip(mut self, round_trip: Duration) -> Self {
        for line in &mut self.lines {
            line.delay = round_trip / 4;
        }
        self
    }

    /// The same with loss on both lines.
    pub fn with_loss(mut self, percent: u32) -> Self {
        for line in &mut self.lines {
            line.loss_percent = percent;
        }
        self
    }
}
