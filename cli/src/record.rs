//! What is kept of a transfer: how it ended, which ways were tried, and which one the bytes went.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use rdv::{Carrier, Path, PathUsed, Security, Summary, TransferReport, TriedLine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};

/// The form of the records that this version writes.
pub(crate) const VERSION: u32 = 1;

/// A way of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Way {
    /// `direct`, `redirect` or `relay`.
    pub(crate) path: String,
    /// `tcp`, `tcp_open`, `quic`; none for a relay.
    pub(crate) carrier: Option<String>,
    /// The other end of our connection: the peer, or the relay.
    pub(crate) remote: Option<String>,
    /// A way was opened through an address translator or a firewall from both sides.
    pub(crate) punched: bool,
}

/// A way, and when it was in use; ms from the beginning of the transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    #[serde(flatten)]
    pub(crate) way: Way,
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    /// What it carried, both ways together.
    pub(crate) bytes: u64,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// As in [`Way`].
    pub(crate) carrier: Option<String>,
    pub(crate) address: Option<String>,
    /// Where the address was from.
    pub(crate) source: String,
    /// When it began, in ms from the beginning of the transfer.
    pub(crate) at_ms: u64,
    pub(crate) took_ms: u64,
    /// `won`, `lost`, `not needed` or `failed`.
    pub(crate) result: String,
    /// Why it failed, or the round trip of one that was proven.
    pub(crate) why: Option<String>,
}

/// An address under which the other side was told to reach us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    pub(crate) address: String,
    /// `tcp` or `udp`.
    pub(crate) protocol: String,
    /// Where it was from, as in [`Tried::source`].
    pub(crate) source: String,
}

/// How an address translator treats us, as far as it was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) udp: String,
    pub(crate) tcp: String,
}

/// A transfer that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) v: u32,
    /// 8 hexadecimal digits.
    pub(crate) id: String,
    /// `send` or `receive`.
    pub(crate) verb: String,
    /// The other side, by its name at the host.
    pub(crate) peer: Option<String>,
    /// When it began, in ms since 1970.
    pub(crate) started_ms: u64,
    /// How long it took in all.
    pub(crate) took_ms: u64,
    pub(crate) ok: bool,
    /// The exit code of its end.
    pub(crate) exit: i32,
    /// Why it did not work out.
    pub(crate) reason: Option<String>,
    /// How safe it was.
    pub(crate) security: Option<String>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// From our first message with addresses to the first proven way.
    pub(crate) lane_ms: Option<u64>,
    /// The ways of the bytes, in order.
    pub(crate) paths: Vec<Used>,
    pub(crate) tried: Vec<Tried>,
    /// Attempts that did not fit.
    pub(crate) tried_more: u64,
    pub(crate) own: Vec<Own>,
    pub(crate) network: Option<Network>,
}

impl From<&Path> for Way {
    fn from(path: &Path) -> Self {
        Self {
            path: path.kind.to_string(),
            carrier: path.carrier.map(carrier),
            remote: path.remote.map(|remote| remote.to_string()),
            punched: path.punched,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        match self.carrier.as_deref() {
            Some("quic") => f.write_str(" QUIC")?,
            Some(_) => f.write_str(" TCP")?,
            None => {}
        }
        if let Some(remote) = &self.remote {
            write!(f, " {remote}")?;
        }
        if self.punched {
            f.write_str(" (punched)")?;
        }
        Ok(())
    }
}

impl Way {
    /// What programs are told of it in every event; of none as well.
    pub(crate) fn fields(way: Option<&Self>) -> [(&'static str, Value); 4] {
        [
            ("path", json!(way.map(|way| &way.path))),
            ("carrier", json!(way.and_then(|way| way.carrier.as_ref()))),
            ("remote", json!(way.and_then(|way| way.remote.as_ref()))),
            ("punched", json!(way.map(|way| way.punched))),
        ]
    }

    pub(crate) fn is_relay(&self) -> bool {
        self.path == "relay"
    }
}

/// Why it failed. Sentences about files name them, and records hold no names of files.
fn reason(failure: &Failure) -> String {
    match failure.exit {
        Exit::FILES => "a problem with a local file or folder".to_owned(),
        Exit::CONTENT => "something did not arrive as it was sent".to_owned(),
        _ => failure.sentence.clone(),
    }
}

impl Record {
    /// Of a transfer that has just ended.
    pub(crate) fn new(
        verb: &str,
        report: &TransferReport,
        outcome: Result<&Summary, &Failure>,
        security: Option<Security>,
    ) -> Self {
        let took_ms = ms(report.started.elapsed().unwrap_or_default());
        let summary = outcome.ok();
        let failure = outcome.err();
        Self {
            v: VERSION,
            id: report.id.clone(),
            verb: verb.to_owned(),
            peer: report.peer.as_ref().map(|peer| peer.as_str().to_owned()),
            started_ms: ms(report
                .started
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()),
            took_ms,
            ok: failure.is_none(),
            exit: failure.map_or(Exit::DONE, |failure| failure.exit).0,
            reason: failure.map(reason),
            security: security.map(|security| security.word().to_owned()),
            files: summary.map_or(0, |summary| summary.files),
            bytes: summary.map_or(0, |summary| summary.bytes),
            lane_ms: report.lane_ms,
            paths: report
                .paths
                .iter()
                .map(|used| Used::new(used, took_ms))
                .collect(),
            tried: report.tried.iter().map(Tried::from).collect(),
            tried_more: report.tried_more,
            own: report
                .own
                .iter()
                .map(|own| Own {
                    address: own.address.to_string(),
                    protocol: own.protocol.to_owned(),
                    source: own.source.to_owned(),
                })
                .collect(),
            network: report.network.map(|(udp, tcp)| Network {
                udp: udp.to_owned(),
                tcp: tcp.to_owned(),
            }),
        }
    }

