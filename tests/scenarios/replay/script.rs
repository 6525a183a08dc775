//! A recording as one of the two parties lived through it: what it said and wrote, and what came to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use rdv_proto::wire::ars;
use rdv_proto::wire::icbm::{Channel, ClientError, IcbmError, MessageToClient, MessageToHost, tlv};
use rdv_proto::wire::oft::{Checksum, Header};
use rdv_proto::wire::rendezvous::{Cookie, Message, host};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::snac::Snac;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::captures;
use serde_json::Value;

/// Where the host of the recordings listens.
pub(super) const HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 5190);
/// Where their relay listens.
pub(super) const RELAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 5)), 5190);

/// Checksum of the file of 64 MiB, which two recordings do not name.
const PATTERN_64M: Checksum = Checksum(0xE6A6_0000);

/// Whose place our side takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seat {
    /// Who offers the file.
    Alice,
    /// To whom it is offered.
    Bob,
}

/// A message of that party.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) signal: Signal,
    /// Whether it asked for the host's acknowledgement; none where the recording has only what the host made of the message.
    pub(super) host_ack: Option<bool>,
}

/// Something that came to it.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// Milliseconds since the first packet of the recording.
    pub(super) at_ms: u64,
    /// Proposals of its own before that.
    pub(super) after: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Signal(Signal),
    /// The host could not deliver.
    Undelivered(u16),
    /// A connection to its listener, by its number in the recording.
    Knock(u64, SocketAddr),
    /// READY on the session that it created.
    Ready(u64),
}

/// What came over a connection for files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Header(Header),
    /// Bytes of a file: how many, and which if they are in the recording.
    Body(u64, Option<Bytes>),
}

/// What became of a try to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Open(u64),
    Refused,
    Unanswered,
}

/// What the relay answered to CREATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    Session { conn: u64, token: u16, ip: Ipv4Addr },
    Error(u16),
    Unreachable,
}

/// A file that is sent.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) checksum: Checksum,
}

pub(super) struct Script {
    pub(super) name: ScreenName,
    pub(super) peer: ScreenName,
    pub(super) ip: Ipv4Addr,
    /// Of the conversation; none if the recording has none.
    pub(super) cookie: Option<Cookie>,
    pub(super) said: Vec<Said>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) dials: BTreeMap<SocketAddr, Tried>,
    pub(super) created: Option<Created>,
    /// The connection over which it joined a session.
    pub(super) joined: Option<u64>,
    /// Frames that it sent to the relay.
    pub(super) relay_frames: Vec<ars::Frame>,
    /// What came, by connection.
    pub(super) incoming: BTreeMap<u64, Vec<Item>>,
    /// What it wrote.
    pub(super) wrote: Vec<Item>,
    pub(super) file: File,
}

/// The parts of a line that count.
struct Line<'a> {
    value: &'a Value,
    at_ms: u64,
    conn: u64,
    from: &'a str,
    to: &'a str,
}

