//! Headers on a stream: read exactly, written in one piece.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rdv_proto::transfer::oft::OftFault;
use rdv_proto::wire::oft::Header;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::super::error::TransferError;

/// How long a header may take from its first byte to its last (security rules, section 6.4).
const WHOLE_HEADER: Duration = Duration::from_secs(15);
/// Bytes that tell how long a header is.
const LENGTH_KNOWN: usize = 6;

/// Reads one header and nothing behind it. How long its first byte may take is the caller's to say.
///
/// # Errors
/// [`TransferError::LinkLost`], [`TransferError::Stalled`] if it does not become whole in time, [`TransferError::OldProtocol`] if it is none.
pub(crate) async fn read_header<S>(stream: &mut S) -> Result<Header, TransferError>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::new();
    more(stream, &mut buffer, LENGTH_KNOWN).await?;
    let whole = async {
        loop {
            let missing = match Header::decode(&mut buffer).map_err(OftFault::from)? {
                Some(header) => return Ok(header),
                None => Header::length(&buffer).map_err(OftFault::from)?,
            };
            let missing = missing.unwrap_or(LENGTH_KNOWN) - buffer.len();
            more(stream, &mut buffer, missing).await?;
        }
    };
    timeout(WHOLE_HEADER, whole)
        .await
        .map_err(|_| TransferError::Stalled)?
}

/// Writes one header, in one write (L-18).
///
/// # Errors
/// [`TransferError::LinkLost`].
pub(crate) async fn write_header<S>(stream: &mut S, header: &Header) -> Result<(), TransferError>
where
    S: AsyncWrite + Unpin,
{
    let written = async {
        stream.write_all(&header.encode()).await?;
        stream.flush().await
    };
    written.await.map_err(TransferError::LinkLost)
}

/// Reads some bytes, `most` at most.
async fn more<S>(stream: &mut S, buffer: &mut BytesMut, most: usize) -> Result<(), TransferError>
where
    S: AsyncRead + Unpin,
{
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let read = (&mut *stream).take(most).read_buf(buffer).await;
    read.and_then(some).map(|_| ()).map_err(lost)
}

/// A stream that is at its end before its time.
pub(super) fn some(read: usize) -> io::Result<usize> {
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

/// The words of the TLS library for a stream that was cut off are for its users.
pub(super) fn lost(error: io::Error) -> TransferError {
    TransferError::LinkLost(match error.kind() {
        kind @ io::ErrorKind::UnexpectedEof => kind.into(),
        _ => error,
    })
}
