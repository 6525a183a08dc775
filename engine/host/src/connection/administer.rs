//! A connection of ADMIN: how a client gets there, and what becomes of its requests.

use std::sync::Arc;

use bytes::Bytes;
use rdv_proto::session::admin::AdminRequest;
use rdv_proto::session::{Admission, NewAccount, Party, Sessions};
use rdv_proto::wire::admin::AdminErrorCode;
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::snac::Foodgroup;
use tracing::debug;

use super::Client;
use crate::accounts::Account;
use crate::admin::{AdminSeat, Asker, NotRegistered, Then};
use crate::cookies::{Granted, Service};
use crate::metrics::{Kind, Limit};
use crate::time::{since_1970, unix_s};

/// Sign-off reason: the account is deleted.
const DELETED: u16 = 2;

/// Who is on an ADMIN connection.
pub(super) struct Administering {
    seat: AdminSeat,
    party: Party,
}

impl Client {
    /// Tells an account where it can administer itself.
    pub(super) fn tell_service(&mut self, request_id: u32, foodgroup: Foodgroup) {
        let service = self
            .grant_admin()
            .map(|cookie| (self.next_address(), cookie));
        self.session.service(request_id, foodgroup, service);
    }

    fn grant_admin(&self) -> Option<Bytes> {
        self.shared.admin.as_ref()?;
        let granted = Granted {
            account: self.seat.as_ref()?.account()?,
            name: self.session.name()?.clone(),
            sessions: self.session.sessions()?,
            service: Service::Admin,
            party: self.session.party()?,
            proven: since_1970(),
        };
        self.issue(granted)
    }

    /// Lets somebody in who came with a cookie of [`Client::tell_service`].
    pub(super) fn enter_admin(&mut self, account: &Account, granted: Granted) {
        let Some(admin) = &self.shared.admin else {
            return self.refuse(LoginErrorCode::BAD_COOKIE);
        };
        let first_generation = granted.party == Party::Old && granted.sessions == Sessions::Unaware;
        let queue = self.queue.clone();
        let Some(seat) = admin.connections.enter(account.id, queue, first_generation) else {
            self.shared.metrics.refused(Limit::AdminConnections);
            return self.refuse(LoginErrorCode::ADDRESS_RATE_LIMITED);
        };
        let party = granted.party;
        self.admin = Some(Administering { seat, party });
        let admission = Admission {
            name: granted.name,
            sessions: granted.sessions,
            since_unix_s: unix_s(),
        };
        self.session.admitted_to_admin(admission, party);
        self.counted = Some(self.shared.metrics.signed_on(Kind::Admin));
        self.pass = None;
    }

    /// Does what an owner asks for.
    pub(super) async fn administer(&mut self, request_id: u32, request: AdminRequest) {
        let (Some(here), Some(_)) = (&self.admin, &self.shared.admin) else {
            return;
        };
        let asker = Asker {
            account: here.seat.account,
            party: here.party,
        };
        let (shared, connection) = (Arc::clone(&self.shared), here.seat.id());
        // What was changed is told to others even if the client is gone by then.
        let doing = tokio::spawn(async move {
            let admin = shared.admin.as_ref()?;
            let is_draining = shared.drain.is_on();
            let (answer, then) = admin.desk.answer(asker, request, is_draining).await;
            match &then {
                Then::Nothing | Then::LockedOut => {}
                Then::Renamed(name) => shared.routes.renamed(asker.account, name).await,
                Then::Confirmed(name, confirmed) => {
                    let routes = &shared.routes;
                    routes.confirmed(asker.account, name, *confirmed).await;
                }
                Then::Deleted(name) => {
                    let connections = &admin.connections;
                    connections.expel_others(asker.account, connection, DELETED);
                    shared.routes.expel(asker.account, name, DELETED).await;
                }
            }
            Some((answer, then))
        });
        let Ok(Some((answer, then))) = doing.await else {
            return self.session.sign_off(None);
        };
        self.session.admin(request_id, answer);
        match then {
            Then::LockedOut => self.session.sign_off(None),
            Then::Deleted(_) => self.session.sign_off(Some(DELETED)),
            Then::Nothing | Then::Renamed(_) | Then::Confirmed(..) => {}
        }
    }

    /// Makes an account, and lets it in.
    pub(super) async fn create_account(
        &mut self,
        sessions: Sessions,
        wanted: Result<NewAccount, AdminErrorCode>,
    ) {
        let shared = Arc::clone(&self.shared);
        let Some(admin) = shared.admin.as_ref() else {
            return self.refuse(LoginErrorCode::NO_REGISTRATION);
        };
        match admin.registrar.register(wanted, self.peer.ip()).await {
            Ok(account) => {
                self.admit(&account, sessions, Party::Ours, since_1970())
                    .await;
            }
            Err(NotRegistered::Refused(code)) => self.refuse(code),
            Err(NotRegistered::Not(code)) => {
                debug!(?code, "an account was not made");
                self.session.not_created(code);
            }
        }
    }
}