impl Script {
    /// The `nth` conversation of a recording, from that seat.
    pub(super) fn of(capture: &str, seat: Seat, nth: usize) -> Self {
        let lines = captures::lines(capture);
        let meta = &lines[0];
        let (user, other) = match seat {
            Seat::Alice => (&meta["alice"], &meta["bob"]),
            Seat::Bob => (&meta["bob"], &meta["alice"]),
        };
        let screen_name = |name: &Value| ScreenName::new(name.as_str().unwrap()).unwrap();
        // Scripted users live in the host, which in one recording also answers in bob's place.
        let scripted = user == "botlab" || (capture == "deny-client-error" && seat == Seat::Bob);
        let node = match seat {
            _ if scripted => "host",
            Seat::Alice => "alice",
            Seat::Bob => "bob",
        };
        let ip = match node {
            "host" => [10, 77, 0, 1],
            "alice" => [10, 77, 0, 11],
            _ => [10, 77, 0, 12],
        };
        let file = &meta["files"][nth];
        let file = File {
            name: file["name"].as_str().unwrap().to_owned(),
            size: file["bytes"].as_u64().unwrap(),
            checksum: file["oft_checksum"].as_str().map_or(PATTERN_64M, |hex| {
                Checksum(u32::from_str_radix(hex, 16).unwrap())
            }),
        };
        let mut script = Self {
            name: screen_name(user),
            peer: screen_name(other),
            ip: ip.into(),
            cookie: None,
            said: Vec::new(),
            arrivals: Vec::new(),
            dials: BTreeMap::new(),
            created: None,
            joined: None,
            relay_frames: Vec::new(),
            incoming: BTreeMap::new(),
            wrote: Vec::new(),
            file,
        };
        let firsts = first_proposals(&lines);
        script.cookie = firsts.get(nth).map(|first| first.1);
        let begin = if nth == 0 { 0 } else { firsts[nth].0 };
        let end = firsts.get(nth + 1).map_or(u64::MAX, |next| next.0);
        for value in &lines[1..] {
            let line = Line {
                value,
                at_ms: value["t_ms"].as_u64().unwrap(),
                conn: value["conn"].as_u64().unwrap(),
                from: value["from"].as_str().unwrap(),
                to: value["to"].as_str().unwrap(),
            };
            if (begin..end).contains(&line.at_ms) {
                script.read(&line, node, scripted);
            }
        }
        script
    }

    /// How many conversations a recording has.
    pub(super) fn conversations(capture: &str) -> usize {
        first_proposals(&captures::lines(capture)).len()
    }

    fn read(&mut self, line: &Line<'_>, node: &str, scripted: bool) {
        let (ours, theirs) = (line.from == node, line.to == node);
        if !ours && !theirs {
            return;
        }
        match line.value["layer"].as_str().unwrap() {
            "tcp" => self.read_tcp(line, ours),
            "flap" => self.read_flap(line, ours, scripted),
            "ars" => self.read_ars(line, ours),
            "oft" => {
                let item = item(line.value);
                if ours {
                    self.wrote.push(item);
                } else {
                    self.incoming.entry(line.conn).or_default().push(item);
                }
            }
            other => panic!("unknown layer {other}"),
        }
    }

    fn read_tcp(&mut self, line: &Line<'_>, ours: bool) {
        let event = line.value["event"].as_str().unwrap();
        if event == "rst" && !ours {
            // Of what was tried and is not open: the last one.
            for tried in self
                .dials
                .values_mut()
                .filter(|tried| **tried == Tried::Unanswered)
            {
                *tried = Tried::Refused;
            }
            return;
        }
        let Some((from, to)) = line.value["note"]
            .as_str()
            .and_then(|note| note.split_once(" to "))
        else {
            return;
        };
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        match (event, to) {
            (_, HOST) => {}
            ("unanswered", RELAY) => self.created = Some(Created::Unreachable),
            (_, RELAY) => {}
            ("open", _) if ours => drop(self.dials.insert(to, Tried::Open(line.conn))),
            ("unanswered", _) if ours => drop(self.dials.insert(to, Tried::Unanswered)),
            ("open", _) => self.arrive(line, What::Knock(line.conn, from)),
            _ => {}
        }
    }

    fn read_flap(&mut self, line: &Line<'_>, ours: bool, scripted: bool) {
        let bytes = captures::from_hex(line.value["hex"].as_str().unwrap());
        let Ok(snac) = Snac::decode(bytes.slice(6..)) else {
            return;
        };
        if snac.foodgroup.0 != 0x0004 {
            return;
        }
        let Some((signal, host_ack)) = signal(&snac, ours, scripted, &self.name, &self.peer) else {
            if snac.subgroup == 0x0001 && !ours {
                let code = IcbmError::decode(&snac.body).unwrap().code;
                self.arrive(line, What::Undelivered(code));
            }
            return;
        };
        if self.cookie.is_none_or(|cookie| signal.cookie() != cookie) {
            return;
        }
        if ours {
            let host_ack = (!scripted).then_some(host_ack);
            self.said.push(Said { signal, host_ack });
        } else {
            self.arrive(line, What::Signal(signal));
        }
    }

