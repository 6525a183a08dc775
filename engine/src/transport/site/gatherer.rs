//! The task that finds out how a site is reached from outside, and goes on watching whether that changes.

mod class;
mod gateway;
mod report;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdv_proto::rendezvous::{LocalCandidate, Mapping};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::gateway::{changed, not_mapped};
use super::dialer::Exits;
use super::found::{Known, Ports};
use super::stun::{self, Answer, Questions};
use super::stun_tcp;
use super::{Found, SiteOptions};
use crate::transport::gather;
use crate::transport::network::{self, GatherLine, GatherReport, GatherResult, GatherSource};
use crate::transport::portmap::Mapped;
use crate::transport::quic::{Datagram, Datagrams, QuicSocket};

/// What is found later than this goes into a further message.
const FIRST: Duration = Duration::from_millis(300);
/// A gateway that speaks PCP or NAT-PMP has answered by then; whoever has none need not wait longer for it.
const CONTROL_FIRST: Duration = Duration::from_millis(30);
/// An answer over UDP takes half as long as one over TCP, for which a connection has to be made first. If all answers over TCP are here
/// and so much time more has passed, none over UDP is waited for with the first message.
const UDP_LATE: Duration = Duration::from_millis(50);
/// No answer over UDP by then, but one over TCP: UDP is blocked.
const UDP_BLOCKED: Duration = Duration::from_millis(800);
/// A translator forgets an idle UDP port after 30 s at the earliest (`connectivity.md` 2.1).
const REFRESH: Duration = Duration::from_secs(15);
/// How many refreshes there are for one over TCP.
const REFRESHES_PER_TCP: u32 = 2;

/// How far a site is in its life. The sender dropped: closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Addresses are of interest.
    Gathering,
    /// They are not, but lanes may stand on the sockets and mappings.
    Retired,
}

/// See the module.
pub(super) struct Gatherer {
    options: SiteOptions,
    exits: Arc<Exits>,
    tell: watch::Sender<Option<Found>>,
    report: Arc<Mutex<GatherReport>>,
    opened: Instant,
    /// All addresses of this machine, told or not.
    own: Vec<IpAddr>,
    udp: Vec<Family>,
    tcp: Vec<TcpServer>,
    asking: JoinSet<(SocketAddr, std::io::Result<Answer>, Duration)>,
    mapped: Mapped,
    refresh: Instant,
    refreshes: u32,
    retired: bool,
}

/// A UDP socket and what is asked from it.
struct Family {
    ipv4: bool,
    port: u16,
    socket: QuicSocket,
    questions: Questions,
}

/// A server that may be asked over TCP.
struct TcpServer {
    server: SocketAddr,
    /// Where the listener of its family is.
    own: SocketAddr,
    asked: bool,
    answered: bool,
    took: Duration,
    answer: Option<Answer>,
}

impl Gatherer {
    pub(super) fn new(
        options: SiteOptions,
        exits: Arc<Exits>,
        tell: watch::Sender<Option<Found>>,
        report: Arc<Mutex<GatherReport>>,
    ) -> Self {
        let now = Instant::now();
        let mut gatherer = Self {
            options,
            exits,
            tell,
            report,
            opened: now,
            own: Vec::new(),
            udp: Vec::new(),
            tcp: Vec::new(),
            asking: JoinSet::new(),
            mapped: Mapped::default(),
            refresh: now + REFRESH,
            refreshes: 0,
            retired: false,
        };
        gatherer.begin(now);
        gatherer
    }

    /// All from the start: the sockets are new, or the network is another.
    fn begin(&mut self, now: Instant) {
        self.own = gather::own_subnets()
            .iter()
            .map(|own| own.address)
            .collect();
        self.asking = JoinSet::new();
        self.udp.clear();
        self.tcp.clear();
        if !self.options.addresses {
            return;
        }
        let servers = &self.options.stun;
        for socket in &self.exits.udp {
            let Ok(local) = socket.local_addr() else {
                continue;
            };
            self.udp.push(Family {
                ipv4: local.is_ipv4(),
                port: local.port(),
                socket: socket.clone(),
                questions: Questions::new(now, servers, local.is_ipv4()),
            });
        }
        for own in &self.exits.listeners {
            let mut of_family: Vec<SocketAddr> = servers
                .iter()
                .copied()
                .filter(|server| server.is_ipv4() == own.is_ipv4())
                .collect();
            of_family.dedup();
            of_family.truncate(stun::SERVERS_MAX);
            self.tcp
                .extend(of_family.into_iter().map(|server| TcpServer {
                    server,
                    own: *own,
                    asked: false,
                    answered: false,
                    took: Duration::ZERO,
                    answer: None,
                }));
        }
        self.refresh = now + REFRESH;
    }

