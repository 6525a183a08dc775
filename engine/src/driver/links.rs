//! The links of running transfers: further lanes are given to them here, and from here comes what happens to those they have.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use rdv_proto::rendezvous::{AttemptError, AttemptId, ConversationId, EndReason, Input};
use rdv_proto::trust::{Role, Session};

use crate::report::Log;
use crate::transfer::{Control, Phase};
use crate::transport::{Lane, Link, LinkEvent, LinkHandle};

/// One link for each native conversation that has had a lane and is not over.
#[derive(Default)]
pub(super) struct Links {
    open: BTreeMap<ConversationId, Held>,
}

struct Held {
    handle: LinkHandle,
    /// Of the transfer that runs on it.
    control: Control,
    /// We choose the lanes, and say USE first on each.
    controller: bool,
    log: Log,
}

impl Links {
    /// The link of a conversation, with its first lane.
    pub(super) fn open(
        &mut self,
        id: ConversationId,
        attempt: AttemptId,
        lane: Lane,
        session: &Session,
        control: Control,
        log: Log,
    ) -> Link {
        // The sender of C2 is the controller.
        let controller = session.role() == Role::Answerer;
        let (link, handle) = Link::new(attempt, lane, controller);
        let held = Held {
            handle,
            control,
            controller,
            log,
        };
        self.open.insert(id, held);
        link
    }

    /// A further lane takes over. Not there any more: the lane closes.
    pub(super) fn add(&self, id: &ConversationId, attempt: AttemptId, lane: Lane) {
        if let Some(held) = self.open.get(id) {
            held.note();
            held.handle.add(attempt, lane, held.controller);
        }
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
