//! What gathering asked, who answered, and how long it took: for the doctor and for the record of a transfer.

use std::net::SocketAddr;
use std::time::Duration;

use rdv_proto::rendezvous::{LocalCandidate, Network};

/// Lines of one report at most; gathering again replaces the lines of what is asked again.
const LINES_MAX: usize = 64;

/// How the gathering of own addresses went so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatherReport {
    /// One line for each question, in the order in which they were first asked.
    pub lines: Vec<GatherLine>,
    /// All own candidates, best first.
    pub candidates: Vec<LocalCandidate>,
    /// What the address translator between us and the servers does to our addresses.
    pub network: Network,
    /// Whether nothing more will come.
    pub complete: bool,
}

/// One question and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatherLine {
    /// What was asked, and how.
    pub source: GatherSource,
    /// Who was asked; `None` where nothing was sent, or to nobody in particular.
    pub asked: Option<SocketAddr>,
    /// What came of it.
    pub result: GatherResult,
    /// From the question to its end; zero if it has not ended.
    pub took: Duration,
}

impl GatherLine {
    /// A question that has just been asked.
    pub(crate) fn waiting(source: GatherSource, asked: Option<SocketAddr>) -> Self {
        Self {
            source,
            asked,
            result: GatherResult::Waiting,
            took: Duration::ZERO,
        }
    }

    /// How it ended, after this time.
    pub(crate) fn ended(mut self, result: GatherResult, took: Duration) -> Self {
        self.result = result;
        self.took = took;
        self
    }
}

/// Where addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatherSource {
    /// The interfaces of this machine.
    Interfaces,
    /// A Binding request over UDP, from the socket that the conversation uses.
    StunUdp,
    /// A Binding request over TCP, from the port of the listener.
    StunTcp,
    /// Port mapping by PCP (RFC 6887).
    Pcp,
    /// Port mapping by NAT-PMP (RFC 6886).
    NatPmp,
    /// Port mapping by UPnP-IGD.
    Upnp,
}

impl GatherSource {
    /// A short name, the same in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interfaces => "interfaces",
            Self::StunUdp => "STUN over UDP",
            Self::StunTcp => "STUN over TCP",
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        }
    }
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatherResult {
    /// Not yet.
    Waiting,
    /// With these addresses.
    Found(Vec<SocketAddr>),
    /// With nothing, and why.
    Failed(String),
}

impl GatherReport {
    /// Enters a line in the place of the one that asked the same; a full report takes no new ones.
    pub(crate) fn put(&mut self, line: GatherLine) {
        let same =
            |known: &&mut GatherLine| known.source == line.source && known.asked == line.asked;
        if let Some(known) = self.lines.iter_mut().find(same) {
            *known = line;
        } else if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        }
    }

    /// The protocols of port mapping that brought one.
    pub fn mapped_by(&self) -> impl Iterator<Item = GatherSource> + '_ {
        self.lines.iter().filter_map(|line| {
            let mapping = matches!(
                line.source,
                GatherSource::Pcp | GatherSource::NatPmp | GatherSource::Upnp
            );
            let found = matches!(&line.result, GatherResult::Found(found) if !found.is_empty());
            (mapping && found).then_some(line.source)
        })
    }
}
