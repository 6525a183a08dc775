//! The relay's half of ARS: who is joined with whom. It never dials, it only joins two connections that came in.
//!
//! [`Pairing`] decides; whoever owns the sockets copies the bytes.

mod ledger;
mod limits;
mod pairing;
mod ticket;

pub use limits::RelayLimits;
pub use pairing::{Access, ConnectionId, Input, Output, Pairing};
pub use ticket::{Ticket, TicketError, TicketKey};
