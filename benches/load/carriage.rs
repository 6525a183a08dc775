//! The relay beside a bare one: bytes per second over one and many pairs, and what it adds to a short message.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rdv_benches::Failure;
use rdv_benches::report::{Goal, median};
use rdv_proto::wire::ars::{Command, Frame};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;

use crate::Stage;
use crate::presence::block_on;
use crate::served::Served;
use crate::table::Table;

/// What is written and read at once.
const CHUNK: usize = 64 * 1024;
/// Pairs that say nothing while one is pinged.
const IDLE_PAIRS: usize = 100;
const PING: usize = 64;

/// Bytes per second of the relay, of a bare one, and how they are shared out.
pub(crate) fn throughput(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    let (relay, splice) = (Served::relay(stage)?, crate::splice::start()?);
    for &pairs in stage.sizes.pairs {
        let (mut ratios, mut rates, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..stage.sizes.rounds {
            let bare = carry(pairs, stage.sizes.measured / 2, || {
                bare_pair(splice.address)
            })?;
            let used = relay.holding()?.cpu;
            let own = carry(pairs, stage.sizes.measured / 2, || {
                relayed_pair(relay.address)
            })?;
            let used = relay.holding()?.cpu.saturating_sub(used);
            println!(
                "  {pairs} pairs: relay {:.0} MiB/s, splice {:.0} MiB/s; slowest pair {:.2} and {:.2} of the mean; the relay used {:.1} s",
                own.mib_per_s,
                bare.mib_per_s,
                own.slowest,
                bare.slowest,
                used.as_secs_f64()
            );
            ratios.push(100.0 * own.mib_per_s / bare.mib_per_s);
            rates.push(own.mib_per_s);
            shares.push(100.0 * own.slowest);
        }
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        table.told(format!("relay, {pairs} pairs"), median(&rates), "MiB/s");
        table.judged(
            format!("relay beside bare splice, {pairs} pairs"),
            median(&ratios),
            "%",
            Goal::AtLeast(70.0),
        );
        if pairs > 1 {
            table.judged(
                format!("slowest of {pairs} pairs beside their mean"),
                least,
                "%",
                Goal::AtLeast(50.0),
            );
        }
    }
    Ok(())
}

/// What the relay adds to the way there and back of 64 bytes.
pub(crate) fn ping(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    let relay = Served::relay(stage)?;
    let mut idle = Vec::new();
    for number in 0..IDLE_PAIRS {
        idle.push(relayed_pair(relay.address)(number)?);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let dialled = TcpStream::connect(listener.local_addr()?)?;
    let direct = (dialled, listener.accept()?.0);
    let direct = round_trips(direct, stage.sizes.pings)?;
    let relayed = relayed_pair(relay.address)(IDLE_PAIRS)?;
    let relayed = round_trips(relayed, stage.sizes.pings)?;
    println!(
        "  64 bytes there and back, ms, half and 99 of a hundred: direct {direct:.3?}, relayed {relayed:.3?}"
    );
    table.judged(
        format!("relay adds to a ping, 99 of a hundred, {IDLE_PAIRS} idle pairs"),
        relayed[1] - direct[1],
        "ms",
        Goal::AtMost(1.0),
    );
    drop(idle);
    Ok(())
}

/// What some pairs carried.
struct Carried {
    mib_per_s: f64,
    /// The slowest pair's part of the mean.
    slowest: f64,
}

type Pair = (TcpStream, TcpStream);

/// Sends one way over so many pairs, as much as goes, from a thread to a thread each.
fn carry<F>(pairs: usize, measured: Duration, pair: impl Fn() -> F) -> Result<Carried, Failure>
where
    F: FnMut(usize) -> Result<Pair, Failure>,
{
    let mut open = pair();
    let over = Arc::new(AtomicBool::new(false));
    let (mut counts, mut threads, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    // All are there before the first one sends, or the last ones would have to wait for their turn.
    let opened: Vec<Pair> = (0..pairs).map(&mut open).collect::<Result<_, _>>()?;
    for (mut from, mut to) in opened {
        ends.push((from.try_clone()?, to.try_clone()?));
        let count = Arc::new(AtomicU64::new(0));
        counts.push(count.clone());
        let done = over.clone();
        threads.push(std::thread::spawn(move || {
            let chunk = vec![7; CHUNK];
            while !done.load(Ordering::Relaxed) && from.write_all(&chunk).is_ok() {}
        }));
        threads.push(std::thread::spawn(move || {
            let mut chunk = vec![0; CHUNK];
            while let Ok(length @ 1..) = to.read(&mut chunk) {
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
        }));
    }
    let read = || -> Vec<u64> {
        let counts = counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    };
    std::thread::sleep(measured / 5);
    let (before, began) = (read(), Instant::now());
    std::thread::sleep(measured);
    let (after, elapsed) = (read(), began.elapsed().as_secs_f64());
    over.store(true, Ordering::Relaxed);
    for (from, to) in ends {
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    }
    for thread in threads {
        thread.join().map_err(|_| "a thread failed")?;
    }
    let each: Vec<f64> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| (after - before) as f64)
        .collect();
    let all: f64 = each.iter().sum();
    let least = each.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Carried {
        mib_per_s: all / elapsed / f64::from(1 << 20),
        slowest: least / (all / pairs as f64).max(1.0),
    })
}

/// Milliseconds of round trips: the middle one, and that which 99 of a hundred do not exceed.
fn round_trips((mut one, mut other): Pair, count: usize) -> Result<[f64; 2], Failure> {
    for stream in [&one, &other] {
        stream.set_nodelay(true)?;
    }
    let echo = std::thread::spawn(move || {
        let mut ping = [0; PING];
        while other.read_exact(&mut ping).is_ok() && other.write_all(&ping).is_ok() {}
    });
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let mut ping = [7; PING];
        one.write_all(&ping)?;
        one.read_exact(&mut ping)?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    one.shutdown(Shutdown::Both).ok();
    echo.join().map_err(|_| "a thread failed")?;
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(count * part / 100).copied().unwrap_or(0.0);
    Ok([at(50), at(99)])
}

/// Connects from an address of its own, so that what the relay bears of one address is never in the way.
fn connect(to: SocketAddr, number: usize) -> Result<TcpStream, Failure> {
    let [.., high, low] = number.to_be_bytes();
    block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::new(127, 9, high, low), 0).into())?;
        let stream = socket.connect(to).await?.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
}

