//! What waits to be written to one client: bounded, and a client that does not keep up is cut off (S-35).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes};
use rdv_proto::limits;
use rdv_proto::wire::flap::{Channel, HEADER_LEN, MARKER, bodiless_sign_off};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Frames are written together up to this size, in bytes; a single one may be longer.
const BATCH: usize = 64 * 1024;

/// The end at which frames go in. Clones are the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Arc<Shared>);

/// The end at which they come out. When it is dropped, the client is gone.
pub(crate) struct Outgoing(Arc<Shared>);

/// One allocation for both ends; nothing else is held for a client to which nothing is to be said.
#[derive(Debug)]
struct Shared {
    frames_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    /// There is something to write, or the end is wanted.
    ready: Notify,
    written: Notify,
    overflow: Notify,
    gone: AtomicBool,
}

/// What was not written yet.
#[derive(Debug)]
struct Waiting {
    /// Whole frames, as they go out.
    wire: Vec<u8>,
    /// Frames that are in `wire` or are being written, and the bytes of their data.
    frames: usize,
    bytes: usize,
    sequence: u16,
    closing: bool,
    /// Frames that were put in so far, and those that were written.
    put: u64,
    written: u64,
    /// Who is told when so many frames were written.
    marks: Vec<(u64, oneshot::Sender<Instant>)>,
}

/// A queue for so many frames and bytes of their data; what is being written counts until it is. Frames are numbered from
/// `sequence`.
pub(crate) fn queue(frames_max: usize, bytes_max: usize, sequence: u16) -> (Queue, Outgoing) {
    let shared = Arc::new(Shared {
        frames_max,
        bytes_max,
        waiting: Mutex::new(Waiting {
            wire: Vec::new(),
            frames: 0,
            bytes: 0,
            sequence,
            closing: false,
            put: 0,
            written: 0,
            marks: Vec::new(),
        }),
        ready: Notify::new(),
        written: Notify::new(),
        overflow: Notify::new(),
        gone: AtomicBool::new(false),
    });
    (Queue(Arc::clone(&shared)), Outgoing(shared))
}

impl Queue {
    /// Puts a frame in; false if the client is gone, or is now because it did not keep up, or if no frame can hold so much,
    /// which is not the client's fault.
    pub(crate) fn push(&self, channel: Channel, data: Bytes) -> bool {
        match u16::try_from(data.len()) {
            Ok(length) if data.len() <= limits::FLAP_PAYLOAD => self.put(data.len(), |waiting| {
                waiting.frame(channel, length, &data);
            }),
            _ => false,
        }
    }

    /// Puts a sign-off in that has no length field, for clients that hang at one; nothing may follow it.
    pub(crate) fn push_bare_sign_off(&self) -> bool {
        self.put(0, |waiting| {
            let frame = bodiless_sign_off(waiting.sequence);
            waiting.wire.extend_from_slice(&frame);
        })
    }

    fn put(&self, length: usize, write: impl FnOnce(&mut Waiting)) -> bool {
        let shared = &*self.0;
        let mut waiting = shared.lock();
        if waiting.closing || shared.is_gone() {
            return false;
        }
        if waiting.frames >= shared.frames_max || waiting.bytes + length > shared.bytes_max {
            shared.overflow.notify_one();
            return false;
        }
        waiting.bytes += length;
        write(&mut waiting);
        waiting.count();
        drop(waiting);
        shared.ready.notify_one();
        true
    }

    /// When all that is in the queue now was written; an error if it never is.
    pub(crate) fn mark(&self) -> oneshot::Receiver<Instant> {
        let (mark, written) = oneshot::channel();
        let mut waiting = self.0.lock();
        let at = waiting.put;
        if waiting.written == at {
            mark.send(Instant::now()).ok();
        } else if !self.0.is_gone() {
            waiting.marks.push((at, mark));
        }
        written
    }

    /// Waits until the queue is at most half full; how many frames it takes at once then. None if the client is gone, or
    /// takes nothing for so long.
    pub(crate) async fn wait_for_room(&self, stall: Duration) -> Option<usize> {
        loop {
            let written = self.0.written.notified();
            if let Some(room) = self.room() {
                return Some(room);
            }
            if self.0.is_gone() || timeout(stall, written).await.is_err() {
                return None;
            }
        }
    }

