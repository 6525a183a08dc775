//! One question to a server: how it sees us, what time it has, what it runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdv_proto::limits;
use rdv_proto::wire::stun::{self, Class, Stun};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};

use crate::random;
use crate::transport::connect::Route;

/// Bytes of a request: there is room for all that a server may say.
const REQUEST: usize = 160;
/// Pauses after the first, second and further requests; then it is given up.
pub(super) const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];
/// To connect, ask and get the answer over TCP.
const TCP: Duration = Duration::from_secs(5);

/// What a server says of us and of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerAnswer {
    /// How it sees us.
    pub mapped: Option<SocketAddr>,
    /// Where else it answers, over UDP.
    pub other: Option<SocketAddr>,
    /// How far its clock is ahead of ours, in ms; wrong by half the round trip at the most, and not signed.
    pub clock_ahead_ms: Option<i64>,
    /// What it runs.
    pub software: Option<String>,
    /// From the question to its answer.
    pub round_trip: Duration,
}

/// Asks over UDP, from a socket of its own.
///
/// # Errors
/// What the system says; [`io::ErrorKind::TimedOut`] after 1.5 s, [`io::ErrorKind::InvalidData`] for an answer that says no.
pub async fn ask_udp(server: SocketAddr, bind: Option<IpAddr>) -> io::Result<ServerAnswer> {
    let socket = socket_for(server, bind).await?;
    let request = Stun::request(random::bytes()).padded_to(REQUEST);
    let (answer, _, round_trip) = exchange(&socket, server, &request).await?;
    read(&answer, server, round_trip)
}

/// Asks over TCP.
///
/// # Errors
/// As [`ask_udp`], after 5 s.
pub async fn ask_tcp(route: &Route, server: &str) -> io::Result<ServerAnswer> {
    let request = Stun::request(random::bytes()).padded_to(REQUEST);
    let asked = async {
        let mut stream = route.connect(server).await.map_err(io::Error::other)?;
        let to = stream.peer_addr()?;
        let begin = Instant::now();
        stream.write_all(&request.encode()).await?;
        let mut message = Vec::new();
        let whole = limits::STUN_MESSAGE as u64;
        // It hangs up behind its one answer.
        stream.take(whole).read_to_end(&mut message).await?;
        let answer = Stun::decode(&message).map_err(|_| invalid())?;
        if answer.transaction != request.transaction {
            return Err(invalid());
        }
        read(&answer, to, begin.elapsed())
    };
    timeout(TCP, asked)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A socket that can speak to `server`.
pub(super) async fn socket_for(server: SocketAddr, bind: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let own = bind.filter(|own| own.is_ipv4() == server.is_ipv4());
    UdpSocket::bind((own.unwrap_or(any), 0)).await
}

/// The answer to `request`, which is repeated; where it came from, and how long that took.
pub(super) async fn exchange(
    socket: &UdpSocket,
    server: SocketAddr,
    request: &Stun,
) -> io::Result<(Stun, SocketAddr, Duration)> {
    let bytes = request.encode();
    let mut received = [0; limits::STUN_MESSAGE];
    for pause in PAUSES {
        let sent = Instant::now();
        socket.send_to(&bytes, server).await?;
        while let Ok(received_from) =
            timeout_at(sent + pause, socket.recv_from(&mut received)).await
        {
            // An unreachable port is told of here on some systems; the next question may fare better.
            let Ok((length, from)) = received_from else {
                continue;
            };
            let answer = received.get(..length).unwrap_or_default();
            match Stun::decode(answer) {
                Ok(answer)
                    if answer.transaction == request.transaction
                        && answer.class != Class::Request =>
                {
                    return Ok((answer, from, sent.elapsed()));
                }
                _ => {}
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn read(answer: &Stun, server: SocketAddr, round_trip: Duration) -> io::Result<ServerAnswer> {
    if answer.class != Class::Success {
        return Err(invalid());
    }
    let theirs = answer
        .attribute(stun::RDV_TIME)
        .and_then(|value| value[..].try_into().ok())
        .map(u64::from_be_bytes);
    let software = answer.attribute(stun::SOFTWARE);
    Ok(ServerAnswer {
        mapped: answer.xor_mapped(),
        other: answer.other_address(server),
        clock_ahead_ms: theirs.and_then(|theirs| ahead(theirs, round_trip)),
        software: software.map(|text| String::from_utf8_lossy(text).into_owned()),
        round_trip,
    })
}

/// How far a clock that stood at `theirs` half a round trip ago is ahead.
fn ahead(theirs: u64, round_trip: Duration) -> Option<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let then = i64::try_from(now.checked_sub(round_trip / 2)?.as_millis()).ok()?;
    i64::try_from(theirs).ok()?.checked_sub(then)
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
