//! FLAP frames over a byte stream, both directions cancel-safe.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use rdv_proto::limits;
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::snac::Snac;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Room made for each read.
const READ_BYTES: usize = 16 * 1024;

/// Why no further frame comes.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection ended or broke.
    Closed(Option<io::Error>),
    /// What came is no frame.
    Malformed(DecodeError),
}

/// Reads frames. Holds at most one frame and what came with it.
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next frame. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Frame, ReadError> {
        loop {
            let decoded = Frame::decode(&mut self.buffer, limits::FLAP_PAYLOAD);
            if let Some(frame) = decoded.map_err(ReadError::Malformed)? {
                return Ok(frame);
            }
            self.buffer.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(ReadError::Closed(None)),
                Ok(_) => {}
                Err(error) => return Err(ReadError::Closed(Some(error))),
            }
        }
    }
}

/// Numbers frames and writes them.
pub(super) struct FrameWriter<W> {
    stream: W,
    out: BytesMut,
    unflushed: bool,
    sequence: u16,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// `first_sequence` is random; hosts dropped clients that started too high.
    pub(super) fn new(stream: W, first_sequence: u16) -> Self {
        Self {
            stream,
            out: BytesMut::new(),
            unflushed: false,
            sequence: first_sequence & 0x7FFF,
        }
    }

    /// Puts a frame behind those that wait. The caller looks after their number ([`FrameWriter::is_idle`]).
    pub(super) fn queue(&mut self, channel: Channel, data: Bytes) {
        let frame = Frame {
            channel,
            sequence: self.sequence,
            data,
        };
        if frame.encode(&mut self.out).is_err() {
            // Messages are held to a smaller limit when they are accepted.
            tracing::warn!(bytes = frame.data.len(), "frame too long, not sent");
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    pub(super) fn queue_snac(&mut self, snac: &Snac) {
        self.queue(Channel::DATA, snac.encode());
    }

    /// Whether all that was queued has gone out.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty() && !self.unflushed
    }

    /// Takes one step of writing what waits. Cancel-safe; does nothing when idle.
    pub(super) async fn step(&mut self) -> io::Result<()> {
        if self.out.has_remaining() {
            let written = self.stream.write_buf(&mut self.out).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unflushed = true;
            return Ok(());
        }
        self.stream.flush().await?;
        self.unflushed = false;
        Ok(())
    }

    /// Writes all that waits.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        while !self.is_idle() {
            self.step().await?;
        }
        Ok(())
    }

    /// Ends the stream, TLS included.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}
