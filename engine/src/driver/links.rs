//! The links of running transfers: further lanes are given to them here, and from here comes what happens to those they have.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use rdv_proto::rendezvous::{AttemptError, AttemptId, ConversationId, EndReason, Input};

use crate::report::Log;
use crate::transfer::{Control, Phase};
use crate::transport::{Lane, Link, LinkEvent, LinkHandle};

/// One link for each native conversation that has had a lane and is not over.
#[derive(Default)]
pub(super) struct Links {
    open: BTreeMap<ConversationId, Held>,
    /// The lane that we nominated last, and the number of its USE; it comes with the next event.
    nominated: Option<(AttemptId, u32)>,
}

struct Held {
    handle: LinkHandle,
    /// Of the transfer that runs on it.
    control: Control,
    log: Log,
}

impl Links {
    /// The link of a conversation, with its first lane.
    pub(super) fn open(
        &mut self,
        id: ConversationId,
        attempt: AttemptId,
        lane: Lane,
        control: Control,
        log: Log,
    ) -> Link {
        let (link, handle) = Link::new(attempt, lane, self.nomination(attempt));
        let held = Held {
            handle,
            control,
            log,
        };
        self.open.insert(id, held);
        link
    }

    /// A further lane takes over. Not there any more: the lane closes.
    pub(super) fn add(&mut self, id: &ConversationId, attempt: AttemptId, lane: Lane) {
        let nomination = self.nomination(attempt);
        if let Some(held) = self.open.get(id) {
            held.note();
            held.handle.add(attempt, lane, nomination);
        }
    }

    /// A lane that the link has already is to carry on. Whether it has it.
    pub(super) fn prefer(&self, id: &ConversationId, attempt: AttemptId) -> bool {
        let held = self.open.get(id);
        let held = held.filter(|held| held.handle.lane_ids().contains(&attempt));
        if let Some(held) = held {
            held.note();
            held.handle.prefer(attempt);
        }
        held.is_some()
    }

    /// We have chosen a lane: USE with this number is to be its first frame.
    pub(super) fn nominated(&mut self, attempt: AttemptId, number: u32) {
        self.nominated = Some((attempt, number));
    }

    /// The number for the USE on a lane, if the choice was ours.
    fn nomination(&mut self, attempt: AttemptId) -> Option<u32> {
        let (_, number) = self.nominated.take_if(|(chosen, _)| *chosen == attempt)?;
        Some(number)
    }

    /// A lane is not wanted any more.
    pub(super) fn close(&self, attempt: AttemptId) {
        for held in self.open.values() {
            if held.handle.lane_ids().contains(&attempt) {
                held.handle.close(attempt);
            }
        }
    }

    /// The conversation is over: no further lane will come.
    pub(super) fn ended(&mut self, id: &ConversationId, reason: &EndReason) {
        if let Some(held) = self.open.remove(id) {
            held.note();
            held.handle.give_up(match reason {
                EndReason::LinkLost(error) => *error,
                _ => AttemptError::Closed,
            });
        }
    }

    /// The transfer is over.
    pub(super) fn forget(&mut self, id: &ConversationId) {
        if let Some(held) = self.open.remove(id) {
            held.note();
        }
    }

    /// What happens next to a lane, as the machine is told it. Cancel-safe.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = input(self.next_event().await) {
                return input;
            }
        }
    }

    async fn next_event(&mut self) -> LinkEvent {
        poll_fn(|context| {
            let mut over = Vec::new();
            for (id, held) in &mut self.open {
                let next = pin!(held.handle.next_event());
                match next.poll(context) {
                    // A lane that ends with the transfer is not lost.
                    Poll::Ready(Some(_)) if held.control.progress().phase == Phase::Over => {
                        context.waker().wake_by_ref();
                    }
                    Poll::Ready(Some(event)) => return Poll::Ready(event),
                    Poll::Ready(None) => over.push(id.clone()),
                    Poll::Pending => {}
                }
            }
            for id in over {
                self.forget(&id);
            }
            Poll::Pending
        })
        .await
    }
}

impl Held {
    fn note(&self) {
        self.log.carried(&self.handle.stats());
    }
}

/// What is of interest to the machine. An idle lane stays as a way back until the machine hangs it up.
fn input(event: LinkEvent) -> Option<Input> {
    match event {
        LinkEvent::Silent(attempt) => Some(Input::LaneSilent { attempt }),
        LinkEvent::Heard(attempt) => Some(Input::LaneHeard { attempt }),
        LinkEvent::Lost(attempt, error) => Some(Input::Failed { attempt, error }),
        LinkEvent::Idle(_) => None,
    }
}
