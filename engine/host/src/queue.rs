//! What waits to be written to one client: bounded, and a client that does not keep up is cut off (S-35).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdv_proto::limits;
use rdv_proto::wire::flap::{Channel, Frame, bodiless_sign_off};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

/// Frames are written together up to this size, in bytes.
const BATCH: usize = 64 * 1024;

enum Item {
    Frame(Channel, Bytes),
    BareSignOff,
    /// Tells when all before it was written.
    Mark(oneshot::Sender<Instant>),
    Close,
}

/// The end at which frames go in. Clones are the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    items: mpsc::Sender<Item>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    overflow: Arc<Notify>,
    written: Arc<Notify>,
}

/// The end at which they come out.
pub(crate) struct Outgoing {
    items: mpsc::Receiver<Item>,
    bytes: Arc<AtomicUsize>,
    overflow: Arc<Notify>,
    written: Arc<Notify>,
}

/// A queue for so many frames and bytes.
pub(crate) fn queue(frames_max: usize, bytes_max: usize) -> (Queue, Outgoing) {
    let (sender, receiver) = mpsc::channel(frames_max.max(1));
    let bytes = Arc::new(AtomicUsize::new(0));
    let overflow = Arc::new(Notify::new());
    let written = Arc::new(Notify::new());
    let queue = Queue {
        items: sender,
        bytes: Arc::clone(&bytes),
        bytes_max,
        overflow: Arc::clone(&overflow),
        written: Arc::clone(&written),
    };
    let outgoing = Outgoing {
        items: receiver,
        bytes,
        overflow,
        written,
    };
    (queue, outgoing)
}

impl Queue {
    /// Puts a frame in; false if the client is gone, or is now because it did not keep up, or if no frame can hold so much,
    /// which is not the client's fault.
    pub(crate) fn push(&self, channel: Channel, data: Bytes) -> bool {
        let length = data.len();
        if length > limits::FLAP_PAYLOAD {
            return false;
        }
        if self.bytes.fetch_add(length, Ordering::Relaxed) + length > self.bytes_max
            || self.items.try_send(Item::Frame(channel, data)).is_err()
        {
            self.overflow.notify_one();
            return false;
        }
        true
    }

    /// Puts a sign-off in that has no length field, for clients that hang at one; nothing may follow it.
    pub(crate) fn push_bare_sign_off(&self) -> bool {
        let is_in = self.items.try_send(Item::BareSignOff).is_ok();
        if !is_in {
            self.overflow.notify_one();
        }
        is_in
    }

    /// When all that is in the queue now was written; an error if it never is.
    pub(crate) fn mark(&self) -> oneshot::Receiver<Instant> {
        let (mark, written) = oneshot::channel();
        if self.items.try_send(Item::Mark(mark)).is_err() {
            self.overflow.notify_one();
        }
        written
    }

    /// Waits until the queue is at most half full; how many frames it takes at once then. None if the client is gone, or
    /// takes nothing for so long.
    pub(crate) async fn wait_for_room(&self, stall: Duration) -> Option<usize> {
        let half = self.items.max_capacity().div_ceil(2);
        loop {
            let written = self.written.notified();
            let bytes = self.bytes.load(Ordering::Relaxed);
            if self.items.capacity() >= half && bytes <= self.bytes_max / 2 {
                return Some(half);
            }
            if self.items.is_closed() || timeout(stall, written).await.is_err() {
                return None;
            }
        }
    }

    /// Whether nobody writes any more what is in the queue.
    pub(crate) fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    /// Ends the connection after what is in the queue.
    pub(crate) fn close(&self) {
        if self.items.try_send(Item::Close).is_err() {
            self.overflow.notify_one();
        }
    }
}

impl Outgoing {
    /// Resolves when the client did not keep up.
    pub(crate) fn overflow(&self) -> Arc<Notify> {
        Arc::clone(&self.overflow)
    }

