//! Files to and from old clients: OFT2 over any stream, secured or plain.
//!
//! `rdv_proto::transfer::oft` decides which header comes next; this room moves the bytes, with the same disk side as the native protocol. A stream comes
//! here after the first exchange: whoever makes connections writes the sender's PROMPT, or reads it, to find out whether the right peer is at the other end
//! ([`Outgoing::prompt`], [`read_header`]), so that a stranger fails alone.
//!
//! ```text
//! disk -> sums (thread: checksums, before the offer) -> Outgoing -> PROMPT
//! disk -> feed (thread: read, sum up) -> send (headers and bytes out)  ~~>  receive (bytes in) -> writer, arriving (thread: sum up, write) -> finish -> DONE
//! ```
//! OFT2 has no word for giving up: who does closes the connection.

mod feed;
mod header;
mod outgoing;
mod receive;
mod send;
mod sums;

pub(crate) use header::{read_header, write_header};
pub(crate) use outgoing::Outgoing;
#[cfg(test)]
pub(crate) use outgoing::Prompted;
pub(crate) use receive::receive;
pub(crate) use send::send;
