//! An OSCAR host and an ARS relay as a library.
//!
//! The host lets guests sign on over TLS, gives those who show a code a number, passes rendezvous messages between them
//! and sends them to a relay. With [`accounts`] it serves those who have one, with our own clients or with old ones. One port serves TLS, plain FLAP and, if wanted, ARS. Nothing is global: no signal handler,
//! no logger, no runtime of its own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rdv_host::HostError> {
//! use rdv_host::{Host, HostConfig};
//!
//! let config = HostConfig {
//!     listen: vec!["127.0.0.1:0".parse().expect("an address")],
//!     numbers: 1000..=9999,
//!     ..HostConfig::default()
//! };
//! let host = Host::bind(config).await?.spawn();
//! println!("clients connect to {}", host.local_addrs()[0]);
//! host.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod accounts;
mod admin;
mod config;
mod connection;
mod cookies;
mod discreet;
mod door;
mod drain;
mod edits;
mod error;
mod feedbag;
mod gate;
mod health;
mod host;
mod identity;
mod limits;
mod listener;
pub mod mail;
mod mailbox;
mod metrics;
mod offer;
mod operator;
mod people;
mod private;
mod queue;
mod random;
mod reception;
mod relay;
mod router;
mod routing;
mod serve;
mod stored;
mod stun;
mod time;

pub use admin::{AdminConfig, Registration};
pub use config::{HostConfig, RelayConfig, RelaySource};
pub use discreet::LogPolicy;
pub use drain::DrainConfig;
pub use error::HostError;
pub use health::{Health, Unready};
pub use host::{Host, HostHandle};
pub use identity::IdentitySource;
pub use limits::Limits;
pub use listener::Sockets;
pub use metrics::{Limit, Metrics};
pub use rdv_proto::pace::Pace;
pub use rdv_proto::relay::RelayLimits;
pub use rdv_proto::responder::ResponderLimits;
pub use rdv_proto::session::admin::rules::check_email;
pub use rdv_proto::session::{ProposalLimits, RateClass, RateTable};
pub use relay::{Relay, RelayKeyError, keep_relay_key, read_relay_key};
