//! What a client that is signed on wants done: by those who know who else is there, and by what the host keeps.

use std::time::Instant;

use rdv_proto::session::{Outbound, Output, Refusal, Session};
use rdv_proto::wire::snac::ErrorCode;
use rdv_proto::wire::text::ScreenName;
use tracing::debug;

use crate::accounts::{AccountId, Accounts};
use crate::edits::Edits;
use crate::feedbag;
use crate::metrics::{Limit, Message, Metrics};
use crate::people::blocked;
use crate::routing::{Parcel, RouteError, Seat, Seen, Word};
use crate::stored::Stored;

/// What the host keeps for those with an account.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    pub(crate) accounts: Option<&'a Accounts>,
    pub(crate) edits: &'a Edits,
    pub(crate) stored: Option<&'a Stored>,
    pub(crate) metrics: &'a Metrics,
}

/// Does what the session of a guest wants done.
pub(crate) async fn serve_guest(
    session: &mut Session,
    seat: &Seat,
    metrics: &Metrics,
    output: Output,
) {
    let word = match output {
        Output::Online => Word::Online,
        Output::Locate(change) => Word::Locate(change),
        Output::Parameters(parameters) => Word::Parameters(parameters),
        Output::PassOn(error) => {
            // What cannot be passed on is forgotten.
            seat.route(Parcel::Refusal(error)).await.ok();
            return;
        }
        Output::Deliver(outbound) => {
            let routed = seat.route(Parcel::Message(outbound.clone())).await;
            let refused = |error| match error {
                RouteError::NotThere => ErrorCode::NOT_LOGGED_ON.into(),
                RouteError::Refused(refusal) => refusal,
            };
            metrics.message(kind_of(&outbound, routed.is_ok()));
            return report(session, &outbound, routed.map_err(refused));
        }
        // The session asks nothing else for a guest.
        _ => return,
    };
    seat.presence(word).await;
}

/// Does what the session of an account wants done. The names that the client is to be shown come back.
pub(crate) async fn serve_account(
    session: &mut Session,
    (seat, account): (&Seat, AccountId),
    keeping: Keeping<'_>,
    output: Output,
) -> Vec<ScreenName> {
    let word = match output {
        Output::Online => Word::Online,
        Output::Locate(change) => Word::Locate(change),
        Output::Idle(idle) => Word::Idle(idle),
        Output::Status(change) => Word::Status(change),
        Output::Parameters(parameters) => Word::Parameters(parameters),
        Output::OwnInfo { request_id } => {
            own_info(session, seat, request_id).await;
            return Vec::new();
        }
        Output::UserInfo { request_id, query } => {
            if let Seen::User(found) = seat.presence(Word::User(query)).await {
                session.user_info(request_id, found.as_ref());
            } else {
                session.user_info(request_id, None);
            }
            return Vec::new();
        }
        Output::Names { request, change } => match seat.presence(Word::Names(change)).await {
            Seen::Names(shown) => return shown,
            Seen::TooManyNames => {
                session.too_many_names(request);
                return Vec::new();
            }
            _ => return Vec::new(),
        },
        Output::Feedbag(request) => {
            if let Some(accounts) = keeping.accounts {
                let who = (seat, account);
                let kept = (accounts, keeping.edits);
                return feedbag::answer(session, who, kept, keeping.metrics, request).await;
            }
            return Vec::new();
        }
        // What cannot be passed on is forgotten.
        Output::PassOn(error) => {
            seat.route(Parcel::Refusal(error)).await.ok();
            return Vec::new();
        }
        Output::Event(event) => {
            seat.route(Parcel::Event(event)).await.ok();
            return Vec::new();
        }
        Output::Deliver(outbound) => {
            let delivered = deliver(seat, keeping, &outbound).await;
            keeping.metrics.message(match delivered {
                Ok(Fate::Stored) => Message::Stored,
                _ => kind_of(&outbound, delivered.is_ok()),
            });
            report(session, &outbound, delivered.map(drop));
            return Vec::new();
        }
        // All others do not depend on who it is.
        _ => return Vec::new(),
    };
    match seat.presence(word).await {
        Seen::Names(shown) => shown,
        _ => Vec::new(),
    }
}

/// Tells a client about its own account.
pub(crate) async fn own_info(session: &mut Session, seat: &Seat, request_id: u32) {
    if let Seen::Own {
        renamed,
        number,
        shown,
    } = seat.presence(Word::Own).await
    {
        if let Some(name) = renamed {
            session.renamed(name);
        }
        session.own_info(Instant::now(), request_id, number, shown.iter());
    }
}

/// What became of a message that was taken.
enum Fate {
    Delivered,
    Stored,
}

/// Carries a message to its recipient, or stores it for when that comes back.
async fn deliver(seat: &Seat, keeping: Keeping<'_>, outbound: &Outbound) -> Result<Fate, Refusal> {
    match seat.route(Parcel::Message(outbound.clone())).await {
        Ok(()) => Ok(Fate::Delivered),
        Err(RouteError::Refused(refusal)) => Err(refusal),
        Err(RouteError::NotThere) => match keeping.stored {
            Some(stored) if outbound.may_be_stored() => {
                let kept = stored.keep(seat.name(), outbound).await;
                if kept == Err(Refusal::STORE_FULL) {
                    keeping.metrics.refused(Limit::StoredMessages);
                }
                kept.map(|()| Fate::Stored)
            }
            _ => Err(blocked(outbound)),
        },
    }
}

fn kind_of(outbound: &Outbound, is_delivered: bool) -> Message {
    match &outbound.rendezvous {
        _ if !is_delivered => Message::Refused,
        Some(rendezvous) if rendezvous.begins() => Message::Proposal,
        Some(_) => Message::Rendezvous,
        None => Message::Text,
    }
}

fn report(session: &mut Session, outbound: &Outbound, delivered: Result<(), Refusal>) {
    match delivered {
        Ok(()) => session.delivered(outbound),
        Err(refusal) => {
            let [first, second, ..] = outbound.message.cookie.0;
            let code = refusal.code;
            debug!(?code, "cookie {first:02x}{second:02x}… was not delivered");
            session.undelivered(outbound, refusal);
        }
    }
}
