//! The way to a host: a named one, or one of our own that neighbours find.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rdv::oscar::{Client, OscarError, SignOn};
use rdv::transport::lan::{self, Announcement, LanError};
use rdv::transport::tls::{HostKeyStatus, HostTlsError};
use rdv::trust::{HostTrust, KnownHosts};
use rdv::{Code, Engine, Fingerprint, RelayPolicy, ScreenName};
use rdv_host::{Host, HostConfig, HostHandle};

use crate::args::{RelayUse, Road};
use crate::exit::{Exit, Failure};
use crate::state;
use crate::ui::Ui;

/// The port of a host when none is named.
const HOST_PORT: u16 = 5190;

/// Connect, TLS and sign-on together.
const SIGN_ON_TIMEOUT: Duration = Duration::from_secs(15);

/// How many addresses the long form of a code names.
const LONG_FORM_ADDRESSES_MAX: usize = 3;

/// Where a sender waits: signed on to a host, with a number.
pub(crate) struct Meeting {
    client: Arc<Client>,
    number: u32,
    embedded: Option<Embedded>,
    addresses: Vec<String>,
}

/// The host inside this process; neighbours stop finding it when it is dropped.
struct Embedded {
    host: HostHandle,
    _announcement: Option<Announcement>,
}

impl Meeting {
    pub(crate) async fn open(road: &Road, expire: Duration, ui: &Ui) -> Result<Self, Failure> {
        let owner = SignOn::Owner { expire };
        let (client, embedded, addresses) = match &road.host {
            Some(host) => (named(host, road, owner, ui).await?, None, Vec::new()),
            None => embedded(owner, ui).await?,
        };
        let number = client
            .name()
            .as_str()
            .parse()
            .map_err(|_| Failure::new(Exit::HOST, "the host gave no number"))?;
        Ok(Self {
            client: Arc::new(client),
            number,
            embedded,
            addresses,
        })
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What the long form of the code names.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    pub(crate) fn engine(&self, relay: RelayUse) -> Engine {
        engine(&self.client, relay)
    }

    /// Signs off; what was said to the other side arrives before that.
    pub(crate) async fn close(self) {
        self.client.close().await;
        if let Some(embedded) = self.embedded {
            embedded.host.shutdown().await;
        }
    }
}

/// A receiver's visit to the host of a code.
pub(crate) struct Visit {
    client: Arc<Client>,
}

impl Visit {
    pub(crate) async fn open(road: &Road, code: &Code, ui: &Ui) -> Result<Self, Failure> {
        let client = if !code.addresses().is_empty() {
            first_of(code.addresses().to_vec()).await?
        } else if let Some(host) = &road.host {
            named(host, road, SignOn::Join, ui).await?
        } else {
            ui.say("Looking for the sender in the local network ...");
            let found = lan::browse(code.number(), lan::SEARCH_TIME)
                .await
                .map_err(|error| not_found(&error))?;
            first_of(found.iter().map(ToString::to_string).collect()).await?
        };
        Ok(Self {
            client: Arc::new(client),
        })
    }

    pub(crate) fn engine(&self, relay: RelayUse) -> Engine {
        engine(&self.client, relay)
    }

    pub(crate) async fn close(self) {
        self.client.close().await;
    }
}

/// The screen name under which the owner of a number is reached.
pub(crate) fn owner_of(number: u32) -> Result<ScreenName, Failure> {
    ScreenName::new(number.to_string())
        .map_err(|error| Failure::new(Exit::USAGE, error.to_string()))
}

fn engine(client: &Arc<Client>, relay: RelayUse) -> Engine {
    let policy = match relay {
        RelayUse::Auto => RelayPolicy::Auto,
        RelayUse::Only => RelayPolicy::Only,
        RelayUse::Never => RelayPolicy::Never,
    };
    let seen_as = client
        .seen_address()
        .and_then(|seen| match seen.ip().to_canonical() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
    Engine::builder(Arc::clone(client))
        .relays(Arc::clone(client))
        .relay_policy(policy)
        .host_on_this_machine(client.host_is_local())
        .seen_as(seen_as)
        .never_dial([client.host_address()])
        .build()
}

/// Signs on to the host that the user named.
async fn named(host: &str, road: &Road, sign_on: SignOn, ui: &Ui) -> Result<Client, Failure> {
    let address = with_port(host);
    let trust = match &road.host_key {
        Some(key) => HostTrust::Pinned(key.parse::<Fingerprint>().map_err(|error| {
            Failure::new(
                Exit::USAGE,
                format!("--host-key is not a fingerprint: {error}"),
            )
        })?),
        None => HostTrust::FirstUse(KnownHosts::new(state::known_hosts().ok_or_else(|| {
            Failure::new(
                Exit::FILES,
                "there is no home folder to remember the host's key in; use --host-key",
            )
        })?)),
    };
    let client = Client::connect(&address, &trust, sign_on, SIGN_ON_TIMEOUT)
        .await
        .map_err(|error| refused(&address, &error))?;
    match client.host_key_status() {
        HostKeyStatus::FirstUse => {
            ui.say(format!(
                "First visit to {address}; its key {} is remembered.",
                client.host_key()
            ));
        }
        HostKeyStatus::NotKept(error) => {
            ui.must_say(format!(
                "Note: the key of {address} could not be remembered: {error}"
            ));
        }
        _ => {}
    }
    Ok(client)
}

/// Starts a host of our own and signs on to it as to any other.
async fn embedded(
    owner: SignOn,
    ui: &Ui,
) -> Result<(Client, Option<Embedded>, Vec<String>), Failure> {
    let taken = lan::numbers_in_use(lan::LISTEN_FIRST)
        .await
        .unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot listen for neighbours");
            BTreeSet::new()
        });
    let number = lan::choose_number(&taken)
        .ok()
        .flatten()
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| {
            Failure::new(
                Exit::HOST,
                "no number is free in the local network; meet at a host (--host)",
            )
        })?;
    let own = own_addresses();
    let nearest = own.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
    let config = HostConfig {
        listen: vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)],
        numbers: number..=number,
        public_address: Some(nearest),
        ..HostConfig::default()
    };
    let host = Host::bind(config)
        .await
        .map_err(|error| {
            Failure::new(
                Exit::HOST,
                format!("cannot start a host of our own: {error}"),
            )
        })?
        .spawn();
    let port = host
        .local_addrs()
        .first()
        .map(SocketAddr::port)
        .ok_or_else(|| Failure::new(Exit::HOST, "cannot start a host of our own: no port"))?;
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port).to_string();
    let client = Client::connect(&address, &HostTrust::AcceptAny, owner, SIGN_ON_TIMEOUT)
        .await
        .map_err(|error| refused(&address, &error))?;
    let announcement = lan::announce(u32::from(number), port)
        .map_err(|error| {
            ui.say(format!(
                "Note: neighbours cannot find this code ({error}); use the long form."
            ))
        })
        .ok();
    let addresses = if own.is_empty() { vec![nearest] } else { own };
    let addresses = addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect();
    Ok((
        client,
        Some(Embedded {
            host,
            _announcement: announcement,
        }),
        addresses,
    ))
}

