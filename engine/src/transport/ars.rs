//! Our end of a relay session: CREATE or JOIN, then wait for READY. What follows READY is the peer's and stays in the stream.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdv_proto::limits;
use rdv_proto::wire::ars::{Command, ErrorCode, Frame, TLV_SERVICE, TLV_TICKET};
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::connect::{ConnectError, Route};

/// To connect and get the answer to the first command; the relay itself gives 10 s.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// The one that joined waits for READY; the other end is there already.
const JOINED: Duration = Duration::from_secs(60);
/// The one that created waits for the peer; a relay gives up after the same time.
const PEER_TO_JOIN: Duration = Duration::from_secs(120);

/// Why a relay session did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArsError {
    /// The relay cannot be reached.
    #[error("relay not reachable")]
    Unreachable(#[from] ConnectError),
    /// The relay, or the peer through it, did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The relay said no.
    #[error("the relay refused: {0:?}")]
    Refused(ErrorCode),
    /// The relay closed the connection, or it broke.
    #[error("connection to the relay lost")]
    Lost(#[from] io::Error),
    /// The relay does not speak ARS.
    #[error("the relay sent something else than ARS")]
    Protocol(#[from] DecodeError),
    /// A frame that does not belong here, by its command's number.
    #[error("the relay sent command {0:#06x} out of turn")]
    OutOfTurn(u16),
    /// The ticket does not fit a frame.
    #[error("the relay ticket has {0} bytes")]
    TicketTooLong(usize),
}

/// What the relay said to CREATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// What the peer must name to join.
    pub token: u16,
    /// Where a legacy peer must connect to; native peers use the relay's address from the sealed candidate (G-07).
    pub ip: Ipv4Addr,
}

/// A session that waits for the peer; dropped, it ends.
#[derive(Debug)]
#[must_use = "the session ends when this is dropped"]
pub struct Waiting(TcpStream);

impl Waiting {
    /// Where the relay was reached.
    #[must_use]
    pub fn relay(&self) -> Option<SocketAddr> {
        self.0.peer_addr().ok()
    }
}

/// Opens a session on the relay at `address` (`HOST:PORT`), reached by `route`, under `cookie`. The name is our own.
///
/// # Errors
/// [`ArsError`]; at most 10 s pass.
pub async fn create(
    route: &Route,
    address: &str,
    name: &ScreenName,
    cookie: Cookie,
    service: Uuid,
    ticket: Option<Bytes>,
) -> Result<(Waiting, Created), ArsError> {
    let tlvs = tlvs(service, ticket)?;
    let command = Command::Create {
        name: name.clone(),
        cookie,
        tlvs,
    };
    within(FIRST_ANSWER, async {
        let mut stream = route.connect(address).await?;
        stream.write_all(&Frame::new(command).encode()).await?;
        match next(&mut stream).await? {
            Command::Created { token, ip } => Ok((Waiting(stream), Created { token, ip })),
            other => Err(ArsError::OutOfTurn(other.number())),
        }
    })
    .await
}

/// Waits until the peer has joined; the stream's next byte is the peer's.
///
/// # Errors
/// [`ArsError`]; at most 120 s pass.
pub async fn wait_ready(waiting: Waiting) -> Result<TcpStream, ArsError> {
    let Waiting(mut stream) = waiting;
    within(PEER_TO_JOIN, ready(&mut stream)).await?;
    Ok(stream)
}

/// Joins the session `token` of the peer on the relay at `address` (`HOST:PORT`), reached by `route`; the stream's next byte is the peer's.
///
/// # Errors
/// [`ArsError`]; at most 10 s to connect and 60 s for READY pass.
pub async fn join(
    route: &Route,
    address: &str,
    name: &ScreenName,
    token: u16,
    cookie: Cookie,
    service: Uuid,
    ticket: Option<Bytes>,
) -> Result<TcpStream, ArsError> {
    let tlvs = tlvs(service, ticket)?;
    let command = Command::Join {
        name: name.clone(),
        token,
        cookie,
        tlvs,
    };
    let mut stream = within(FIRST_ANSWER, async {
        let mut stream = route.connect(address).await?;
        stream.write_all(&Frame::new(command).encode()).await?;
        Ok(stream)
    })
    .await?;
    within(JOINED, ready(&mut stream)).await?;
    Ok(stream)
}

fn tlvs(service: Uuid, ticket: Option<Bytes>) -> Result<TlvList, ArsError> {
    let mut tlvs = TlvList::new().with(TLV_SERVICE, service.as_bytes().to_vec());
    if let Some(ticket) = ticket {
        if ticket.len() > limits::RELAY_TICKET {
            return Err(ArsError::TicketTooLong(ticket.len()));
        }
        tlvs.push(TLV_TICKET, ticket);
    }
    Ok(tlvs)
}

async fn ready(stream: &mut TcpStream) -> Result<(), ArsError> {
    match next(stream).await? {
        Command::Ready => Ok(()),
        other => Err(ArsError::OutOfTurn(other.number())),
    }
}

/// The next command of the relay. Unknown ones are skipped (the caller's deadline bounds how many).
async fn next(stream: &mut TcpStream) -> Result<Command, ArsError> {
    loop {
        match read_frame(stream).await?.command {
            Command::Error(code) => return Err(ArsError::Refused(code)),
            Command::Unknown { command, .. } if command % 2 == 1 => {}
            command => return Ok(command),
        }
    }
}

/// Reads exactly one frame: behind READY the peer speaks.
async fn read_frame(stream: &mut TcpStream) -> Result<Frame, ArsError> {
    let length = stream.read_u16().await?;
    let mut frame = BytesMut::from(&length.to_be_bytes()[..]);
    let (min, max, length) = (
        limits::ARS_LENGTH_MIN,
        limits::ARS_LENGTH_MAX,
        length.into(),
    );
    if !(min..=max).contains(&length) {
        return Err(DecodeError::BadLength {
            what: "ARS frame",
            length,
            min,
            max,
        }
        .into());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    frame.extend_from_slice(&rest);
    Frame::decode(&mut frame)?.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData).into())
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, ArsError>>,
) -> Result<T, ArsError> {
    timeout(limit, step)
        .await
        .map_err(|_| ArsError::Timeout(limit))?
}

#[cfg(test)]
mod tests;
