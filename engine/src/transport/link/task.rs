//! The task of a link: writes, keeps the time, and reads while the transfer does not.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rdv_proto::link::{LaneHealth, LaneId, Outgoing};
use tokio::time::{Instant, Sleep};

use super::reader::{Into, LaneReader};
use super::shared::Shared;
use super::writer::LaneWriter;

/// What the transfer said last may take this long to get out after it let go.
const LINGER: Duration = Duration::from_millis(1500);
/// The transfer is woken when it can write so much.
const WORTH: u64 = 32 * 1024;

pub(super) struct Task {
    shared: Arc<Shared>,
    /// Of the lanes, for reading.
    waker: Waker,
    writers: Vec<LaneWriter>,
    sleep: Pin<Box<Sleep>>,
    /// Since the transfer let go.
    until: Option<Instant>,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            writers: Vec::new(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            until: None,
        }
    }

    /// Takes over lanes that came, and lets go of those that are gone.
    fn lanes(&mut self, context: &mut Context<'_>) {
        let (new, known) = {
            let mut state = self.shared.lock();
            let known: Vec<LaneId> = state.machine.lanes().map(|(id, _)| id).collect();
            (std::mem::take(&mut state.new), known)
        };
        if new.is_empty() && self.writers.len() == known.len() {
            return;
        }
        let gone = |id: &LaneId| !known.contains(id);
        for writer in self.writers.iter_mut().filter(|writer| gone(&writer.id)) {
            writer.hang_up(context);
        }
        self.writers.retain(|writer| !gone(&writer.id));
        let mut readers = self.shared.readers();
        readers.retain(|reader| !gone(&reader.id));
        for lane in new.into_iter().filter(|lane| !gone(&lane.id)) {
            let (read, write) = tokio::io::split(lane.stream);
            readers.push(LaneReader::new(lane.id, read));
            self.writers.push(LaneWriter::new(lane.id, write));
        }
        drop(readers);
        // They are read from now on.
        let read = self.shared.lock().wakers.read.take();
        read.into_iter().for_each(Waker::wake);
    }

    /// Reads what is not for the transfer, if it does not do so itself.
    fn read(&self) {
        let waste = {
            let state = self.shared.lock();
            if state.wakers.read.is_some() && !state.finished {
                return;
            }
            state.link_gone
        };
        let mut context = Context::from_waker(&self.waker);
        for reader in self.shared.readers().iter_mut() {
            let mut into = if waste { Into::Waste } else { Into::Nowhere };
            let _ = reader.poll(&mut context, &self.shared, &mut into);
        }
    }

    /// Writes on each lane what it takes; one that takes nothing does not hold up the others.
    fn write(&mut self, context: &mut Context<'_>) {
        for writer in self.writers.iter_mut().filter(|writer| !writer.failed) {
            if let Poll::Ready(Err(error)) = write_lane(&self.shared, writer, context) {
                writer.failed = true;
                self.shared.lock().write_failed(writer.id, error.kind());
            }
        }
        let mut state = self.shared.lock();
        // What a dead lane still holds is of no use.
        let settled = self.writers.iter().all(|writer| {
            let mut lanes = state.machine.lanes();
            writer.is_clean() || lanes.any(|lane| lane == (writer.id, LaneHealth::Silent))
        });
        state.settled = settled;
        let room = state.machine.room() >= WORTH;
        let told = state.is_told();
        let wakers = &mut state.wakers;
        let woken = [
            wakers.write.take_if(|_| room),
            wakers.flush.take(),
            wakers.read.take_if(|_| told),
        ];
        drop(state);
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether there is nothing left to do.
    fn is_over(&mut self) -> bool {
        let state = self.shared.lock();
        if state.failed() && (state.link_gone || state.machine.is_bare()) {
            return true;
        }
        if !state.link_gone {
            return false;
        }
        let parted = state.machine.is_over() && state.settled;
        let until = *self.until.get_or_insert_with(|| Instant::now() + LINGER);
        !state.finished || parted || state.machine.is_bare() || Instant::now() >= until
    }

    /// Lets go of lanes that were to be closed.
    fn close(&mut self) {
        let mut state = self.shared.lock();
        while let Some(id) = state.machine.closable() {
            let writer = self.writers.iter().find(|writer| writer.id == id);
            if writer.is_some_and(|writer| !writer.is_clean()) {
                return;
            }
            state.closed(id);
        }
    }
}

/// Writes on one lane, until it takes no more or nothing is left.
fn write_lane(
    shared: &Shared,
    writer: &mut LaneWriter,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<()>> {
    loop {
        std::task::ready!(writer.poll_write(context))?;
        let woken = {
            let mut state = shared.lock();
            let now = Instant::now().into_std();
            match state.machine.next_frame(now, writer.id) {
                None => break,
                Some(frame) => {
                    state.settled = false;
                    if let Outgoing::Stream(bytes) = &frame {
                        state.count_sent(writer.id, bytes.len() as u64);
                    }
                    writer.push(frame);
                    let room = state.machine.room() >= WORTH;
                    state.wakers.write.take_if(|_| room)
                }
            }
        };
        woken.into_iter().for_each(Waker::wake);
    }
    std::task::ready!(writer.poll_flush(context))?;
    let mut state = shared.lock();
    if state.machine.current() == Some(writer.id) {
        let next = state.machine.sent().next;
        state.flushed = state.flushed.max(next);
    }
    Poll::Ready(Ok(()))
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            this.shared.lock().wakers.task = Some(context.waker().clone());
            this.lanes(context);
            this.read();
            this.write(context);
            this.close();
            if this.is_over() {
                this.writers
                    .iter_mut()
                    .for_each(|writer| writer.hang_up(context));
                return Poll::Ready(());
            }
            let alarm = {
                let mut state = this.shared.lock();
                let now = Instant::now().into_std();
                if state.machine.poll_timeout().is_some_and(|at| at <= now) {
                    for id in state.machine.handle_timeout(now) {
                        state.lost(id, std::io::ErrorKind::TimedOut);
                    }
                    let events = state.wakers.events.take();
                    events.into_iter().for_each(Waker::wake);
                    continue;
                }
                let alarm = state.machine.poll_timeout();
                state.alarm = alarm;
                alarm
            };
            let alarm = alarm
                .map(Instant::from_std)
                .into_iter()
                .chain(this.until)
                .min();
            let Some(alarm) = alarm else {
                return Poll::Pending;
            };
            this.sleep.as_mut().reset(alarm);
            if this.sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.readers().clear();
        let mut state = self.shared.lock();
        state.over = true;
        state.new.clear();
        state.wake_all();
    }
}
