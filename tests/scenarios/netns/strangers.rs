//! Whoever comes first to an open port is nobody yet (S-12).

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdv_tests::netlab::Netlab;
use rdv_tests::ports::{datagrams, listening};

use crate::world::{Plan, World, file_of};

/// How many come to each port.
const STRANGERS: usize = 50;

/// What a stranger says: nothing, and the beginnings of what the ports are for.
fn words(number: usize) -> Vec<u8> {
    match number % 6 {
        0 => Vec::new(),
        1 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // TLS.
        2 => vec![0x16, 3, 1, 0x40, 0, 1],
        3 => vec![0xFF; 1200],
        // A Binding request without a signature.
        4 => [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat(),
        // A first packet of QUIC, as far as its lengths.
        _ => [&[0xC3, 0, 0, 0, 1, 8][..], &[9; 1194]].concat(),
    }
}

/// Comes to every port that the process opens, from the public server, until `stop`; the ports that were visited.
fn visit(
    lab: &Netlab,
    pid: u32,
    address: IpAddr,
    stop: &AtomicBool,
) -> (BTreeSet<u16>, BTreeSet<u16>) {
    lab.inside("pub", || {
        let (mut tcp, mut udp) = (BTreeSet::new(), BTreeSet::new());
        let mut held = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            for port in datagrams(pid) {
                if udp.insert(port) {
                    for number in 0..STRANGERS {
                        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
                        let _ = socket.send_to(&words(number), (address, port));
                    }
                }
            }
            for port in listening(pid) {
                if !tcp.contains(&port) {
                    for number in 0..STRANGERS {
                        let to = (address, port).into();
                        let wait = Duration::from_secs(1);
                        // They stay until the end.
                        if let Ok(mut stream) = TcpStream::connect_timeout(&to, wait) {
                            tcp.insert(port);
                            let _ = stream.write_all(&words(number));
                            held.push(stream);
                        }
                    }
                }
            }
            std::thread::yield_now();
        }
        (tcp, udp)
    })
}

#[test]
fn fifty_strangers_at_every_port_of_both_change_nothing() {
    let Some(world) = World::new(&["A=open,delay=20", "B=open,delay=20"]) else {
        return;
    };
    let file = file_of(3);
    let going = world.begin(&Plan::new("a", "b", &file));
    let (sender, receiver) = (going.sending.pid(), going.receiving.pid());
    let stop = AtomicBool::new(false);
    let address = |side| world.lab.address(side, "ext4");
    let (done, at_sender, at_receiver) = std::thread::scope(|scope| {
        let at_sender = scope.spawn(|| visit(&world.lab, sender, address("a"), &stop));
        let at_receiver = scope.spawn(|| visit(&world.lab, receiver, address("b"), &stop));
        let done = going.finish();
        stop.store(true, Ordering::Relaxed);
        (
            done,
            at_sender.join().expect("a visit"),
            at_receiver.join().expect("a visit"),
        )
    });
    done.expect_path("direct");
    for (tcp, udp) in [at_sender, at_receiver] {
        assert!(
            !tcp.is_empty() && !udp.is_empty(),
            "visited {tcp:?} and {udp:?}"
        );
    }
}
