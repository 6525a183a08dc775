//! A question that is answered at once: a one-shot query from a port of our own (RFC 6762 §6.7).
//!
//! Responders multicast a record once a second at most, so that whoever asks right after an announcement hears nothing for a
//! second. A query from another port than 5353 is answered directly and without that limit.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rdv_proto::wire::codec::Reader;
use rdv_proto::wire::error::DecodeError;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Where responders listen.
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// When the question goes out; twice, since datagrams get lost.
const ASKED_AFTER: [Duration; 2] = [Duration::ZERO, Duration::from_millis(60)];
/// Interfaces that are asked on.
const INTERFACES_MAX: usize = 16;
/// Answers that wait to be looked at; more are dropped.
const ANSWERS: usize = 32;
/// Longest datagram that is read (RFC 6762 §17).
const DATAGRAM_BYTES: usize = 9000;
/// Records that are read of one answer.
const RECORDS_MAX: usize = 128;
/// Longest name, in bytes (RFC 1035 §3.1).
const NAME_MAX: usize = 255;

const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;

/// A service as one answer describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Full name, lower case, with a dot at the end.
    pub(super) instance: String,
    pub(super) txt: BTreeMap<String, String>,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
    /// It came over a loopback interface.
    pub(super) over_loopback: bool,
}

/// A question that is out; ends with the value.
pub(super) struct OneShot {
    answers: mpsc::Receiver<Answer>,
    _tasks: JoinSet<()>,
}

impl OneShot {
    /// Asks for instances of `service` (`_x._tcp.local.`) on all IPv4 interfaces. Where that fails nobody answers.
    pub(super) fn ask(service: &'static str) -> Self {
        let (found, answers) = mpsc::channel(ANSWERS);
        let mut tasks = JoinSet::new();
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
        let v4 = interfaces.filter_map(|one| match one.ip() {
            IpAddr::V4(ip) if one.is_oper_up() => Some(ip),
            _ => None,
        });
        for ip in v4.take(INTERFACES_MAX) {
            match socket_on(ip) {
                Ok(socket) => {
                    tasks.spawn(ask_on(socket, service, ip.is_loopback(), found.clone()));
                }
                Err(error) => tracing::debug!(%error, "cannot ask on an interface"),
            }
        }
        Self {
            answers,
            _tasks: tasks,
        }
    }

    /// The next answer; never, once all sockets failed. Cancel-safe.
    pub(super) async fn next(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn socket_on(ip: Ipv4Addr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&ip)?;
    socket.set_multicast_ttl_v4(255)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    UdpSocket::from_std(socket.into())
}

async fn ask_on(
    socket: UdpSocket,
    service: &'static str,
    over_loopback: bool,
    found: mpsc::Sender<Answer>,
) {
    let question = question(service);
    let ask = async {
        for pause in ASKED_AFTER {
            tokio::time::sleep(pause).await;
            if let Err(error) = socket.send_to(&question, GROUP).await {
                tracing::debug!(%error, "cannot ask on an interface");
            }
        }
    };
    let hear = async {
        let mut datagram = vec![0; DATAGRAM_BYTES];
        while let Ok((length, _)) = socket.recv_from(&mut datagram).await {
            let read = datagram.get(..length).unwrap_or_default();
            for answer in parse(read, service, over_loopback).unwrap_or_default() {
                // Whoever floods us loses answers, not we memory.
                let _ = found.try_send(answer);
            }
        }
    };
    tokio::join!(ask, hear);
}

/// `[id 0][flags 0][1 question, no records][name][PTR][IN]`.
fn question(service: &str) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in service.split('.') {
        // The labels are ours; the empty one behind the last dot ends the name.
        out.put_u8(u8::try_from(label.len()).unwrap_or(0));
        out.put_slice(label.as_bytes());
    }
    out.put_u16(PTR);
    out.put_u16(IN);
    out
}

/// What the records of one answer say, by the name that they are about.
#[derive(Default)]
struct Records {
    instances: Vec<String>,
    targets: BTreeMap<String, (u16, String)>,
    texts: BTreeMap<String, BTreeMap<String, String>>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
}