/// IPv4 addresses of this machine under which neighbours reach it; the embedded host listens on those.
fn own_addresses() -> Vec<IpAddr> {
    let candidates = rdv::transport::gather::own_addresses(0, false);
    candidates
        .into_iter()
        .map(|own| own.address.ip())
        .filter(IpAddr::is_ipv4)
        .take(LONG_FORM_ADDRESSES_MAX)
        .collect()
}

/// Tries all addresses of an embedded host at once; the first that signs us on is it. Its key is not kept: the code protects
/// the transfer (rulings G-05).
async fn first_of(addresses: Vec<String>) -> Result<Client, Failure> {
    let mut tries = tokio::task::JoinSet::new();
    for address in addresses {
        tries.spawn(async move {
            let client = Client::connect(
                &address,
                &HostTrust::AcceptAny,
                SignOn::Join,
                SIGN_ON_TIMEOUT,
            )
            .await;
            client.map_err(|error| (address, error))
        });
    }
    let mut last = None;
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(failed)) => last = Some(failed),
            Err(_) => {}
        }
    }
    Err(match last {
        Some((address, OscarError::Unreachable { .. })) => Failure::new(
            Exit::NOBODY,
            format!(
                "nobody waits at {address} any more: the code was used or expired, or the sender is gone; ask for a new one"
            ),
        ),
        Some((address, error)) => refused(&address, &error),
        None => Failure::new(Exit::NOBODY, "the code names no address"),
    })
}

fn not_found(error: &LanError) -> Failure {
    match error {
        LanError::NotFound { number } => Failure::new(
            Exit::NOBODY,
            format!(
                "nobody in the local network waits with number {number}: the code was used or expired, or multicast does not get \
                 through; ask for the long form of the code, or meet at a host (--host)"
            ),
        ),
        LanError::Ambiguous { number } => Failure::new(
            Exit::NOBODY,
            format!(
                "more than one sender in the local network has number {number}; ask for the long form of the code"
            ),
        ),
        other => Failure::new(
            Exit::HOST,
            format!(
                "cannot search the local network: {other}; ask for the long form of the code, or meet at a host (--host)"
            ),
        ),
    }
}

fn refused(address: &str, error: &OscarError) -> Failure {
    let sentence = match error {
        OscarError::Unreachable { source, .. } => {
            format!(
                "host {address} cannot be reached ({source}); check the address, or leave --host out to meet in the local network"
            )
        }
        OscarError::TlsFailed {
            source: HostTlsError::Key(key),
            ..
        } => {
            return Failure::new(Exit::SECURITY, key.to_string());
        }
        OscarError::TlsFailed { source, .. } => {
            format!("no secure connection to host {address}: {source}")
        }
        OscarError::Refused { code } => {
            format!("host {address} refused the sign-on ({code:?}); try again later")
        }
        other => format!("host {address}: {other}"),
    };
    Failure::new(Exit::HOST, sentence)
}

/// `HOST` is `HOST:5190`; a bare IPv6 address gets its brackets.
fn with_port(host: &str) -> String {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return SocketAddr::new(ip, HOST_PORT).to_string();
    }
    match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => format!("{host}:{HOST_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_gets_the_usual_one() {
        assert_eq!(with_port("example.org"), "example.org:5190");
        assert_eq!(with_port("example.org:443"), "example.org:443");
        assert_eq!(with_port("192.0.2.1"), "192.0.2.1:5190");
        assert_eq!(with_port("2001:db8::1"), "[2001:db8::1]:5190");
        assert_eq!(with_port("[2001:db8::1]:443"), "[2001:db8::1]:443");
    }
}
