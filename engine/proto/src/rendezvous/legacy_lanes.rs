//! Legacy policy: connections and relay sessions, until one of them has proven itself.

use std::mem;
use std::net::SocketAddr;

use super::common::{Common, Step};
use super::conversation::State;
use super::desk::{Context, Try};
use super::legacy::{Legacy, Turn};
use super::limits::RELAY_CREATE;
use super::methods::Method;
use super::race::{Admission, Way};
use super::{
    AttemptError, AttemptId, LegacySecurity, Output, RelayPolicy, Security, SecurityFault,
};
use crate::wire::rendezvous::Message;

impl Legacy {
    /// An attempt is over.
    pub(super) fn failed(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        error: AttemptError,
    ) -> Step {
        context.desk.failed(attempt, error);
        let Some(lane) = self.race.failed(attempt, error) else {
            return Ok(State::Legacy(self));
        };
        // Whom we dialled or joined answers without TLS though it asked for it. Strangers at our
        // own listener prove nothing of the kind (S-12).
        if error == AttemptError::NotTls
            && lane.way.is_ours()
            && self.security == LegacySecurity::Required
        {
            return Err(Self::insecure(SecurityFault::NotSecure));
        }
        self.go_on(common, context)
    }

    /// Somebody connected to our listener.
    pub(super) fn incoming(
        &mut self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        from: SocketAddr,
    ) {
        if !matches!(
            self.turn,
            Turn::Waiting {
                method: Method::Listen,
                ..
            }
        ) {
            context.desk.hang_up(attempt);
            return;
        }
        match self.race.accept(context.now, attempt, from) {
            Admission::Admitted => {}
            Admission::InPlaceOf(silent) => context.desk.hang_up(silent),
            Admission::Refused => {
                context.desk.hang_up(attempt);
                return;
            }
        }
        self.secure_lane(common, context, attempt);
    }

    /// An attempt of ours is up: ACCEPT at once (L-09), then TLS or the cookie.
    pub(super) fn up(
        &mut self,
        common: &mut Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
        way: &Way,
    ) {
        if way.is_ours()
            && let Turn::Acting { accepted } = &mut self.turn
            && !mem::replace(accepted, true)
        {
            let accept = Message::accept(common.id.cookie, common.service);
            let accept = if self.secure {
                accept.with_request_secure()
            } else {
                accept
            };
            common.send_message(context, accept);
        }
        self.secure_lane(common, context, attempt);
    }

    /// Has a connection that is up secured on the current terms.
    pub(super) fn secure_lane(
        &self,
        common: &Common,
        context: &mut Context<'_>,
        attempt: AttemptId,
    ) {
        let Some(lane) = self.race.lane(attempt) else {
            return;
        };
        let zero_cookie_counts = match &lane.way {
            Way::Accepted(from) => self.announced.contains(&from.ip().to_canonical()),
            Way::Dialled(_) | Way::Created | Way::Joined(_) => true,
        };
        let session = if self.secure {
            Security::LegacyTls { zero_cookie_counts }
        } else {
            Security::Plain { zero_cookie_counts }
        };
        let id = common.id.clone();
        context.desk.push(Output::Secure {
            id,
            attempt,
            tls_client: lane.way.is_ours(),
            session,
        });
    }

    pub(super) fn create_relay(&mut self, common: &Common, context: &mut Context<'_>) {
        let attempt = context.desk.new_attempt(&common.id, Try::Relay(None));
        let until = context.now + RELAY_CREATE;
        self.race.open(attempt, Way::Created, Some(until));
        context.desk.push(Output::RelayCreate {
            id: common.id.clone(),
            attempt,
            cookie: Some(common.id.cookie),
        });
    }

    pub(super) fn relay_is_allowed(common: &Common) -> bool {
        common.relay != RelayPolicy::Never
    }
}
