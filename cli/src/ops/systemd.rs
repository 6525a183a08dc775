//! What systemd wants to know, and what it hands over. Without it, nothing of this does anything.

use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use rdv_host::Sockets;
use sd_notify::NotifyState;
use tracing::debug;

use crate::exit::{Exit, Failure};

/// More than any unit names.
const SOCKETS_MAX: usize = 64;
/// Sockets of this name are for the relay, all others for the host.
const RELAY: &str = "relay";

/// The sockets that were handed over. To be called before there are threads: it changes the environment, so that no child takes them
/// for its own.
pub(crate) fn sockets() -> Result<Sockets, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed = ListenFd::from_env();
    let mut sockets = Sockets::default();
    for number in 0..handed.len().min(SOCKETS_MAX) {
        let name = names.next().unwrap_or_default();
        let socket = handed.take_tcp_listener(number).and_then(|socket| {
            socket.filter(is_listening).ok_or_else(|| {
                std::io::Error::new(std::io::ErrorKind::InvalidInput, "it does not listen")
            })
        });
        let socket = socket.map_err(|error| {
            Failure::new(
                Exit::USAGE,
                format!("socket {number} that was handed over ({name}) cannot be used: {error}; write ListenStream="),
            )
        })?;
        match name {
            RELAY => sockets.relay.push(socket),
            _ => sockets.host.push(socket),
        }
    }
    Ok(sockets)
}

/// A socket of TCP may also be a connection.
fn is_listening(socket: &TcpListener) -> bool {
    socket.local_addr().is_ok_and(|address| address.port() != 0)
}

/// All is up: what waits for this may go on. From here on the watchdog is told that the process lives, if there is one.
pub(crate) fn ready() {
    say(&[NotifyState::Ready, NotifyState::Status("serving")]);
    if let Some(period) = sd_notify::watchdog_enabled() {
        tokio::spawn(async move {
            let mut pace = tokio::time::interval((period / 3).max(Duration::from_millis(10)));
            loop {
                pace.tick().await;
                say(&[NotifyState::Watchdog]);
            }
        });
    }
}

/// Nothing new is begun.
pub(crate) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn say(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        debug!(%error, "the service manager cannot be told");
    }
}
