//! The report while it is written: by the driver, read by whoever holds the transfer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use rdv_proto::rendezvous::{
    AttemptId, CandidateKind, LocalCandidate, Mapping, Network, Protocol, RelayAddress, Tried,
    TriedEnd, TriedSource,
};
use rdv_proto::transfer::show;
use rdv_proto::wire::text::ScreenName;

use super::{LINES_MAX, OwnCandidate, PathUsed, TransferReport, TriedLine};
use crate::random;
use crate::transport::{LaneStats, Path};

/// Longest address that is shown; the name of a relay is the peer's word.
const ADDRESS_SHOWN: usize = 80;

/// Clones write to the same report.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Written>>);

struct Written {
    began: Instant,
    /// When the peer was first told where we are.
    told: Option<Instant>,
    report: TransferReport,
    /// Which attempt each of the paths was.
    attempts: Vec<AttemptId>,
    /// Where our own relay session is.
    relay: Option<String>,
}

impl Log {
    /// Of a transfer that begins now.
    pub(crate) fn begin(now: Instant) -> Self {
        let id: [u8; 4] = random::bytes();
        let report = TransferReport {
            id: format!("{:08x}", u32::from_be_bytes(id)),
            peer: None,
            started: SystemTime::now(),
            tried: Vec::new(),
            tried_more: 0,
            paths: Vec::new(),
            lane_ms: None,
            own: Vec::new(),
            network: None,
        };
        Self(Arc::new(Mutex::new(Written {
            began: now,
            told: None,
            report,
            attempts: Vec::new(),
            relay: None,
        })))
    }

    /// As it stands.
    pub(crate) fn report(&self) -> TransferReport {
        self.write().report.clone()
    }

    pub(crate) fn peer(&self, peer: &ScreenName) {
        self.write().report.peer = Some(peer.clone());
    }

    /// What is known of our own addresses by now.
    pub(crate) fn own(&self, candidates: &[LocalCandidate], network: Network) {
        let mut written = self.write();
        for candidate in candidates {
            let own = OwnCandidate {
                address: candidate.address,
                protocol: protocol(candidate.protocol),
                source: kind(candidate.kind),
            };
            let list = &mut written.report.own;
            if list.len() < LINES_MAX && !list.contains(&own) {
                list.push(own);
            }
        }
        written.report.network = Some((mapping(network.udp), mapping(network.tcp)));
    }

    /// The peer was told where we are.
    pub(crate) fn told(&self, now: Instant) {
        self.write().told.get_or_insert(now);
    }

    /// A lane was proven.
    pub(crate) fn proven(&self, now: Instant) {
        let mut written = self.write();
        if let Some(told) = written.told {
            written.report.lane_ms.get_or_insert(ms(told, now));
        }
    }

    /// A relay session of our own was made.
    pub(crate) fn relay(&self, relay: &RelayAddress) {
        self.write().relay = Some(relay_text(relay));
    }

    /// An attempt is over, or has won.
    pub(crate) fn tried(&self, tried: &Tried) {
        let mut written = self.write();
        let line = TriedLine {
            carrier: tried.carrier,
            address: match (&tried.address, &tried.relay) {
                (Some(address), _) => Some(address.to_string()),
                (None, Some(relay)) => Some(relay_text(relay)),
                // A relay session of our own.
                (None, None) => written.relay.clone(),
            },
            source: source(tried.source),
            at_ms: written.ms(tried.started),
            took_ms: ms(tried.started, tried.ended),
            result: match tried.end {
                TriedEnd::Won => "won",
                TriedEnd::Lost => "lost",
                TriedEnd::HungUp => "not needed",
                TriedEnd::Failed(_) => "failed",
                _ => "over",
            },
            why: match (tried.end, tried.round_trip) {
                (TriedEnd::Failed(error), _) => Some(error.to_string()),
                (_, Some(round_trip)) => Some(format!(
                    "round trip {:.1} ms",
                    round_trip.as_secs_f64() * 1e3
                )),
                (_, None) => None,
            },
        };
        match written.report.tried.len() < LINES_MAX {
            true => written.report.tried.push(line),
            false => written.report.tried_more = written.report.tried_more.saturating_add(1),
        }
    }

    /// The bytes go this way from now on.
    pub(crate) fn path(&self, now: Instant, attempt: AttemptId, path: Path) {
        let mut written = self.write();
        let at = written.ms(now);
        if let Some(before) = written.report.paths.last_mut() {
            before.to_ms.get_or_insert(at);
        }
        if written.report.paths.len() < LINES_MAX {
            written.attempts.push(attempt);
            written.report.paths.push(PathUsed {
                path,
                from_ms: at,
                to_ms: None,
                bytes: 0,
            });
        }
    }

    /// What the lanes have carried by now.
    pub(crate) fn carried(&self, lanes: &[LaneStats]) {
        let mut written = self.write();
        let Written {
            report, attempts, ..
        } = &mut *written;
        for lane in lanes {
            // A lane that was taken up again stands where it was first.
            let first = attempts.iter().position(|attempt| *attempt == lane.attempt);
            if let Some(path) = first.and_then(|first| report.paths.get_mut(first)) {
                path.bytes = lane.sent.saturating_add(lane.received);
            }
        }
    }

    /// The transfer is over.
    pub(crate) fn ended(&self, now: Instant) {
        let mut written = self.write();
        let at = written.ms(now);
        if let Some(last) = written.report.paths.last_mut() {
            last.to_ms.get_or_insert(at);
        }
    }

