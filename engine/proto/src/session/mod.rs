//! The host's half of a session, as far as it is arithmetic: sign-on, numbers, rate classes, and what a host does to the
//! messages that pass through it.

mod duties;
mod numbers;
mod output;
mod proposals;
mod rate;
mod serve;
mod server;

pub use duties::{BustedBlock, Carried, carry};
pub use numbers::{Numbers, ReclaimError, Token};
pub use output::{Outbound, Output, SessionConfig, Wish};
pub use proposals::{ProposalBook, ProposalLimits};
pub use rate::{RateClass, RateState, Verdict};
pub use serve::{DEFAULT_PARAMETERS, sender_info};
pub use server::Session;
