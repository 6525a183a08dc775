//! Hop limits are for probes alone.

use std::io::{self, IoSliceMut, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rdv_proto::wire::stun::is_stun;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::shared::SharedSocket;
use super::*;

/// In the place of quinn's socket: notes with which hop limit a packet would leave.
#[derive(Debug)]
struct Watching {
    socket: UdpSocket,
    usual: u32,
    sent: AtomicUsize,
    wrong: AtomicUsize,
}

impl AsyncUdpSocket for Watching {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        unreachable!("nobody waits")
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        for _ in 0..3 {
            if SockRef::from(&self.socket).ttl_v4()? != self.usual {
                self.wrong.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::yield_now();
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[test]
fn no_packet_of_quic_leaves_while_a_probe_has_lowered_the_limit() {
    let (socket, sink) = (bound(), bound());
    let to = sink.local_addr().unwrap();
    let watching = Arc::new(Watching {
        socket: socket.try_clone().unwrap(),
        usual: SockRef::from(&socket).ttl_v4().unwrap(),
        sent: AtomicUsize::new(0),
        wrong: AtomicUsize::new(0),
    });
    let shared = SharedSocket::over(watching.clone(), socket, Datagrams::new().0);
    let transmit = Transmit {
        destination: to,
        ecn: None,
        contents: &[0x40; 100],
        segment_size: None,
        src_ip: None,
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..2_000).for_each(|_| shared.try_send(&transmit).unwrap()));
        }
        scope.spawn(|| {
            for _ in 0..2_000 {
                // A full buffer is no matter here.
                let _ = shared.send(to, b"probe", Some(4));
            }
        });
    });
    assert_eq!(watching.sent.load(Ordering::Relaxed), 4_000);
    assert_eq!(watching.wrong.load(Ordering::Relaxed), 0);
}

#[test]
fn the_limit_is_back_after_a_probe_even_if_that_could_not_be_sent() {
    for (local, reachable) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("[::1]:0", "[::1]"),
        ("[::]:0", "127.0.0.1"),
    ] {
        let Ok(socket) = UdpSocket::bind(local) else {
            eprintln!("SKIPPED: {local}");
            continue;
        };
        let options = socket.try_clone().unwrap();
        let limits = || {
            let options = SockRef::from(&options);
            (options.ttl_v4().ok(), options.unicast_hops_v6().ok())
        };
        let before = limits();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let shared = SharedSocket::new(socket, Datagrams::new().0).unwrap();
        shared
            .send(format!("{reachable}:9").parse().unwrap(), b"probe", Some(4))
            .unwrap();
        assert_eq!(limits(), before, "{local}");
        // Longer than any datagram can be.
        let too_long = vec![0; 70_000];
        let to = format!("{reachable}:9").parse().unwrap();
        assert!(shared.send(to, &too_long, Some(4)).is_err());
        assert!(shared.send(to, b"probe", Some(0)).is_err() || local != "127.0.0.1:0");
        assert_eq!(limits(), before, "{local}");
    }
}

/// As seen on the wire: needs a raw socket, which only root gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn on_the_wire_probes_have_their_limit_and_quic_has_its_own() {
    let Ok(wire) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) else {
        return eprintln!("SKIPPED: raw sockets are for root alone");
    };
    wire.set_recv_buffer_size(4 << 20).unwrap();
    wire.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let sockets = Sockets::new();
    let from = sockets.client.local_addr().unwrap().port();
    let over = Arc::new(AtomicBool::new(false));
    let watch = std::thread::spawn({
        let over = over.clone();
        move || watch(wire, from, &over)
    });

    let probe = rdv_proto::wire::stun::Stun::request([7; 12]).encode();
    let (mut one, mut other) = lanes(&sockets).await;
    let sending = async {
        for _ in 0..300 {
            one.write_all(&[1; 10_000]).await.unwrap();
            let _ = sockets.client.send_stun(sockets.address, &probe, Some(4));
        }
        one.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (read, ()) = join!(other.read_to_end(&mut heard), sending);
    assert_eq!(read.unwrap(), 3_000_000);
    over.store(true, Ordering::Relaxed);

    let (probes, quic) = watch.join().unwrap();
    assert!(
        probes.len() > 100 && probes.iter().all(|ttl| *ttl == 4),
        "{probes:?}"
    );
    assert!(
        quic.len() > 100 && quic.iter().all(|ttl| *ttl > 4),
        "{quic:?}"
    );
}

/// The TTLs of what came from the port: of STUN, and of all else.
fn watch(mut wire: Socket, from: u16, over: &AtomicBool) -> (Vec<u8>, Vec<u8>) {
    let (mut probes, mut quic) = (Vec::new(), Vec::new());
    let mut packet = vec![0; 65_536];
    while let (Ok(length), _) | (Err(_), Some(length)) = (
        wire.read(&mut packet),
        (!over.load(Ordering::Relaxed)).then_some(0),
    ) {
        let packet = &packet[..length];
        let Some(udp) = packet
            .first()
            .and_then(|first| packet.get(usize::from(first & 15) * 4..))
        else {
            continue;
        };
        if udp.len() < 8 || udp[..2] != from.to_be_bytes() {
            continue;
        }
        let seen = if is_stun(&udp[8..]) {
            &mut probes
        } else {
            &mut quic
        };
        seen.push(packet[8]);
    }
    (probes, quic)
}
