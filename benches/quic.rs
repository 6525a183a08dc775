//! QUIC beside TLS over TCP on loopback, from memory to memory between two processes: rdv's lanes, and bare quinn with the same
//! settings and with others. What the variants tell is why the settings are as they are.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rdv_benches::report::{Goal, headline, median, mib, spread, verdict};
use rdv_benches::{Failure, lanes, quick, rounds, scratch};

/// Ways, and what they are; the first two are rdv's.
const WAYS: [(&str, &str); 10] = [
    ("tls", "rdv: TLS over TCP"),
    ("quic", "rdv: QUIC"),
    ("bare", "quinn, same settings"),
    ("bare:mtu=1452", "... 1,452-byte packets"),
    ("bare:mtu=1452,gso=0", "... and no GSO"),
    ("bare:cc=cubic", "... cubic"),
    ("bare:acks=10", "... an ACK each 10 packets"),
    ("bare:window=0", "... quinn's own windows"),
    ("bare:socket=0", "... system's socket buffers"),
    ("bare:threads=1", "... several threads"),
];

fn main() -> Result<(), Failure> {
    if lanes::play_role()? {
        return Ok(());
    }
    let place = scratch::folder()?;
    lanes::prepare(place.path())?;
    let bytes: u64 = if quick() { 32 << 20 } else { 512 << 20 };
    let rounds = rounds(3)?;
    headline(&format!(
        "{} MiB over one connection on loopback, memory to memory, {rounds} round(s) in turns",
        bytes >> 20
    ));
    let mut walls = vec![Vec::new(); WAYS.len()];
    for _ in 0..rounds {
        for ((way, _), walls) in WAYS.iter().zip(&mut walls) {
            walls.push(once(way, bytes, place.path())?);
        }
    }
    println!("{:<32} {:>7} {:>7} {:>13}", "", "MiB/s", "wall s", "spread");
    let middle: Vec<f64> = walls.iter().map(|walls| median(walls)).collect();
    for (((_, name), walls), wall) in WAYS.iter().zip(&walls).zip(&middle) {
        let (least, most) = spread(walls);
        println!(
            "{name:<32} {:>7.0} {wall:>7.2} {:>13}",
            mib(bytes) / wall,
            format!("{least:.2}-{most:.2}"),
        );
    }
    verdict(
        "rdv QUIC / bare quinn",
        middle[2] / middle[1],
        Goal::AtLeast(0.9),
    );
    println!("rdv TLS over TCP / rdv QUIC: {:.2}", middle[1] / middle[0]);
    Ok(())
}

/// Seconds from the first packet to the last byte.
fn once(way: &str, bytes: u64, place: &Path) -> Result<f64, Failure> {
    let this = std::env::current_exe()?;
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    lanes::measure(way, bytes, place, bind, |_| Command::new(&this))
}