    fn read_ars(&mut self, line: &Line<'_>, ours: bool) {
        let bytes = captures::from_hex(line.value["hex"].as_str().unwrap());
        let frame = ars::Frame::decode(&mut BytesMut::from(&bytes[..]))
            .unwrap()
            .unwrap();
        let conn = line.conn;
        match &frame.command {
            ars::Command::Created { token, ip } => {
                let (token, ip) = (*token, *ip);
                self.created = Some(Created::Session { conn, token, ip });
            }
            ars::Command::Error(code) => self.created = Some(Created::Error(code.0)),
            ars::Command::Join { .. } => self.joined = Some(conn),
            ars::Command::Ready if self.joined.is_none() => self.arrive(line, What::Ready(conn)),
            _ => {}
        }
        if ours {
            self.relay_frames.push(frame);
        }
    }

    fn arrive(&mut self, line: &Line<'_>, what: What) {
        self.arrivals.push(Arrival {
            at_ms: line.at_ms,
            after: super::player::proposals(&self.said),
            what,
        });
    }
}

/// When each conversation of a recording began, and its cookie.
fn first_proposals(lines: &[Value]) -> Vec<(u64, Cookie)> {
    let mut found: Vec<(u64, Cookie)> = Vec::new();
    for value in lines.iter().filter(|value| value["layer"] == "flap") {
        let bytes = captures::from_hex(value["hex"].as_str().unwrap());
        let Ok(snac) = Snac::decode(bytes.slice(6..)) else {
            continue;
        };
        let cookie = match (snac.foodgroup.0, snac.subgroup) {
            (0x0004, 0x0006) => MessageToHost::decode(&snac.body).map(|message| message.cookie),
            (0x0004, 0x0007) => MessageToClient::decode(&snac.body).map(|message| message.cookie),
            _ => continue,
        };
        let cookie = cookie.expect("a message");
        if found.iter().all(|(_, known)| *known != cookie) {
            found.push((value["t_ms"].as_u64().unwrap(), cookie));
        }
    }
    found
}

/// The rendezvous message in a SNAC that this party sent (`ours`) or got, and whether the host was to confirm it. What a scripted user
/// says and hears is seen on the other side of the host, which adds the verified address.
fn signal(
    snac: &Snac,
    ours: bool,
    scripted: bool,
    name: &ScreenName,
    peer: &ScreenName,
) -> Option<(Signal, bool)> {
    let from_host = ours == scripted;
    let (tlvs, channel, other, expected) = match (snac.subgroup, from_host) {
        (0x0006, false) => {
            let message = MessageToHost::decode(&snac.body).unwrap();
            (
                message.tlvs,
                message.channel,
                message.recipient,
                if ours { peer } else { name },
            )
        }
        (0x0007, true) => {
            let message = MessageToClient::decode(&snac.body).unwrap();
            (
                message.tlvs,
                message.channel,
                message.sender.name,
                if ours { name } else { peer },
            )
        }
        (0x000B, _) => {
            let error = ClientError::decode(&snac.body).unwrap();
            let nak = error.nak().expect("a code");
            return Some((Signal::client_error(error.cookie, nak), false));
        }
        _ => return None,
    };
    if channel != Channel::RENDEZVOUS || other != *expected {
        return None;
    }
    let block = rendezvous_block(&tlvs)?;
    let mut message = Message::decode(block).unwrap();
    if ours && scripted {
        host::strip(&mut message);
    }
    Some((
        Signal::Rendezvous(message),
        tlvs.first(tlv::REQUEST_HOST_ACK).is_some(),
    ))
}

fn rendezvous_block(tlvs: &TlvList) -> Option<Bytes> {
    tlvs.first(tlv::RENDEZVOUS).cloned()
}

fn item(line: &Value) -> Item {
    let bytes = line["hex"].as_str().map(captures::from_hex);
    let note = line["note"].as_str().unwrap();
    if let Some(body) = note.strip_prefix("file body, ") {
        let length = body.split_once(" of ").unwrap().0;
        return Item::Body(length.parse().unwrap(), bytes);
    }
    let mut header = BytesMut::from(&bytes.expect("a header is short")[..]);
    Item::Header(Header::decode(&mut header).unwrap().unwrap())
}