fn parse(datagram: &[u8], service: &str, over_loopback: bool) -> Result<Vec<Answer>, DecodeError> {
    let mut reader = Reader::new(datagram, "DNS answer");
    let (_id, _flags, questions) = (reader.u16()?, reader.u16()?, reader.u16()?);
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?];
    for _ in 0..questions {
        name(&mut reader, datagram)?;
        reader.take(4)?;
    }
    let total = counts.into_iter().map(usize::from).sum::<usize>();
    if total + usize::from(questions) > RECORDS_MAX {
        return Err(DecodeError::TooMany {
            what: "DNS records",
            max: RECORDS_MAX,
        });
    }
    let mut records = Records::default();
    for _ in 0..total {
        records.read(&mut reader, datagram, service)?;
    }
    Ok(records.into_answers(over_loopback))
}

impl Records {
    /// `[name][type][class][ttl: u32][length][data]`
    fn read<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        datagram: &'a [u8],
        service: &str,
    ) -> Result<(), DecodeError> {
        let about = name(reader, datagram)?;
        let kind = reader.u16()?;
        let _class_and_ttl = reader.take(6)?;
        let length = reader.u16()?;
        let start = datagram.len() - reader.remaining();
        let mut data = Reader::new(reader.take(length.into())?, "DNS record");
        // Names in the data may point to anywhere in front of them.
        let mut named = Reader::new(datagram, "DNS record");
        match kind {
            PTR if about == service => {
                named.take(start)?;
                self.instances.push(name(&mut named, datagram)?);
            }
            SRV => {
                named.take(start + 6)?;
                let _priority_and_weight = data.u32()?;
                self.targets
                    .insert(about, (data.u16()?, name(&mut named, datagram)?));
            }
            TXT => {
                let text = self.texts.entry(about).or_default();
                while !data.is_empty() {
                    if let Some((key, value)) = std::str::from_utf8(data.string08()?)
                        .ok()
                        .and_then(|one| one.split_once('='))
                    {
                        // The first of a key counts (RFC 6763 §6.4).
                        text.entry(key.to_ascii_lowercase())
                            .or_insert_with(|| value.to_owned());
                    }
                }
            }
            A => self
                .addresses
                .entry(about)
                .or_default()
                .push(Ipv4Addr::from_bits(data.u32()?).into()),
            AAAA => self
                .addresses
                .entry(about)
                .or_default()
                .push(Ipv6Addr::from(data.array::<16>()?).into()),
            _ => {}
        }
        Ok(())
    }

    fn into_answers(mut self, over_loopback: bool) -> Vec<Answer> {
        self.instances.sort();
        self.instances.dedup();
        let instances = std::mem::take(&mut self.instances).into_iter();
        instances
            .filter_map(|instance| {
                let (port, target) = self.targets.get(&instance)?;
                let addresses = self.addresses.get(target)?.clone();
                let txt = self.texts.get(&instance)?.clone();
                Some(Answer {
                    instance,
                    txt,
                    port: *port,
                    addresses,
                    over_loopback,
                })
            })
            .collect()
    }
}