fn bare_pair(splice: SocketAddr) -> impl FnMut(usize) -> Result<Pair, Failure> {
    move |number| Ok((connect(splice, number)?, connect(splice, number)?))
}

fn relayed_pair(relay: SocketAddr) -> impl FnMut(usize) -> Result<Pair, Failure> {
    move |number| {
        let name = ScreenName::new(format!("pair {number}"))?;
        let cookie = Cookie((number as u64).to_be_bytes());
        let mut creator = connect(relay, number)?;
        let create = Command::Create {
            name: name.clone(),
            cookie,
            tlvs: TlvList::new(),
        };
        let Command::Created { token, .. } = ask(&mut creator, create)? else {
            return Err("the relay refused".into());
        };
        let mut joiner = connect(relay, number)?;
        let join = Command::Join {
            name,
            token,
            cookie,
            tlvs: TlvList::new(),
        };
        match (ask(&mut joiner, join)?, hear(&mut creator)?) {
            (Command::Ready, Command::Ready) => Ok((creator, joiner)),
            other => Err(format!("the relay said {other:?}").into()),
        }
    }
}

fn ask(stream: &mut TcpStream, command: Command) -> Result<Command, Failure> {
    stream.write_all(&Frame::new(command).encode())?;
    hear(stream)
}

fn hear(stream: &mut TcpStream) -> Result<Command, Failure> {
    let mut read = BytesMut::new();
    loop {
        if let Some(frame) = Frame::decode(&mut read)? {
            return Ok(frame.command);
        }
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err("the relay hung up".into()),
            Ok(_) => read.extend_from_slice(&byte),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
