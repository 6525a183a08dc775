//! Whoever else finds the socket.

use quinn::Endpoint;
use quinn::crypto::rustls::QuicClientConfig;
use rdv_proto::wire::security::ALPN_QUIC;
use rustls::version::TLS13;

use super::*;

/// A client that speaks QUIC with these TLS settings and tries to say something.
async fn stranger(to: SocketAddr, tls: rustls::ClientConfig) {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let tls = QuicClientConfig::try_from(tls).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let connecting = endpoint.connect_with(config, to, "rdv.invalid").unwrap();
    let Ok(connection) = connecting.await else {
        return;
    };
    let Ok((mut send, _receive)) = connection.open_bi().await else {
        return;
    };
    let _ = send.write_all(&[0; 64]).await;
    connection.closed().await;
}

fn without_certificate() -> rustls::ClientConfig {
    let mut tls = no_certificate(&[&TLS13]);
    tls.alpn_protocols = vec![ALPN_QUIC.into()];
    tls
}

/// The right key and another protocol, or none.
fn other_protocol(peers: &Peers, alpn: &[&str]) -> rustls::ClientConfig {
    let (p, a) = (&peers.proposer.0, &peers.answerer.0);
    let mut tls = peer::client_config(a, p.key_hash, ALPN_QUIC).unwrap();
    tls.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    tls
}

async fn refused(peers: &Peers, tls: rustls::ClientConfig) -> SecureError {
    let (server, _) = socket();
    let address = server.local_addr().unwrap();
    let served = as_server(&server, &peers.proposer);
    join!(served, stranger(address, tls)).0.unwrap_err()
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let error = refused(&Peers::with_code(), without_certificate()).await;
    assert!(
        matches!(&error, SecureError::Tls(tls) if tls.to_string().contains("certificate")),
        "{error:?}"
    );
}

#[tokio::test]
async fn another_protocol_or_none_is_refused() {
    let peers = Peers::with_code();
    for alpn in [&[][..], &["h3"], &["rdv-tcp/1"]] {
        let error = refused(&peers, other_protocol(&peers, alpn)).await;
        assert!(matches!(error, SecureError::Tls(_)), "{alpn:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_comes_before_bind_is_not_believed() {
    let peers = Peers::with_code();
    let error = refused(&peers, other_protocol(&peers, &[ALPN_QUIC])).await;
    assert!(matches!(error, SecureError::BindMismatch), "{error:?}");
}

/// First packets of handshakes that go no further.
async fn initials(count: usize) -> Vec<Vec<u8>> {
    let (client, _) = socket();
    let trap = tokio::net::UdpSocket::from_std({
        let trap = bound();
        trap.set_nonblocking(true).unwrap();
        trap
    })
    .unwrap();
    let to = trap.local_addr().unwrap();
    let peers = Peers::with_code();
    let mut caught = Vec::new();
    for _ in 0..count {
        let (identity, session) = &peers.answerer;
        let mut packet = vec![0; 2_048];
        tokio::select! {
            _ = dial(&client, to, session, identity, DEADLINE) => panic!("nobody is there"),
            length = trap.recv(&mut packet) => packet.truncate(length.unwrap()),
        }
        // The dial that is given up says so, in a packet of its own.
        assert!(
            packet.len() >= 1_200 || caught.len() == count,
            "{}",
            packet.len()
        );
        caught.push(packet);
        let mut farewell = vec![0; 2_048];
        let _ = trap.recv(&mut farewell).await;
    }
    caught
}

#[tokio::test]
async fn fifty_strangers_of_all_kinds_change_nothing() {
    let (sockets, peers) = (Sockets::new(), Arc::new(Peers::with_code()));
    let slow: Vec<_> = initials(20)
        .await
        .into_iter()
        .map(|packet| (bound(), packet))
        .collect();

    // Ten without a certificate, ten with another protocol, ten of garbage, twenty that fall silent.
    let mut strangers = JoinSet::new();
    for _ in 0..10 {
        strangers.spawn(stranger(sockets.address, without_certificate()));
        strangers.spawn(stranger(sockets.address, other_protocol(&peers, &["h3"])));
    }
    for (socket, packet) in &slow {
        socket.send_to(packet, sockets.address).unwrap();
    }
    let noise = bound();
    for number in 0..10_u8 {
        let mut garbage = vec![number.wrapping_mul(29) | 0x40; 1_200 + usize::from(number)];
        noise.send_to(&garbage, sockets.address).unwrap();
        // Long headers of this version, of another one, and of none.
        garbage[..5].copy_from_slice(&[0xc0 | number, 0, 0, 0, number % 3]);
        noise.send_to(&garbage, sockets.address).unwrap();
        noise
            .send_to(&garbage[..usize::from(number)], sockets.address)
            .unwrap();
    }

    let start = std::time::Instant::now();
    let client = as_client(&sockets.client, sockets.address, &peers.answerer);
    let (one, other) = join!(client, door(&sockets.server, &peers));
    assert_eq!(other.remote(), sockets.client.local_addr().unwrap());
    assert_eq!(one.unwrap().remote(), sockets.address);
    assert!(
        start.elapsed() < DEADLINE,
        "nobody waited for the silent ones"
    );
}
