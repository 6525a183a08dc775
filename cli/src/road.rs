//! The way to a host: a named one, or one of our own ([`crate::embedded`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rdv::oscar::{Client, HostSecurity, Joiner, LoginErrorCode, OscarError, Owner};
use rdv::signaling::{RelayDirectory, RelayInfo, Signaling};
use rdv::transport::Route;
use rdv::transport::lan::{self, LanError};
use rdv::transport::tls::{HostKeyStatus, HostTlsError};
use rdv::trust::{HostTrust, KnownHosts};
use rdv::{Code, Engine, Fingerprint, RelayPolicy, ScreenName};

use crate::args::{RelayUse, Road, Ways};
use crate::embedded::Embedded;
use crate::exit::{Exit, Failure};
use crate::state;
use crate::ui::Ui;
use crate::ways;

/// The port of a host when none is named.
const HOST_PORT: u16 = 5190;

/// How long the name of a relay may be looked up; without its address less is known of the network.
const LOOK_UP_TIME: Duration = Duration::from_secs(2);
/// Addresses of one name that are of use.
const ADDRESSES_MAX: usize = 4;

/// Connect, TLS and sign-on together.
pub(crate) const SIGN_ON_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a sender waits: signed on to a host, with a number.
pub(crate) struct Meeting {
    owner: Arc<Owner>,
    number: u32,
    embedded: Option<Embedded>,
}

