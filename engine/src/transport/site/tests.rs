//! Sites against servers that answer in all kinds of ways, over loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::{CandidateKind, Mapping, Protocol};
use rdv_proto::wire::stun::{Class, Stun};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{Instant, timeout};

use super::*;
use crate::transport::network::{GatherResult, GatherSource};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MAPPED: &str = "203.0.113.5:40000";
const MAPPED_TOO: &str = "203.0.113.5:40001";

/// How a server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// With the truth.
    Honest,
    /// With this address.
    Says(&'static str),
    /// Not at all.
    Silent,
    /// With another transaction than the one that was asked.
    Lies,
}

impl Manner {
    fn answer(self, request: &[u8], from: SocketAddr) -> Option<Bytes> {
        let request = Stun::decode(request).ok()?;
        let answer = |id| Stun::new(Class::Success, id);
        Some(match self {
            Self::Honest => answer(request.transaction).with_xor_mapped(from).encode(),
            Self::Says(mapped) => answer(request.transaction)
                .with_xor_mapped(mapped.parse().unwrap())
                .encode(),
            Self::Silent => return None,
            Self::Lies => answer([9; 12])
                .with_xor_mapped(MAPPED.parse().unwrap())
                .encode(),
        })
    }
}

/// A STUN server on loopback, UDP and TCP on one port; each may be told another manner at any time.
struct Server {
    address: SocketAddr,
    udp: watch::Sender<Manner>,
    _tasks: tokio::task::JoinSet<()>,
}

