//! Our own client of a host: signs on, as a guest or with an account, carries rendezvous messages, asks for a relay.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use rdv::oscar::{Client, SignOn};
//! use rdv::trust::HostTrust;
//! let sign_on = SignOn::Owner { expire: Duration::from_secs(3600) };
//! let limit = Duration::from_secs(10);
//! let client = Client::connect("192.0.2.1:5190", &HostTrust::AcceptAny, sign_on, limit).await?;
//! println!("our number is {}", client.name().as_str());
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A guest's whole sign-on is one burst: everything that the client has to say goes out behind the TLS handshake, so that a
//! number is there one round trip later. An account asks for a challenge first, and learns from it what kind of host this is; hosts of
//! others are then taken one step at a time (`old_host.rs`). Afterwards a task of its own owns the connection ([`Client`] talks to it over
//! bounded queues), sends keep-alives and keeps messages within the host's rate limits. [`Owner`], [`Joiner`] and [`Account`] come back when the
//! connection breaks.

mod account;
mod admin;
mod client;
mod error;
mod frames;
mod keeper;
mod link;
mod login;
mod old_host;
mod owner;
mod pace;
mod password;
mod presence;
#[cfg(test)]
mod scripted;
mod session;
mod sign_on;
mod translate;

pub use account::{Account, AccountSettings};
pub use admin::{AccountAdmin, AccountInfo, AdminError, Confirmation, Field};
pub use client::Client;
pub use error::OscarError;
pub use keeper::Standing;
pub use link::HostSecurity;
pub use owner::{Joiner, Owner};
pub use password::Password;
pub use presence::PresenceEvent;
pub use rdv_proto::session::Token;
pub use rdv_proto::wire::admin::{AdminErrorCode, Registration};
pub use rdv_proto::wire::signon::LoginErrorCode;
pub use rdv_proto::wire::snac::ErrorCode;
pub use sign_on::SignOn;