    /// The bytes went this way, if no other is known.
    pub(crate) fn went(&mut self, way: &Way) {
        if self.paths.is_empty() {
            self.paths.push(Used {
                way: way.clone(),
                from_ms: 0,
                to_ms: self.took_ms,
                bytes: self.bytes,
            });
        }
    }

    /// The way of the last bytes.
    pub(crate) fn way(&self) -> Option<&Way> {
        self.paths.last().map(|used| &used.way)
    }

    /// Such as `direct QUIC 192.0.2.7:40112 (punched), relay was used for 0.8 s`.
    pub(crate) fn path_words(&self) -> String {
        let Some(way) = self.way() else {
            return String::new();
        };
        let (others, ms) = match way.is_relay() {
            true => ("a direct path", self.spent_ms(false)),
            false => ("relay", self.spent_ms(true)),
        };
        match ms {
            0 => way.to_string(),
            ms => format!("{way}, {others} was used for {}", seconds(ms)),
        }
    }

    /// How long the relay was used.
    pub(crate) fn relay_ms(&self) -> u64 {
        self.spent_ms(true)
    }

    /// What programs are told at the end.
    pub(crate) fn fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = Way::fields(self.way()).to_vec();
        fields.extend([
            ("relay_ms", json!(self.relay_ms())),
            ("lane_ms", json!(self.lane_ms)),
            ("transfer_id", json!(self.id)),
        ]);
        fields
    }

    /// Whether its user may want to know why it went as it did: nothing was found though there was something to try, or the relay carried
    /// it.
    pub(crate) fn asks_why(&self) -> bool {
        let searched = !self.tried.is_empty() || self.exit == Exit::NO_PATH.0;
        let relayed = self.way().is_some_and(Way::is_relay);
        (!self.ok && searched) || (self.ok && relayed)
    }

