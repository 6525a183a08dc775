//! STUN and QUIC on one socket.

use std::io::IoSliceMut;

use proptest::prelude::*;
use quinn::udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rdv_proto::wire::stun::is_stun;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::datagrams::{LONGEST, WAITING};
use super::road::{End, Road};
use super::shared::take_stun;
use super::*;

/// A Binding request of `length` bytes, 20 at least.
fn stun(length: usize, mark: u8) -> Vec<u8> {
    let mut message = vec![mark; length];
    message[..2].copy_from_slice(&[0, 1]);
    let body = u16::try_from(length - 20).unwrap();
    message[2..4].copy_from_slice(&body.to_be_bytes());
    message[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    assert!(is_stun(&message));
    message
}

/// Sorts one buffer as the kernel would deliver these datagrams: what is STUN, and what is left.
fn sorted(datagrams: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut buffer = datagrams.concat();
    let mut meta = RecvMeta {
        len: buffer.len(),
        stride: datagrams.first().map_or(0, Vec::len),
        ..RecvMeta::default()
    };
    let mut taken = Vec::new();
    take_stun(&mut buffer, &mut meta, |bytes| taken.push(bytes.to_vec()));
    buffer.truncate(meta.len);
    (taken, buffer)
}

#[test]
fn each_segment_of_a_coalesced_buffer_is_looked_at() {
    let quic = |mark: u8| vec![0x40 | mark; 100];
    let (taken, left) = sorted(&[
        stun(100, 1),
        quic(1),
        stun(100, 2),
        quic(2),
        quic(3)[..50].to_vec(),
    ]);
    assert_eq!(taken, [stun(100, 1), stun(100, 2)]);
    assert_eq!(left, [quic(1), quic(2), quic(3)[..50].to_vec()].concat());

    let (taken, left) = sorted(&[quic(1), quic(2), stun(60, 3)]);
    assert_eq!(
        (taken, left),
        (vec![stun(60, 3)], [quic(1), quic(2)].concat())
    );
    assert_eq!(sorted(&[stun(64, 9)]), (vec![stun(64, 9)], vec![]));
    assert_eq!(sorted(&[vec![]]), (vec![], vec![]));
    assert_eq!(sorted(&[]), (vec![], vec![]));
    let long = stun(LONGEST + 1, 1);
    assert_eq!(sorted(&[long]), (vec![], vec![]), "nobody's");
}

#[test]
fn a_length_that_is_a_lie_is_cut_to_the_buffer() {
    let mut meta = RecvMeta {
        len: 500,
        stride: 0,
        ..RecvMeta::default()
    };
    take_stun(&mut [0x40; 7], &mut meta, |_| panic!("nothing there"));
    assert_eq!(meta.len, 7);
}

proptest! {
    #[test]
    fn nothing_is_lost_reordered_or_mixed_up(
        kinds in proptest::collection::vec(any::<bool>(), 1..40),
        stride in 20_usize..200,
        last in 20_usize..200,
    ) {
        let count = kinds.len();
        let datagrams: Vec<_> = kinds.iter().zip(0_u8..).map(|(is_stun, mark)| {
            let length = if usize::from(mark) + 1 == count { last.min(stride) } else { stride };
            if *is_stun { stun(length, mark) } else { vec![0x40 | mark; length] }
        }).collect();
        let (taken, left) = sorted(&datagrams);
        let (stuns, others): (Vec<_>, Vec<_>) = datagrams.into_iter().partition(|one| is_stun(one));
        prop_assert_eq!(taken, stuns);
        prop_assert_eq!(left, others.concat());
    }
}

/// Puts STUN before and behind each datagram that is long enough.
fn surrounded(datagram: Vec<u8>) -> Vec<Vec<u8>> {
    match datagram.len() {
        length @ 24.. => vec![stun(length, 1), datagram, stun(length - 4, 2)],
        _ => vec![datagram],
    }
}

#[tokio::test]
async fn quic_gets_through_when_the_kernel_puts_stun_and_quic_into_one_buffer() {
    let peers = Peers::with_code();
    let (client, mut to_client) = socket();
    let (server, mut to_server) = socket();
    let road = Road::to(server.local_addr().unwrap(), surrounded);
    let sockets = Sockets {
        client,
        server,
        address: road.address,
    };
    let words = vec![5; 2 << 20];
    let exchange = async {
        let (one, other) = connect(&sockets, &peers).await;
        let (mut one, mut other) = (one.unwrap(), other.unwrap());
        let mut heard = Vec::new();
        let speaking = async {
            one.write_all(&words).await.unwrap();
            one.shutdown().await.unwrap();
        };
        let (read, ()) = join!(other.read_to_end(&mut heard), speaking);
        read.unwrap();
        assert_eq!(heard, words);
    };
    let count = async |datagrams: &mut Datagrams, count: &mut [usize; 2]| {
        while let Some(datagram) = datagrams.recv().await {
            let mark = datagram.bytes[8];
            assert!(is_stun(&datagram.bytes));
            count[usize::from(mark) - 1] += 1;
        }
    };
    let (mut at_server, mut at_client) = ([0; 2], [0; 2]);
    tokio::select! {
        () = exchange => {}
        _ = async { join!(count(&mut to_server, &mut at_server), count(&mut to_client, &mut at_client)) } => {
            panic!("a socket closed");
        }
    }
    for seen in at_server.into_iter().chain(at_client) {
        assert!(seen >= 5, "{at_server:?} {at_client:?}");
    }
}

/// The test above proves what it says only where the kernel coalesces: Linux 5 does.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn this_kernel_puts_datagrams_together() {
    let (sender, receiver) = (End::new(), bound());
    let state = UdpSocketState::new((&receiver).into()).unwrap();
    if state.gro_segments() == 1 {
        return eprintln!("SKIPPED: no receive offload here");
    }
    let batch = [stun(100, 1), vec![0x40; 100], stun(80, 2)];
    sender.send(receiver.local_addr().unwrap(), &batch).await;
    let mut buffers = vec![vec![0; 65_535]; BATCH_SIZE];
    let mut slices: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| IoSliceMut::new(buffer))
        .collect();
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    // On the loopback interface what was sent has arrived.
    let count = state
        .recv((&receiver).into(), &mut slices, &mut metas)
        .unwrap();
    assert_eq!((count, metas[0].len, metas[0].stride), (1, 280, 100));
}

