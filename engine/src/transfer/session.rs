//! What both sides share: how a transfer ends so that the other side learns why.

use std::time::Duration;

use rdv_proto::wire::bulk::{
    AbortReason, BulkRole, Control, FrameType, Hello, VERSION, control, control_frame,
    message_frame,
};
use rdv_proto::wire::error::EncodeError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::error::TransferError;
use super::frames::{FrameReader, FrameWriter};

/// How long our own last words may take, a frame that is half written and the other side's closing included.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// How long a broken connection is searched for the other side's words.
const SEARCH: Duration = Duration::from_millis(800);

/// Ends the session: says why if there is something to say, and closes without destroying what is on its way. Takes 1.5 s at most.
pub(super) async fn end<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
    error: TransferError,
) -> TransferError
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let error = match error {
        TransferError::LinkLost(lost) => timeout(SEARCH, peers_words(reader))
            .await
            .ok()
            .flatten()
            .unwrap_or(TransferError::LinkLost(lost)),
        other => other,
    };
    // To be sure that our last words get out, the other side's must be read until it closes, too.
    let farewell = async {
        match (&error, error.abort()) {
            (_, Some(abort)) => {
                let words = async {
                    if let Ok(frame) = control_frame(&abort)
                        && writer.send(frame).await.is_ok()
                    {
                        writer.shutdown().await;
                    }
                };
                tokio::join!(words, reader.drain());
            }
            (TransferError::Declined, None) => {
                tokio::join!(writer.shutdown(), reader.drain());
            }
            (_, None) => writer.shutdown().await,
        }
    };
    let _ = timeout(LAST_WORDS, farewell).await;
    error
}

/// A broken pipe often means that the other side said why and went: the words may still be here to be read.
async fn peers_words<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Option<TransferError> {
    loop {
        let frame = reader.next().await.ok()?;
        if frame.kind == FrameType::DECLINE {
            return Some(TransferError::Declined);
        }
        if let Some(Control::Abort { reason, text }) = control(frame.kind, frame.payload()).ok()? {
            return Some(TransferError::aborted(AbortReason(reason), text));
        }
    }
}

/// The first frame of this side.
pub(super) fn hello(role: BulkRole) -> Result<Vec<u8>, TransferError> {
    message_frame(
        FrameType::HELLO,
        &Hello {
            version: VERSION,
            role: role.0,
        },
    )
    .map_err(unsendable)
}

/// A question whether the other side is there.
pub(super) fn ping(number: u64) -> Result<Vec<u8>, TransferError> {
    control_frame(&Control::Ping(number)).map_err(unsendable)
}

/// The answer to a ping.
pub(super) fn pong(number: u64) -> Result<Vec<u8>, TransferError> {
    control_frame(&Control::Pong(number)).map_err(unsendable)
}

/// A frame of our own that does not fit: cannot happen with a checked list, and is an error all the same.
pub(super) fn unsendable(error: EncodeError) -> TransferError {
    TransferError::LinkLost(std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
}
