//! The relay: two connections that came in are joined, and bytes pass.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdv_host::{Host, HostConfig, HostHandle, Relay, RelayConfig, RelayLimits, RelaySource};
use rdv_proto::wire::ars::{Command, ErrorCode, Frame, TLV_TICKET};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::signon::{ServiceReply, ServiceRequest};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::Client;
use super::{host, host_with, port};

const PATIENCE: Duration = Duration::from_secs(20);
const COOKIE: Cookie = Cookie(*b"TRYST01\0");

/// A relay for anybody, and what stops it when dropped.
async fn open_relay(limits: RelayLimits) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let config = RelayConfig {
        open: true,
        limits,
        ..RelayConfig::default()
    };
    let relay = Relay::bind(config).await.unwrap();
    let address = relay.local_addrs()[0];
    let (stop, stopped) = tokio::sync::oneshot::channel();
    tokio::spawn(relay.run(async {
        stopped.await.ok();
    }));
    (address, stop)
}

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).unwrap()
}

async fn send(stream: &mut TcpStream, command: Command) {
    stream
        .write_all(&Frame::new(command).encode())
        .await
        .unwrap();
}

/// The next frame, and nothing of what comes behind it.
async fn command(stream: &mut TcpStream) -> Option<Command> {
    let reading = async {
        let length = stream.read_u16().await.ok()?;
        let mut frame = BytesMut::from(&length.to_be_bytes()[..]);
        frame.resize(2 + usize::from(length), 0);
        stream.read_exact(&mut frame[2..]).await.ok()?;
        Frame::decode(&mut frame)
            .unwrap()
            .map(|frame| frame.command)
    };
    timeout(PATIENCE, reading)
        .await
        .expect("the relay says nothing")
}

async fn ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(end.is_err() || rest.is_empty(), "{rest:?}");
}

async fn refused(stream: &mut TcpStream, code: ErrorCode) {
    assert_eq!(command(stream).await, Some(Command::Error(code)));
    ends(stream).await;
}

/// Creates a session; the connection and its token.
async fn create(relay: SocketAddr, tlvs: TlvList) -> (TcpStream, u16) {
    let mut alice = TcpStream::connect(relay).await.unwrap();
    send(
        &mut alice,
        Command::Create {
            name: name("alice"),
            cookie: COOKIE,
            tlvs,
        },
    )
    .await;
    match command(&mut alice).await {
        Some(Command::Created { token, ip }) => {
            assert_eq!(ip.to_string(), "127.0.0.1");
            (alice, token)
        }
        other => panic!("{other:?}"),
    }
}

async fn join(relay: SocketAddr, token: u16, cookie: Cookie, tlvs: TlvList) -> TcpStream {
    let mut bob = TcpStream::connect(relay).await.unwrap();
    send(
        &mut bob,
        Command::Join {
            name: name("bob"),
            token,
            cookie,
            tlvs,
        },
    )
    .await;
    bob
}

/// Two who are joined.
async fn pair(relay: SocketAddr, tlvs: &TlvList) -> (TcpStream, TcpStream) {
    let (mut alice, token) = create(relay, tlvs.clone()).await;
    let mut bob = join(relay, token, COOKIE, tlvs.clone()).await;
    assert_eq!(command(&mut bob).await, Some(Command::Ready));
    assert_eq!(command(&mut alice).await, Some(Command::Ready));
    (alice, bob)
}