    fn spent_ms(&self, relay: bool) -> u64 {
        let used = self
            .paths
            .iter()
            .filter(|used| used.way.is_relay() == relay);
        used.map(|used| used.to_ms.saturating_sub(used.from_ms))
            .sum()
    }
}

impl Used {
    fn new(used: &PathUsed, now_ms: u64) -> Self {
        Self {
            way: Way::from(&used.path),
            from_ms: used.from_ms,
            to_ms: used.to_ms.unwrap_or(now_ms),
            bytes: used.bytes,
        }
    }
}

impl From<&TriedLine> for Tried {
    fn from(line: &TriedLine) -> Self {
        Self {
            carrier: line.carrier.map(carrier),
            // A name that the peer told comes in quotes, as it may be shown.
            address: line.address.as_deref().map(unquoted),
            source: line.source.to_owned(),
            at_ms: line.at_ms,
            took_ms: line.took_ms,
            result: line.result.to_owned(),
            why: line.why.clone(),
        }
    }
}

fn carrier(carrier: Carrier) -> String {
    match carrier {
        Carrier::Tcp => "tcp",
        Carrier::TcpOpen => "tcp_open",
        Carrier::Quic => "quic",
    }
    .to_owned()
}

/// Text that may be shown, without the quotes around it.
pub(crate) fn unquoted(shown: &str) -> String {
    let inner = shown
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(shown).to_owned()
}

/// `0.8 s`.
pub(crate) fn seconds(ms: u64) -> String {
    match ms {
        0..100 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Relayed for 0.8 s, then punched.
    pub(crate) fn moved() -> Record {
        let way = |path: &str, carrier: Option<&str>, remote: &str| Way {
            path: path.to_owned(),
            carrier: carrier.map(str::to_owned),
            remote: Some(remote.to_owned()),
            punched: carrier.is_some(),
        };
        let tried =
            |carrier: Option<&str>, address: &str, source: &str, times, result: &str, why: &str| {
                let (at_ms, took_ms) = times;
                Tried {
                    carrier: carrier.map(str::to_owned),
                    address: Some(address.to_owned()),
                    source: source.to_owned(),
                    at_ms,
                    took_ms,
                    result: result.to_owned(),
                    why: Some(why.to_owned()),
                }
            };
        Record {
            v: VERSION,
            id: "1a2b3c4d".to_owned(),
            verb: "send".to_owned(),
            peer: Some("guest ab".to_owned()),
            started_ms: 1_790_000_000_000,
            took_ms: 5_200,
            ok: true,
            exit: 0,
            reason: None,
            security: Some("verified".to_owned()),
            files: 1,
            bytes: 1_000,
            lane_ms: Some(140),
            paths: vec![
                Used {
                    way: way("relay", None, "192.0.2.1:5190"),
                    from_ms: 200,
                    to_ms: 1_050,
                    bytes: 400,
                },
                Used {
                    way: way("direct", Some("quic"), "192.0.2.7:40112"),
                    from_ms: 1_050,
                    to_ms: 5_200,
                    bytes: 600,
                },
            ],
            tried: vec![
                tried(
                    Some("tcp"),
                    "10.0.0.2:5000",
                    "host",
                    (60, 30),
                    "failed",
                    "refused",
                ),
                tried(
                    None,
                    "192.0.2.1:5190",
                    "relay",
                    (60, 140),
                    "lost",
                    "round trip 90 ms",
                ),
                tried(
                    Some("quic"),
                    "192.0.2.7:40112",
                    "reflexive",
                    (70, 970),
                    "won",
                    "round trip 42 ms",
                ),
            ],
            tried_more: 0,
            own: vec![Own {
                address: "198.51.100.3:50000".to_owned(),
                protocol: "udp".to_owned(),
                source: "reflexive".to_owned(),
            }],
            network: Some(Network {
                udp: "independent".to_owned(),
                tcp: "unknown".to_owned(),
            }),
        }
    }

    #[test]
    fn the_path_is_told_with_what_was_used_before_it() {
        let mut record = moved();
        assert_eq!(
            record.path_words(),
            "direct QUIC 192.0.2.7:40112 (punched), relay was used for 0.8 s"
        );
        assert_eq!(record.relay_ms(), 850);
        assert!(!record.asks_why());
        record.paths.reverse();
        assert_eq!(
            record.path_words(),
            "relay 192.0.2.1:5190, a direct path was used for 4.1 s"
        );
        assert!(record.asks_why());
        record.paths.pop();
        assert_eq!(record.path_words(), "direct QUIC 192.0.2.7:40112 (punched)");
    }

    #[test]
    fn a_failure_asks_why_if_there_was_something_to_try() {
        let mut record = moved();
        record.ok = false;
        record.exit = Exit::DECLINED.0;
        assert!(record.asks_why());
        record.tried.clear();
        assert!(!record.asks_why());
        record.exit = Exit::NO_PATH.0;
        assert!(record.asks_why());
    }

    #[test]
    fn programs_are_told_of_the_way_also_if_there_was_none() {
        let mut record = moved();
        let told = |record: &Record| -> Value { record.fields().into_iter().collect() };
        assert_eq!(
            told(&record),
            json!({
                "path": "direct", "carrier": "quic", "remote": "192.0.2.7:40112", "punched": true,
                "relay_ms": 850, "lane_ms": 140, "transfer_id": "1a2b3c4d",
            })
        );
        record.paths.clear();
        record.lane_ms = None;
        assert_eq!(
            told(&record),
            json!({
                "path": null, "carrier": null, "remote": null, "punched": null,
                "relay_ms": 0, "lane_ms": null, "transfer_id": "1a2b3c4d",
            })
        );
    }

    #[test]
    fn short_times_are_told_in_ms() {
        assert_eq!(seconds(42), "42 ms");
        assert_eq!(seconds(850), "0.8 s");
        assert_eq!(seconds(61_040), "61.0 s");
    }
}
