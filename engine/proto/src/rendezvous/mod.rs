//! Who may connect to whom, and how: the rendezvous state machine.
//!
//! An [`Endpoint`] holds every conversation of one signed-on user. It does no I/O and knows no
//! clock: the caller hands in what happened ([`Input`]) with the time at which it happened,
//! carries out what comes back ([`Output`]), and calls again with [`Input::Timeout`] when
//! [`Endpoint::poll_timeout`] says so. Cookies and randomness are handed in, too. A whole run is
//! therefore a list of `(Instant, Input)` that can be logged, replayed and shrunk.
//!
//! ```text
//! loop {
//!     while let Some(output) = endpoint.poll_output() { carry_out(output) }
//!     match wait_until(endpoint.poll_timeout()) {
//!         Happened(input) => endpoint.handle_input(now(), input),
//!         TimedOut => endpoint.handle_input(now(), Input::Timeout),
//!     }
//! }
//! ```
//!
//! Drain the outputs after each input before the next one is handed in.
//!
//! Two policies share the machine. **Native** conversations carry a security block: keys first,
//! addresses sealed, every lane proven before it counts, one side (the controller) chooses the lane.
//! **Legacy** ones carry addresses in plain tags and go through the methods of old clients in turn:
//! direct, redirect, relay. Where to look:
//!
//! | file | concern |
//! |---|---|
//! | `endpoint.rs`, `desk.rs` | routes inputs to conversations, keeps them; outputs and names of attempts |
//! | `signals.rs`, `arrival.rs` | whose message it is; first proposals: who may begin a conversation |
//! | `conversation.rs`, `common.rs` | the states of one rendezvous; what all of them share |
//! | `offered.rs` | a proposal that waits for our user |
//! | `native.rs`, `fault.rs` | native policy: the key exchange, and what is wrong with one |
//! | `connector/` | native policy: candidates told and heard, attempts, the choice, further rounds |
//! | `probing/` | native policy: signed datagrams that open routers and find ways |
//! | `legacy.rs`, `legacy_lanes.rs` | legacy policy: our proposals and waits; connections |
//! | `legacy_terms.rs` | legacy policy: what the peer proposes and accepts, and on which terms |
//! | `methods.rs` | legacy policy: direct → redirect → relay → null |
//! | `places.rs`, `report.rs` | addresses and what stands in their way; what became of attempts |
//! | `proposal.rs` | what we put into a message, what we make of theirs |
//! | `probing.rs` | the probes that open the way for datagrams, and what they show |
//! | `candidate.rs` | which addresses may be tried |
//! | `race.rs` | legacy policy: the attempts, and their pace |
//! | `sealed.rs` | the layout of what travels under the seal |
//! | `numbers.rs`, `memory.rs` | sequence numbers; conversations that have ended |
//! | `limits.rs` | every time and count, in one place |

mod arrival;
mod candidate;
mod common;
mod config;
mod connector;
mod conversation;
mod desk;
mod endpoint;
mod fault;
mod input;
mod legacy;
mod legacy_lanes;
mod legacy_terms;
mod memory;
mod methods;
mod native;
mod numbers;
mod offered;
mod output;
mod places;
mod probing;
mod proposal;
mod race;
mod report;
mod sealed;
mod signals;

pub mod limits;

pub use config::{Config, Subnet};
pub use endpoint::Endpoint;
pub use input::{
    Answer, AttemptError, AttemptId, ConversationId, Input, LegacySecurity, Proposal, RelayPolicy,
};
pub use output::{EndReason, Event, Offer, Output, Security, SecurityFault, Wait, WrongCodeSeenBy};
pub use places::{
    CandidateKind, Carrier, LocalCandidate, Mapping, Network, Protocol, RelayAddress,
    RelayCandidate,
};
pub use report::{MoveReason, Path, Tried, TriedEnd, TriedSource};
