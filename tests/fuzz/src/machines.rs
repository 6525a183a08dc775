//! The machines that strangers talk to at a host and at a relay, fed with whatever they may send.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rdv_proto::relay::{self, Access, ConnectionId, Pairing, RelayLimits, TicketKey};
use rdv_proto::session::{
    AdminAnswer, AdminRequest, Admission, Change, FeedbagRequest, FieldAnswer, Output, Party,
    RateTable, Session, SessionConfig, Sessions,
};
use rdv_proto::wire::admin::{AdminErrorCode, ConfirmStatus, Permissions};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::{ars, flap};

/// A stream of FLAP frames from a client over TLS, who is let in whenever it asks.
pub fn host_session(data: &[u8]) {
    serve(data, false);
}

/// The same on a connection for the administration of an account: whoever comes with a cookie is let in there.
pub fn admin_session(data: &[u8]) {
    serve(data, true);
}

fn serve(data: &[u8], admin: bool) {
    let now = Instant::now();
    let config = SessionConfig {
        peer: (Ipv4Addr::LOCALHOST, 4711).into(),
        tls: true,
        accounts: true,
        museum: true,
        challenge: [7; 16],
        rates: RateTable::OURS,
        rates_old: RateTable::OLD,
        error_url: Default::default(),
    };
    let mut session = Session::new(now, config);
    let mut buffer = BytesMut::from(data);
    let mut closed = false;
    loop {
        while let Some(output) = session.poll_output() {
            assert!(!closed, "something comes after the end");
            match output {
                Output::SignOn(_) => {
                    session.signed_on(ScreenName::new("7").expect("a name"), None, 0);
                }
                Output::Authenticate(sign_on) if sign_on.moves_on() => {
                    let name = ScreenName::new("alice").expect("a name");
                    session.sent_on(&name, "127.0.0.1:5190".into(), vec![7; 256].into());
                }
                Output::Redeem { .. } if admin => {
                    session.admitted_to_admin(admission(), Party::Old);
                }
                Output::Authenticate(_)
                | Output::Redeem { .. }
                | Output::CreateAccount { account: Ok(_), .. } => session.admitted(admission()),
                Output::CreateAccount {
                    account: Err(code), ..
                } => session.not_created(code),
                Output::Service {
                    request_id,
                    foodgroup,
                } => {
                    session.service(request_id, foodgroup, None);
                }
                Output::Admin {
                    request_id,
                    request,
                } => {
                    session.admin(request_id, admin_answer(request));
                }
                Output::OwnInfo { request_id } => {
                    session.own_info(now, request_id, 1, std::iter::empty());
                }
                Output::UserInfo { request_id, .. } => session.user_info(request_id, None),
                Output::Names { request, .. } => session.too_many_names(request),
                Output::Feedbag(FeedbagRequest::Query { request_id, .. }) => {
                    session.feedbag(request_id, &[], Default::default());
                }
                Output::Feedbag(FeedbagRequest::Change { request_id, .. }) => {
                    session.feedbag_changed(request_id, Vec::new());
                }
                Output::Deliver(outbound) => session.delivered(&outbound),
                Output::Relay { request_id, .. } => session.relay(request_id, None),
                Output::Close => closed = true,
                _ => {}
            }
        }
        match flap::Frame::decode(&mut buffer, session.payload_max()) {
            Ok(Some(frame)) => session.handle_frame(now, frame),
            _ => return,
        }
    }
}

fn admission() -> Admission {
    Admission {
        name: ScreenName::new("alice").expect("a name"),
        sessions: Sessions::Several,
        since_unix_s: 0,
    }
}

/// Everything is granted that the machine has nothing against.
fn admin_answer(request: AdminRequest) -> AdminAnswer {
    let told = |tag| FieldAnswer::value(tag, Permissions::CHANGEABLE, &b"alice"[..]);
    match request {
        AdminRequest::Query(tags) => {
            assert!(!tags.is_empty() && tags.len() <= 3);
            AdminAnswer::Info(tags.into_iter().map(told).collect())
        }
        AdminRequest::Change(change) => {
            let tag = change.tag();
            let wrong = match change {
                Change::Format(new) => new.err(),
                Change::Email(new) => new.err(),
                Change::Registration(new) => new.err(),
                Change::Password { old, new } => old.and(new).err(),
            };
            AdminAnswer::Changed(match wrong {
                Some(code) => FieldAnswer::refused(tag, Permissions::CHANGEABLE, code),
                None => told(tag),
            })
        }
        AdminRequest::Confirm { code } => AdminAnswer::Confirm {
            status: ConfirmStatus::CANNOT,
            code: code.map(|_| AdminErrorCode::ALL_OTHER_ERRORS),
        },
        AdminRequest::Delete { password } => AdminAnswer::Deleted(password.map(drop)),
    }
}

/// What up to 256 connections do at a relay: `[act: u8][connection: u8]`, and behind a command its ARS frame.
///
/// The relay is open if the length of all is even. Acts, modulo 5: 0 comes in, 1 sends a command, 2 sends rubbish, 3 hangs up, 4 is a time that passes.
pub fn relay_pairing(data: &[u8]) {
    let mut now = Instant::now();
    // Without any ticket, those who are signed on are served.
    let access = match data.len() % 2 {
        0 => Access::Open,
        _ => Access::Tickets(TicketKey::new([7; 32])),
    };
    let mut pairing = Pairing::new(access, RelayLimits::default());
    let mut buffer = BytesMut::from(data);
    let mut open = BTreeSet::new();
    let mut step = 0u8;
    while buffer.len() >= 2 {
        let act = buffer.split_to(2);
        let connection = ConnectionId(act[1].into());
        step = step.wrapping_add(1);
        let input = match act[0] % 5 {
            0 if open.insert(connection) => relay::Input::Opened {
                connection,
                address: [192, 0, 2, act[1] % 4].into(),
                announce: Ipv4Addr::LOCALHOST,
            },
            1 => match ars::Frame::decode(&mut buffer) {
                Ok(Some(frame)) => relay::Input::Command {
                    connection,
                    command: frame.command,
                    signed_on: step.is_multiple_of(2),
                    unix_s: 0,
                    random: [step; 32],
                },
                _ => relay::Input::Malformed { connection },
            },
            2 => relay::Input::Malformed { connection },
            3 => {
                open.remove(&connection);
                relay::Input::Closed {
                    connection,
                    carried: 1 << 20,
                }
            }
            _ => {
                now += Duration::from_secs(act[1].into());
                relay::Input::Timeout
            }
        };
        pairing.handle_input(now, input);
        while let Some(output) = pairing.poll_output() {
            match output {
                relay::Output::Send { connection, .. } => assert!(open.contains(&connection)),
                relay::Output::Refused(_) => {}
                relay::Output::Cut { creator } => assert!(open.contains(&creator)),
                relay::Output::Close { connection } => assert!(open.remove(&connection)),
                relay::Output::Pair {
                    creator, joiner, ..
                } => {
                    assert_ne!(creator, joiner);
                    assert!(open.contains(&creator) && open.contains(&joiner));
                }
            }
        }
        assert!(
            pairing
                .poll_timeout()
                .is_none_or(|at| at > now || act[0] % 5 != 4)
        );
    }
}
