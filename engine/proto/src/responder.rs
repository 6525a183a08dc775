//! The STUN responder of a host or relay: how the world sees whoever asks.
//!
//! Binding requests alone, ten per second and address, no state but these counts, and never an answer that is longer than its request, so
//! that forged senders gain nothing. An answer has XOR-MAPPED-ADDRESS and, as far as the request left room for it, OTHER-ADDRESS, the
//! clock and the software. With CHANGE-REQUEST (RFC 5780) the answer comes from another socket of the same host, but goes to the asker all
//! the same: whether it arrives tells what the asker's translator lets in.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use crate::pace::{Bucket, Origin, Pace};
use crate::wire::stun::{self, Class, Stun};

/// Types below this must be understood by who answers (RFC 8489 14).
const OPTIONAL_FROM: u16 = 0x8000;

/// How often counts that say nothing any more are forgotten.
const SWEEP: Duration = Duration::from_millis(100);

/// What a responder bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponderLimits {
    /// Requests per address.
    pub requests: Pace,
    /// Addresses that are counted at a time; when all places are taken, new ones get no answer.
    pub addresses: usize,
}

impl Default for ResponderLimits {
    fn default() -> Self {
        Self {
            requests: Pace::new(10, Duration::from_secs(1)),
            addresses: 4_096,
        }
    }
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// From where.
    pub from: SocketAddr,
    /// To which of our addresses, where the socket knows.
    pub to: Option<IpAddr>,
    /// At which of the UDP sockets, by its place in [`Responder::new`]; none: over TCP.
    pub socket: Option<usize>,
}

/// What to answer to where the request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// From which UDP socket; none: over the TCP connection of the request.
    pub socket: Option<usize>,
    /// The message.
    pub bytes: Bytes,
}

/// See the module.
#[derive(Debug)]
pub struct Responder {
    limits: ResponderLimits,
    sockets: Vec<SocketAddr>,
    software: String,
    addresses: HashMap<Origin, Bucket>,
    sweep_at: Option<Instant>,
    /// Requests that came too fast.
    refused: u64,
}

impl Responder {
    /// A responder with UDP sockets at these addresses; a wildcard stands for any address of its family. `software` is what answers say
    /// that they come from.
    pub fn new(limits: ResponderLimits, sockets: Vec<SocketAddr>, software: String) -> Self {
        Self {
            limits,
            sockets,
            software,
            addresses: HashMap::new(),
            sweep_at: None,
            refused: 0,
        }
    }

    /// How many requests got no answer because their address asked too often, or too many addresses did.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What to answer to these bytes, if anything. `unix_ms` is the clock on the wall.
    pub fn answer(
        &mut self,
        now: Instant,
        unix_ms: u64,
        arrival: Arrival,
        data: &[u8],
    ) -> Option<Answer> {
        if !stun::is_stun(data) {
            return None;
        }
        if !self.may_ask(now, arrival.from.ip()) {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        let request = Stun::decode(data).ok()?;
        if request.class != Class::Request {
            return None;
        }
        let (answer, socket) = self.respond(&request, arrival, unix_ms, data.len());
        (answer.length() <= data.len()).then(|| Answer {
            socket,
            bytes: answer.encode(),
        })
    }

    fn respond(
        &self,
        request: &Stun,
        arrival: Arrival,
        unix_ms: u64,
        room: usize,
    ) -> (Stun, Option<usize>) {
        let unknown: Vec<u16> = request
            .attributes
            .iter()
            .map(|(kind, _)| *kind)
            .filter(|kind| *kind < OPTIONAL_FROM && *kind != stun::CHANGE_REQUEST)
            .collect();
        if !unknown.is_empty() {
            return (refusal(request, &unknown), arrival.socket);
        }
        let socket = match request.attribute(stun::CHANGE_REQUEST) {
            None => arrival.socket,
            Some(flags) => match self.changed(arrival, flags) {
                Some(socket) => Some(socket),
                None => return (refusal(request, &[stun::CHANGE_REQUEST]), arrival.socket),
            },
        };
        let answer = Stun::new(Class::Success, request.transaction).with_xor_mapped(arrival.from);
        let other = self
            .other(arrival)
            .map(|other| answer.clone().with_other_address(other));
        let answer = other
            .filter(|longer| longer.length() <= room)
            .unwrap_or(answer);
        let extras = [
            (stun::RDV_TIME, unix_ms.to_be_bytes().to_vec()),
            (stun::SOFTWARE, self.software.clone().into_bytes()),
        ];
        let answer = extras.into_iter().fold(answer, |answer, (kind, value)| {
            let longer = answer.clone().with(kind, value);
            match longer.length() <= room {
                true => longer,
                false => answer,
            }
        });
        (answer, socket)
    }

    /// The socket that differs as demanded from the one that was asked.
    fn changed(&self, arrival: Arrival, flags: &[u8]) -> Option<usize> {
        let flags = u32::from_be_bytes(flags.try_into().ok()?);
        let asked = arrival.socket?;
        match (flags & stun::CHANGE_ADDRESS, flags & stun::CHANGE_PORT) {
            (0, 0) => Some(asked),
            (0, _) => self.beside(asked),
            _ => self.elsewhere(asked),
        }
    }

    /// Where else this host answers: better at another address than at another port of the same.
    fn other(&self, arrival: Arrival) -> Option<SocketAddr> {
        let asked = arrival.socket?;
        let other = self.elsewhere(asked).or_else(|| self.beside(asked))?;
        let other = *self.sockets.get(other)?;
        match other.ip().is_unspecified() {
            true => Some(SocketAddr::new(arrival.to?.to_canonical(), other.port())),
            false => Some(other),
        }
    }

    /// A socket of the same address with another port.
    fn beside(&self, asked: usize) -> Option<usize> {
        let asked = self.sockets.get(asked)?;
        self.sockets
            .iter()
            .position(|socket| socket.ip() == asked.ip() && socket.port() != asked.port())
    }

    /// A socket of another address of the same family.
    fn elsewhere(&self, asked: usize) -> Option<usize> {
        let asked = self.sockets.get(asked)?;
        self.sockets.iter().position(|socket| {
            socket.ip() != asked.ip()
                && socket.is_ipv4() == asked.is_ipv4()
                && !socket.ip().is_unspecified()
                && !asked.ip().is_unspecified()
        })
    }

    /// Counts a request.
    fn may_ask(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.sweep_at = Some(now + SWEEP);
            self.addresses.retain(|_, bucket| !bucket.is_full(now));
        }
        let origin = Origin::of(address);
        if self.addresses.len() >= self.limits.addresses && !self.addresses.contains_key(&origin) {
            return false;
        }
        self.addresses
            .entry(origin)
            .or_insert_with(|| Bucket::new(self.limits.requests))
            .take(now)
    }
}

