//! One connection to a peer that has proven itself, whatever stands on the socket.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::quic::QuicLane;

/// A byte stream to a peer.
#[derive(Debug)]
pub enum Lane {
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// TCP and nothing on it. Only with old clients, and only where it is allowed (S-01).
    Plain(TcpStream),
    /// One stream of a QUIC connection.
    Quic(Box<QuicLane>),
}

impl Lane {
    /// The other end of the connection: the peer, or the relay.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Quic(lane) => Some(lane.remote()),
            _ => self.tcp()?.peer_addr().ok(),
        }
    }

    /// The TCP connection below, if it is one.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Plain(stream) => Some(stream),
            Self::Quic(_) => None,
        }
    }
}

/// Calls the same method of whichever stream it is.
macro_rules! either {
    ($lane:expr, $stream:ident => $call:expr) => {
        match $lane {
            Lane::Tls($stream) => $call,
            Lane::Plain($stream) => $call,
            Lane::Quic($stream) => $call,
        }
    };
}

impl AsyncRead for Lane {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Lane {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }
}
