//! Which roads two engines on one machine take to each other, and what becomes of a transfer when its road breaks.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rdv::signaling::RelayInfo;
use rdv::signaling::memory::MemoryHub;
use rdv::{
    Builder, Carrier, Engine, Error, PathKind, RelayPolicy, ScreenName, Sink, SinkOptions,
    SocksProxy, Source, SourceOptions, Summary, Transfer, TransferEvent, TransferReport,
    new_code_words,
};
use rdv_host::{Relay, RelayConfig};
use rdv_tests::socks::{ToPeers, Wall};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Everything here is local; whoever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many that there is time for a better road than the first.
const BYTES: usize = 50_000_000;

fn name(text: &str) -> ScreenName {
    ScreenName::new(text).unwrap()
}

struct Town {
    hub: MemoryHub,
    folder: tempfile::TempDir,
    relay: Option<SocketAddr>,
}

/// What became of one side.
struct End {
    outcome: Result<Summary, Error>,
    /// What the transfer was said to run on, one after the other.
    paths: Vec<(PathKind, Option<Carrier>)>,
    report: TransferReport,
}

impl Town {
    fn new() -> Self {
        Self {
            hub: MemoryHub::new(),
            folder: tempfile::tempdir().unwrap(),
            relay: None,
        }
    }

    async fn with_relay(mut self) -> Self {
        let config = RelayConfig {
            open: true,
            ..RelayConfig::default()
        };
        let relay = Relay::bind(config).await.unwrap();
        let port = relay.local_addrs()[0].port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        tokio::spawn(relay.run(std::future::pending()));
        self.hub.set_relay(Some(RelayInfo {
            address: address.to_string(),
            ticket: None,
        }));
        self.relay = Some(address);
        self
    }

    fn engine(&self, who: &str, more: impl FnOnce(Builder) -> Builder) -> Engine {
        let channel = std::sync::Arc::new(self.hub.join(name(who)));
        let builder = Engine::builder(channel.clone()).host_on_this_machine(true);
        let builder = match self.relay {
            Some(relay) => builder.relays(channel).never_dial([relay]),
            None => builder,
        };
        more(builder).build()
    }

    fn source(&self, bytes: usize) -> Source {
        let path = self.folder.path().join("file");
        let content: Vec<u8> = (0..bytes)
            .map(|at| ((at / 7) ^ (at / 4_099)) as u8)
            .collect();
        fs::write(&path, content).unwrap();
        Source::paths(vec![path], SourceOptions::default()).unwrap()
    }

    fn sink(&self) -> Sink {
        Sink::folder(self.folder.path().join("out"), SinkOptions::default()).unwrap()
    }

    fn is_identical(&self) -> bool {
        let sent = fs::read(self.folder.path().join("file")).unwrap();
        let received = fs::read(self.folder.path().join("out/file"));
        received.is_ok_and(|received| received == sent)
    }

    /// A file from `alice` to `bob`, by code. `meanwhile` happens beside it.
    async fn send(
        &self,
        alice: &Engine,
        bob: &Engine,
        bytes: usize,
        meanwhile: impl Future<Output = ()>,
    ) -> [End; 2] {
        let words = new_code_words();
        let source = self.source(bytes);
        let sending = alice.offer_with_code(words.clone(), source, None);
        let sending = sending.await.unwrap();
        let receiving = bob.fetch_with_code(name("alice"), words, self.sink());
        let receiving = receiving.await.unwrap();
        let both = async {
            let (sent, received, ()) = tokio::join!(end(sending), end(receiving), meanwhile);
            [sent, received]
        };
        tokio::time::timeout(PATIENCE, both).await.unwrap()
    }
}

async fn end(mut transfer: Transfer) -> End {
    let mut paths = Vec::new();
    loop {
        match transfer.next_event().await {
            Some(TransferEvent::Connected { path, .. } | TransferEvent::PathChanged { path }) => {
                paths.push((path.kind, path.carrier));
            }
            Some(TransferEvent::Offered(_)) => transfer.accept(),
            Some(TransferEvent::Ended(outcome)) => {
                let report = transfer.report();
                return End {
                    outcome,
                    paths,
                    report,
                };
            }
            Some(_) => {}
            None => panic!("no end"),
        }
    }
}

fn as_it_is(builder: Builder) -> Builder {
    builder
}