#[tokio::test]
async fn two_meet_and_every_byte_arrives_both_ways() {
    let (relay, _stop) = open_relay(RelayLimits::default()).await;
    let (mut alice, mut bob) = pair(relay, &TlvList::new()).await;
    let bytes: Vec<u8> = (0u32..8 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let there = bytes.clone();
    let writing = tokio::spawn(async move {
        alice.write_all(&there).await.unwrap();
        alice.shutdown().await.unwrap();
        let mut answer = Vec::new();
        alice.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut got = Vec::new();
    bob.read_to_end(&mut got).await.unwrap();
    assert!(got == bytes);
    // One direction has ended, the other has not.
    bob.write_all(b"thanks").await.unwrap();
    bob.shutdown().await.unwrap();
    assert_eq!(writing.await.unwrap(), b"thanks");
}

#[tokio::test]
async fn bytes_that_come_before_ready_are_kept_up_to_four_kib() {
    let (relay, _stop) = open_relay(RelayLimits::default()).await;
    let (mut alice, token) = create(relay, TlvList::new()).await;
    let join = Command::Join {
        name: name("bob"),
        token,
        cookie: COOKIE,
        tlvs: TlvList::new(),
    };
    let mut early = BytesMut::from(&Frame::new(join).encode()[..]);
    early.extend_from_slice(b"early");
    let mut bob = TcpStream::connect(relay).await.unwrap();
    bob.write_all(&early).await.unwrap();
    assert_eq!(command(&mut alice).await, Some(Command::Ready));
    let mut got = [0; 5];
    alice.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"early");

    let (mut alice, _) = create(relay, TlvList::new()).await;
    alice.write_all(&[7; 5000]).await.unwrap();
    refused(&mut alice, ErrorCode::MALFORMED).await;
}

#[tokio::test]
async fn s_38_strangers_are_refused_and_displace_nobody() {
    let (relay, _stop) = open_relay(RelayLimits::default()).await;
    let (mut alice, token) = create(relay, TlvList::new()).await;
    for (token, cookie) in [(token ^ 1, COOKIE), (token, Cookie([9; 8]))] {
        let mut eve = join(relay, token, cookie, TlvList::new()).await;
        refused(&mut eve, ErrorCode::BAD_REQUEST).await;
    }
    let mut second = TcpStream::connect(relay).await.unwrap();
    let again = Command::Create {
        name: name("Alice"),
        cookie: COOKIE,
        tlvs: TlvList::new(),
    };
    send(&mut second, again).await;
    refused(&mut second, ErrorCode::BAD_REQUEST).await;
    let mut bob = join(relay, token, COOKIE, TlvList::new()).await;
    assert_eq!(command(&mut bob).await, Some(Command::Ready));
    assert_eq!(command(&mut alice).await, Some(Command::Ready));
    let mut third = join(relay, token, COOKIE, TlvList::new()).await;
    refused(&mut third, ErrorCode::BAD_REQUEST).await;
    bob.write_all(b"still here").await.unwrap();
    let mut got = [0; 10];
    alice.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"still here");
}

#[tokio::test]
async fn s_29_nobody_is_waited_for_without_end() {
    let limits = RelayLimits {
        first_command: Duration::from_millis(50),
        join: Duration::from_millis(100),
        ..RelayLimits::default()
    };
    let (relay, _stop) = open_relay(limits).await;
    let mut silent = TcpStream::connect(relay).await.unwrap();
    refused(&mut silent, ErrorCode::NO_FIRST_COMMAND).await;
    let (mut alone, _) = create(relay, TlvList::new()).await;
    refused(&mut alone, ErrorCode::PEER_DID_NOT_JOIN).await;
}

#[tokio::test]
async fn rubbish_is_refused() {
    let (relay, _stop) = open_relay(RelayLimits::default()).await;
    for rubbish in [
        &b"\0\x09\x04\x4a"[..],
        b"\x04\x01\x04\x4a",
        b"\0\x0a\x04\x4b\0\x02",
        b"GET / HTTP/1.1",
    ] {
        let mut client = TcpStream::connect(relay).await.unwrap();
        client.write_all(rubbish).await.unwrap();
        refused(&mut client, ErrorCode::MALFORMED).await;
    }
    let mut client = TcpStream::connect(relay).await.unwrap();
    send(
        &mut client,
        Command::Unknown {
            command: 8,
            data: Bytes::new(),
        },
    )
    .await;
    refused(&mut client, ErrorCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn s_36_the_relay_never_dials() {
    let (relay, _stop) = open_relay(RelayLimits::default()).await;
    // A relay that dials would use what it knows of its clients: their address and the service they named.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bound = listener.local_addr().unwrap();
    let tlvs = TlvList::new()
        .with(1, bound.to_string())
        .with(3, bound.to_string());
    let _pair = pair(relay, &tlvs).await;
    let dialled = listener.accept();
    let mut dialled = std::pin::pin!(dialled);
    let state =
        std::future::poll_fn(|context| std::task::Poll::Ready(dialled.as_mut().poll(context)))
            .await;
    assert!(state.is_pending(), "somebody was dialled");
}

#[tokio::test]
async fn s_39_a_reader_that_stops_stops_its_writer() {
    let (relay, _stop) = open_relay(RelayLimits::default()).await;
    let (alice, mut bob) = pair(relay, &TlvList::new()).await;
    let total = 64 << 20;
    let mut written = 0;
    // Alice's system takes bytes until those of the relay and of Bob are full.
    let chunk = vec![7; 256 * 1024];
    loop {
        match timeout(Duration::from_millis(500), alice.writable()).await {
            Err(_) => break,
            Ok(ready) => ready.unwrap(),
        }
        match alice.try_write(&chunk) {
            Ok(length) => written += length,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(written < total, "the relay takes without an end");
    }
    // All of it is there when Bob reads again.
    drop(alice);
    let mut got = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match timeout(PATIENCE, bob.read(&mut buffer))
            .await
            .unwrap()
            .unwrap()
        {
            0 => break,
            length => got += length,
        }
    }
    assert_eq!(got, written);
}

/// What the host says of its relay: address and ticket.
async fn ask_for_relay(host: &HostHandle) -> (SocketAddr, TlvList) {
    let mut client = Client::owner(port(host)).await;
    let request = ServiceRequest {
        foodgroup: Foodgroup::ARS,
        tlvs: TlvList::new(),
    };
    client
        .snac(Foodgroup::OSERVICE, 0x04, request.encode())
        .await;
    let reply = client.expect(Foodgroup::OSERVICE, 0x05).await;
    let reply = ServiceReply::decode(&reply.body).unwrap();
    assert_eq!(reply.foodgroup(), Some(Foodgroup::ARS));
    let ticket = reply.cookie().unwrap().clone();
    assert!(ticket.len() <= 512);
    (
        reply.address().unwrap().parse().unwrap(),
        TlvList::new().with(TLV_TICKET, ticket),
    )
}

/// Two clients of the host meet on its relay.
pub(super) async fn two_meet_on_the_relay_of(host: &HostHandle) {
    let (relay, ticket) = ask_for_relay(host).await;
    pair(relay, &ticket).await;
}

#[tokio::test]
async fn s_37_the_relay_of_a_host_serves_those_whom_the_host_sends() {
    let listen = |config: &mut HostConfig| {
        config.relay = RelaySource::Listen(vec!["0.0.0.0:0".parse().unwrap()]);
    };
    for host in [host().await, host_with(listen).await] {
        let (relay, ticket) = ask_for_relay(&host).await;
        assert_eq!(relay.port(), host.relay_addrs()[0].port());
        assert_eq!(relay.ip(), port(&host).ip(), "never a wildcard");
        let (mut alice, mut bob) = pair(relay, &ticket).await;
        alice.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        bob.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");

        let (_, foreign) = ask_for_relay(&super::host().await).await;
        for (tlvs, code) in [
            (TlvList::new(), ErrorCode::BAD_REQUEST),
            (foreign, ErrorCode::TICKET_FOREIGN),
            (ticket, ErrorCode::TICKET_SPENT),
        ] {
            let mut eve = TcpStream::connect(relay).await.unwrap();
            send(
                &mut eve,
                Command::Create {
                    name: name("eve"),
                    cookie: COOKIE,
                    tlvs,
                },
            )
            .await;
            refused(&mut eve, code).await;
        }
    }
}

#[tokio::test]
async fn a_relay_elsewhere_takes_the_tickets_of_the_host_whose_key_it_has() {
    let key = Some([7; 32]);
    let config = RelayConfig {
        ticket_key: key,
        ..RelayConfig::default()
    };
    let relay = Relay::bind(config).await.unwrap();
    let address = relay.local_addrs()[0];
    tokio::spawn(relay.run(std::future::pending()));
    let host = host_with(|config| {
        config.relay = RelaySource::Foreign(vec![address.to_string()]);
        config.ticket_key = key;
    })
    .await;
    assert!(host.relay_addrs().is_empty());
    let (told, ticket) = ask_for_relay(&host).await;
    assert_eq!(told, address);
    pair(told, &ticket).await;
}

#[tokio::test]
async fn a_relay_that_failed_a_client_is_not_handed_out_to_it_again_and_tickets_are_for_one_session()
 {
    let key = Some([7; 32]);
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let config = RelayConfig {
            ticket_key: key,
            ..RelayConfig::default()
        };
        let relay = Relay::bind(config).await.unwrap();
        addresses.push(relay.local_addrs()[0]);
        tokio::spawn(relay.run(std::future::pending()));
    }
    let host = host_with(|config| {
        config.relay = RelaySource::Foreign(addresses.iter().map(ToString::to_string).collect());
        config.ticket_key = key;
    })
    .await;
    let mut client = Client::owner(port(&host)).await;
    for (failed, other) in [(0, 1), (1, 0), (1, 0)] {
        let failed = addresses[failed].to_string();
        let request = ServiceRequest::for_relay(COOKIE, [failed.as_str()]);
        client
            .snac(Foodgroup::OSERVICE, 0x04, request.encode())
            .await;
        let reply = client.expect(Foodgroup::OSERVICE, 0x05).await;
        let reply = ServiceReply::decode(&reply.body).unwrap();
        assert_eq!(reply.address().unwrap(), addresses[other].to_string());
        let ticket = TlvList::new().with(TLV_TICKET, reply.cookie().unwrap().clone());
        let mut another = TcpStream::connect(addresses[other]).await.unwrap();
        let create = Command::Create {
            name: name("alice"),
            cookie: Cookie(*b"TRYST02\0"),
            tlvs: ticket.clone(),
        };
        send(&mut another, create).await;
        refused(&mut another, ErrorCode::TICKET_COOKIE).await;
        pair(addresses[other], &ticket).await;
    }
}

#[tokio::test]
async fn a_relay_that_drains_lets_its_pairs_go_on_and_ends_with_the_last_of_them() {
    let config = RelayConfig {
        open: true,
        ..RelayConfig::default()
    };
    let relay = Relay::bind(config).await.unwrap();
    let address = relay.local_addrs()[0];
    let (drain, drained) = tokio::sync::oneshot::channel::<()>();
    let asked = async {
        drained.await.ok();
    };
    let never = std::future::pending();
    let running = tokio::spawn(relay.run_draining(asked, never, Duration::from_secs(3600)));
    let (mut alice, mut bob) = pair(address, &TlvList::new()).await;
    let (mut alone, _) = create(address, TlvList::new()).await;
    drain.send(()).unwrap();
    refused(&mut alone, ErrorCode::BAD_REQUEST).await;
    let mut late = TcpStream::connect(address).await.unwrap();
    let create = Command::Create {
        name: name("late"),
        cookie: COOKIE,
        tlvs: TlvList::new().with(TLV_TICKET, &b"any"[..]),
    };
    send(&mut late, create).await;
    refused(&mut late, ErrorCode::DRAINING).await;
    alice.write_all(b"still here").await.unwrap();
    let mut got = [0; 10];
    bob.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"still here");
    assert!(!running.is_finished());
    drop((alice, bob));
    timeout(PATIENCE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_host_without_a_relay_says_so() {
    let host = host_with(|config| config.relay = RelaySource::None).await;
    let mut client = Client::owner(port(&host)).await;
    for foodgroup in [Foodgroup::ARS, Foodgroup::ADMIN] {
        let request = ServiceRequest {
            foodgroup,
            tlvs: TlvList::new(),
        };
        let id = client
            .snac(Foodgroup::OSERVICE, 0x04, request.encode())
            .await;
        client.expect_error(Foodgroup::OSERVICE, id, 0x06).await;
    }
    // And does not speak ARS on its port.
    let mut stranger = TcpStream::connect(port(&host)).await.unwrap();
    send(
        &mut stranger,
        Command::Create {
            name: name("eve"),
            cookie: COOKIE,
            tlvs: TlvList::new(),
        },
    )
    .await;
    ends(&mut stranger).await;
}

#[tokio::test]
async fn a_relay_that_could_check_nobody_does_not_start() {
    assert!(Relay::bind(RelayConfig::default()).await.is_err());
    let nowhere = HostConfig {
        listen: Vec::new(),
        ..HostConfig::default()
    };
    assert!(Host::bind(nowhere).await.is_err());
    let taken = HostConfig {
        listen: vec![port(&host().await)],
        ..HostConfig::default()
    };
    let taken_by = Host::bind(taken).await;
    drop(taken_by);
    let zero = HostConfig {
        numbers: 0..=5,
        ..HostConfig::default()
    };
    assert!(Host::bind(zero).await.is_err());
}
