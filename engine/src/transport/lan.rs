//! Finding an embedded host on the local network: DNS-SD over mDNS, service `_rdv._tcp.local`, TXT `v=1`, `n=NUMBER` (G-05).
//!
//! What is heard here is a hint and proves nothing: anybody on the network may announce any number. Two hosts of one
//! number therefore stop the search, and whoever was found must still show that it knows the code.

mod ask;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::time::{Instant, sleep_until};

use ask::{Answer, OneShot};

const SERVICE: &str = "_rdv._tcp.local.";
const VERSION: &str = "1";
/// How long a receiver goes on listening after the first answer, in case a second host has the same number. Responders
/// answer within 120 ms.
const SECOND_HOST_WINDOW: Duration = Duration::from_millis(150);
/// Instances that are remembered during one search; a stranger may announce any number of them.
const INSTANCES_MAX: usize = 256;
/// Addresses that are taken of one host.
const ADDRESSES_MAX: usize = 16;

/// How long a receiver waits for the first answer.
pub const SEARCH_TIME: Duration = Duration::from_secs(5);
/// How long an embedded host listens for numbers that are taken before it chooses its own.
pub const LISTEN_FIRST: Duration = Duration::from_millis(300);
/// The numbers that embedded hosts choose from.
pub const NUMBERS: std::ops::RangeInclusive<u32> = 1000..=9999;

/// Why nobody was found, or nothing could be announced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanError {
    /// Nobody on this network announces the number.
    #[error("nobody on this network has number {number}")]
    NotFound {
        /// The number looked for.
        number: u32,
    },
    /// Two or more hosts announce the same number; the long form of the code tells them apart.
    #[error("more than one host on this network has number {number}")]
    Ambiguous {
        /// The number looked for.
        number: u32,
    },
    /// Multicast DNS does not work here.
    #[error("multicast DNS is not available")]
    Unavailable(#[from] mdns_sd::Error),
    /// The system's random number generator failed.
    #[error("no randomness from the system")]
    NoRandomness,
}

/// A host's record on the local network; withdrawn when dropped.
#[must_use = "the record is withdrawn when this is dropped"]
pub struct Announcement {
    _daemon: Daemon,
}

/// Announces that number `number` is reached on `port` of this machine, on all of its interfaces, loopback included.
///
/// # Errors
/// [`LanError::Unavailable`] if there is no multicast here.
pub fn announce(number: u32, port: u16) -> Result<Announcement, LanError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| LanError::NoRandomness)?;
    let instance = format!("rdv-{:016x}", u64::from_be_bytes(random));
    let properties = [("v", VERSION.to_owned()), ("n", number.to_string())];
    let host = format!("{instance}.local.");
    let mut record =
        ServiceInfo::new(SERVICE, &instance, &host, (), port, &properties[..])?.enable_addr_auto();
    // The names are random, so there is nobody to ask whether they are free: that would cost 750 ms.
    record.set_requires_probe(false);
    let daemon = Daemon::start()?;
    daemon.0.register(record)?;
    Ok(Announcement { _daemon: daemon })
}

/// Looks for the host of `number`: its addresses, those that are tried first at the front.
///
/// Waits up to `limit` for the first answer, and then for a short while whether a second host has the same number.
///
/// # Errors
/// [`LanError::NotFound`] when nobody answered in time, [`LanError::Ambiguous`] when two did.
pub async fn browse(number: u32, limit: Duration) -> Result<Vec<SocketAddr>, LanError> {
    let mut heard = Heard::default();
    let mut deadline = Instant::now() + limit;
    let mut first_answer = true;
    let mut search = Search::start()?;
    while let Some(found) = search.next(deadline).await {
        heard.add(&found);
        match heard.hosts_of(number) {
            0 => {}
            1 if first_answer => {
                first_answer = false;
                deadline = deadline.min(Instant::now() + SECOND_HOST_WINDOW);
            }
            1 => {}
            _ => return Err(LanError::Ambiguous { number }),
        }
    }
    heard
        .addresses_of(number)
        .ok_or(LanError::NotFound { number })
}

/// The numbers that hosts on this network use, as far as `window` shows. See [`LISTEN_FIRST`].
///
/// # Errors
/// [`LanError::Unavailable`] if there is no multicast here.
pub async fn numbers_in_use(window: Duration) -> Result<BTreeSet<u32>, LanError> {
    let deadline = Instant::now() + window;
    let mut heard = Heard::default();
    let mut search = Search::start()?;
    while let Some(found) = search.next(deadline).await {
        heard.add(&found);
    }
    Ok(heard.hosts.values().map(|host| host.number).collect())
}

/// A random number of [`NUMBERS`] that is not `in_use`; `None` if all are.
///
/// # Errors
/// [`LanError::NoRandomness`] if the system has none.
pub fn choose_number(in_use: &BTreeSet<u32>) -> Result<Option<u32>, LanError> {
    let free: Vec<u32> = NUMBERS.filter(|number| !in_use.contains(number)).collect();
    let random = getrandom::u64().map_err(|_| LanError::NoRandomness)?;
    // 64 bits over at most 9000 choices: the bias is far below anything that could matter.
    let index = random
        .checked_rem(free.len() as u64)
        .and_then(|index| usize::try_from(index).ok());
    Ok(index.and_then(|index| free.get(index).copied()))
}

/// A responder and querier of its own: a thread, ended with the value.
struct Daemon(ServiceDaemon);

impl Daemon {
    fn start() -> Result<Self, LanError> {
        Ok(Self(ServiceDaemon::new()?))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Says goodbye for what was announced. Nobody is left to tell if it fails.
        let _ = self.0.shutdown();
    }
}

