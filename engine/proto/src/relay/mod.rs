//! The relay's half of ARS: who is joined with whom. It never dials, it only joins two connections that came in.
//!
//! [`Pairing`] decides; whoever owns the sockets copies the bytes.

mod account;
mod event;
mod ledger;
mod limits;
mod pairing;
mod pass;
mod refusal;
mod ticket;

pub use event::{Access, ConnectionId, Input, Output};
pub use limits::RelayLimits;
pub use pairing::Pairing;
pub use refusal::{Bound, Refusal};
pub use ticket::{Ticket, TicketError, TicketId, TicketKey};
