//! Who may use a relay: who shows a ticket, and residents of its own host.

use std::time::Duration;

use super::event::Access;
use super::refusal::Refusal;
use super::ticket::TicketId;
use crate::wire::ars::{Command, TLV_TICKET};
use crate::wire::rendezvous::Cookie;
use crate::wire::text::ScreenName;
use crate::wire::tlv::TlvList;

/// Whom a session counts for.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) account: ScreenName,
    /// Old clients have none.
    pub(super) ticket: Option<ShownTicket>,
}

/// What of a ticket matters once it was checked.
#[derive(Clone, Debug)]
pub(super) struct ShownTicket {
    pub(super) id: TicketId,
    /// Bytes.
    pub(super) budget: u64,
    /// How long it would still be good.
    pub(super) life: Duration,
}

/// What is known of the one who asks, besides what it says.
#[derive(Clone, Copy)]
pub(super) struct Admission {
    pub(super) signed_on: bool,
    pub(super) unix_s: u64,
}

impl Pass {
    /// Whether a client shows a ticket, and so is one of ours.
    pub(super) fn is_shown(command: &Command) -> bool {
        match command {
            Command::Create { tlvs, .. } | Command::Join { tlvs, .. } => {
                tlvs.first(TLV_TICKET).is_some()
            }
            _ => false,
        }
    }

    /// Whom the one of that name who shows these TLVs for the session of that cookie may use the relay for; none at an open relay.
    pub(super) fn admit(
        access: &Access,
        name: &ScreenName,
        cookie: Cookie,
        tlvs: &TlvList,
        admission: Admission,
    ) -> Result<Option<Self>, Refusal> {
        let key = match access {
            Access::Open => return Ok(None),
            Access::Tickets(key) => key,
        };
        let Some(shown) = tlvs.first(TLV_TICKET) else {
            let resident = Self {
                account: name.clone(),
                ticket: None,
            };
            return match admission.signed_on {
                true => Ok(Some(resident)),
                false => Err(Refusal::Stranger),
            };
        };
        let checked = key.check(shown, admission.unix_s);
        let (id, ticket) = checked.map_err(Refusal::Ticket)?;
        if ticket.cookie.is_some_and(|wanted| wanted != cookie) {
            return Err(Refusal::WrongCookie);
        }
        let life = ticket.expires_unix_s.saturating_sub(admission.unix_s);
        Ok(Some(Self {
            account: ticket.account,
            ticket: Some(ShownTicket {
                id,
                budget: ticket.budget,
                life: Duration::from_secs(life),
            }),
        }))
    }

    /// Whether the one who joins shows what the one who created did: the same ticket, or it is the same resident.
    pub(super) fn is_same(creators: Option<&Self>, joiners: Option<&Self>) -> bool {
        match (creators, joiners) {
            (None, None) => true,
            (Some(creators), Some(joiners)) => {
                let id = |pass: &Self| pass.ticket.as_ref().map(|ticket| ticket.id);
                creators.account == joiners.account && id(creators) == id(joiners)
            }
            _ => false,
        }
    }
}