/// A question that is out, asked in both ways.
struct Search {
    one_shot: OneShot,
    events: mdns_sd::Receiver<ServiceEvent>,
    _daemon: Daemon,
}

/// One answer, by the way it came.
enum Found {
    OneShot(Answer),
    Resolved(Box<ResolvedService>),
}

impl Search {
    fn start() -> Result<Self, LanError> {
        let daemon = Daemon::start()?;
        let events = daemon.0.browse(SERVICE)?;
        Ok(Self {
            one_shot: OneShot::ask(SERVICE),
            events,
            _daemon: daemon,
        })
    }

    /// The next answer; `None` at the deadline.
    async fn next(&mut self, deadline: Instant) -> Option<Found> {
        loop {
            tokio::select! {
                answer = self.one_shot.next() => return Some(Found::OneShot(answer)),
                event = self.events.recv_async() => {
                    if let ServiceEvent::ServiceResolved(service) = event.ok()? {
                        return Some(Found::Resolved(service));
                    }
                }
                () = sleep_until(deadline) => return None,
            }
        }
    }
}

#[derive(Debug)]
struct Host {
    number: u32,
    addresses: BTreeSet<Ranked>,
}

/// In the order in which addresses are tried: the rank, then the address so that the order is fixed.
type Ranked = (u8, SocketAddr);

/// What was heard so far, by instance.
#[derive(Debug, Default)]
struct Heard {
    hosts: BTreeMap<String, Host>,
}

impl Heard {
    fn add(&mut self, found: &Found) {
        let (instance, version, number) = match found {
            Found::OneShot(answer) => {
                let text = |key| answer.txt.get(key).map(String::as_str);
                (answer.instance.clone(), text("v"), text("n"))
            }
            Found::Resolved(service) => {
                let text = |key| service.get_property_val_str(key);
                (service.fullname.to_ascii_lowercase(), text("v"), text("n"))
            }
        };
        let (Some(VERSION), Some(number)) = (version, number.and_then(parse_number)) else {
            return;
        };
        let addresses: Vec<Ranked> = match found {
            Found::OneShot(answer) => {
                let road = answer.over_loopback;
                let usable = |ip: &IpAddr| rated(*ip, road, 0, answer.port);
                answer.addresses.iter().filter_map(usable).collect()
            }
            Found::Resolved(service) => {
                let usable = |ip: &ScopedIp| scoped(ip, service.port);
                service.addresses.iter().filter_map(usable).collect()
            }
        };
        self.add_host(&instance, number, addresses.into_iter());
    }

    fn add_host(&mut self, instance: &str, number: u32, addresses: impl Iterator<Item = Ranked>) {
        let full = self.hosts.len() >= INSTANCES_MAX && !self.hosts.contains_key(instance);
        let mut addresses = addresses.peekable();
        if full || addresses.peek().is_none() {
            return;
        }
        let host = self
            .hosts
            .entry(instance.to_owned())
            .or_insert_with(|| Host {
                number,
                addresses: BTreeSet::new(),
            });
        for address in addresses {
            host.addresses.insert(address);
            if host.addresses.len() > ADDRESSES_MAX {
                host.addresses.pop_last();
            }
        }
    }

    fn hosts_of(&self, number: u32) -> usize {
        self.hosts
            .values()
            .filter(|host| host.number == number)
            .count()
    }

    fn addresses_of(&self, number: u32) -> Option<Vec<SocketAddr>> {
        let host = self.hosts.values().find(|host| host.number == number)?;
        Some(host.addresses.iter().map(|(_, address)| *address).collect())
    }
}

/// Digits as we write them: no sign, no zeros in front.
fn parse_number(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|number: &u32| number.to_string() == text)
}

fn scoped(ip: &ScopedIp, port: u16) -> Option<Ranked> {
    match ip {
        ScopedIp::V4(v4) => {
            let road = v4
                .interface_ids()
                .iter()
                .any(|id| is_loopback_interface(&id.name));
            rated(IpAddr::V4(*v4.addr()), road, 0, port)
        }
        ScopedIp::V6(v6) => {
            let id = v6.scope_id();
            rated(
                IpAddr::V6(*v6.addr()),
                is_loopback_interface(&id.name),
                id.index,
                port,
            )
        }
        _ => None,
    }
}

/// An address that may be dialled, with its rank; a loopback address only if a loopback interface brought it, a link-local
/// one only with its scope.
fn rated(ip: IpAddr, loopback_road: bool, scope: u32, port: u16) -> Option<Ranked> {
    let rank = rank(ip, loopback_road).filter(|_| port != 0)?;
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            (scope != 0).then(|| (rank, SocketAddrV6::new(v6, port, 0, scope).into()))
        }
        other => Some((rank, SocketAddr::new(other, port))),
    }
}

/// Loopback first (shortest way), then ordinary addresses, link-local ones last; `None` for what nobody lives at.
fn rank(address: IpAddr, loopback_road: bool) -> Option<u8> {
    match address {
        ip if ip.is_unspecified() || ip.is_multicast() => None,
        ip if ip.is_loopback() => loopback_road.then_some(0),
        IpAddr::V4(v4) if v4.is_broadcast() => None,
        IpAddr::V4(v4) if v4.is_link_local() => Some(3),
        IpAddr::V4(_) => Some(1),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(4),
        IpAddr::V6(_) => Some(2),
    }
}

fn is_loopback_interface(name: &str) -> bool {
    if_addrs::get_if_addrs()
        .is_ok_and(|all| all.iter().any(|one| one.name == name && one.is_loopback()))
}

#[cfg(test)]
mod tests;
