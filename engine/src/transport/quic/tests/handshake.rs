//! Who gets in.

use rdv_proto::trust::Secret;
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn the_right_keys_connect_and_exchange() {
    for secret in [words("verse"), Secret::None] {
        let peers = Peers::new(secret);
        for answerer_dials in [true, false] {
            let sockets = Sockets::new();
            let (one, two) = match answerer_dials {
                true => (&peers.answerer, &peers.proposer),
                false => (&peers.proposer, &peers.answerer),
            };
            let (one, two) = join!(
                as_client(&sockets.client, sockets.address, one),
                as_server(&sockets.server, two)
            );
            let (mut one, mut two) = (one.unwrap(), two.unwrap());
            assert_eq!(one.remote(), sockets.address);
            assert_eq!(two.remote(), sockets.client.local_addr().unwrap());
            assert!(one.round_trip() < Duration::from_secs(1));

            one.write_all(b"manifest").await.unwrap();
            let mut first = [0; 8];
            two.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"manifest", "nothing stands between BIND and it");
            two.write_all(b"yes").await.unwrap();
            two.shutdown().await.unwrap();
            let mut answer = Vec::new();
            one.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"yes");
        }
    }
}

#[tokio::test]
async fn s_02_a_stranger_at_the_other_end_fails_inside_the_handshake() {
    let denied = |error: &_| {
        matches!(
            error,
            rustls::Error::AlertReceived(AlertDescription::AccessDenied)
        )
    };

    let mut peers = Peers::with_code();
    peers.answerer.0 = Identity::generate().unwrap();
    let (a, p) = connect(&Sockets::new(), &peers).await;
    assert!(matches!(p, Err(SecureError::WrongKey)), "{p:?}");
    assert!(
        matches!(&a, Err(SecureError::Tls(error)) if denied(error)),
        "{a:?}"
    );

    let mut peers = Peers::with_code();
    peers.proposer.0 = Identity::generate().unwrap();
    let (a, p) = connect(&Sockets::new(), &peers).await;
    assert!(matches!(a, Err(SecureError::WrongKey)), "{a:?}");
    assert!(
        matches!(&p, Err(SecureError::Tls(error)) if denied(error)),
        "{p:?}"
    );
}

#[tokio::test]
async fn s_04_another_code_fails_at_bind() {
    let identities = [(); 2].map(|()| Identity::generate().unwrap());
    let (p, _) = sessions(words("verse"), &identities);
    let (_, a) = sessions(words("zoom"), &identities);
    let [proposer, answerer] = identities;
    let peers = Peers {
        proposer: (proposer, p),
        answerer: (answerer, a),
    };
    let (a, p) = connect(&Sockets::new(), &peers).await;
    refused_at_bind([a, p]);
}

/// Whoever finds it out first closes the connection: the other may not have read the wrong BIND yet.
fn refused_at_bind(ends: [Secured; 2]) {
    let mismatches = ends
        .iter()
        .filter(|end| matches!(end, Err(SecureError::BindMismatch)));
    assert!(mismatches.count() >= 1, "{ends:?}");
    let refused =
        |end: &Secured| matches!(end, Err(SecureError::BindMismatch | SecureError::Io(_)));
    assert!(ends.iter().all(refused), "{ends:?}");
}

#[tokio::test]
async fn another_lane_fails_at_bind() {
    let (sockets, peers) = (Sockets::new(), Peers::with_code());
    let client = async {
        let (identity, session) = &peers.answerer;
        let dialled = dial(
            &sockets.client,
            sockets.address,
            session,
            identity,
            DEADLINE,
        )
        .await?;
        bind(dialled, session, 1, true, DEADLINE).await
    };
    let (a, p) = join!(client, as_server(&sockets.server, &peers.proposer));
    refused_at_bind([a, p]);
}

/// Even with both private keys stolen, BIND tells one connection from two.
#[tokio::test]
async fn s_02_binds_passed_on_between_two_connections_do_not_fit() {
    let (peers, middle, server) = (Peers::with_code(), Sockets::new(), Sockets::new());
    let in_the_middle = async {
        let (identity, session) = &peers.proposer;
        let incoming = middle.server.incoming().await.unwrap();
        let to_a = accept(incoming, session, identity, DEADLINE).await.unwrap();
        let (identity, session) = &peers.answerer;
        let to_p = dial(&middle.client, server.address, session, identity, DEADLINE);
        let to_p = to_p.await.unwrap();
        let (mut a_send, mut a_receive) = to_a.connection.accept_bi().await.unwrap();
        let (mut p_send, mut p_receive) = to_p.connection.open_bi().await.unwrap();
        // Whoever hangs up first makes the one in the middle hang up on the other.
        tokio::select! {
            _ = tokio::io::copy(&mut a_receive, &mut p_send) => {}
            _ = tokio::io::copy(&mut p_receive, &mut a_send) => {}
        }
    };
    let (a, p, ()) = join!(
        as_client(&server.client, middle.address, &peers.answerer),
        as_server(&server.server, &peers.proposer),
        in_the_middle
    );
    refused_at_bind([a, p]);
}

#[tokio::test(start_paused = true)]
async fn s_29_silence_ends_by_the_deadline() {
    let (peers, silent, (client, _)) = (Peers::with_code(), bound(), socket());
    let start = Instant::now();
    let ended = as_client(&client, silent.local_addr().unwrap(), &peers.answerer).await;
    assert!(
        matches!(ended, Err(SecureError::HandshakeTimedOut)),
        "{ended:?}"
    );
    assert_eq!(start.elapsed(), DEADLINE);
}

#[tokio::test]
async fn an_address_that_nobody_can_dial_is_an_error_at_once() {
    let (peers, (client, _)) = (Peers::with_code(), socket());
    for address in ["127.0.0.1:0", "0.0.0.0:9", "[::1]:9"] {
        let ended = as_client(&client, address.parse().unwrap(), &peers.answerer).await;
        assert!(matches!(ended, Err(SecureError::Io(_))), "{ended:?}");
    }
}

/// One socket per family is the rule; where one serves both, IPv4 looks like IPv4 all the same.
#[tokio::test]
async fn ipv4_on_an_ipv6_socket_is_ipv4() {
    let Ok(both) = UdpSocket::bind("[::]:0") else {
        return eprintln!("SKIPPED: no IPv6 here");
    };
    let (client, _) = QuicSocket::new(both).unwrap();
    let sockets = Sockets {
        client,
        ..Sockets::new()
    };
    let (one, other) = lanes(&sockets).await;
    assert_eq!(one.remote(), sockets.address);
    assert!(other.remote().is_ipv4());
}
