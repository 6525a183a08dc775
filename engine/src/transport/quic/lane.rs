//! One stream of one connection, as a lane.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::{
    ConnectionError, ReadError, RecvStream, SendStream, StoppedError, TransportErrorCode, VarInt,
    WriteError,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::shared::canonical;

/// How long `shutdown` waits for news that what was written arrives. On a slow line much may still be under way.
const DELIVERY: Duration = Duration::from_secs(5);
/// Acknowledgements in that time that are no such news: those of keep-alives.
const IDLE_ACKS: u64 = 3;
/// Said when a lane is dropped.
const DONE: VarInt = VarInt::from_u32(0);

/// A byte stream to a peer over QUIC.
///
/// `shutdown` ends our direction and waits until the peer's end has all of it, or for 5 s nothing of it arrived. Dropping the lane closes the
/// connection at once: what was not delivered then is lost.
pub struct QuicLane {
    connection: quinn::Connection,
    send: SendStream,
    receive: RecvStream,
    ending: Ending,
    /// [`DELIVERY`], but in tests.
    pub(super) patience: Duration,
}

/// How far `shutdown` has come.
enum Ending {
    Open,
    Waiting(Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>),
    Delivered,
}

impl QuicLane {
    pub(super) fn new(
        connection: quinn::Connection,
        send: SendStream,
        receive: RecvStream,
    ) -> Self {
        Self {
            connection,
            send,
            receive,
            ending: Ending::Open,
            patience: DELIVERY,
        }
    }

    /// The round trip to the peer as QUIC measures it all the time.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.connection.rtt()
    }

    /// The peer's address: that of the last packets, if it has moved.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    /// Waits until the other end has all of the stream, which was ended, or wants no more of it.
    fn delivered(&self) -> impl Future<Output = io::Result<()>> + Send + Sync + use<> {
        let (stopped, connection) = (self.send.stopped(), self.connection.clone());
        let patience = self.patience;
        async move {
            let mut stopped = pin!(stopped);
            let mut heard = connection.stats().frame_rx.acks;
            loop {
                match timeout(patience, stopped.as_mut()).await {
                    Ok(Ok(_)) => return Ok(()),
                    // The peer has read what it wanted, and hung up before its last acknowledgement came.
                    Ok(Err(StoppedError::ConnectionLost(ConnectionError::ApplicationClosed(
                        _,
                    )))) => {
                        return Ok(());
                    }
                    Ok(Err(StoppedError::ConnectionLost(lost))) => return Err(broken(lost)),
                    Ok(Err(other)) => return Err(other.into()),
                    Err(_) => {
                        let before =
                            std::mem::replace(&mut heard, connection.stats().frame_rx.acks);
                        if heard.saturating_sub(before) <= IDLE_ACKS {
                            return Err(io::ErrorKind::TimedOut.into());
                        }
                    }
                }
            }
        }
    }
}

impl Drop for QuicLane {
    fn drop(&mut self) {
        self.connection.close(DONE, b"");
    }
}

impl fmt::Debug for QuicLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicLane")
            .field("remote", &self.remote())
            .finish_non_exhaustive()
    }
}

impl AsyncRead for QuicLane {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.get_mut().receive.poll_read_buf(context, buffer));
        Poll::Ready(read.map_err(|error| match error {
            ReadError::ConnectionLost(lost) => broken(lost),
            other => other.into(),
        }))
    }
}

impl AsyncWrite for QuicLane {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let send = Pin::new(&mut self.get_mut().send);
        let written = ready!(send.poll_write(context, bytes));
        Poll::Ready(written.map_err(|error| match error {
            WriteError::ConnectionLost(lost) => broken(lost),
            other => other.into(),
        }))
    }

    /// Does nothing: what is written leaves as soon as the line allows.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lane = self.get_mut();
        loop {
            match &mut lane.ending {
                Ending::Open => {
                    // Fails only if it is ended already.
                    let _ = lane.send.finish();
                    lane.ending = Ending::Waiting(Box::pin(lane.delivered()));
                }
                Ending::Waiting(delivery) => {
                    let delivered = ready!(delivery.as_mut().poll(context));
                    lane.ending = Ending::Delivered;
                    return Poll::Ready(delivered);
                }
                Ending::Delivered => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// The end of a connection as other streams say it.
pub(super) fn broken(lost: ConnectionError) -> io::Error {
    let kind = match &lost {
        ConnectionError::TimedOut => io::ErrorKind::TimedOut,
        ConnectionError::LocallyClosed => io::ErrorKind::NotConnected,
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            io::ErrorKind::ConnectionRefused
        }
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, lost)
}
