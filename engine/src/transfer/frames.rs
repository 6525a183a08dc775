//! Frames over a stream, so that a reader or writer that was interrupted at any await can go on where it stopped.

use std::io;
use std::sync::Arc;

use rdv_proto::wire::bulk::{FRAME_HEAD, FrameType, parse_head};
use rdv_proto::wire::error::DecodeError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::control::Meter;
use super::error::TransferError;

/// A fixed number of buffers that go round: who needs one waits until one comes back. That is the back pressure.
pub(super) struct Pool {
    free: mpsc::Receiver<Vec<u8>>,
    back: mpsc::Sender<Vec<u8>>,
}

impl Pool {
    /// `count` buffers of `len` bytes each; `len` 0: they grow when they are used.
    pub(super) fn new(count: usize, len: usize) -> Self {
        let (back, free) = mpsc::channel(count);
        for _ in 0..count {
            back.try_send(vec![0; len])
                .expect("invariant: the channel has room for all buffers");
        }
        Self { free, back }
    }

    /// Where buffers are given back.
    pub(super) fn back(&self) -> mpsc::Sender<Vec<u8>> {
        self.back.clone()
    }

    pub(super) async fn take(&mut self) -> Vec<u8> {
        self.free
            .recv()
            .await
            .expect("invariant: the pool holds a sender itself")
    }
}

/// A frame as it came. The payload of a DATA frame stands in a buffer of the pool.
pub(super) struct Frame {
    pub(super) kind: FrameType,
    buffer: Vec<u8>,
    len: usize,
}

impl Frame {
    pub(super) fn payload(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

pub(super) struct FrameReader<R> {
    stream: R,
    pool: Pool,
    head: [u8; FRAME_HEAD],
    have: usize,
    body: Option<Frame>,
    filled: usize,
    meter: Arc<Meter>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Bytes of DATA frames are told to `meter` as they come.
    pub(super) fn new(stream: R, pool: Pool, meter: Arc<Meter>) -> Self {
        Self {
            stream,
            pool,
            head: [0; FRAME_HEAD],
            have: 0,
            body: None,
            filled: 0,
            meter,
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The next frame. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Frame, TransferError> {
        while self.have < FRAME_HEAD {
            self.have += read(&mut self.stream, &mut self.head[self.have..]).await?;
        }
        if self.body.is_none() {
            let (kind, len) = parse_head(self.head).map_err(protocol)?;
            let mut buffer = if kind == FrameType::DATA {
                self.pool.take().await
            } else {
                Vec::new()
            };
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            self.filled = 0;
            self.body = Some(Frame { kind, buffer, len });
        }
        let body = self.body.as_mut().expect("invariant: set above");
        while self.filled < body.len {
            let some = read(&mut self.stream, &mut body.buffer[self.filled..body.len]).await?;
            self.filled += some;
            if body.kind == FrameType::DATA {
                self.meter.add_on_the_line(some as u64);
            }
        }
        self.have = 0;
        Ok(self.body.take().expect("invariant: set above"))
    }

    /// Throws away what comes until the stream ends, so that closing it does not destroy our own last frame on its way.
    pub(super) async fn drain(&mut self) {
        let mut waste = vec![0; 64 * 1024];
        while matches!(self.stream.read(&mut waste).await, Ok(n) if n > 0) {}
    }
}

fn protocol(error: DecodeError) -> TransferError {
    TransferError::Protocol(error.into())
}

async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    into: &mut [u8],
) -> Result<usize, TransferError> {
    match stream.read(into).await {
        Ok(0) => Err(TransferError::LinkLost(io::ErrorKind::UnexpectedEof.into())),
        Ok(n) => Ok(n),
        // The words of the TLS library for a stream that was cut off are for its users.
        Err(cut) if cut.kind() == io::ErrorKind::UnexpectedEof => {
            Err(TransferError::LinkLost(cut.kind().into()))
        }
        Err(error) => Err(TransferError::LinkLost(error)),
    }
}

pub(super) struct FrameWriter<W> {
    stream: W,
    pending: Vec<u8>,
    len: usize,
    written: usize,
    /// What is pending is a block.
    block: bool,
    meter: Arc<Meter>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Bytes of blocks are told to `meter` as they go.
    pub(super) fn new(stream: W, meter: Arc<Meter>) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            len: 0,
            written: 0,
            block: false,
            meter,
        }
    }

    /// Writes a block, the first `len` bytes of `frame`, and gives the buffer back. Dropped half way, the rest waits for [`Self::rest`].
    pub(super) async fn write(
        &mut self,
        frame: Vec<u8>,
        len: usize,
    ) -> Result<Vec<u8>, TransferError> {
        self.put(frame, len, true).await
    }

    /// Writes a whole small frame, flushed. Dropped half way, the rest waits as well.
    pub(super) async fn send(&mut self, frame: Vec<u8>) -> Result<(), TransferError> {
        let len = frame.len();
        self.put(frame, len, false).await?;
        self.flush().await
    }

    async fn put(
        &mut self,
        frame: Vec<u8>,
        len: usize,
        block: bool,
    ) -> Result<Vec<u8>, TransferError> {
        self.rest().await?;
        (self.pending, self.len, self.written, self.block) = (frame, len, 0, block);
        self.rest().await?;
        Ok(std::mem::take(&mut self.pending))
    }

    pub(super) async fn flush(&mut self) -> Result<(), TransferError> {
        self.stream.flush().await.map_err(TransferError::LinkLost)
    }

    async fn rest(&mut self) -> Result<(), TransferError> {
        while self.written < self.len {
            match self
                .stream
                .write(&self.pending[self.written..self.len])
                .await
            {
                Ok(0) => return Err(TransferError::LinkLost(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.written += n;
                    // Small frames go out by themselves: they say nothing about the other side.
                    if self.block {
                        self.meter.add_on_the_line(n as u64);
                    }
                }
                Err(error) => return Err(TransferError::LinkLost(error)),
            }
        }
        Ok(())
    }

    pub(super) async fn shutdown(&mut self) {
        // Nothing can be done about a stream that cannot even be closed.
        let _ = self.stream.shutdown().await;
    }
}