    pub(super) async fn run(
        mut self,
        arriving: Vec<Datagrams>,
        datagrams: mpsc::Sender<Datagram>,
        mut stage: watch::Receiver<Stage>,
    ) {
        let mut arriving = arriving.into_iter();
        let (mut first, mut second) = (arriving.next(), arriving.next());
        let mut network = network::watch();
        let mut mapping = self.start_mapping();
        self.mapped = not_mapped(&mapping);
        loop {
            let now = Instant::now();
            if !self.retired {
                self.ask(now);
                self.found(now);
                if let Some(mapping) = &mapping {
                    mapping.seen_as(self.seen_as());
                }
            }
            let due = self.due(now);
            tokio::select! {
                biased;
                heard = stage.changed() => match heard {
                    Ok(()) => self.retired = *stage.borrow_and_update() == Stage::Retired,
                    Err(_closed) => break,
                },
                Some(datagram) = arrival(&mut first) => self.datagram(datagram, &datagrams),
                Some(datagram) = arrival(&mut second) => self.datagram(datagram, &datagrams),
                Some(asked) = self.asking.join_next() => {
                    if let Ok((server, answer, took)) = asked {
                        self.answered_tcp(server, answer, took);
                    }
                }
                mapped = changed(&mut mapping) => self.mapped = mapped,
                () = network.changed() => {
                    self.network_changed();
                    if let Some(old) = mapping.take() {
                        tokio::spawn(old.close());
                    }
                    if !self.retired {
                        mapping = self.start_mapping();
                        self.mapped = not_mapped(&mapping);
                    }
                }
                () = at(due) => {}
            }
        }
        if let Some(mapping) = mapping {
            mapping.close().await;
        }
    }

