//! What a peer and a stranger can make us hold (`security.md` 6.2, S-41).

use futures_like::pending;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

mod futures_like {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    /// Whether a future has to wait.
    pub(super) async fn pending(future: impl Future) -> bool {
        let mut future = pin!(future);
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}

#[test]
fn s_41_limits_are_told_to_quinn() {
    let identity = Identity::generate().unwrap();
    for (remote, payload) in [("192.0.2.1:1", 1_452), ("[::ffff:127.0.0.1]:1", 6_500)] {
        let remote = remote.parse().unwrap();
        let tls = peer::server_config(&identity, [0; 32], "rdv/1").unwrap();
        let server = format!("{:?}", config::server(tls, Some(remote)).unwrap());
        for told in [
            "max_incoming: 1024",
            "incoming_buffer_size: 65536",
            "incoming_buffer_size_total: 8388608",
            "max_concurrent_bidi_streams: 64",
            "max_concurrent_uni_streams: 0",
            "datagram_receive_buffer_size: None",
            "max_idle_timeout: Some(15000)",
            "keep_alive_interval: Some(5s)",
            "initial_rtt: 100ms",
            "sent: 0",
            &format!("upper_bound: {payload}"),
        ] {
            assert!(server.contains(told), "{told} in {server}");
        }
    }
    let open = peer::closed_server_config().unwrap();
    let open = format!("{:?}", config::server(open, None).unwrap());
    assert!(open.contains("max_incoming: 1024"), "{open}");
    let endpoint = format!("{:?}", config::endpoint());
    assert!(endpoint.contains("grease_quic_bit: false"), "{endpoint}");
    // Ten of them, the most that go into one batch, and the headers stay below 64 KiB.
    assert!(10 * usize::from(config::PAYLOAD_LOOPBACK) + 48 < 65_536);
}

/// Many strangers dial at once, from one socket.
fn crowd(socket: &QuicSocket, to: SocketAddr, count: usize) -> JoinSet<Option<SecureError>> {
    let mut crowd = JoinSet::new();
    let peers = Arc::new(Peers::with_code());
    for _ in 0..count {
        let (socket, peers) = (socket.clone(), peers.clone());
        crowd.spawn(async move {
            let (identity, session) = &peers.answerer;
            let long = Duration::from_secs(60);
            dial(&socket, to, session, identity, long).await.err()
        });
    }
    crowd
}

#[tokio::test]
async fn s_41_of_too_many_that_knock_the_last_are_not_heard() {
    let (sockets, peers) = (Sockets::new(), Peers::with_code());
    let _crowd = crowd(&sockets.client, sockets.address, config::UNACCEPTED);
    let door = sockets.server.endpoint();
    let mut held = Vec::new();
    while held.len() < config::UNACCEPTED {
        held.push(door.accept().await.unwrap());
    }
    let (late, _) = socket();
    let (identity, session) = &peers.answerer;
    let soon = Duration::from_millis(500);
    tokio::select! {
        heard = door.accept() => panic!("{heard:?}"),
        late = dial(&late, sockets.address, session, identity, soon) => {
            assert!(matches!(late, Err(SecureError::HandshakeTimedOut)), "{late:?}");
        }
    }
    // One goes, one comes.
    held.pop().unwrap().ignore();
    let late_address = late.local_addr().unwrap();
    tokio::select! {
        heard = door.accept() => assert_eq!(heard.unwrap().remote_address(), late_address),
        late = dial(&late, sockets.address, session, identity, DEADLINE) => panic!("{late:?}"),
    }
    for one in held {
        one.ignore();
    }
}

#[tokio::test]
async fn s_41_above_128_unvalidated_a_retry_is_demanded() {
    let (sockets, peers) = (Sockets::new(), Peers::with_code());
    let _crowd = crowd(&sockets.client, sockets.address, config::UNVALIDATED);
    let mut held = Vec::new();
    while held.len() < config::UNVALIDATED {
        held.push(sockets.server.incoming().await.unwrap());
    }
    assert!(
        held.iter()
            .all(|one| !one.incoming.remote_address_validated() && one.place.is_some())
    );

    // The next one is asked whether it is where it says. A peer is.
    let (late, _) = socket();
    let client = as_client(&late, sockets.address, &peers.answerer);
    let server = async {
        let incoming = sockets.server.incoming().await.unwrap();
        assert!(incoming.incoming.remote_address_validated());
        let (identity, session) = &peers.proposer;
        let let_in = accept(incoming, session, identity, DEADLINE).await.unwrap();
        bind(let_in, session, 0, false, DEADLINE).await
    };
    let (one, other) = join!(client, server);
    let _lanes = (one.unwrap(), other.unwrap());

    // With a free place nobody is asked.
    held.pop().unwrap().ignore();
    let (later, _) = socket();
    let client = as_client(&later, sockets.address, &peers.answerer);
    let server = async {
        let incoming = sockets.server.incoming().await.unwrap();
        assert!(!incoming.incoming.remote_address_validated());
        let (identity, session) = &peers.proposer;
        let let_in = accept(incoming, session, identity, DEADLINE).await.unwrap();
        bind(let_in, session, 0, false, DEADLINE).await
    };
    let (one, other) = join!(client, server);
    let _lanes = (one.unwrap(), other.unwrap());
    held.drain(..).for_each(QuicIncoming::ignore);
}

#[tokio::test]
async fn s_41_streams_beyond_the_limit_have_to_wait_and_disturb_nobody() {
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
        .await;
        let dialled = dialled.unwrap();
        let connection = dialled.connection.clone();
        let lane = bind(dialled, session, 0, true, DEADLINE).await.unwrap();
        (lane, connection)
    };
    let ((mut one, connection), other) = join!(client, as_server(&sockets.server, &peers.proposer));
    let mut other = other.unwrap();
    let mut streams = Vec::new();
    for _ in 1..config::STREAMS {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[9; 4_096]).await.unwrap();
        streams.push((send, receive));
    }
    assert!(pending(connection.open_bi()).await);
    assert!(pending(connection.open_uni()).await);
    assert_eq!(connection.max_datagram_size(), None);

    one.write_all(b"through").await.unwrap();
    let mut heard = [0; 7];
    other.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"through");
    assert!(pending(connection.open_bi()).await);
}

#[tokio::test]
async fn a_socket_that_listens_no_more_lets_nobody_in() {
    let sockets = Sockets::new();
    let (mut one, mut other) = lanes(&sockets).await;
    sockets.server.stop_listening();
    let peers = Peers::with_code();
    let (identity, session) = &peers.answerer;
    let soon = Duration::from_millis(300);
    let late = dial(&sockets.client, sockets.address, session, identity, soon).await;
    assert!(
        matches!(late, Err(SecureError::HandshakeTimedOut)),
        "{late:?}"
    );
    one.write_all(b"x").await.unwrap();
    other.read_exact(&mut [0]).await.unwrap();
}
