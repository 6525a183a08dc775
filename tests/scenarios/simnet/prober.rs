//! The simplest program that finds out what is possible between two places: the one with which the laboratory measures,
//! in the simulated network.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdv_tests::simnet::kinds::Kind;
use rdv_tests::simnet::{ConnectionId, HostId, Line, Net, Notice};

/// Where both learn how the world sees them.
const SERVER_PORT: u16 = 443;
/// Inside the range that "portfwd" forwards.
const PORTS: [u16; 2] = [50_010, 50_011];
const PROBE_PAUSE: Duration = Duration::from_millis(25);
const DIAL_PAUSE: Duration = Duration::from_millis(100);

/// How much later than the first each side begins.
pub(super) type Skew = [Duration; 2];

/// What a side of a plain connection does, beside both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Both,
    Dial,
    Listen,
}

struct Side {
    host: HostId,
    port: u16,
    reflexive: Option<SocketAddr>,
    targets: Vec<SocketAddr>,
    next: Duration,
    heard: bool,
    done: bool,
    dialling: Option<ConnectionId>,
    connected: bool,
}

struct Trial {
    net: Net,
    server: HostId,
    sides: [Side; 2],
}

impl Trial {
    fn new(kinds: [Kind; 2]) -> Self {
        let mut net = Net::new(1);
        let server = net.add(Kind::Open, Line::default());
        net.bind(server, SERVER_PORT);
        net.listen(server, SERVER_PORT);
        let sides = [0, 1].map(|index| {
            let host = net.add(kinds[index], Line::default());
            net.bind(host, PORTS[index]);
            Side {
                host,
                port: PORTS[index],
                reflexive: None,
                targets: Vec::new(),
                next: Duration::ZERO,
                heard: false,
                done: false,
                dialling: None,
                connected: false,
            }
        });
        Self { net, server, sides }
    }

    fn server(&self) -> SocketAddr {
        SocketAddr::new(self.net.addresses(self.server)[0], SERVER_PORT)
    }

    fn side(&self, host: HostId) -> Option<usize> {
        self.sides.iter().position(|side| side.host == host)
    }

    fn run(&mut self, until: Duration, mut notice: impl FnMut(&mut Self, Notice)) {
        while self.net.now() < until {
            let to = self
                .sides
                .iter()
                .map(|side| side.next)
                .filter(|next| *next > self.net.now())
                .fold(until, Duration::min);
            for happened in self.net.advance(to) {
                notice(self, happened);
            }
            if self.sides.iter().any(|side| side.next <= self.net.now()) {
                return;
            }
        }
    }

    fn learn_udp(&mut self) {
        let server = self.server();
        for _ in 0..3 {
            for index in [0, 1] {
                let Side { host, port, .. } = self.sides[index];
                let ask = Bytes::from_static(b"who");
                self.net.send(host, port, server, None, ask);
                self.sides[index].next = Duration::MAX;
            }
            let until = self.net.now() + Duration::from_millis(150);
            self.run(until, |trial, notice| {
                let Notice::Datagram {
                    host, from, bytes, ..
                } = notice
                else {
                    return;
                };
                if host == trial.server {
                    let answer = Bytes::from(from.to_string());
                    trial.net.send(host, SERVER_PORT, from, None, answer);
                } else if let (Some(side), Ok(text)) =
                    (trial.side(host), std::str::from_utf8(&bytes))
                {
                    trial.sides[side].reflexive = text.parse().ok();
                }
            });
        }
    }

    fn udp_heard(&mut self, notice: &Notice) {
        let Notice::Datagram {
            host, from, bytes, ..
        } = notice
        else {
            return;
        };
        let server = self.server();
        let Some(index) = self.side(*host).filter(|_| *from != server) else {
            return;
        };
        let Side { host, port, .. } = self.sides[index];
        let side = &mut self.sides[index];
        side.heard = true;
        side.done |= bytes.as_ref() == b"2";
        if !side.targets.contains(from) {
            side.targets.push(*from);
        }
        self.net
            .send(host, port, *from, None, Bytes::from_static(b"2"));
    }

