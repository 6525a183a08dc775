//! One transfer of several at a time: a task that accepts it, obeys, and tells what happens.

use rdv::{Error, Progress, Proposal, Sink, Summary, Transfer, TransferEvent, TransferReport};
use tokio::sync::mpsc;

use crate::follow::taken_ms;
use crate::ui::TICK;

/// Orders that wait; there are three in a transfer at most.
const ORDERS: usize = 4;

/// What a transfer is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Take what is offered.
    Accept,
    /// Do not.
    Decline,
    /// End it.
    Cancel,
}

/// What a transfer tells.
pub(crate) struct News {
    /// Which.
    pub(crate) id: u64,
    /// What.
    pub(crate) what: What,
}

pub(crate) enum What {
    /// Anything but its end; and when the way in use was taken, in ms from its beginning.
    Event(TransferEvent, Option<u64>),
    /// How far it is.
    Progress(Progress),
    /// It is over, and this was tried for it; nothing follows.
    Ended(Result<Summary, Error>, Option<Box<TransferReport>>),
}

/// Accepts `proposal` into `sink`; what becomes of it goes to `news`. Dropping what is given back cancels it.
pub(crate) fn start(
    id: u64,
    proposal: Proposal,
    sink: Sink,
    news: mpsc::Sender<News>,
) -> mpsc::Sender<Order> {
    let (orders, told) = mpsc::channel(ORDERS);
    tokio::spawn(async move {
        let what = match proposal.accept(sink).await {
            Ok(mut transfer) => {
                let outcome = follow(id, &mut transfer, told, &news).await;
                What::Ended(outcome, Some(Box::new(transfer.report())))
            }
            Err(error) => What::Ended(Err(error), None),
        };
        // Nobody is interested any more: the same.
        let _ = news.send(News { id, what }).await;
    });
    orders
}

async fn follow(
    id: u64,
    transfer: &mut Transfer,
    mut orders: mpsc::Receiver<Order>,
    news: &mpsc::Sender<News>,
) -> Result<Summary, Error> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut obeys = true;
    loop {
        tokio::select! {
            event = transfer.next_event() => match event {
                Some(TransferEvent::Ended(outcome)) => return outcome,
                Some(event) => {
                    let what = What::Event(event, taken_ms(&transfer.report()));
                    let _ = news.send(News { id, what }).await;
                }
                None => return Err(Error::EngineEnded),
            },
            order = orders.recv(), if obeys => match order {
                Some(Order::Accept) => transfer.accept(),
                Some(Order::Decline) => transfer.decline(),
                Some(Order::Cancel) => transfer.cancel().await,
                None => {
                    obeys = false;
                    transfer.cancel().await;
                }
            },
            _ = tick.tick() => {
                let what = What::Progress(transfer.progress());
                // The next one tells more anyway.
                let _ = news.try_send(News { id, what });
            }
        }
    }
}
