//! What the two faces of a link and its task have in common.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use rdv_proto::link::{LaneHealth, LaneId, LinkMachine};
use rdv_proto::rendezvous::{AttemptError, AttemptId};
use tokio::time::Instant;

use super::reader::LaneReader;
use super::{LaneStats, LinkEvent, Stream};

/// Lanes whose figures are remembered.
const BOOKS: usize = 64;

/// Behind an `Arc`: the link, its handle, its task, and the wakers of its lanes hold it.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Held by whoever reads: the transfer while it waits for bytes, else the task. Taken before `state`.
    readers: Mutex<Vec<LaneReader>>,
}

/// A lane that the task does not have yet.
pub(super) struct NewLane {
    pub(super) id: LaneId,
    pub(super) stream: Box<dyn Stream>,
}

pub(super) struct State {
    pub(super) machine: LinkMachine,
    pub(super) wakers: Wakers,
    pub(super) new: Vec<NewLane>,
    /// Bytes of the stream that lanes have taken and passed on.
    pub(super) flushed: u64,
    /// Nothing waits in front of any lane.
    pub(super) settled: bool,
    /// When the task will look at the time.
    pub(super) alarm: Option<std::time::Instant>,
    /// No lane will come any more.
    pub(super) gave_up: Option<AttemptError>,
    /// Why the last lane was lost, for the transfer.
    pub(super) broke: io::ErrorKind,
    /// The transfer has let go of the link.
    pub(super) link_gone: bool,
    /// It had said all that it wanted to say.
    pub(super) finished: bool,
    /// The task has ended.
    pub(super) over: bool,
    books: VecDeque<Book>,
}

/// Who waits for what. Each is woken once.
#[derive(Default)]
pub(super) struct Wakers {
    /// The transfer, for bytes.
    pub(super) read: Option<Waker>,
    /// The transfer, for room.
    pub(super) write: Option<Waker>,
    /// The transfer, for what it wrote to be gone.
    pub(super) flush: Option<Waker>,
    /// The task.
    pub(super) task: Option<Waker>,
    /// The driver, for events.
    pub(super) events: Option<Waker>,
}

