//! A TCP connection that ends as soon as this machine has lost the address that it stands on.
//!
//! TCP itself would notice after a quarter of an hour: nothing comes back to an address that is gone, and nobody says so.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::signaling::BoxFuture;
use crate::transport::{gather, network};

/// See above; otherwise as the stream in it.
pub(super) struct Anchored<S> {
    stream: S,
    /// Ends when the address is gone.
    adrift: BoxFuture<'static, ()>,
}

impl Anchored<TcpStream> {
    /// Watches the address that the stream has here.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        let own = stream.local_addr()?.ip();
        let adrift = Box::pin(gone(own));
        Ok(Self { stream, adrift })
    }
}

/// Waits until no interface has this address any more.
async fn gone(own: IpAddr) {
    let mut network = network::watch();
    loop {
        network.changed().await;
        if !gather::is_this_machine(own) {
            return;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Anchored<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.adrift.as_mut().poll(context).map(|()| {
                let lost = "this machine has another address now";
                Err(io::Error::new(io::ErrorKind::NetworkDown, lost))
            }),
            read => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Anchored<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_comes_first_and_then_the_loss() {
        let (mut host, stream) = duplex(64);
        let mut anchored = Anchored {
            stream,
            adrift: Box::pin(std::future::ready(())),
        };
        host.write_all(b"last").await.unwrap();
        let mut words = [0; 4];
        anchored.read_exact(&mut words).await.unwrap();
        assert_eq!(&words, b"last");
        let lost = anchored.read(&mut words).await.unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::NetworkDown);
    }
}