    fn learn_tcp(&mut self) {
        let server = self.server();
        for index in [0, 1] {
            let Side { host, port, .. } = self.sides[index];
            self.net.dial(host, port, server);
            self.sides[index].next = Duration::MAX;
        }
        let until = self.net.now() + Duration::from_millis(600);
        let mut seen = Vec::new();
        self.run(until, |trial, notice| {
            if let Notice::Accepted { host, from, .. } = notice
                && host == trial.server
            {
                seen.push(from);
            }
        });
        for side in &mut self.sides {
            let ip = self.net.seen_at(side.host);
            let mut seen = seen.iter();
            side.reflexive = seen
                .find(|from| ip.is_some_and(|ip| from.ip() == ip))
                .copied();
        }
    }
}

/// Whether both sides hear each other's answers.
pub(super) fn udp(kinds: [Kind; 2], skew: Skew, opener: Option<u8>) -> bool {
    let mut trial = Trial::new(kinds);
    trial.learn_udp();
    let pause = if opener.is_some() {
        Duration::from_millis(100)
    } else {
        Duration::ZERO
    };
    let start = trial.net.now();
    for index in [0, 1] {
        trial.sides[index].targets = trial.sides[1 - index].reflexive.into_iter().collect();
        trial.sides[index].next = start + pause + skew[index];
        let Side { host, port, .. } = trial.sides[index];
        for to in trial.sides[index].targets.clone() {
            if opener.is_some() {
                let packet = Bytes::from_static(b"0");
                trial.net.send(host, port, to, opener, packet);
            }
        }
    }
    let end = start + pause + Duration::from_millis(800);
    while trial.net.now() < end {
        let now = trial.net.now();
        for index in [0, 1] {
            let Side {
                host, port, heard, ..
            } = trial.sides[index];
            if trial.sides[index].next > now {
                continue;
            }
            trial.sides[index].next = now + PROBE_PAUSE;
            for to in trial.sides[index].targets.clone() {
                let packet = Bytes::from_static(if heard { b"2" } else { b"1" });
                trial.net.send(host, port, to, None, packet);
            }
        }
        trial.run(end, |trial, notice| trial.udp_heard(&notice));
    }
    trial.sides.iter().all(|side| side.done)
}

/// Whether a connection comes about. Who only dials or listens goes by the verified address and the local port.
pub(super) fn tcp(kinds: [Kind; 2], skew: Skew, modes: [Mode; 2]) -> bool {
    let mut trial = Trial::new(kinds);
    trial.learn_tcp();
    let plain = modes != [Mode::Both; 2];
    let start = trial.net.now();
    for index in [0, 1] {
        let far = &trial.sides[1 - index];
        let verified = trial.net.seen_at(far.host);
        let guess = verified.map(|ip| SocketAddr::from((ip, far.port)));
        let to = far.reflexive.filter(|_| !plain).or(guess);
        trial.sides[index].targets = to.into_iter().collect();
        trial.sides[index].next = if modes[index] == Mode::Listen {
            Duration::MAX
        } else {
            start + skew[index]
        };
        if modes[index] != Mode::Dial {
            let Side { host, port, .. } = trial.sides[index];
            trial.net.listen(host, port);
        }
    }
    let end = start + Duration::from_millis(2_400);
    while trial.net.now() < end {
        let now = trial.net.now();
        for index in [0, 1] {
            let Side { host, port, .. } = trial.sides[index];
            let side = &mut trial.sides[index];
            if side.next > now {
                continue;
            }
            side.next = if side.dialling.is_none() && !side.connected {
                if let Some(to) = side.targets.first() {
                    side.dialling = trial.net.dial(host, port, *to);
                }
                now + DIAL_PAUSE
            } else {
                now + Duration::from_millis(20)
            };
        }
        trial.run(end, |trial, notice| match notice {
            Notice::Connected {
                host, connection, ..
            } => {
                if let Some(index) = trial.side(host)
                    && trial.sides[index].dialling == Some(connection)
                {
                    trial.sides[index].connected = true;
                }
            }
            Notice::Accepted { host, .. } => {
                if let Some(index) = trial.side(host) {
                    trial.sides[index].connected = true;
                }
            }
            Notice::Refused { host, connection } => {
                if let Some(index) = trial.side(host)
                    && trial.sides[index].dialling == Some(connection)
                {
                    trial.sides[index].dialling = None;
                }
            }
            Notice::Datagram { .. } => {}
        });
    }
    trial.sides.iter().all(|side| side.connected)
}