/// What is known of a lane.
struct Book {
    stats: LaneStats,
    /// What was said of it last.
    told: LaneHealth,
    gone: bool,
    /// Its loss, if that is to be said.
    lost: Option<AttemptError>,
    /// The loss was said.
    told_lost: bool,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                machine: LinkMachine::new(),
                wakers: Wakers::default(),
                new: Vec::new(),
                flushed: 0,
                settled: false,
                alarm: None,
                gave_up: None,
                broke: io::ErrorKind::UnexpectedEof,
                link_gone: false,
                finished: false,
                over: false,
                books: VecDeque::new(),
            }),
            readers: Mutex::new(Vec::new()),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn readers(&self) -> MutexGuard<'_, Vec<LaneReader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lanes wake it when they can be read: the transfer if it waits for bytes, else the task.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = {
            let mut state = self.lock();
            let read = state.wakers.read.take();
            // The transfer may have turned from reading to its end.
            let task = read.is_none() || state.finished;
            [read, state.wakers.task.take_if(|_| task)]
        };
        woken.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    /// A lane more.
    pub(super) fn add(
        &mut self,
        attempt: AttemptId,
        stream: Box<dyn Stream>,
        nominate: Option<u32>,
    ) {
        let (now, id) = (Instant::now(), LaneId(attempt.0));
        let known = self.machine.lanes().any(|(lane, _)| lane == id);
        if self.over || self.link_gone || known {
            return;
        }
        if self.books.len() >= BOOKS {
            let gone = self.books.iter().position(|book| book.gone);
            gone.and_then(|place| self.books.remove(place));
        }
        self.books.push_back(Book {
            stats: LaneStats {
                attempt,
                since: now,
                sent: 0,
                received: 0,
                round_trip: None,
            },
            told: LaneHealth::Good,
            gone: false,
            lost: None,
            told_lost: false,
        });
        if let Some(surplus) = self.machine.add(now.into_std(), id, nominate) {
            self.closed(surplus);
        }
        self.new.push(NewLane { id, stream });
        self.wake_all();
    }

    /// A lane broke, or must not be listened to.
    pub(super) fn lost(&mut self, id: LaneId, broke: io::ErrorKind) {
        self.machine.lost(id);
        self.broke = broke;
        let over = self.is_ending();
        if let Some(book) = self.book(id) {
            book.gone = true;
            if !over {
                book.lost.get_or_insert(attempt_error(broke));
            }
        }
        self.wake_all();
    }

    /// A lane cannot be written.
    pub(super) fn write_failed(&mut self, id: LaneId, broke: io::ErrorKind) {
        self.machine.write_failed(id);
        let over = self.is_ending();
        if let Some(book) = self.book(id).filter(|_| !over) {
            book.lost.get_or_insert(attempt_error(broke));
        }
        self.wake_all();
    }

    /// A lane was closed by us: nobody need be told.
    pub(super) fn closed(&mut self, id: LaneId) {
        self.machine.lost(id);
        if let Some(book) = self.book(id) {
            book.gone = true;
        }
    }

    /// Whether the link cannot go on.
    pub(super) fn failed(&self) -> bool {
        self.over || (self.gave_up.is_some() && self.machine.is_bare())
    }

    /// Whether all that there is to say at the end was said, and heard if it was ours.
    pub(super) fn is_parted(&self) -> bool {
        let heard = self.machine.sent().fin_acknowledged;
        let told = heard && (!self.machine.is_whole() || self.is_told());
        told || (self.is_ending() && self.machine.is_bare())
    }

    /// The other side has said its last word, and ours was said or everything that was said is there: that a lane ends now is no loss.
    fn is_ending(&self) -> bool {
        let sent = self.machine.sent();
        let said = self.finished || sent.acknowledged == sent.written;
        self.machine.is_whole() && said
    }

    /// Whether the other side was told that we have everything.
    pub(super) fn is_told(&self) -> bool {
        self.machine.is_told() && self.settled
    }

    pub(super) fn count_sent(&mut self, id: LaneId, bytes: u64) {
        if let Some(book) = self.book(id) {
            book.stats.sent += bytes;
        }
    }

    pub(super) fn count_received(&mut self, id: LaneId, bytes: u64) {
        if let Some(book) = self.book(id) {
            book.stats.received += bytes;
        }
    }

    /// The next thing that was not said yet.
    pub(super) fn event(&mut self) -> Option<LinkEvent> {
        let (machine, books) = (&self.machine, &mut self.books);
        for book in books {
            let attempt = book.stats.attempt;
            if let Some(error) = book.lost.take()
                && !std::mem::replace(&mut book.told_lost, true)
            {
                return Some(LinkEvent::Lost(attempt, error));
            }
            let lane = LaneId(attempt.0);
            let Some((_, health)) = machine.lanes().find(|(id, _)| *id == lane) else {
                continue;
            };
            let before = std::mem::replace(&mut book.told, health);
            match (before, health) {
                _ if before == health => {}
                (_, LaneHealth::Silent) => return Some(LinkEvent::Silent(attempt)),
                (LaneHealth::Silent, _) => {
                    // If it is idle, that is news of its own.
                    book.told = LaneHealth::Good;
                    return Some(LinkEvent::Heard(attempt));
                }
                (_, LaneHealth::Idle) => return Some(LinkEvent::Idle(attempt)),
                (_, LaneHealth::Good) => {}
            }
        }
        None
    }

    /// The lanes that are there.
    pub(super) fn lane_ids(&self) -> Vec<AttemptId> {
        self.machine
            .lanes()
            .map(|(id, _)| AttemptId(id.0))
            .collect()
    }

    pub(super) fn stats(&self) -> Vec<LaneStats> {
        let books = self.books.iter().map(|book| {
            let id = LaneId(book.stats.attempt.0);
            let round_trip: Option<Duration> = self.machine.round_trip(id);
            LaneStats {
                round_trip: round_trip.or(book.stats.round_trip),
                ..book.stats
            }
        });
        books.collect()
    }

    /// Everybody looks again.
    pub(super) fn wake_all(&mut self) {
        let Wakers {
            read,
            write,
            flush,
            task,
            events,
        } = std::mem::take(&mut self.wakers);
        let all = [read, write, flush, task, events];
        all.into_iter().flatten().for_each(Waker::wake);
    }

    fn book(&mut self, id: LaneId) -> Option<&mut Book> {
        let mut books = self.books.iter_mut();
        books.find(|book| book.stats.attempt.0 == id.0)
    }
}

fn attempt_error(broke: io::ErrorKind) -> AttemptError {
    match broke {
        io::ErrorKind::TimedOut => AttemptError::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            AttemptError::Unreachable
        }
        _ => AttemptError::Closed,
    }
}