    /// How many frames it takes at once, if it is at most half full.
    fn room(&self) -> Option<usize> {
        let half = self.0.frames_max.div_ceil(2);
        let waiting = self.0.lock();
        let is_low =
            waiting.frames <= self.0.frames_max / 2 && waiting.bytes <= self.0.bytes_max / 2;
        is_low.then_some(half)
    }

    /// Whether nobody writes any more what is in the queue.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_gone()
    }

    /// Ends the connection after what is in the queue.
    pub(crate) fn close(&self) {
        self.0.lock().closing = true;
        self.0.ready.notify_one();
    }
}

impl Outgoing {
    /// Resolves when the client did not keep up.
    pub(crate) async fn overflow(&self) {
        self.0.overflow.notified().await;
    }

    /// Writes frames until [`Queue::close`] or an error; a keep-alive when there is nothing else.
    pub(crate) async fn write_to(
        &self,
        mut stream: impl AsyncWrite + Unpin,
        keep_alive: Duration,
    ) -> std::io::Result<()> {
        loop {
            let (batch, closing) = {
                let mut waiting = self.0.lock();
                (waiting.take(), waiting.closing)
            };
            if batch.frames > 0 {
                stream.write_all(&batch.wire).await?;
                stream.flush().await?;
                self.0.lock().done(batch);
                self.0.written.notify_one();
            } else if closing {
                return stream.shutdown().await;
            } else if timeout(keep_alive, self.0.ready.notified()).await.is_err() {
                self.0.lock().keep_alive();
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
        self.0.lock().marks.clear();
        // Who waits for room waits in vain.
        self.0.written.notify_waiters();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl Waiting {
    fn frame(&mut self, channel: Channel, length: u16, data: &[u8]) {
        self.wire.reserve(HEADER_LEN + data.len());
        self.wire.put_u8(MARKER);
        self.wire.put_u8(channel.0);
        self.wire.put_u16(self.sequence);
        self.wire.put_u16(length);
        self.wire.put_slice(data);
    }

    /// Whatever is left of the room: it is how a dead client is found.
    fn keep_alive(&mut self) {
        self.frame(Channel::KEEP_ALIVE, 0, &[]);
        self.count();
    }

    /// One frame more.
    fn count(&mut self) {
        self.frames += 1;
        self.put += 1;
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// What is to be written next; it counts until it is [`done`](Self::done).
    fn take(&mut self) -> Batch {
        if self.wire.len() <= BATCH {
            return Batch {
                wire: std::mem::take(&mut self.wire),
                frames: self.frames,
                bytes: self.bytes,
            };
        }
        let (mut end, mut frames, mut bytes) = (0, 0, 0);
        while end < BATCH {
            // A sign-off without a length is the last of all.
            let Some(&[_, _, _, _, high, low]) = self.wire.get(end..end + HEADER_LEN) else {
                (end, frames) = (self.wire.len(), self.frames);
                break;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            end += HEADER_LEN + length;
            frames += 1;
            bytes += length;
        }
        let rest = self.wire.split_off(end);
        Batch {
            wire: std::mem::replace(&mut self.wire, rest),
            frames,
            bytes,
        }
    }

    fn done(&mut self, batch: Batch) {
        self.frames -= batch.frames;
        self.bytes -= batch.bytes;
        self.written += batch.frames as u64;
        if !self.marks.is_empty() {
            let (now, written) = (Instant::now(), self.written);
            for (_, mark) in self.marks.extract_if(.., |(at, _)| *at <= written) {
                // Whoever asked may be gone.
                mark.send(now).ok();
            }
        }
    }
}

/// Frames that are written together.
struct Batch {
    wire: Vec<u8>,
    frames: usize,
    bytes: usize,
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use super::*;

    fn is_cut_off(outgoing: &Outgoing) -> bool {
        let overflow = std::pin::pin!(outgoing.overflow());
        overflow
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
            .is_ready()
    }

    #[test]
    fn s_35_who_lets_256_messages_wait_is_cut_off() {
        let (queue, outgoing) = queue(256, 1 << 20, 0xFFFF);
        assert!((0..256).all(|_| queue.push(Channel::DATA, Bytes::from_static(b"x"))));
        assert!(!is_cut_off(&outgoing));
        assert!(!queue.push(Channel::DATA, Bytes::from_static(b"x")));
        assert!(is_cut_off(&outgoing));
    }

    #[test]
    fn s_35_who_lets_a_megabyte_wait_is_cut_off() {
        let (queue, outgoing) = queue(256, 1 << 20, 0xFFFF);
        let big = Bytes::from(vec![0; 60_000]);
        let taken = (0..256)
            .take_while(|_| queue.push(Channel::DATA, big.clone()))
            .count();
        assert_eq!(taken, (1 << 20) / 60_000);
        assert!(is_cut_off(&outgoing));
    }

    #[test]
    fn s_35_what_no_frame_can_hold_ends_nobody() {
        let (queue, outgoing) = queue(256, 1 << 20, 0xFFFF);
        let data = |length| Bytes::from(vec![0; length]);
        assert!(!queue.push(Channel::DATA, data(limits::FLAP_PAYLOAD + 1)));
        assert!(queue.push(Channel::DATA, data(limits::FLAP_PAYLOAD)));
        assert!(!is_cut_off(&outgoing));
    }

    #[tokio::test]
    async fn a_mark_is_reached_when_all_before_it_was_written_and_never_if_it_was_not() {
        let (queue, outgoing) = queue(256, 1 << 20, 0);
        let (ours, theirs) = tokio::io::duplex(8);
        let writing = tokio::spawn(async move {
            let keep_alive = Duration::from_secs(60);
            outgoing.write_to(ours, keep_alive).await
        });
        let first = queue.mark();
        first.await.unwrap();
        queue.push(Channel::DATA, Bytes::from_static(b"more than fits"));
        let second = queue.mark();
        drop(theirs);
        assert!(second.await.is_err());
        assert!(writing.await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn so_02_frames_are_numbered_and_wrap_and_silence_is_filled() {
        let (queue, outgoing) = queue(256, 1 << 20, 0xFFFF);
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let writing = tokio::spawn(async move {
            let keep_alive = Duration::from_secs(60);
            outgoing.write_to(ours, keep_alive).await
        });
        queue.push(Channel::DATA, Bytes::from_static(b"a"));
        tokio::time::sleep(Duration::from_secs(61)).await;
        queue.close();
        let mut all = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut all)
            .await
            .unwrap();
        assert_eq!(all, b"\x2a\x02\xff\xff\x00\x01a\x2a\x05\x00\x00\x00\x00");
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_long_goes_out_in_several_batches_and_makes_room_by_and_by() {
        let (queue, outgoing) = queue(256, 1 << 20, 0);
        let data = Bytes::from(vec![7; 30_000]);
        assert!((0..20).all(|_| queue.push(Channel::DATA, data.clone())));
        assert!(queue.push_bare_sign_off());
        queue.close();
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let writing = tokio::spawn(async move {
            let keep_alive = Duration::from_secs(60);
            outgoing.write_to(ours, keep_alive).await
        });
        let mut all = vec![0; 3 * (HEADER_LEN + 30_000)];
        tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut all)
            .await
            .unwrap();
        // The first batch is out, and no longer counts.
        assert!(queue.wait_for_room(Duration::from_secs(1)).await.is_some());
        assert_eq!(queue.0.lock().bytes, 17 * 30_000);
        tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut all)
            .await
            .unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(all.len(), 20 * (HEADER_LEN + 30_000) + 4);
        assert_eq!(all[all.len() - 4..], [0x2A, 4, 0, 20]);
        let waiting = queue.0.lock();
        assert_eq!((waiting.frames, waiting.bytes), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn s_35_who_is_asked_to_read_and_does_not_is_gone() {
        let (queue, outgoing) = queue(256, 1 << 20, 0);
        assert!((0..200).all(|_| queue.push(Channel::DATA, Bytes::from_static(b"x"))));
        assert_eq!(queue.wait_for_room(Duration::from_secs(30)).await, None);
        drop(outgoing);
        let began = tokio::time::Instant::now();
        assert_eq!(queue.wait_for_room(Duration::from_secs(30)).await, None);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(!queue.push(Channel::DATA, Bytes::from_static(b"x")));
    }
}
