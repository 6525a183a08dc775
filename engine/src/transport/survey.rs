//! Questions to a server without a transfer: for the doctor. What this machine finds out by itself is
//! [`network::Examination`](super::network::Examination).

mod ask;
mod filtering;

pub use ask::{ServerAnswer, ask_tcp, ask_udp};
pub use filtering::{Filtering, filtering};
