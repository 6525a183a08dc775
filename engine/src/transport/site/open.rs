//! Simultaneous open: both sides connect at once, each from the port of its listener (RFC 9293 3.5), so that each of the two
//! translators on the way sees a connection that its own side began.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::sockets;
use crate::transport::connect;

/// How long both may miss each other (`connectivity.md` 3.3).
const LIMIT: Duration = Duration::from_secs(4);
/// A refused connect is tried again after so long at least, and as much again at most plus [`PAUSE_SPREAD`]: two sides that wait
/// equally long would miss each other for ever.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_SPREAD: u64 = 100;

/// Who is being dialled from the listener's port. The other side's SYN may find our listener instead of our connect, if ours was just
/// refused; the connection that the listener then accepts is the one that was wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Crossings(Arc<Mutex<HashMap<SocketAddr, oneshot::Sender<TcpStream>>>>);

impl Crossings {
    /// Gives the accepted connection to whoever dials its other end, or back.
    pub(super) fn meet(&self, from: SocketAddr, stream: TcpStream) -> Option<TcpStream> {
        match self.table().remove(&from) {
            Some(waiting) => waiting.send(stream).err(),
            None => Some(stream),
        }
    }

    fn expect(&self, from: SocketAddr) -> (Expected<'_>, oneshot::Receiver<TcpStream>) {
        let (sender, receiver) = oneshot::channel();
        self.table().insert(from, sender);
        let expected = Expected {
            crossings: self,
            from,
        };
        (expected, receiver)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SocketAddr, oneshot::Sender<TcpStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes its entry when the dialling ends, however it does.
struct Expected<'a> {
    crossings: &'a Crossings,
    from: SocketAddr,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        let mut table = self.crossings.table();
        // Another dialling to the same address may have taken the place.
        if table
            .get(&self.from)
            .is_some_and(oneshot::Sender::is_closed)
        {
            table.remove(&self.from);
        }
    }
}

/// Connects from `own`, where a listener of ours is, to `to`, until it works or [`LIMIT`] has passed. While packets are merely
/// lost the system's own SYN timer does the repeating; a refusal, which the router of the other side sends as long as that side
/// has not dialled, is answered by another try soon.
///
/// # Errors
/// The last refusal, or [`io::ErrorKind::TimedOut`]; [`io::ErrorKind::Unsupported`] where the system has no SO_REUSEPORT.
pub(super) async fn dial(
    own: SocketAddr,
    to: SocketAddr,
    crossings: &Crossings,
) -> io::Result<TcpStream> {
    let deadline = Instant::now() + LIMIT;
    let (expected, accepted) = crossings.expect(to);
    let stream = tokio::select! {
        Ok(stream) = accepted => Ok(stream),
        dialled = until(deadline, own, to) => dialled,
    };
    drop(expected);
    let stream = stream?;
    connect::prepare(&stream)?;
    Ok(stream)
}

async fn until(deadline: Instant, own: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    loop {
        let error = match timeout_at(deadline, once(own, to)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if !is_worth_another_try(&error) {
            return Err(error);
        }
        let [random] = crate::random::bytes();
        let pause = PAUSE + Duration::from_millis(u64::from(random) * PAUSE_SPREAD / 255);
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        sleep(pause).await;
    }
}

async fn once(own: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = sockets::bind_beside_listener(own)?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// Whether the other side may yet be coming. `AddrInUse` and `AddrNotAvailable`: a connection between the same two ports exists, such as
/// one that the listener has just accepted or one that is being closed.
fn is_worth_another_try(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrInUse
            | ErrorKind::AddrNotAvailable
    )
}