    /// Writes frames, numbered from `sequence`, until [`Queue::close`] or an error; a keep-alive when there is nothing else.
    pub(crate) async fn write_to(
        mut self,
        mut stream: impl AsyncWrite + Unpin,
        mut sequence: u16,
        keep_alive: Duration,
    ) -> std::io::Result<()> {
        let mut batch = BytesMut::new();
        loop {
            let (mut closing, mut marks) = (false, Vec::new());
            match timeout(keep_alive, self.items.recv()).await {
                Err(_) => put(
                    &mut batch,
                    &mut sequence,
                    Item::Frame(Channel::KEEP_ALIVE, Bytes::new()),
                )?,
                Ok(None | Some(Item::Close)) => closing = true,
                Ok(Some(Item::Mark(mark))) => marks.push(mark),
                Ok(Some(item)) => {
                    self.taken(&item);
                    put(&mut batch, &mut sequence, item)?;
                }
            }
            while !closing && batch.len() < BATCH {
                match self.items.try_recv() {
                    Ok(Item::Close) => closing = true,
                    Ok(Item::Mark(mark)) => marks.push(mark),
                    Ok(item) => {
                        self.taken(&item);
                        put(&mut batch, &mut sequence, item)?;
                    }
                    Err(_) => break,
                }
            }
            stream.write_all(&batch).await?;
            stream.flush().await?;
            self.written.notify_one();
            for mark in marks {
                // Whoever asked may be gone.
                mark.send(Instant::now()).ok();
            }
            if closing {
                return stream.shutdown().await;
            }
            batch.clear();
        }
    }

    fn taken(&self, item: &Item) {
        if let Item::Frame(_, data) = item {
            self.bytes.fetch_sub(data.len(), Ordering::Relaxed);
        }
    }
}

/// Appends what is to be written, and counts on.
fn put(batch: &mut BytesMut, sequence: &mut u16, item: Item) -> std::io::Result<()> {
    match item {
        Item::Frame(channel, data) => Frame {
            channel,
            sequence: *sequence,
            data,
        }
        .encode(batch)
        .map_err(std::io::Error::other)?,
        Item::BareSignOff => batch.extend_from_slice(&bodiless_sign_off(*sequence)),
        Item::Mark(_) | Item::Close => return Ok(()),
    }
    *sequence = sequence.wrapping_add(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cut_off(outgoing: &Outgoing) -> bool {
        let overflow = outgoing.overflow();
        let notified = std::pin::pin!(overflow.notified());
        notified
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
            .is_ready()
    }

    #[test]
    fn s_35_who_lets_256_messages_wait_is_cut_off() {
        let (queue, outgoing) = queue(256, 1 << 20);
        assert!((0..256).all(|_| queue.push(Channel::DATA, Bytes::from_static(b"x"))));
        assert!(!is_cut_off(&outgoing));
        assert!(!queue.push(Channel::DATA, Bytes::from_static(b"x")));
        assert!(is_cut_off(&outgoing));
    }

    #[test]
    fn s_35_who_lets_a_megabyte_wait_is_cut_off() {
        let (queue, outgoing) = queue(256, 1 << 20);
        let big = Bytes::from(vec![0; 60_000]);
        let taken = (0..256)
            .take_while(|_| queue.push(Channel::DATA, big.clone()))
            .count();
        assert_eq!(taken, (1 << 20) / 60_000);
        assert!(is_cut_off(&outgoing));
    }

    #[test]
    fn s_35_what_no_frame_can_hold_ends_nobody() {
        let (queue, outgoing) = queue(256, 1 << 20);
        let data = |length| Bytes::from(vec![0; length]);
        assert!(!queue.push(Channel::DATA, data(limits::FLAP_PAYLOAD + 1)));
        assert!(queue.push(Channel::DATA, data(limits::FLAP_PAYLOAD)));
        assert!(!is_cut_off(&outgoing));
    }

    #[tokio::test]
    async fn a_mark_is_reached_when_all_before_it_was_written_and_never_if_it_was_not() {
        let (queue, outgoing) = queue(256, 1 << 20);
        let (ours, theirs) = tokio::io::duplex(8);
        let writing = tokio::spawn(outgoing.write_to(ours, 0, Duration::from_secs(60)));
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
        let (queue, outgoing) = queue(256, 1 << 20);
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let writing = tokio::spawn(outgoing.write_to(ours, 0xFFFF, Duration::from_secs(60)));
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
}