#[tokio::test]
async fn datagrams_go_both_ways_beside_a_connection_and_without_one() {
    let (client, mut to_client) = socket();
    let (server, mut to_server) = socket();
    let address = server.local_addr().unwrap();
    let client_address = client.local_addr().unwrap();
    client.send_stun(address, &stun(64, 1), None).unwrap();
    let came = to_server.recv().await.unwrap();
    assert_eq!(
        (came.from, &came.bytes[..]),
        (client_address, &stun(64, 1)[..])
    );

    let sockets = Sockets {
        client,
        server,
        address,
    };
    let (mut one, mut other) = lanes(&sockets).await;
    sockets
        .server
        .send_stun(client_address, &stun(96, 2), Some(7))
        .unwrap();
    assert_eq!(to_client.recv().await.unwrap().bytes, stun(96, 2));
    one.write_all(b"x").await.unwrap();
    other.read_exact(&mut [0]).await.unwrap();
}

#[tokio::test]
async fn datagrams_go_on_when_the_socket_moves() {
    let (client, mut to_client) = socket();
    let (server, mut to_server) = socket();
    client.rebind(bound()).unwrap();
    let moved = client.local_addr().unwrap();
    client
        .send_stun(server.local_addr().unwrap(), &stun(64, 1), None)
        .unwrap();
    assert_eq!(to_server.recv().await.unwrap().from, moved);
    server.send_stun(moved, &stun(64, 2), None).unwrap();
    assert_eq!(to_client.recv().await.unwrap().bytes, stun(64, 2));
}

#[tokio::test]
async fn of_too_many_datagrams_the_oldest_go() {
    let (sender, mut datagrams) = Datagrams::new();
    let (from, last) = (bound().local_addr().unwrap(), WAITING as u8 + 9);
    for mark in 0..=last {
        let bytes = vec![mark].into();
        sender.send(Datagram { from, bytes }).unwrap();
    }
    for mark in 10..=last {
        assert_eq!(datagrams.recv().await.unwrap().bytes[..], [mark]);
    }
    drop(sender);
    assert_eq!(datagrams.recv().await, None);
}

#[tokio::test]
async fn a_socket_that_nobody_holds_is_closed() {
    let (client, mut datagrams) = socket();
    let address = client.local_addr().unwrap();
    drop(client.clone());
    assert!(UdpSocket::bind(address).is_err(), "still held");
    drop(client);
    assert_eq!(datagrams.recv().await, None);
    UdpSocket::bind(address).unwrap();
}

#[tokio::test]
async fn a_lane_outlives_the_socket_that_it_came_in_on() {
    let sockets = Sockets::new();
    let (mut one, mut other) = lanes(&sockets).await;
    let Sockets {
        client,
        server,
        address,
    } = sockets;
    drop((client, server));
    one.write_all(b"x").await.unwrap();
    other.read_exact(&mut [0]).await.unwrap();
    // But nobody else gets in.
    let (late, _) = socket();
    let peers = Peers::with_code();
    let (identity, session) = &peers.answerer;
    let soon = Duration::from_millis(300);
    let dialled = dial(&late, address, session, identity, soon).await;
    assert!(
        matches!(dialled, Err(SecureError::HandshakeTimedOut)),
        "{dialled:?}"
    );
}
