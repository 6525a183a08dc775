//! Port mappings on the gateway, asked for, renewed and released: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP-IGD.
//!
//! All are asked side by side and the first that answers is used for both ports. A lease is for an hour at most and renewed at half of
//! it; it is given back when the holder closes or is dropped, also if that happens before the answer. Never permanent.

mod control;
mod lease;
#[cfg(feature = "upnp")]
mod upnp;
#[cfg(not(feature = "upnp"))]
#[path = "no_upnp.rs"]
mod upnp;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::lease::Lease;
use super::network::{GatherLine, GatherResult, GatherSource};

/// What we ask for; a router may grant less.
const LEASE: Duration = Duration::from_secs(3600);
/// PCP and NAT-PMP alone are used if they answer within this time, since UPnP takes longer anyway.
const HEAD_START: Duration = Duration::from_millis(250);
/// Never more often than this, however short the leases of a router are.
const RENEWAL_MIN: Duration = Duration::from_secs(20);
/// A lease that could not be renewed is tried again after this time, as long as it lasts.
const RENEWAL_RETRY: Duration = Duration::from_secs(30);
/// A gateway that took a lease away is asked for a new one after this time.
const ANEW: Duration = Duration::from_secs(60);
/// To get an answer that is due and to give all back, at the end.
const RELEASE: Duration = Duration::from_secs(3);

/// What is to be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Our address towards the gateway.
    pub(crate) own: Ipv4Addr,
    /// Unknown where the system does not show its routing table; then only UPnP, which finds it by itself, is left.
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) udp: Option<NonZeroU16>,
    pub(crate) tcp: Option<NonZeroU16>,
}

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Where the world reaches our UDP port.
    pub(crate) udp: Option<SocketAddrV4>,
    /// Where the world reaches our TCP port.
    pub(crate) tcp: Option<SocketAddrV4>,
    /// All protocols have answered or were given up.
    pub(crate) done: bool,
    /// PCP and NAT-PMP have, which are fast.
    pub(crate) control_done: bool,
    /// What was asked and how it ended.
    pub(crate) lines: Vec<GatherLine>,
}

/// Mappings that are looked after by a task. Dropped, they are released in the background.
#[derive(Debug)]
pub(crate) struct PortMap {
    state: watch::Receiver<Mapped>,
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// What the holder says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Order {
    /// How the world sees us, if a server told.
    seen_as: Option<Ipv4Addr>,
}

impl PortMap {
    /// Begins to ask.
    pub(crate) fn start(wanted: Wanted) -> Self {
        let (publish, state) = watch::channel(Mapped::default());
        let (orders, heard) = watch::channel(Order::default());
        let keeper = Keeper {
            wanted,
            publish,
            orders: heard,
        };
        Self {
            state,
            orders,
            task: tokio::spawn(keeper.run()),
        }
    }

    /// How it stands now.
    pub(crate) fn state(&mut self) -> Mapped {
        self.state.borrow_and_update().clone()
    }

    /// Waits for a change since the last [`state`](Self::state). Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            // The task has ended: nothing changes any more.
            std::future::pending().await
        }
    }

    /// A server outside sees us as `ip`. A mapping of another address is one of a router that has another translator in front of it; it is of
    /// no use and released.
    pub(crate) fn seen_as(&self, ip: Option<Ipv4Addr>) {
        self.orders.send_if_modified(|order| {
            let changed = order.seen_as != ip;
            order.seen_as = ip;
            changed
        });
    }

    /// Gives all back, and waits until that is done or has taken 3 s.
    pub(crate) async fn close(self) {
        let Self {
            state,
            orders,
            task,
        } = self;
        drop((state, orders));
        let _ = task.await;
    }
}

/// The task.
struct Keeper {
    wanted: Wanted,
    publish: watch::Sender<Mapped>,
    orders: watch::Receiver<Order>,
}

impl Keeper {
    async fn run(self) {
        let mut orders = self.orders.clone();
        loop {
            let lease = {
                let mut acquiring = pin!(self.acquire());
                let ended = tokio::select! {
                    lease = &mut acquiring => Some(lease),
                    () = closed(&mut orders) => None,
                };
                match ended {
                    Some(lease) => lease,
                    // What is under way may yet become a mapping.
                    None => timeout(RELEASE, acquiring).await.unwrap_or_default(),
                }
            };
            let Some(lease) = lease else {
                // A gateway that grants nothing now will not do so in a minute either.
                return closed(&mut orders).await;
            };
            self.hold(lease, &mut orders).await;
            tokio::select! {
                () = sleep(ANEW) => {}
                () = closed(&mut orders) => return,
            }
        }
    }

    /// The first lease that is to be had.
    async fn acquire(&self) -> Option<Lease> {
        let begun = Instant::now();
        let mut control = pin!(self.by_control());
        let mut search = pin!(self.search(begun));
        let (mut control_over, mut search_over, mut device) = (false, false, None);
        let lease = loop {
            tokio::select! {
                lease = &mut control, if !control_over => {
                    if lease.is_some() {
                        break lease;
                    }
                    control_over = true;
                }
                found = &mut search, if !search_over => {
                    search_over = true;
                    device = found;
                }
                () = sleep_until(begun + HEAD_START), if device.is_some() && !control_over => {}
            }
            let waited = control_over || begun.elapsed() >= HEAD_START;
            if let (Some(found), true) = (&device, waited) {
                let lease = self.by_upnp(found, begun).await;
                if lease.is_some() {
                    self.tell(lease.as_ref());
                }
                if !control_over && let Some(late) = control.await {
                    if lease.is_none() {
                        break Some(late);
                    }
                    late.release().await;
                }
                break lease;
            }
            if control_over && search_over {
                break None;
            }
        };
        self.tell(lease.as_ref());
        self.publish.send_modify(|state| {
            state.done = true;
            state.control_done = true;
        });
        lease
    }