impl Server {
    async fn start(over_udp: Manner, over_tcp: Manner) -> Self {
        let (udp, listener) = loop {
            let udp = UdpSocket::bind((HOME, 0)).await.unwrap();
            let port = udp.local_addr().unwrap().port();
            if let Ok(listener) = TcpListener::bind((HOME, port)).await {
                break (udp, listener);
            }
        };
        let address = udp.local_addr().unwrap();
        let (manner, told) = watch::channel(over_udp);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                let manner = *told.borrow();
                if let Some(answer) = manner.answer(&buffer[..length], from) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        tasks.spawn(async move {
            loop {
                let (mut stream, from) = listener.accept().await.unwrap();
                let mut request = [0; 64];
                if stream.read_exact(&mut request).await.is_ok()
                    && let Some(answer) = over_tcp.answer(&request, from)
                {
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self {
            address,
            udp: manner,
            _tasks: tasks,
        }
    }
}

/// A site on loopback alone.
fn options(servers: &[&Server]) -> SiteOptions {
    SiteOptions {
        bind: Some(HOME),
        loopback: true,
        stun: servers.iter().map(|server| server.address).collect(),
        port_mapping: false,
        ..SiteOptions::default()
    }
}

fn port(site: &Site) -> Option<u16> {
    site.dialer.0.listeners.first().map(SocketAddr::port)
}

async fn next(site: &mut Site) -> SiteEvent {
    timeout(PATIENCE, site.next()).await.expect("an event")
}

/// The next finding that is as it should be; others and datagrams are passed over.
async fn found(site: &mut Site, as_it_should_be: impl Fn(&Found) -> bool) -> Found {
    loop {
        if let SiteEvent::Found(found) = next(site).await
            && as_it_should_be(&found)
        {
            return found;
        }
    }
}

async fn complete(site: &mut Site) -> Found {
    found(site, |found| found.complete).await
}

fn kinds(found: &Found) -> Vec<(CandidateKind, Protocol, SocketAddr)> {
    let all = found.candidates.iter();
    all.map(|one| (one.kind, one.protocol, one.address))
        .collect()
}

fn reflexive(found: &Found, protocol: Protocol) -> Vec<String> {
    let all = found.candidates.iter();
    all.filter(|one| one.kind == CandidateKind::REFLEXIVE && one.protocol == protocol)
        .map(|one| one.address.to_string())
        .collect()
}

#[tokio::test]
async fn a_site_that_nothing_stands_before_is_open_and_tells_its_own_addresses_alone() {
    let (host, relay) = (
        Server::start(Manner::Honest, Manner::Honest).await,
        Server::start(Manner::Honest, Manner::Honest).await,
    );
    let mut site = Site::open(options(&[&host, &relay])).unwrap();
    let begun = Instant::now();
    let found = complete(&mut site).await;
    assert!(begun.elapsed() < Duration::from_millis(300));
    let at = SocketAddr::new(HOME, port(&site).unwrap());
    assert_eq!(found.listen_port, port(&site));
    assert_eq!(found.network.udp, Mapping::Open);
    assert_eq!(
        kinds(&found),
        [
            (CandidateKind::LOOPBACK, Protocol::Udp, at),
            (CandidateKind::LOOPBACK, Protocol::Tcp, at),
        ]
    );
    let report = site.report();
    assert!(report.complete);
    let asked = |server: &Server| {
        report.lines.iter().any(|line| {
            line.source == GatherSource::StunUdp
                && line.asked == Some(server.address)
                && line.result == GatherResult::Found(vec![at])
        })
    };
    assert!(asked(&host) && asked(&relay), "{report:?}");
}

#[tokio::test]
async fn the_same_outer_address_twice_is_told_as_reflexive() {
    let says = Manner::Says(MAPPED);
    let (host, relay) = (
        Server::start(says, Manner::Silent).await,
        Server::start(says, Manner::Silent).await,
    );
    let mut site = Site::open(options(&[&host, &relay])).unwrap();
    let found = complete(&mut site).await;
    assert_eq!(found.network.udp, Mapping::Independent);
    assert_eq!(reflexive(&found, Protocol::Udp), [MAPPED]);
    assert!(reflexive(&found, Protocol::Tcp).is_empty());
}

#[tokio::test]
async fn over_tcp_everybody_is_asked_once_for_peers_that_have_nothing_else() {
    let says = Manner::Says(MAPPED);
    let server = Server::start(says, Manner::Says(MAPPED_TOO)).await;
    let mut site = Site::open(options(&[&server])).unwrap();
    let found = complete(&mut site).await;
    assert_eq!(reflexive(&found, Protocol::Tcp), [MAPPED_TOO]);
}

#[tokio::test]
async fn two_outer_addresses_mean_another_one_for_each_destination() {
    let tcp = Manner::Says("203.0.113.5:50000");
    let (host, relay) = (
        Server::start(Manner::Says(MAPPED), tcp).await,
        Server::start(Manner::Says(MAPPED_TOO), tcp).await,
    );
    let mut site = Site::open(options(&[&host, &relay])).unwrap();
    let found = complete(&mut site).await;
    assert_eq!(found.network.udp, Mapping::Dependent);
    assert_eq!(found.network.tcp, Mapping::Independent);
    assert_eq!(reflexive(&found, Protocol::Udp), [MAPPED, MAPPED_TOO]);
    assert_eq!(reflexive(&found, Protocol::Tcp), ["203.0.113.5:50000"]);
}

#[tokio::test]
async fn no_answer_over_udp_but_one_over_tcp_means_that_udp_is_blocked() {
    let server = Server::start(Manner::Silent, Manner::Honest).await;
    let mut site = Site::open(options(&[&server])).unwrap();
    let begun = Instant::now();
    let SiteEvent::Found(first) = next(&mut site).await else {
        panic!("something else than what was found");
    };
    assert!(!first.complete);
    // TCP answers at once, so that UDP is late soon.
    assert!(begun.elapsed() < Duration::from_millis(300));
    assert_eq!(first.candidates.len(), 2, "{first:?}");
    let blocked = found(&mut site, |found| found.network.udp == Mapping::Blocked).await;
    assert_eq!(blocked.network.tcp, Mapping::Open);
    complete(&mut site).await;
}

#[tokio::test]
async fn the_first_finding_does_not_wait_for_servers_that_say_nothing() {
    let server = Server::start(Manner::Silent, Manner::Silent).await;
    let mut site = Site::open(options(&[&server])).unwrap();
    let begun = Instant::now();
    let first = found(&mut site, |_| true).await;
    assert!(!first.complete);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn of_two_families_the_one_with_answers_tells() {
    let Ok(socket) = UdpSocket::bind("[::1]:0").await else {
        // No IPv6 here.
        return;
    };
    let v6 = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = Manner::Honest.answer(&buffer[..length], from).unwrap();
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    let silent = Server::start(Manner::Silent, Manner::Honest).await;
    let mut site = Site::open(SiteOptions {
        bind: None,
        stun: vec![silent.address, v6],
        ..options(&[])
    })
    .unwrap();
    let found = complete(&mut site).await;
    assert_eq!(found.network.udp, Mapping::Open);
}

#[tokio::test]
async fn servers_that_do_not_answer_at_all_say_nothing_about_the_network() {
    let server = Server::start(Manner::Silent, Manner::Silent).await;
    let mut site = Site::open(options(&[&server])).unwrap();
    let found = complete(&mut site).await;
    assert_eq!(found.network, Network::default());
}

#[tokio::test]
async fn a_lie_goes_up_as_any_datagram_and_is_not_believed() {
    let server = Server::start(Manner::Lies, Manner::Silent).await;
    let mut site = Site::open(options(&[&server])).unwrap();
    let event = loop {
        match next(&mut site).await {
            SiteEvent::Found(found) => assert!(reflexive(&found, Protocol::Udp).is_empty()),
            other => break other,
        }
    };
    let SiteEvent::Datagram(datagram) = event else {
        panic!("{event:?}");
    };
    assert_eq!(datagram.from, server.address);
}

#[tokio::test]
async fn an_answer_that_changes_is_found_again() {
    let server = Server::start(Manner::Says(MAPPED), Manner::Silent).await;
    let mut site = Site::open(options(&[&server])).unwrap();
    let first = complete(&mut site).await;
    assert_eq!(reflexive(&first, Protocol::Udp), [MAPPED]);
    server.udp.send_replace(Manner::Says(MAPPED_TOO));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(15)).await;
    tokio::time::resume();
    let second = found(&mut site, |found| *found != first).await;
    assert_eq!(reflexive(&second, Protocol::Udp), [MAPPED_TOO]);
    assert!(second.complete);
}

#[tokio::test]
async fn without_udp_there_is_tcp_alone() {
    let server = Server::start(Manner::Honest, Manner::Says(MAPPED)).await;
    let mut site = Site::open(SiteOptions {
        udp: false,
        ..options(&[&server])
    })
    .unwrap();
    let found = complete(&mut site).await;
    assert_eq!(found.network.udp, Mapping::Blocked);
    assert_eq!(reflexive(&found, Protocol::Tcp), [MAPPED]);
    let udp = |one: &LocalCandidate| one.protocol == Protocol::Udp;
    assert!(!found.candidates.iter().any(udp));
    let probe = site.dialer().send_probe(server.address, b"x", None);
    assert_eq!(probe.unwrap_err().kind(), io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn behind_a_proxy_nothing_is_opened_and_nobody_asked() {
    let server = Server::start(Manner::Honest, Manner::Honest).await;
    let mut site = Site::open(SiteOptions {
        socks: Some(SocksProxy::new("127.0.0.1:1")),
        ..options(&[&server])
    })
    .unwrap();
    let found = complete(&mut site).await;
    assert_eq!((found.listen_port, found.candidates), (None, vec![]));
    let open = site.dialer().dial_open(server.address).await;
    assert_eq!(open.unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert!(!site.report().lines.iter().any(|line| line.asked.is_some()));
}

#[tokio::test]
async fn without_addresses_there_is_a_listener_and_no_question() {
    let server = Server::start(Manner::Honest, Manner::Honest).await;
    let mut site = Site::open(SiteOptions {
        addresses: false,
        ..options(&[&server])
    })
    .unwrap();
    let found = complete(&mut site).await;
    assert!(found.listen_port.is_some());
    assert!(found.candidates.is_empty());
    assert!(!site.report().lines.iter().any(|line| line.asked.is_some()));
}

#[tokio::test]
async fn whoever_comes_in_is_told_until_the_site_is_retired() {
    let mut site = Site::open(options(&[])).unwrap();
    let (mut other, dialer) = {
        let other = Site::open(options(&[])).unwrap();
        let dialer = other.dialer();
        (other, dialer)
    };
    let at = SocketAddr::new(HOME, port(&site).unwrap());
    complete(&mut site).await;
    let dialled = TcpStream::connect(at).await.unwrap();
    let SiteEvent::Tcp { from, .. } = next(&mut site).await else {
        panic!("no connection");
    };
    assert_eq!(from, dialled.local_addr().unwrap());
    let probe = Stun::request([1; 12]).encode();
    dialer.send_probe(at, &probe, None).unwrap();
    let SiteEvent::Datagram(datagram) = next(&mut site).await else {
        panic!("no datagram");
    };
    assert_eq!(datagram.bytes, probe);
    assert_eq!(Some(datagram.from.port()), port(&other));
    site.retire();
    // The listeners are closed by the time that the tasks have ended.
    let refused = async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    site.close().await;
    complete(&mut other).await;
}

#[tokio::test]
async fn two_sides_that_dial_each_other_at_once_get_one_connection() {
    let (a, b) = (
        Site::open(options(&[])).unwrap(),
        Site::open(options(&[])).unwrap(),
    );
    let at = |site: &Site| SocketAddr::new(HOME, port(site).unwrap());
    let (dial_a, dial_b) = (a.dialer(), b.dialer());
    let (from_a, from_b) = tokio::join!(dial_a.dial_open(at(&b)), dial_b.dial_open(at(&a)));
    let (mut from_a, mut from_b) = (from_a.unwrap(), from_b.unwrap());
    assert_eq!(from_a.local_addr().unwrap(), at(&a));
    assert_eq!(from_a.peer_addr().unwrap(), from_b.local_addr().unwrap());
    from_a.write_all(b"one").await.unwrap();
    let mut heard = [0; 3];
    from_b.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"one");
}

#[tokio::test]
async fn a_refusal_is_tried_again_until_the_other_side_is_there() {
    let site = Site::open(options(&[])).unwrap();
    let reserved = tokio::net::TcpSocket::new_v4().unwrap();
    reserved.bind((HOME, 0).into()).unwrap();
    let peer = reserved.local_addr().unwrap();
    let dialer = site.dialer();
    let dialling = tokio::spawn(async move { dialer.dial_open(peer).await });
    // Bound and not listening: refused. Two tries later somebody listens there.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let listener = reserved.listen(1).unwrap();
    let (_, from) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let dialled = dialling.await.unwrap().unwrap();
    assert_eq!(from, dialled.local_addr().unwrap());
    assert_eq!(Some(from.port()), port(&site));
}

#[tokio::test]
async fn the_same_socket_can_open_from_both_ends_at_once() {
    // A port that connects to itself: the one simultaneous open that a loopback interface lets happen.
    let spare = super::sockets::bind_beside_listener(SocketAddr::new(HOME, 0)).unwrap();
    let own = spare.local_addr().unwrap().as_socket().unwrap();
    drop(spare);
    let stream = open::dial(own, own, &Crossings::default()).await.unwrap();
    assert_eq!(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
}

#[tokio::test]
async fn nobody_there_ends_after_four_seconds_at_the_latest() {
    let site = Site::open(options(&[])).unwrap();
    let nobody = TcpListener::bind((HOME, 0)).await.unwrap();
    let at = nobody.local_addr().unwrap();
    drop(nobody);
    let begun = Instant::now();
    let refused = timeout(PATIENCE, site.dialer().dial_open(at))
        .await
        .unwrap();
    assert_eq!(
        refused.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    assert!(begun.elapsed() > Duration::from_secs(3));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn ports_that_are_used_up_are_an_error() {
    let first = Site::open(options(&[])).unwrap();
    let port = port(&first).unwrap();
    let again = Site::open(SiteOptions {
        ports: Some(port..=port),
        ..options(&[])
    });
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}