/// One transfer, after which both say that it ran over `carrier` alone.
async fn over(
    carrier: Carrier,
    alice: impl FnOnce(Builder) -> Builder,
    bob: impl FnOnce(Builder) -> Builder,
) {
    let town = Town::new();
    let engines = [town.engine("alice", alice), town.engine("bob", bob)];
    let ends = town.send(&engines[0], &engines[1], BYTES, async {}).await;
    for end in &ends {
        end.outcome.as_ref().unwrap();
        let last = end.paths.last();
        assert_eq!(
            last,
            Some(&(PathKind::Direct, Some(carrier))),
            "{:#?}",
            end.report
        );
        assert!(end.report.lane_ms.is_some(), "{:#?}", end.report);
        let used = end.report.paths.last().unwrap();
        assert_eq!(used.path.carrier, Some(carrier));
        assert!(used.to_ms.is_some());
    }
    let carried: u64 = ends[0].report.paths.iter().map(|used| used.bytes).sum();
    assert!(carried >= BYTES as u64, "{:#?}", ends[0].report.paths);
    assert!(town.is_identical());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_machine_it_is_tcp_although_quic_is_there() {
    over(Carrier::Tcp, as_it_is, as_it_is).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_udp_it_is_tcp() {
    over(Carrier::Tcp, |alice| alice.udp(false), as_it_is).await;
    over(Carrier::Tcp, as_it_is, |bob| bob.udp(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tcp_it_is_quic() {
    over(Carrier::Quic, |alice| alice.tcp(false), as_it_is).await;
    over(Carrier::Quic, as_it_is, |bob| bob.tcp(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_strangers_at_both_doors_change_nothing() {
    // A port of our own that is free for both protocols.
    let port = loop {
        let udp = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = udp.local_addr().unwrap().port();
        if std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            break port;
        }
    };
    let door = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let town = Town::new();
    let alice = town.engine("alice", |alice| alice.ports(port..=port));
    let bob = town.engine("bob", as_it_is);
    let strangers = async {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut knocking = Vec::new();
        for number in 0..50_u8 {
            // Silent, talkative, and what looks like STUN or the beginning of QUIC.
            if let Ok(mut stream) = TcpStream::connect(door).await {
                if number % 2 == 0 {
                    let _ = stream.write_all(&[number; 300]).await;
                }
                knocking.push(stream);
            }
            let mut datagram = [number; 1_200];
            match number % 3 {
                0 => datagram[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]),
                1 => datagram[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
                _ => {}
            }
            let _ = socket.send_to(&datagram, door).await;
        }
        knocking
    };
    let words = new_code_words();
    let source = town.source(3_000_000);
    let sending = alice.offer_with_code(words.clone(), source, None);
    let sending = sending.await.unwrap();
    let receiving = bob.fetch_with_code(name("alice"), words, town.sink());
    let receiving = receiving.await.unwrap();
    let all = async { tokio::join!(end(sending), end(receiving), strangers) };
    let (sent, received, _knocking) = tokio::time::timeout(PATIENCE, all).await.unwrap();
    sent.outcome.unwrap();
    received.outcome.unwrap();
    assert!(town.is_identical());
}

/// Bob behind a proxy.
fn behind(wall: &Wall) -> impl FnOnce(Builder) -> Builder {
    let proxy = SocksProxy::new(wall.address());
    move |builder| builder.socks(proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_breaks_in_the_middle_is_replaced_and_every_byte_arrives() {
    let town = Town::new();
    let wall = Wall::build(None, ToPeers::Open, Duration::ZERO).await;
    let alice = town.engine("alice", as_it_is);
    let bob = town.engine("bob", behind(&wall));
    let breaks = async {
        wall.direct_bytes(5_000_000).await;
        wall.break_all();
    };
    let ends = town.send(&alice, &bob, 40_000_000, breaks).await;
    for end in &ends {
        let paths = &end.report.paths;
        assert!(end.outcome.is_ok(), "{:?}: {paths:#?}", end.outcome);
        assert!(paths.len() > 1, "{paths:#?}");
    }
    assert!(wall.opened() > 1);
    assert!(town.is_identical());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_serves_until_there_is_a_direct_way() {
    let town = Town::new().with_relay().await;
    let wall = Wall::build(town.relay, ToPeers::Cut, Duration::from_millis(20)).await;
    let alice = town.engine("alice", as_it_is);
    let bob = town.engine("bob", behind(&wall));
    let opens = async {
        wall.relayed_bytes(1_000_000).await;
        wall.set(ToPeers::Open);
    };
    let ends = town.send(&alice, &bob, 60_000_000, opens).await;
    for end in &ends {
        assert!(end.outcome.is_ok(), "{:?}", end.outcome);
        assert_eq!(
            end.paths,
            [
                (PathKind::Relay, None),
                (PathKind::Direct, Some(Carrier::Tcp))
            ],
            "{:#?}",
            end.report
        );
        let bytes: Vec<u64> = end.report.paths.iter().map(|used| used.bytes).collect();
        assert!(bytes[0] >= 1_000_000 && bytes[1] >= 1_000_000, "{bytes:?}");
    }
    assert!(town.is_identical());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_takes_over_when_the_direct_way_is_gone() {
    let town = Town::new().with_relay().await;
    let wall = Wall::build(town.relay, ToPeers::Open, Duration::ZERO).await;
    let alice = town.engine("alice", as_it_is);
    let bob = town.engine("bob", behind(&wall));
    let breaks = async {
        wall.direct_bytes(5_000_000).await;
        wall.set(ToPeers::Cut);
    };
    let ends = town.send(&alice, &bob, 40_000_000, breaks).await;
    for end in &ends {
        assert!(end.outcome.is_ok(), "{:?}", end.outcome);
        assert_eq!(end.paths.last().unwrap().0, PathKind::Relay);
    }
    assert!(town.is_identical());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_gone_for_good_ends_the_transfer_soon() {
    let town = Town::new();
    let wall = Wall::build(None, ToPeers::Open, Duration::ZERO).await;
    let alice = town.engine("alice", as_it_is);
    let bob = town.engine("bob", behind(&wall));
    let words = new_code_words();
    let source = town.source(200_000_000);
    let sending = alice.offer_with_code(words.clone(), source, None);
    let sending = tokio::spawn(end(sending.await.unwrap()));
    let receiving = bob.fetch_with_code(name("alice"), words, town.sink());
    let receiving = tokio::spawn(end(receiving.await.unwrap()));
    wall.direct_bytes(5_000_000).await;
    // Alice's machine loses its power: the host says so of her, and nothing answers.
    town.hub.drop_member(&name("alice"));
    wall.set(ToPeers::Cut);
    let died = std::time::Instant::now();
    let receiving = tokio::time::timeout(Duration::from_secs(8), receiving).await;
    let received = receiving.expect("not for long").unwrap();
    assert!(
        matches!(received.outcome, Err(Error::Transfer(_))),
        "{:?}",
        received.outcome
    );
    // Alice, who only lost the host and the lane, does not wait for ever either.
    let sending = tokio::time::timeout(Duration::from_secs(20), sending).await;
    assert!(sending.expect("not for long").unwrap().outcome.is_err());
    assert!(died.elapsed() < Duration::from_secs(25));
}

#[tokio::test(flavor = "multi_thread")]
async fn s_11_the_relay_alone_asks_and_tells_nobody() {
    let town = Town::new().with_relay().await;
    // Where addresses would be asked for.
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let stun = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(stun).await.unwrap();
    let only = |builder: Builder| builder.relay_policy(RelayPolicy::Only).stun([stun]);
    let (alice, bob) = (town.engine("alice", only), town.engine("bob", only));
    let ends = town.send(&alice, &bob, 1_000_000, async {}).await;
    for end in &ends {
        assert!(end.outcome.is_ok(), "{:?}", end.outcome);
        assert_eq!(end.paths, [(PathKind::Relay, None)]);
        assert_eq!(end.report.own, []);
    }
    assert!(udp.try_recv(&mut [0; 16]).is_err());
    let asked = tokio::time::timeout(Duration::ZERO, tcp.accept()).await;
    assert!(asked.is_err(), "somebody asked");

    // The same without the rule, so that the test can fail.
    let curious = |builder: Builder| builder.stun([stun]);
    let (alice, bob) = (town.engine("carol", curious), town.engine("dave", curious));
    let words = new_code_words();
    let source = town.source(1_000_000);
    let sending = alice.offer_with_code(words.clone(), source, None);
    let sending = sending.await.unwrap();
    let receiving = bob.fetch_with_code(name("carol"), words, town.sink());
    let receiving = receiving.await.unwrap();
    let mut question = [0; 64];
    let (sent, _, asked) = tokio::join!(end(sending), end(receiving), udp.recv(&mut question));
    assert!(asked.is_ok() && !sent.report.own.is_empty());
}