    fn write(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    fn ms(&self, now: Instant) -> u64 {
        ms(self.began, now)
    }
}

fn ms(from: Instant, to: Instant) -> u64 {
    let took = to.saturating_duration_since(from).as_millis();
    u64::try_from(took).unwrap_or(u64::MAX)
}

/// Names are the word of others; literal addresses cannot lie about what they look like.
fn relay_text(relay: &RelayAddress) -> String {
    match relay {
        RelayAddress::Socket(address) => address.to_string(),
        RelayAddress::Name { host, port } => format!("{}:{port}", show(host, ADDRESS_SHOWN)),
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn source(source: TriedSource) -> &'static str {
    match source {
        TriedSource::Candidate(of) => kind(of),
        TriedSource::Announced => "announced",
        TriedSource::PeerReflexive => "peer-reflexive",
        TriedSource::Accepted => "accepted",
        TriedSource::Relay => "relay",
        _ => "other",
    }
}

fn kind(kind: CandidateKind) -> &'static str {
    match kind {
        CandidateKind::HOST => "host",
        CandidateKind::LOOPBACK => "loopback",
        CandidateKind::MAPPED => "mapped",
        CandidateKind::REFLEXIVE => "reflexive",
        CandidateKind::VERIFIED => "verified",
        CandidateKind::FORWARDED => "forwarded",
        _ => "other",
    }
}

fn mapping(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::Unknown => "unknown",
        Mapping::Open => "open",
        Mapping::Independent => "independent",
        Mapping::Dependent => "dependent",
        Mapping::Blocked => "blocked",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdv_proto::rendezvous::{AttemptError, Carrier};

    use super::*;
    use crate::transport::PathKind;

    fn tried(attempt: u64, at: Instant, end: TriedEnd) -> Tried {
        Tried {
            attempt: AttemptId(attempt),
            carrier: Some(Carrier::Quic),
            address: Some("192.0.2.7:4000".parse().unwrap()),
            relay: None,
            source: TriedSource::Candidate(CandidateKind::REFLEXIVE),
            started: at,
            ended: at + Duration::from_millis(40),
            end,
            round_trip: None,
        }
    }

    fn relay() -> Path {
        Path {
            kind: PathKind::Relay,
            carrier: None,
            punched: false,
            remote: None,
        }
    }

    #[test]
    fn an_attempt_is_told_with_its_end() {
        let now = Instant::now();
        let log = Log::begin(now);
        let failed = TriedEnd::Failed(AttemptError::Refused);
        log.tried(&tried(1, now + Duration::from_millis(7), failed));
        let relay = Tried {
            carrier: None,
            address: None,
            relay: Some(RelayAddress::Name {
                host: "relay\u{1b}[2J.test".into(),
                port: 5190,
            }),
            source: TriedSource::Relay,
            round_trip: Some(Duration::from_micros(48_120)),
            ..tried(2, now, TriedEnd::Lost)
        };
        log.tried(&relay);
        let report = log.report();
        assert_eq!(report.id.len(), 8);
        let told: Vec<_> = report
            .tried
            .iter()
            .map(|line| (line.source, line.at_ms, line.took_ms, line.result))
            .collect();
        assert_eq!(
            told,
            [("reflexive", 7, 40, "failed"), ("relay", 0, 40, "lost")]
        );
        assert_eq!(report.tried[0].why.as_deref(), Some("connection refused"));
        assert_eq!(report.tried[1].why.as_deref(), Some("round trip 48.1 ms"));
        let address = report.tried[1].address.as_deref().unwrap();
        assert!(!address.contains('\u{1b}'), "{address}");
    }

    #[test]
    fn a_report_does_not_grow_for_ever() {
        let now = Instant::now();
        let log = Log::begin(now);
        for attempt in 0..1_000 {
            log.tried(&tried(attempt, now, TriedEnd::HungUp));
            log.path(now, AttemptId(attempt), relay());
        }
        let report = log.report();
        assert_eq!(report.tried.len(), LINES_MAX);
        assert_eq!(report.tried_more, 1_000 - LINES_MAX as u64);
        assert_eq!(report.paths.len(), LINES_MAX);
    }

    #[test]
    fn each_path_has_its_time_and_its_bytes() {
        let now = Instant::now();
        let log = Log::begin(now);
        let at = |ms| now + Duration::from_millis(ms);
        log.proven(at(5));
        assert_eq!(log.report().lane_ms, None, "nothing was told yet");
        log.told(at(10));
        log.proven(at(95));
        log.proven(at(300));
        log.path(at(100), AttemptId(4), relay());
        let direct = Path {
            kind: PathKind::Direct,
            carrier: Some(Carrier::Quic),
            ..relay()
        };
        log.path(at(900), AttemptId(6), direct);
        let lane = |attempt, sent, received| LaneStats {
            attempt: AttemptId(attempt),
            since: tokio::time::Instant::from_std(now),
            sent,
            received,
            round_trip: None,
        };
        log.carried(&[lane(4, 1_000, 24), lane(6, 70_000, 0), lane(9, 1, 1)]);
        log.ended(at(2_000));
        log.ended(at(3_000));
        let report = log.report();
        assert_eq!(report.lane_ms, Some(85));
        let used: Vec<_> = report
            .paths
            .iter()
            .map(|used| (used.from_ms, used.to_ms, used.bytes))
            .collect();
        assert_eq!(used, [(100, Some(900), 1_024), (900, Some(2_000), 70_000)]);
    }
}