    async fn by_control(&self) -> Option<Lease> {
        let lease = match self.wanted.gateway {
            Some(gateway) => {
                let line = |line| self.line(line);
                control::acquire(gateway, &self.wanted, LEASE, &line).await
            }
            None => None,
        };
        self.tell(lease.as_ref());
        self.publish.send_modify(|state| state.control_done = true);
        lease
    }

    async fn search(&self, begun: Instant) -> Option<upnp::Device> {
        let line = GatherLine::waiting(GatherSource::Upnp, None);
        self.line(line.clone());
        let mut orders = self.orders.clone();
        let found = tokio::select! {
            found = upnp::search(self.wanted.own, self.wanted.gateway) => found,
            // Nothing is mapped yet, so there is nothing to wait for.
            () = closed(&mut orders) => Err("given up".to_owned()),
        };
        match found {
            Ok(device) => Some(device),
            Err(error) => {
                self.line(line.ended(GatherResult::Failed(error), begun.elapsed()));
                None
            }
        }
    }

    async fn by_upnp(&self, device: &upnp::Device, begun: Instant) -> Option<Lease> {
        if self.orders.has_changed().is_err() {
            return None;
        }
        let line = GatherLine::waiting(GatherSource::Upnp, None);
        match device.map(&self.wanted, LEASE).await {
            Ok(lease) => {
                let found = GatherResult::Found(lease.addresses());
                self.line(line.ended(found, begun.elapsed()));
                Some(lease)
            }
            Err(error) => {
                self.line(line.ended(GatherResult::Failed(error), begun.elapsed()));
                None
            }
        }
    }

    /// Renews the lease until it is lost, of no use, or the holder is gone; it is given back then.
    async fn hold(&self, mut lease: Lease, orders: &mut watch::Receiver<Order>) {
        let mut next = Instant::now() + (lease.time_left() / 2).max(RENEWAL_MIN);
        loop {
            let seen_as = orders.borrow_and_update().seen_as;
            if let Some(why) = useless(&lease, seen_as) {
                self.tell(None);
                self.refused(lease.source(), why);
                give_back(lease).await;
                // Not asked again: it would be the same.
                return closed(orders).await;
            }
            self.tell(Some(&lease));
            tokio::select! {
                () = sleep_until(next) => {
                    let renewed = lease.renew(LEASE).await;
                    let left = lease.time_left();
                    if let Err(error) = &renewed {
                        tracing::debug!(%error, left = left.as_secs(), "port mapping not renewed");
                    }
                    if left.is_zero() {
                        self.tell(None);
                        return;
                    }
                    next = Instant::now() + match renewed {
                        Ok(()) => (left / 2).max(RENEWAL_MIN),
                        Err(_) => left.min(RENEWAL_RETRY),
                    };
                }
                changed = orders.changed() => if changed.is_err() {
                    self.tell(None);
                    return give_back(lease).await;
                },
            }
        }
    }

    fn tell(&self, lease: Option<&Lease>) {
        let (udp, tcp) = lease.map_or((None, None), |lease| (lease.udp(), lease.tcp()));
        self.publish.send_if_modified(|state| {
            let changed = (state.udp, state.tcp) != (udp, tcp);
            (state.udp, state.tcp) = (udp, tcp);
            changed
        });
    }

    fn line(&self, line: GatherLine) {
        self.publish.send_modify(|state| {
            let known = state.lines.iter_mut();
            match known.into_iter().find(|known| known.source == line.source) {
                Some(known) => *known = line,
                None => state.lines.push(line),
            }
        });
    }

    /// Says that a lease was had and is of no use.
    fn refused(&self, source: GatherSource, why: &'static str) {
        self.publish.send_modify(|state| {
            for line in &mut state.lines {
                if line.source == source {
                    line.result = GatherResult::Failed(why.to_owned());
                }
            }
        });
    }
}

/// Waits until the holder is gone.
async fn closed(orders: &mut watch::Receiver<Order>) {
    while orders.changed().await.is_ok() {}
}

async fn give_back(lease: Lease) {
    if timeout(RELEASE, lease.release()).await.is_err() {
        tracing::debug!("a port mapping could not be released; it ends with its lease");
    }
}

/// Why the outer side of a mapping is not the world.
fn useless(lease: &Lease, seen_as: Option<Ipv4Addr>) -> Option<&'static str> {
    let outer: Vec<Ipv4Addr> = lease
        .addresses()
        .iter()
        .filter_map(|address| match address {
            SocketAddr::V4(v4) => Some(*v4.ip()),
            SocketAddr::V6(_) => None,
        })
        .collect();
    if outer.iter().any(|ip| !is_outside(*ip)) {
        return Some("the router is itself behind a translator");
    }
    let seen = seen_as.filter(|seen| is_outside(*seen))?;
    let other = outer.iter().any(|ip| *ip != seen);
    other.then_some("the router has another address than the one the world sees")
}

/// Whether the world can reach such an address: none of private, shared (CGNAT, RFC 6598), link-local, loopback or special ones.
pub(crate) fn is_outside(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    let shared = first == 100 && (64..128).contains(&second);
    !(ip.is_private()
        || shared
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        || first == 0
        || first >= 240)
}

#[cfg(test)]
mod tests;
