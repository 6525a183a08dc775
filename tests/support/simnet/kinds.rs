//! The kinds of places that the laboratory knows, with the same names.

use std::net::IpAddr;

use super::nat::{Behaviour, Filter, Leaves, Ports, Reaction};

/// What is between a host and the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing: a public address on the host.
    Open,
    /// A public address behind a stateful firewall.
    InBlocked,
    /// One mapping; anyone may send to it once it exists.
    FullCone,
    /// One mapping; anyone at an address contacted before may send.
    Adf,
    /// Home router: keeps the port, drops what is unknown.
    Eim,
    /// The same, but unknown packets are refused.
    EimReject,
    /// The same, but the router takes unknown packets for its own.
    EimAccept,
    /// One mapping per port, with another number.
    EimNp,
    /// Ports 50000 to 50099 are forwarded.
    PortFwd,
    /// Every port from 1024 is forwarded.
    Dmz,
    /// A home router behind a carrier's router.
    Cgnat,
    /// Another port for every destination.
    Symmetric,
    /// A home router behind a carrier's symmetric router.
    CgnatSym,
    /// No datagrams.
    UdpBlocked,
    /// Only TCP to port 443.
    Tcp443Only,
}

impl Kind {
    /// All, in the order of the laboratory's table.
    pub const ALL: [Self; 15] = [
        Self::Open,
        Self::InBlocked,
        Self::FullCone,
        Self::Adf,
        Self::Eim,
        Self::EimReject,
        Self::EimAccept,
        Self::EimNp,
        Self::PortFwd,
        Self::Dmz,
        Self::Cgnat,
        Self::Symmetric,
        Self::CgnatSym,
        Self::UdpBlocked,
        Self::Tcp443Only,
    ];

    /// Its name in the laboratory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InBlocked => "in-blocked",
            Self::FullCone => "fullcone",
            Self::Adf => "adf",
            Self::Eim => "eim",
            Self::EimReject => "eim-reject",
            Self::EimAccept => "eim-accept",
            Self::EimNp => "eim-np",
            Self::PortFwd => "portfwd",
            Self::Dmz => "dmz",
            Self::Cgnat => "cgnat",
            Self::Symmetric => "symmetric",
            Self::CgnatSym => "cgnat-sym",
            Self::UdpBlocked => "udp-blocked",
            Self::Tcp443Only => "tcp-443-only",
        }
    }

    /// Whether the host has a public address of its own.
    pub fn is_public(self) -> bool {
        matches!(self, Self::Open | Self::InBlocked)
    }

    /// Its routers, the host's first; `host` is behind them.
    pub(super) fn routers(self, host: IpAddr) -> Vec<Behaviour> {
        let home = Behaviour::default();
        let one = |behaviour| vec![behaviour];
        match self {
            Self::Open => Vec::new(),
            Self::InBlocked => one(Behaviour {
                ports: Ports::Untouched,
                ..home
            }),
            Self::FullCone => one(Behaviour {
                filter: Filter::Open,
                ..home
            }),
            Self::Adf => one(Behaviour {
                filter: Filter::Address,
                ..home
            }),
            Self::Eim => one(home),
            Self::EimReject => one(Behaviour {
                reaction: Reaction::Reject,
                ..home
            }),
            Self::EimAccept => one(Behaviour {
                reaction: Reaction::Accept,
                ..home
            }),
            Self::EimNp => one(Behaviour {
                ports: Ports::Renumbered,
                ..home
            }),
            Self::PortFwd => one(Behaviour {
                forwarded: Some((50_000..=50_099, host)),
                ..home
            }),
            Self::Dmz => one(Behaviour {
                forwarded: Some((1_024..=65_535, host)),
                ..home
            }),
            Self::Cgnat => vec![home.clone(), home],
            Self::Symmetric => one(Behaviour {
                ports: Ports::PerDestination,
                ..home
            }),
            Self::CgnatSym => vec![
                home.clone(),
                Behaviour {
                    ports: Ports::PerDestination,
                    ..home
                },
            ],
            Self::UdpBlocked => one(Behaviour {
                leaves: Leaves::NoUdp,
                ..home
            }),
            Self::Tcp443Only => one(Behaviour {
                leaves: Leaves::OnlyTcp443,
                ..home
            }),
        }
    }
}
