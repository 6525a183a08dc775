//! What a client that is signed on wants done: by its place among guests or accounts, and by what the host keeps.

use std::time::Instant;

use rdv_proto::session::{Outbound, Output, Refusal, Session};
use rdv_proto::wire::text::ScreenName;
use tracing::debug;

use crate::accounts::Accounts;
use crate::feedbag;
use crate::metrics::Message;
use crate::people::{Place, TooManyNames};
use crate::router::Seat as GuestSeat;

/// Does what the session of a guest wants done.
pub(crate) fn serve_guest(session: &mut Session, seat: &GuestSeat, output: Output) {
    match output {
        Output::Online => seat.set_online(),
        Output::Locate(change) => {
            if let Some(capabilities) = change.capabilities {
                seat.set_capabilities(capabilities);
            }
        }
        Output::Parameters(parameters) => seat.set_parameters(parameters),
        Output::PassOn(error) => seat.pass_on(Instant::now(), error),
        Output::Deliver(outbound) => {
            let delivered = seat.deliver(Instant::now(), &outbound);
            seat.metrics()
                .message(kind_of(&outbound, delivered.is_ok()));
            report(session, &outbound, delivered.map_err(Refusal::from));
        }
        // The session asks nothing else for a guest.
        _ => {}
    }
}

/// Does what the session of an account wants done. The names that the client is to be shown come back.
pub(crate) async fn serve_account(
    session: &mut Session,
    place: &Place,
    accounts: Option<&Accounts>,
    output: Output,
) -> Vec<ScreenName> {
    let now = Instant::now();
    match output {
        Output::Online => return place.set_online(now),
        Output::Locate(change) => place.locate(now, change),
        Output::Idle(idle) => place.set_idle(now, idle),
        Output::Status(change) => place.set_status(now, change),
        Output::Parameters(parameters) => place.set_parameters(parameters),
        Output::OwnInfo { request_id } => place.own_info(|number, shown| {
            session.own_info(now, request_id, number, shown.iter().copied());
        }),
        Output::UserInfo { request_id, query } => {
            let found = place.user_info(now, &query);
            session.user_info(request_id, found.as_ref());
        }
        Output::Names { request, change } => match place.change_names(now, change) {
            Ok(shown) => return shown,
            Err(TooManyNames) => session.too_many_names(request),
        },
        Output::Feedbag(request) => {
            if let Some(accounts) = accounts {
                return Box::pin(feedbag::answer(session, place, accounts, request)).await;
            }
        }
        Output::PassOn(error) => place.pass_on(error),
        Output::Event(event) => place.pass_on_event(event),
        Output::Deliver(outbound) => {
            let delivered = place.deliver(now, &outbound);
            place
                .metrics()
                .message(kind_of(&outbound, delivered.is_ok()));
            report(session, &outbound, delivered);
        }
        // All others do not depend on who it is.
        _ => {}
    }
    Vec::new()
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