/// A name, in lower case and with dots as mDNS writes it. Compression may only point backwards (RFC 1035 §4.1.4), so that
/// it ends; a label that holds a dot or is not ASCII is none of ours and an error.
fn name<'a>(reader: &mut Reader<'a>, datagram: &'a [u8]) -> Result<String, DecodeError> {
    let mut text = String::new();
    let mut here = datagram.len() - reader.remaining();
    let mut jumped: Option<Reader<'_>> = None;
    loop {
        let current = jumped.as_mut().unwrap_or(&mut *reader);
        let length = current.u8()?;
        match length {
            0 => return Ok(text),
            1..=63 => {
                let label = current.take(length.into())?;
                let plain = label
                    .iter()
                    .all(|byte| byte.is_ascii_graphic() && !b".\\".contains(byte));
                if !plain {
                    return Err(DecodeError::NotText { what: "DNS name" });
                }
                text.extend(
                    label
                        .iter()
                        .map(|byte| char::from(byte.to_ascii_lowercase())),
                );
                text.push('.');
                if text.len() > NAME_MAX {
                    return Err(DecodeError::BadLength {
                        what: "DNS name",
                        length: text.len(),
                        min: 0,
                        max: NAME_MAX,
                    });
                }
            }
            0xC0.. => {
                let to = usize::from(u16::from_be_bytes([length & 0x3F, current.u8()?]));
                if to >= here {
                    return Err(DecodeError::BadValue {
                        what: "DNS name",
                        value: to as u64,
                    });
                }
                here = to;
                let mut target = Reader::new(datagram, "DNS name");
                target.take(to)?;
                jumped = Some(target);
            }
            _ => {
                return Err(DecodeError::BadValue {
                    what: "DNS name",
                    value: length.into(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVICE: &str = "_rdv._tcp.local.";

    /// A name in full, or the start of one and a pointer.
    fn put_name(out: &mut BytesMut, labels: &[&str], pointer: Option<u16>) {
        for label in labels {
            out.put_u8(label.len() as u8);
            out.put_slice(label.as_bytes());
        }
        match pointer {
            Some(to) => out.put_u16(0xC000 | to),
            None => out.put_u8(0),
        }
    }

    fn put_data(out: &mut BytesMut, kind: u16, data: &[u8]) {
        out.put_u16(kind);
        out.put_u16(IN);
        out.put_u32(10);
        out.put_u16(data.len() as u16);
        out.put_slice(data);
    }

    /// As a responder answers: question repeated, PTR, then SRV, TXT and address.
    fn answer() -> BytesMut {
        let mut out = question(SERVICE);
        out[2] = 0x84;
        out[7] = 4;
        let service = Some(12);
        put_name(&mut out, &[], service);
        put_data(&mut out, PTR, &[&b"\x05Rdv-1"[..], &[0xC0, 12]].concat());
        put_name(&mut out, &["rdv-1"], service);
        put_data(
            &mut out,
            SRV,
            &[&[0, 0, 0, 0, 0x9D, 0x79][..], b"\x04host", &[0xC0, 22]].concat(),
        );
        put_name(&mut out, &["rdv-1"], service);
        put_data(&mut out, TXT, b"\x03v=1\x06n=4242\x03n=7\x04flag");
        put_name(&mut out, &["host", "local"], None);
        put_data(&mut out, A, &[192, 0, 2, 7]);
        out
    }

    #[test]
    fn an_answer_is_read_with_its_pointers() {
        let txt =
            [("v", "1"), ("n", "4242")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = Answer {
            instance: "rdv-1._rdv._tcp.local.".into(),
            txt: txt.into(),
            port: 40313,
            addresses: vec!["192.0.2.7".parse().unwrap()],
            over_loopback: false,
        };
        assert_eq!(parse(&answer(), SERVICE, false), Ok(vec![expected]));
        assert_eq!(parse(&answer(), "_other._tcp.local.", false), Ok(vec![]));
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        let whole = answer();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length], SERVICE, false).is_err(), "{length}");
        }
    }

    #[test]
    fn pointers_in_a_circle_and_forwards_end() {
        for to in [12, 13, 40] {
            let mut out = BytesMut::from(&[0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0][..]);
            put_name(&mut out, &[], Some(to));
            put_data(&mut out, A, &[0; 40]);
            assert!(parse(&out, SERVICE, false).is_err(), "{to}");
        }
        let mut circle = BytesMut::from(&[0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0][..]);
        put_name(&mut circle, &["a"], Some(12));
        assert!(parse(&circle, SERVICE, false).is_err());
    }

    #[test]
    fn more_records_than_anybody_needs_are_refused() {
        let mut many = answer();
        many[6] = 0xFF;
        assert!(matches!(
            parse(&many, SERVICE, false),
            Err(DecodeError::TooMany { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, SERVICE, true);
        }

        #[test]
        fn no_flipped_bytes_panic(at in prop::collection::vec((0usize..120, any::<u8>()), 1..6)) {
            let mut bytes = answer();
            for (at, value) in at {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let _ = parse(&bytes, SERVICE, true);
        }
    }
}
