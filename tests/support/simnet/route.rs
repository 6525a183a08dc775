//! The way of a packet: out through the routers of its site, over the core, in through those of another.

use std::net::IpAddr;
use std::time::Duration;

use super::nat::{self, Router, Verdict};
use super::packet::{Load, Packet};
use super::{HOPS_BETWEEN, Host, HostId, LAN_DELAY, Net, Notice, Sent, Site, SiteId, Travelling};

impl Net {
    pub(super) fn leave_host(&mut self, host: HostId, packet: Packet) {
        self.sent.push(Sent {
            at: self.now,
            host,
            packet: packet.clone(),
        });
        let site = self.hosts[host].site;
        let inside = self
            .hosts
            .iter()
            .any(|other| other.site == site && other.addresses.contains(&packet.to.ip()));
        if inside {
            return self.post(LAN_DELAY, Travelling::Inside(site, packet));
        }
        self.leave_site(site, packet);
    }

    /// Through the routers of a site, outwards, and into the core.
    fn leave_site(&mut self, site: SiteId, mut packet: Packet) {
        let (now, dice) = (self.now, &mut self.dice);
        let place = &mut self.sites[site];
        if place.down || dice.percent(place.line.loss_percent) {
            return;
        }
        let routers: Vec<&mut Router> = if packet.to.is_ipv4() {
            place.routers.iter_mut().collect()
        } else {
            place.firewall.iter_mut().collect()
        };
        for router in routers {
            let own = router.behaviour.ports != nat::Ports::Untouched;
            if packet.ttl <= 1 || (own && packet.to.ip() == router.outside) {
                return;
            }
            let Some(translated) = router.outbound(now, packet, dice) else {
                return;
            };
            packet = translated;
            packet.ttl -= 1;
        }
        let line = place.line;
        let jitter = dice.up_to(line.jitter);
        self.cross(site, line.delay + jitter, packet);
    }

    /// Through access networks and core to the site that has the address.
    fn cross(&mut self, from: SiteId, delay: Duration, mut packet: Packet) {
        let Some(site) = self.site_at(packet.to.ip()).filter(|site| *site != from) else {
            return;
        };
        if packet.ttl <= HOPS_BETWEEN {
            return;
        }
        packet.ttl -= HOPS_BETWEEN;
        let line = self.sites[site].line;
        if self.dice.percent(line.loss_percent) {
            return;
        }
        let jitter = self.dice.up_to(line.jitter);
        self.post(delay + line.delay + jitter, Travelling::Core(site, packet));
    }

    /// Who is reached at a public address.
    fn site_at(&self, ip: IpAddr) -> Option<SiteId> {
        let owns = |(index, site): (SiteId, &Site)| {
            let translating = site
                .routers
                .last()
                .filter(|router| ip.is_ipv4() && router.behaviour.ports != nat::Ports::Untouched);
            let owns = match translating {
                Some(router) => router.outside == ip,
                None => self
                    .hosts
                    .iter()
                    .any(|host| host.site == index && host.addresses.contains(&ip)),
            };
            owns.then_some(index)
        };
        self.sites.iter().enumerate().find_map(owns)
    }

    /// Through the routers of a site, inwards.
    pub(super) fn enter_site(&mut self, site: SiteId, mut packet: Packet) {
        let now = self.now;
        let place = &mut self.sites[site];
        if place.down {
            return;
        }
        let routers: Vec<&mut Router> = if packet.to.is_ipv4() {
            place.routers.iter_mut().rev().collect()
        } else {
            place.firewall.iter_mut().collect()
        };
        for (passed, router) in routers.into_iter().enumerate() {
            match router.inbound(now, packet) {
                Verdict::Pass(inner) => packet = inner,
                Verdict::Refuse(refusal) => {
                    if let Some(refusal) = refusal {
                        self.refuse(site, passed, refusal);
                    }
                    return;
                }
            }
            if packet.ttl <= 1 {
                return;
            }
            packet.ttl -= 1;
        }
        self.post(Duration::ZERO, Travelling::Inside(site, packet));
    }

    /// A router of a site, the one after `passed` others from outside, refuses a packet.
    fn refuse(&mut self, site: SiteId, passed: usize, refusal: Packet) {
        let (now, dice) = (self.now, &mut self.dice);
        let place = &mut self.sites[site];
        let outer = place.routers.len().saturating_sub(passed);
        let mut packet = refusal;
        for router in place.routers.iter_mut().skip(outer) {
            let Some(translated) = router.outbound(now, packet, dice) else {
                return;
            };
            packet = translated;
        }
        let delay = place.line.delay;
        self.cross(site, delay, packet);
    }

    /// A packet reaches a host, if there is one at that address.
    pub(super) fn reach(&mut self, site: SiteId, packet: Packet) -> Vec<Notice> {
        let at = |host: &Host| host.site == site && host.addresses.contains(&packet.to.ip());
        let Some(host) = self.hosts.iter().position(at) else {
            return Vec::new();
        };
        match packet.load {
            Load::Udp(bytes) => {
                if !self.hosts[host].bound.contains(&packet.to.port()) {
                    return Vec::new();
                }
                vec![Notice::Datagram {
                    host,
                    to: packet.to,
                    from: packet.from,
                    bytes,
                }]
            }
            Load::Tcp(segment, far) => {
                let now = self.now;
                let connections = &mut self.hosts[host].connections;
                let news = connections.segment(now, packet.to, packet.from, segment, far);
                self.after_tcp(host);
                let (to, from) = (packet.to, packet.from);
                news.map(|news| news.into_notice(host, to, from))
                    .into_iter()
                    .collect()
            }
        }
    }
}
