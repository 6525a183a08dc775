//! What others propose, on its way to the application.

use rdv_proto::rendezvous::{self, ConversationId, Input, LegacySecurity};
use rdv_proto::wire::rendezvous::NakCode;
use rdv_proto::wire::service;
use rdv_proto::wire::text::ScreenName;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::orders::ProposalId;
use super::{Driver, now};
use crate::error::Error;
use crate::proposal::{self, Proposal, ProposalKind, Refused, RefusedWhy};

/// Somebody's proposal that nobody has answered.
pub(super) struct Offered {
    pub(super) serial: u64,
    /// Tells its holder when there is nothing to answer any more.
    pub(super) gone: oneshot::Sender<Error>,
}

impl Driver {
    pub(super) fn proposed(&mut self, id: ConversationId, offer: &rendezvous::Offer) {
        let Some(kind) = proposal::kind(offer) else {
            return self.endpoint.handle_input(
                now(),
                Input::Refuse {
                    id,
                    nak: NakCode::UNSUPPORTED,
                },
            );
        };
        let (gone_out, gone) = oneshot::channel();
        self.serial += 1;
        let serial = self.serial;
        let offered = Offered {
            serial,
            gone: gone_out,
        };
        self.offered.insert(id.clone(), offered);
        let id = ProposalId {
            conversation: id,
            serial,
        };
        let proposal = Proposal::new(
            id,
            kind,
            offer.secure,
            self.weak_commands.clone(),
            self.setup.known_peers.clone(),
            gone,
            self.setup.direct_ims.clone(),
        );
        if let (ProposalKind::GetFile, Some(share)) = (proposal.kind(), &self.setup.share) {
            tokio::spawn(share.clone().serve(proposal, self.exits.served.clone()));
            return;
        }
        // If nobody listens, or too many wait, dropping it declines.
        let _ = self.exits.proposals.try_send(proposal);
    }

    pub(super) fn refused(&mut self, id: ConversationId, service: Uuid, nak: NakCode) {
        let why = match nak {
            NakCode::SECURITY_MISMATCH if service != service::NATIVE => RefusedWhy::Plain,
            NakCode::UNSUPPORTED => RefusedWhy::Service,
            _ => RefusedWhy::Other,
        };
        let _ = self.exits.refused.try_send(Refused { peer: id.peer, why });
    }

    /// What old clients of that name are held to when they propose.
    pub(super) fn least_security(&self, peer: &ScreenName) -> LegacySecurity {
        match self.setup.plain.allows(peer) {
            true => LegacySecurity::Opportunistic,
            false => LegacySecurity::Required,
        }
    }

    /// What the machine says to this peer before anybody is asked.
    pub(super) fn hold_to(&mut self, peer: &ScreenName) {
        let shares = self.setup.share.as_ref();
        let shares = shares.is_some_and(|share| share.admits(peer)) && !self.setup.codes_only;
        let legacy_security = self.least_security(peer);
        let config = self.endpoint.config_mut();
        config.legacy_security = legacy_security;
        // To those with whom nothing is shared there is no such service.
        match shares {
            true => config.services.insert(service::GET_FILE),
            false => config.services.remove(&service::GET_FILE),
        };
    }
}