/// 420 Unknown Attribute.
fn refusal(request: &Stun, unknown: &[u16]) -> Stun {
    let mut types = BytesMut::new();
    unknown.iter().for_each(|kind| types.put_u16(*kind));
    Stun::new(Class::Error, request.transaction)
        .with(stun::ERROR_CODE, &[0, 0, 4, 20][..])
        .with(stun::UNKNOWN_ATTRIBUTES, types.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: [u8; 12] = *b"0123456789ab";
    const UNIX_MS: u64 = 1_800_000_000_123;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn responder(sockets: &[&str]) -> Responder {
        let sockets = sockets.iter().map(|at| at.parse().unwrap()).collect();
        Responder::new(
            ResponderLimits::default(),
            sockets,
            "rdv-host 1.2.3".to_owned(),
        )
    }

    fn at(from: &str, socket: usize) -> Arrival {
        Arrival {
            from: from.parse().unwrap(),
            to: Some([192, 0, 2, 9].into()),
            socket: Some(socket),
        }
    }

    fn ask(
        responder: &mut Responder,
        arrival: Arrival,
        request: &Stun,
    ) -> Option<(Stun, Option<usize>)> {
        let request = request.encode();
        let answer = responder.answer(start(), UNIX_MS, arrival, &request)?;
        assert!(answer.bytes.len() <= request.len(), "an amplifier");
        Some((Stun::decode(&answer.bytes).unwrap(), answer.socket))
    }

    #[test]
    fn who_asks_learns_where_it_comes_from() {
        let mut responder = responder(&["192.0.2.9:5190"]);
        for from in ["198.51.100.7:40000", "[2001:db8::7]:40000"] {
            let request = Stun::request(TRANSACTION);
            let (answer, socket) = ask(&mut responder, at(from, 0), &request).unwrap();
            assert_eq!(answer.class, Class::Success);
            assert_eq!(answer.transaction, TRANSACTION);
            assert_eq!(answer.xor_mapped(), Some(from.parse().unwrap()));
            assert_eq!(socket, Some(0));
        }
    }

    #[test]
    fn what_the_request_leaves_room_for_is_told_as_well() {
        let mut responder = responder(&["0.0.0.0:5190", "0.0.0.0:5191"]);
        let mut told = |length: usize| {
            let request = Stun::new(Class::Request, TRANSACTION).padded_to(length);
            let (answer, _) = ask(&mut responder, at("198.51.100.7:1", 0), &request)?;
            Some((
                answer.other_address("192.0.2.9:5190".parse().unwrap()),
                answer.attribute(stun::RDV_TIME).cloned(),
                answer.attribute(stun::SOFTWARE).cloned(),
            ))
        };
        let other = Some("192.0.2.9:5191".parse().unwrap());
        let time = Some(Bytes::copy_from_slice(&UNIX_MS.to_be_bytes()));
        assert_eq!(
            told(20),
            None,
            "the bare request is too short for any answer"
        );
        assert_eq!(told(32), Some((None, None, None)));
        assert_eq!(told(64), Some((other, time.clone(), None)));
        let software = Some(Bytes::from_static(b"rdv-host 1.2.3"));
        assert_eq!(told(128), Some((other, time, software)));
    }

    #[test]
    fn a_change_request_is_answered_from_another_socket_if_there_is_one() {
        let change = |flags: u32| {
            Stun::request(TRANSACTION).with(stun::CHANGE_REQUEST, flags.to_be_bytes().to_vec())
        };
        let from = at("198.51.100.7:1", 0);
        let mut two_ports = responder(&["192.0.2.9:5190", "192.0.2.9:5191"]);
        let (answer, socket) = ask(&mut two_ports, from, &change(stun::CHANGE_PORT)).unwrap();
        assert_eq!((answer.class, socket), (Class::Success, Some(1)));
        assert_eq!(answer.xor_mapped(), Some(from.from), "to the asker alone");
        let (answer, socket) = ask(&mut two_ports, from, &change(stun::CHANGE_ADDRESS)).unwrap();
        assert_eq!((answer.class, socket), (Class::Error, Some(0)));

        let mut two_addresses =
            responder(&["192.0.2.9:5190", "[2001:db8::9]:1", "192.0.2.10:5190"]);
        let both = change(stun::CHANGE_ADDRESS | stun::CHANGE_PORT);
        let (answer, socket) = ask(&mut two_addresses, from, &both).unwrap();
        assert_eq!((answer.class, socket), (Class::Success, Some(2)));
        let (answer, _) = ask(&mut two_addresses, from, &change(stun::CHANGE_PORT)).unwrap();
        assert_eq!(answer.class, Class::Error);
        let over_tcp = Arrival {
            socket: None,
            ..from
        };
        let (answer, _) = ask(&mut two_addresses, over_tcp, &both).unwrap();
        assert_eq!(answer.class, Class::Error);
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_refused_by_name() {
        let request = Stun::request(TRANSACTION).with(0x0024, &[0; 4][..]);
        let mut responder = responder(&["192.0.2.9:5190"]);
        let (answer, _) = ask(&mut responder, at("198.51.100.7:1", 0), &request).unwrap();
        assert_eq!(answer.class, Class::Error);
        assert_eq!(
            answer.attribute(stun::ERROR_CODE).unwrap()[..],
            [0, 0, 4, 20]
        );
        assert_eq!(
            answer.attribute(stun::UNKNOWN_ATTRIBUTES).unwrap()[..],
            [0, 0x24]
        );
    }

    #[test]
    fn answers_and_noise_are_not_answered() {
        let mut responder = responder(&["192.0.2.9:5190"]);
        let from = at("198.51.100.7:1", 0);
        for class in [Class::Success, Class::Error] {
            let message = Stun::new(class, TRANSACTION).padded_to(128);
            assert_eq!(ask(&mut responder, from, &message), None, "{class:?}");
        }
        for noise in [
            &[][..],
            &[0; 20],
            &[0xC0; 1200],
            b"\0\x01\0\0\x21\x12\xa4\x42",
        ] {
            assert_eq!(responder.answer(start(), UNIX_MS, from, noise), None);
        }
        assert!(responder.addresses.len() <= 1);
    }

    #[test]
    fn s_41_ten_a_second_and_address_and_no_more_addresses_than_places() {
        let mut responder = responder(&["192.0.2.9:5190"]);
        let request = Stun::request(TRANSACTION).encode();
        let begin = start();
        let answered = |responder: &mut Responder, after_ms: u64, from: &str| {
            let now = begin + Duration::from_millis(after_ms);
            (0..100)
                .filter(|_| {
                    responder
                        .answer(now, UNIX_MS, at(from, 0), &request)
                        .is_some()
                })
                .count()
        };
        assert_eq!(answered(&mut responder, 0, "198.51.100.7:1"), 10);
        assert_eq!(
            answered(&mut responder, 0, "198.51.100.7:2"),
            0,
            "by address"
        );
        assert_eq!(answered(&mut responder, 0, "198.51.100.8:1"), 10);
        assert_eq!(answered(&mut responder, 500, "198.51.100.7:1"), 5);
        let places = responder.limits.addresses;
        for host in 0..2 * u32::try_from(places).unwrap() {
            let from = SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0A00_0000 + host).into(), 9);
            responder.answer(begin, UNIX_MS, at(&from.to_string(), 0), &request);
        }
        assert_eq!(responder.addresses.len(), places);
        assert_eq!(
            answered(&mut responder, 600, "198.51.100.99:1"),
            10,
            "places are free again"
        );
    }
}
