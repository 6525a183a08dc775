//! From the answers of servers to what stands between us and the world.

use std::net::{Ipv4Addr, SocketAddr};

use rdv_proto::rendezvous::{Mapping, Network};
use tokio::time::Instant;

use super::super::found::{self, Ports};
use super::super::stun::{self, Answer};
use super::{Family, Gatherer, UDP_BLOCKED};

impl Gatherer {
    /// What stands between the sockets and the world, in the family where translators are if anybody answers there.
    pub(super) fn network(&self, now: Instant) -> Network {
        let of_family = |ipv4: bool| -> Vec<Answer> {
            let answers = self.tcp.iter().filter_map(|one| one.answer);
            answers
                .filter(|answer| answer.server.is_ipv4() == ipv4)
                .collect()
        };
        let mut tcp = of_family(true);
        if tcp.is_empty() {
            tcp = of_family(false);
        }
        let ports = Ports::of(self.exits.listeners.iter().copied());
        Network {
            udp: self.udp_mapping(now),
            tcp: stun::classify(&tcp, |seen| self.is_own(seen, ports)),
        }
    }

    pub(super) fn udp_mapping(&self, now: Instant) -> Mapping {
        if self.exits.udp.is_empty() {
            return Mapping::Blocked;
        }
        let mut asking: Vec<&Family> = self
            .udp
            .iter()
            .filter(|family| !family.questions.is_empty())
            .collect();
        asking.sort_by_key(|family| !family.ipv4);
        for family in &asking {
            let answers: Vec<Answer> = family.questions.answers().collect();
            if !answers.is_empty() {
                let ports = Ports {
                    v4: Some(family.port),
                    v6: Some(family.port),
                };
                return stun::classify(&answers, |seen| self.is_own(seen, ports));
            }
        }
        // A server that answers over TCP answers over UDP, too, if the question gets there.
        let alive = self.tcp.iter().any(|one| one.answer.is_some());
        let silent = asking
            .iter()
            .all(|family| family.questions.silent_for(now, UDP_BLOCKED));
        match alive && silent && !asking.is_empty() {
            true => Mapping::Blocked,
            false => Mapping::Unknown,
        }
    }

    fn is_own(&self, seen: SocketAddr, ports: Ports) -> bool {
        self.own.contains(&seen.ip()) && ports.for_family_of(seen.ip()) == Some(seen.port())
    }

    pub(super) fn reflexive_udp(&self) -> Vec<SocketAddr> {
        let answers = self
            .udp
            .iter()
            .flat_map(|family| family.questions.answers());
        answers.map(|answer| answer.mapped).collect()
    }

    pub(super) fn seen_as(&self) -> Option<Ipv4Addr> {
        let mut seen = self.reflexive_udp();
        let over_tcp = self.tcp.iter().filter_map(|one| one.answer);
        seen.extend(over_tcp.map(|answer| answer.mapped));
        found::seen_as(&seen, &self.own)
    }
}