impl Meeting {
    pub(crate) async fn open(road: &Road, expire: Duration, ui: &Ui) -> Result<Self, Failure> {
        let (embedded, address, trust, route) = match &road.host {
            Some(host) => {
                let trust = trust(road.host_key.as_deref())?;
                (None, with_port(host)?, trust, ways::route(&road.ways)?)
            }
            None => {
                no_proxy(road)?;
                let embedded = Embedded::start(ui).await?;
                let address = embedded.own_address();
                (
                    Some(embedded),
                    address,
                    HostTrust::AcceptAny,
                    Route::default(),
                )
            }
        };
        let owner = Owner::connect_by(&route, &address, &trust, expire, SIGN_ON_TIMEOUT)
            .await
            .map_err(|error| refused(&address, &error))?;
        tell_host(&address, &owner.client(), ui);
        let number = owner.local_name().as_str().parse();
        let number = number.map_err(|_| Failure::new(Exit::HOST, "the host gave no number"))?;
        Ok(Self {
            owner: Arc::new(owner),
            number,
            embedded,
        })
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The host of our own, if no other was named.
    pub(crate) fn embedded(&self) -> Option<&Embedded> {
        self.embedded.as_ref()
    }

    pub(crate) async fn engine(&self, road: &Road) -> Result<Engine, Failure> {
        let builder = Engine::builder(Arc::clone(&self.owner)).relays(Arc::clone(&self.owner));
        engine(builder, &self.owner.client(), road).await
    }

    /// Signs off; what was said to the other side arrives before that.
    pub(crate) async fn close(self) {
        self.owner.close().await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// A receiver's visit to the host of a code.
pub(crate) struct Visit {
    joiner: Arc<Joiner>,
    /// The host is the sender's own.
    embedded: bool,
}

impl Visit {
    pub(crate) async fn open(road: &Road, code: &Code, ui: &Ui) -> Result<Self, Failure> {
        let mut embedded = true;
        let joiner = if !code.addresses().is_empty() {
            first_of(code.addresses().to_vec(), &road.ways).await?
        } else if let Some(host) = &road.host {
            embedded = false;
            named(&with_port(host)?, road, ui).await?
        } else {
            no_proxy(road)?;
            ui.say("Looking for the sender in the local network ...");
            let found = lan::browse(code.number(), lan::SEARCH_TIME)
                .await
                .map_err(|error| not_found(&error))?;
            let found = found.iter().map(ToString::to_string).collect();
            first_of(found, &road.ways).await?
        };
        Ok(Self {
            joiner: Arc::new(joiner),
            embedded,
        })
    }

    /// Trouble with a host of the sender's own is that the sender has left.
    pub(crate) fn judge(&self, failure: Failure) -> Failure {
        if self.embedded && failure.exit == Exit::HOST {
            return Failure::new(
                Exit::NOBODY,
                "the sender has left; ask for a new code and try again",
            );
        }
        failure
    }

    pub(crate) async fn engine(&self, road: &Road) -> Result<Engine, Failure> {
        let builder = Engine::builder(Arc::clone(&self.joiner)).relays(Arc::clone(&self.joiner));
        engine(builder, &self.joiner.client(), road).await
    }

    pub(crate) async fn close(self) {
        self.joiner.close().await;
    }
}

/// The screen name under which the owner of a number is reached.
pub(crate) fn owner_of(number: u32) -> Result<ScreenName, Failure> {
    ScreenName::new(number.to_string())
        .map_err(|error| Failure::new(Exit::USAGE, error.to_string()))
}

async fn engine(builder: rdv::Builder, client: &Client, road: &Road) -> Result<Engine, Failure> {
    let known = client.relay().await.ok().flatten();
    let builder = on_host(builder, client, known, road).await?;
    Ok(builder.codes_only().build())
}

/// What an engine must know of the host that it speaks through, and of the relay that it may use there.
pub(crate) async fn on_host(
    builder: rdv::Builder,
    client: &Client,
    known: Option<RelayInfo>,
    road: &Road,
) -> Result<rdv::Builder, Failure> {
    let policy = match road.relay {
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
    let mut known = match known {
        Some(relay) => addresses(&relay.address, &road.ways).await,
        None => Vec::new(),
    };
    // We speak to one of its addresses; how the world sees us in the other family, another one tells.
    if let Some(host) = &road.host {
        known.extend(addresses(&with_port(host)?, &road.ways).await);
    }
    let builder = builder
        .relay_policy(policy)
        .host_on_this_machine(client.host_is_local())
        .seen_as(seen_as)
        .never_dial([client.host_address()].into_iter().chain(known));
    ways::apply(builder, &road.ways)
}

/// Where `HOST:PORT` is. Behind a proxy names are not looked up here.
pub(crate) async fn addresses(address: &str, ways: &Ways) -> Vec<SocketAddr> {
    if let Ok(literal) = address.parse() {
        return vec![literal];
    }
    if ways.through.proxy.is_some() {
        return Vec::new();
    }
    let found = tokio::time::timeout(LOOK_UP_TIME, tokio::net::lookup_host(address)).await;
    match found {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
        _ => Vec::new(),
    }
}

/// The local network cannot be searched, nor a host of our own be reached, through a proxy.
fn no_proxy(road: &Road) -> Result<(), Failure> {
    match road.ways.through.proxy {
        Some(_) => Err(Failure::new(
            Exit::USAGE,
            "through a proxy nobody is found without a host; name one with --host",
        )),
        None => Ok(()),
    }
}

/// Signs on as a visitor to the host that the user named.
async fn named(address: &str, road: &Road, ui: &Ui) -> Result<Joiner, Failure> {
    let route = ways::route(&road.ways)?;
    let trust = trust(road.host_key.as_deref())?;
    let joiner = Joiner::connect_by(&route, address, &trust, SIGN_ON_TIMEOUT)
        .await
        .map_err(|error| refused(address, &error))?;
    tell_host(address, &joiner.client(), ui);
    Ok(joiner)
}

/// Which key a named host must have.
pub(crate) fn trust(host_key: Option<&str>) -> Result<HostTrust, Failure> {
    if let Some(key) = host_key {
        let key = key.parse::<Fingerprint>();
        let key = key.map_err(|error| {
            Failure::new(
                Exit::USAGE,
                format!("--host-key is not a fingerprint: {error}"),
            )
        })?;
        return Ok(HostTrust::Pinned(key));
    }
    let file = state::known_hosts().ok_or_else(|| {
        Failure::new(
            Exit::FILES,
            "there is no home folder to remember the host's key in; use --host-key",
        )
    })?;
    Ok(HostTrust::FirstUse(KnownHosts::new(file)))
}

/// Says what is to be said of the connection to a host.
pub(crate) fn tell_host(address: &str, client: &Client, ui: &Ui) {
    match client.host_security() {
        HostSecurity::Tls { key, status } => match status {
            HostKeyStatus::FirstUse => ui.say(format!(
                "First visit to {address}; its key {key} is remembered."
            )),
            HostKeyStatus::NotKept(error) => ui.must_say(format!(
                "Note: the key of {address} could not be remembered: {error}"
            )),
            _ => {}
        },
        // Only where the user allowed it, and said each time (security rules, section 4).
        _ => ui.must_say(format!(
            "NOT ENCRYPTED: anyone between you and {address} can read and change what is said to it."
        )),
    }
}

/// Tries all addresses of an embedded host at once; the first that signs us on is it. Its key is not kept: the code protects
/// the transfer (rulings G-05).
async fn first_of(addresses: Vec<String>, ways: &Ways) -> Result<Joiner, Failure> {
    let route = ways::route(ways)?;
    let mut tries = tokio::task::JoinSet::new();
    for address in addresses {
        let route = route.clone();
        tries.spawn(async move {
            let trust = HostTrust::AcceptAny;
            let joiner = Joiner::connect_by(&route, &address, &trust, SIGN_ON_TIMEOUT).await;
            joiner.map_err(|error| (address, error))
        });
    }
    let mut last = None;
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(joiner)) => return Ok(joiner),
            Ok(Err(failed)) => last = Some(failed),
            Err(_) => {}
        }
    }
    Err(match last {
        Some((address, OscarError::Unreachable { .. } | OscarError::Closed(_))) => Failure::new(
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

/// Why a sign-on failed, or why an account is gone.
pub(crate) fn refused(address: &str, error: &OscarError) -> Failure {
    let sentence = match error {
        OscarError::Unreachable { source, .. } => {
            format!("host {address} cannot be reached ({source}); check the address")
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
        OscarError::Refused {
            code: LoginErrorCode::WRONG_PASSWORD,
        } => format!("host {address} does not know that name and password"),
        OscarError::OldSignOnOnly => format!(
            "host {address} knows the old sign-on only, in which the password is badly protected; if you want that, sign on with --plain-host"
        ),
        OscarError::SignedOnElsewhere => {
            format!("host {address} signed us off because the account signed on from another place")
        }
        OscarError::AccountDeleted => format!("host {address} has deleted the account"),
        OscarError::Refused { code } => {
            format!("host {address} refused the sign-on ({code:?}); try again later")
        }
        other => format!("host {address}: {other}"),
    };
    Failure::new(Exit::HOST, sentence)
}

/// `HOST` is `HOST:5190`; a bare IPv6 address gets its brackets.
pub(crate) fn with_port(host: &str) -> Result<String, Failure> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, HOST_PORT).to_string());
    }
    let has_port = !host.ends_with(']');
    match host.rsplit_once(':').filter(|_| has_port) {
        None if !host.is_empty() => Ok(format!("{host}:{HOST_PORT}")),
        Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0) => {
            Ok(host.to_owned())
        }
        _ => Err(Failure::new(
            Exit::USAGE,
            format!("\"{}\" is not HOST or HOST:PORT", host.escape_debug()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_gets_the_usual_one() {
        for (typed, meant) in [
            ("example.org", "example.org:5190"),
            ("example.org:443", "example.org:443"),
            ("192.0.2.1", "192.0.2.1:5190"),
            ("2001:db8::1", "[2001:db8::1]:5190"),
            ("[2001:db8::1]", "[2001:db8::1]:5190"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ] {
            assert_eq!(with_port(typed).unwrap(), meant);
        }
    }

    #[test]
    fn what_is_no_host_is_bad_usage() {
        for typed in [
            "",
            ":5190",
            "192.0.2.1:99999",
            "example.org:",
            "example.org:0",
            "example.org:http",
        ] {
            assert_eq!(with_port(typed).unwrap_err().exit, Exit::USAGE, "{typed}");
        }
    }
}
