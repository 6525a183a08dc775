//! Legacy policy: what the peer proposes and accepts, and on which terms.

use super::common::{Common, Ending, Step};
use super::conversation::State;
use super::desk::Context;
use super::legacy::{Legacy, Turn};
use super::limits::LEGACY_NEGOTIATION;
use super::numbers::{Arrival, initiator_wins};
use super::{EndReason, LegacySecurity, SecurityFault};
use crate::wire::rendezvous::{CancelReason, Message, NakCode, SequenceNumber};

impl Legacy {
    /// A proposal of the peer while we are at it.
    pub(super) fn proposal(
        self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        message: &Message,
        number: SequenceNumber,
    ) -> Step {
        let counts = match common.receive(number)? {
            Arrival::Newer => true,
            // T-04: the loser drops its own and acts on the winner's.
            Arrival::Glare => initiator_wins(number.get()) != common.initiator,
            Arrival::Crossed | Arrival::Stale | Arrival::TooMany => false,
        };
        if counts {
            self.act_on(common, context, message)
        } else {
            Ok(State::Legacy(self))
        }
    }

    /// Dials, joins, or offers something else.
    pub(super) fn act_on(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        message: &Message,
    ) -> Step {
        self.check_security(message)?;
        self.leave_current(common, context);
        self.deadline
            .get_or_insert(context.now + LEGACY_NEGOTIATION);
        common.exchanged = true;
        self.turn = Turn::Acting { accepted: false };
        let wish = self.set_out(common, context, message);
        match wish {
            Some(wish) => self.next_method(common, context, wish),
            None => Ok(State::Legacy(self)),
        }
    }

    /// The peer is through to us, or says so (L-10: nothing depends on it but the terms, R-24).
    pub(super) fn accepted(
        mut self: Box<Self>,
        common: &mut Common,
        context: &mut Context<'_>,
        message: &Message,
    ) -> Step {
        let Turn::Waiting { accepted, .. } = &mut self.turn else {
            return Ok(State::Legacy(self));
        };
        *accepted = true;
        common.exchanged = true;
        self.deadline
            .get_or_insert(context.now + LEGACY_NEGOTIATION);
        if self.secure && !message.request_secure() {
            if self.security == LegacySecurity::Required {
                common.refusable = true;
                return Err(Self::insecure(SecurityFault::NotSecure));
            }
            self.secure = false;
            for attempt in self.race.proving_to_us() {
                self.secure_lane(common, context, attempt);
            }
        }
        Ok(State::Legacy(self))
    }

    /// T-10: a counter-proposal without REQUEST_SECURE where ours had it is a downgrade. What that
    /// means is our policy's to say.
    pub(super) fn check_security(&mut self, message: &Message) -> Result<(), Ending> {
        match (self.security, message.request_secure()) {
            (LegacySecurity::Required, false) => Err(Self::insecure(SecurityFault::NotSecure)),
            (LegacySecurity::Plain, true) => Err(Self::insecure(SecurityFault::SecureUnwanted)),
            (_, secure) => {
                self.secure = secure;
                Ok(())
            }
        }
    }

    /// The end that a downgrade brings.
    pub(super) fn insecure(fault: SecurityFault) -> Ending {
        Ending::refuse(
            EndReason::Security(fault),
            NakCode::SECURITY_MISMATCH,
            CancelReason::UNKNOWN,
        )
    }
}
