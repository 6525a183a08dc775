//! How a [`Link`] comes to be: sockets, TLS and relay steps, own addresses, neighbours.
//!
//! This room knows neither files nor conversations: the driver tells it what to try, and it reports how each try ended.

pub mod ars;
pub(crate) mod attempt;
pub mod connect;
pub(crate) mod failing;
pub mod gather;
pub(crate) mod join;
pub mod lan;
mod lane;
mod link;
pub mod network;
pub(crate) mod opening;
mod path;
mod portmap;
pub(crate) mod proxy;
pub mod quic;
pub(crate) mod site;
pub mod survey;
pub mod tls;

pub use connect::Route;
pub use lane::Lane;
pub use link::{LaneStats, Link, LinkEvent, LinkHandle};
pub use path::{Path, PathKind};
pub use proxy::SocksProxy;
pub use quic::QuicLane;
