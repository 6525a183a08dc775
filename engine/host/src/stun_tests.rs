#![allow(clippy::disallowed_methods, reason = "these are the clients")]

use rdv_proto::wire::stun::{CHANGE_PORT, CHANGE_REQUEST, Class, RDV_TIME, SOFTWARE, Stun};

use crate::{Host, HostConfig, HostHandle, Relay, RelayConfig, RelaySource};

use super::*;

const TRANSACTION: [u8; 12] = *b"0123456789ab";
/// Answers come at once, or never.
const SOON: Duration = Duration::from_secs(20);

async fn host(listen: &[&str], relay: RelaySource) -> (HostHandle, Vec<SocketAddr>) {
    let config = HostConfig {
        listen: listen.iter().map(|at| at.parse().unwrap()).collect(),
        relay,
        ..HostConfig::default()
    };
    let host = Host::bind(config).await.unwrap();
    let stun = host.stun_addrs();
    (host.spawn(), stun)
}

/// The answer to a datagram, and where it came from.
async fn ask(from: &UdpSocket, to: SocketAddr, request: &Stun) -> (Stun, SocketAddr) {
    from.send_to(&request.encode(), to).await.unwrap();
    let mut answer = [0; 1024];
    let (length, by) = timeout(SOON, from.recv_from(&mut answer))
        .await
        .unwrap()
        .unwrap();
    (Stun::decode(&answer[..length]).unwrap(), by)
}

/// What comes back over TCP until the other side hangs up.
async fn ask_stream(to: SocketAddr, pieces: &[&[u8]]) -> (Vec<u8>, SocketAddr) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    // Who is refused with bytes unread is reset.
    timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    (answer, stream.local_addr().unwrap())
}

#[tokio::test]
async fn host_and_relay_answer_on_their_own_port_numbers() {
    let relay = RelaySource::Listen(vec!["127.0.0.1:0".parse().unwrap()]);
    let (host, stun) = host(&["127.0.0.1:0"], relay).await;
    assert_eq!(stun, [host.local_addrs(), host.relay_addrs()].concat());
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (asked, other) in [(stun[0], stun[1]), (stun[1], stun[0])] {
        let request = Stun::request(TRANSACTION).padded_to(128);
        let (answer, by) = ask(&client, asked, &request).await;
        assert_eq!(by, asked);
        assert_eq!(answer.class, Class::Success);
        assert_eq!(answer.xor_mapped(), client.local_addr().ok());
        assert_eq!(answer.other_address(asked), Some(other));
        assert!(answer.attribute(RDV_TIME).is_some() && answer.attribute(SOFTWARE).is_some());
        let elsewhere = request.with(CHANGE_REQUEST, CHANGE_PORT.to_be_bytes().to_vec());
        let (answer, by) = ask(&client, asked, &elsewhere).await;
        assert_eq!((answer.class, by), (Class::Success, other));
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_host_of_one_port_answers_on_a_second_one_too() {
    let (host, stun) = host(&["127.0.0.1:0"], RelaySource::SamePort).await;
    assert_eq!((stun.len(), stun[0]), (2, host.local_addrs()[0]));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (answer, _) = ask(&client, stun[0], &Stun::request(TRANSACTION)).await;
    let other = answer.other_address(stun[0]).unwrap();
    assert_eq!(other, stun[1]);
    let (answer, by) = ask(&client, other, &Stun::request(TRANSACTION)).await;
    assert_eq!((answer.xor_mapped(), by), (client.local_addr().ok(), other));
    host.shutdown().await;
}

#[tokio::test]
async fn on_a_wildcard_the_answer_comes_from_the_address_that_was_asked() {
    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let (host, stun) = host(&[wildcard], RelaySource::SamePort).await;
        let client = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let at = |port: u16| SocketAddr::new([127, 0, 0, 7].into(), port);
        let asked = at(stun[0].port());
        let (answer, by) = ask(&client, asked, &Stun::request(TRANSACTION)).await;
        assert_eq!(by, asked, "{wildcard}");
        assert_eq!(answer.other_address(asked), Some(at(stun[1].port())));
        let elsewhere =
            Stun::request(TRANSACTION).with(CHANGE_REQUEST, CHANGE_PORT.to_be_bytes().to_vec());
        let (_, by) = ask(&client, asked, &elsewhere).await;
        assert_eq!(by, at(stun[1].port()), "{wildcard}");
        host.shutdown().await;
    }
}

#[tokio::test]
async fn stun_over_tcp_is_answered_on_every_port() {
    let request = Stun::request(TRANSACTION).encode();
    let listen = || RelaySource::Listen(vec!["127.0.0.1:0".parse().unwrap()]);
    for relay in [RelaySource::SamePort, RelaySource::None, listen()] {
        let (host, _) = host(&["127.0.0.1:0"], relay).await;
        for to in [host.local_addrs(), host.relay_addrs()].concat() {
            for pieces in [
                vec![&request[..]],
                vec![&request[..1], &request[1..3], &request[3..]],
            ] {
                let (answer, own) = ask_stream(to, &pieces).await;
                let answer = Stun::decode(&answer).unwrap();
                assert_eq!(answer.xor_mapped(), Some(own));
            }
        }
        host.shutdown().await;
    }
}

#[tokio::test]
async fn a_relay_alone_answers_as_well() {
    let config = RelayConfig {
        open: true,
        ..RelayConfig::default()
    };
    let relay = Relay::bind(config).await.unwrap();
    let address = relay.local_addrs()[0];
    assert_eq!(relay.stun_addrs()[0], address);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(relay.run(async {
        stopped.await.ok();
    }));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (answer, _) = ask(&client, address, &Stun::request(TRANSACTION)).await;
    assert_eq!(answer.xor_mapped(), client.local_addr().ok());
    let (answer, own) = ask_stream(address, &[&Stun::request(TRANSACTION).encode()]).await;
    assert_eq!(Stun::decode(&answer).unwrap().xor_mapped(), Some(own));
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn what_begins_like_stun_and_is_none_is_hung_up_on() {
    let (host, _) = host(&["127.0.0.1:0"], RelaySource::SamePort).await;
    let address = host.local_addrs()[0];
    let too_long = [&[0, 1, 0xFF, 0xFF][..], &[0; 2000]].concat();
    let no_cookie = [&[0, 1, 0, 0][..], &[0; 16]].concat();
    for pieces in [&too_long[..], &no_cookie[..]] {
        assert_eq!(ask_stream(address, &[pieces]).await.0, b"");
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_port_that_is_taken_over_udp_is_named_and_the_host_goes_on() {
    // The same number over TCP may be somebody else's in turn: then another one is tried.
    let (taken, host) = loop {
        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let config = HostConfig {
            listen: vec![taken.local_addr().unwrap()],
            ..HostConfig::default()
        };
        if let Ok(host) = Host::bind(config).await {
            break (taken, host);
        }
    };
    let [(missing, error)] = host.stun_missing() else {
        panic!("{:?}", host.stun_missing());
    };
    assert_eq!(missing, &taken.local_addr().unwrap());
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(host.stun_addrs(), []);
    let host = host.spawn();
    let request = Stun::request(TRANSACTION).encode();
    let (answer, own) = ask_stream(host.local_addrs()[0], &[&request]).await;
    assert_eq!(Stun::decode(&answer).unwrap().xor_mapped(), Some(own));
    host.shutdown().await;
}