    /// Sends what is due.
    fn ask(&mut self, now: Instant) {
        if now >= self.refresh {
            self.refresh = now + REFRESH;
            self.refreshes += 1;
            for family in &mut self.udp {
                family.questions.again(now);
            }
            if self.refreshes.is_multiple_of(REFRESHES_PER_TCP) && self.tcp_is_needed(now) {
                for server in &mut self.tcp {
                    server.asked &= !server.answered;
                }
            }
        }
        for family in &mut self.udp {
            while let Some((server, bytes)) = family.questions.poll_send(now) {
                // Lost like any datagram: it is sent again.
                if let Err(error) = family.socket.send_stun(server, &bytes, None) {
                    tracing::debug!(%server, %error, "question not sent");
                }
            }
        }
        for one in &mut self.tcp {
            if !one.asked {
                one.asked = true;
                let (own, server) = (one.own, one.server);
                self.asking.spawn(async move {
                    let begun = Instant::now();
                    let answer = stun_tcp::ask(own, server).await;
                    (server, answer, begun.elapsed())
                });
            }
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        if self.retired || !self.options.addresses {
            return None;
        }
        let questions = self.udp.iter().filter_map(|family| family.questions.due());
        let marks = [FIRST, CONTROL_FIRST, UDP_BLOCKED]
            .map(|mark| self.opened + mark)
            .into_iter()
            .filter(|mark| *mark > now);
        let late = self.udp_late().filter(|late| *late > now);
        let others = late.into_iter().chain([self.refresh]);
        questions.chain(marks).chain(others).min()
    }

    fn datagram(&mut self, datagram: Datagram, out: &mpsc::Sender<Datagram>) {
        let Datagram { from, bytes } = &datagram;
        let now = Instant::now();
        let answered = self
            .udp
            .iter_mut()
            .any(|family| family.questions.datagram(now, *from, bytes));
        if !answered {
            // Full: as if the network had lost it.
            let _ = out.try_send(datagram);
        }
    }

    fn answered_tcp(
        &mut self,
        server: SocketAddr,
        answer: std::io::Result<Answer>,
        took: Duration,
    ) {
        let line = GatherLine::waiting(GatherSource::StunTcp, Some(server));
        let result = match &answer {
            Ok(answer) => GatherResult::Found(vec![answer.mapped]),
            Err(error) => GatherResult::Failed(error.to_string()),
        };
        self.put(line.ended(result, took));
        for one in self.tcp.iter_mut().filter(|one| one.server == server) {
            one.answered = true;
            one.took = took;
            one.answer = answer.as_ref().ok().copied();
        }
    }

    fn network_changed(&mut self) {
        for socket in &self.exits.udp {
            if let Err(error) = socket.network_changed() {
                tracing::debug!(%error, "socket not moved to the new network");
            }
        }
        if !self.retired {
            self.begin(Instant::now());
        }
    }

    /// Tells what is known, if it is time and something else than was told.
    fn found(&mut self, now: Instant) {
        let complete = self.is_complete();
        let found = Found {
            listen_port: self.exits.listeners.first().map(SocketAddr::port),
            candidates: self.candidates(),
            network: self.network(now),
            complete,
        };
        self.enter(&found);
        let waited = now.duration_since(self.opened);
        let time = self.tell.borrow().is_some()
            || complete
            || waited >= FIRST
            || ((self.udp_settled() || self.udp_late().is_some_and(|late| now >= late))
                && (self.control_settled() || waited >= CONTROL_FIRST));
        if time {
            self.tell.send_if_modified(|told| {
                let news = told.as_ref() != Some(&found);
                *told = Some(found);
                news
            });
        }
    }

    fn udp_settled(&self) -> bool {
        self.udp.iter().all(|family| family.questions.settled())
    }

    /// From when on UDP is later than it can be, if TCP tells.
    fn udp_late(&self) -> Option<Instant> {
        let alive = self.tcp.iter().all(|one| one.answer.is_some());
        let took = self.tcp.iter().map(|one| one.took).max()?;
        alive.then(|| self.opened + took + UDP_LATE)
    }

    fn control_settled(&self) -> bool {
        self.mapped.control_done || self.mapped.done
    }

    fn is_complete(&self) -> bool {
        let tcp = self.tcp.iter().all(|one| one.answered);
        self.udp_settled() && tcp && self.mapped.done
    }

    /// UDP does not get through, or not by itself. All are asked over TCP once, since a peer without UDP needs to know, but only here is
    /// it worth asking again.
    fn tcp_is_needed(&self, now: Instant) -> bool {
        matches!(self.udp_mapping(now), Mapping::Dependent | Mapping::Blocked)
    }

    fn candidates(&self) -> Vec<LocalCandidate> {
        if !self.options.addresses {
            return Vec::new();
        }
        let known = Known {
            own: self.host_addresses(),
            loopback: self.options.loopback,
            ports_chosen: self.options.ports.is_some(),
            external: self.options.external,
            verified: self.options.verified,
            udp: Ports::of(
                self.udp
                    .iter()
                    .filter_map(|family| family.socket.local_addr().ok()),
            ),
            tcp: Ports::of(self.exits.listeners.iter().copied()),
            mapped_udp: self.mapped.udp,
            mapped_tcp: self.mapped.tcp,
            reflexive_udp: self.reflexive_udp(),
            reflexive_tcp: self
                .tcp
                .iter()
                .filter_map(|one| Some(one.answer?.mapped))
                .collect(),
        };
        known.candidates()
    }

    fn host_addresses(&self) -> Vec<IpAddr> {
        match self.options.bind {
            Some(own) if !own.is_unspecified() => vec![own],
            _ => gather::own_addresses(self.options.loopback),
        }
    }
}

async fn arrival(from: &mut Option<Datagrams>) -> Option<Datagram> {
    match from {
        Some(datagrams) => {
            let datagram = datagrams.recv().await;
            if datagram.is_none() {
                *from = None;
            }
            datagram
        }
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
