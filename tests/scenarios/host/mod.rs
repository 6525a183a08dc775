//! A host and its relay over real sockets, with clients that are scripted byte by byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod admin;
mod client;
#[cfg(target_os = "linux")]
mod database;
mod limits;
mod logs;
mod numbers;
mod plain;
mod relay;
mod returning;
mod routing;
mod sign_on;

use std::net::SocketAddr;

use rdv_host::{Host, HostConfig, HostHandle};

/// A host on loopback with the default settings.
async fn host() -> HostHandle {
    host_with(|_| {}).await
}

/// A host on loopback with some of the settings changed.
async fn host_with(change: impl FnOnce(&mut HostConfig)) -> HostHandle {
    let mut config = HostConfig::default();
    change(&mut config);
    Host::bind(config).await.unwrap().spawn()
}

fn port(host: &HostHandle) -> SocketAddr {
    host.local_addrs()[0]
}
