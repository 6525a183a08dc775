//! Who may come in: how many new connections an address opens, and how many of them have not signed on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdv_proto::pace::{Bucket, Origin, Pace};

use crate::metrics::Limit;

/// How many may wait in front of the gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateLimits {
    pub(crate) connections: Pace,
    pub(crate) per_address: usize,
    pub(crate) in_all: usize,
}

/// Counts connections that have not signed on.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: GateLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_all: usize,
    addresses: HashMap<Origin, Address>,
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
struct Address {
    inside: usize,
    arrivals: Bucket,
}

/// A place among those who have not signed on; given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    origin: Origin,
}

impl Gate {
    pub(crate) fn new(limits: GateLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
        })
    }

    /// Lets a connection in, or says for which limit it may not.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant, address: IpAddr) -> Result<Pass, Limit> {
        let origin = Origin::of(address);
        let mut state = self.lock();
        state.sweep(now);
        if state.in_all >= self.limits.in_all {
            return Err(Limit::Unsigned);
        }
        let address = state.addresses.entry(origin).or_insert_with(|| Address {
            inside: 0,
            arrivals: Bucket::new(self.limits.connections),
        });
        if !address.arrivals.take(now) {
            return Err(Limit::Connections);
        }
        if address.inside >= self.limits.per_address {
            return Err(Limit::UnsignedPerAddress);
        }
        address.inside += 1;
        state.in_all += 1;
        Ok(Pass {
            gate: Arc::clone(self),
            origin,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the addresses that there is nothing to remember of, at most every ten seconds.
    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| at > now) {
            return;
        }
        self.sweep_at = Some(now + Duration::from_secs(10));
        self.addresses
            .retain(|_, address| address.inside > 0 || !address.arrivals.is_full(now));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.in_all -= 1;
        if let Some(address) = state.addresses.get_mut(&self.origin) {
            address.inside -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GateLimits = GateLimits {
        connections: Pace::new(60, Duration::from_secs(3)),
        per_address: 16,
        in_all: 20,
    };

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn sixteen_of_an_address_and_no_more_than_all() {
        let (gate, now) = (Gate::new(LIMITS), Instant::now());
        let mut inside: Vec<_> = (0..20)
            .filter_map(|_| gate.enter(now, address(1)).ok())
            .collect();
        assert_eq!(inside.len(), 16);
        inside.extend((0..20).filter_map(|_| gate.enter(now, address(2)).ok()));
        assert_eq!(inside.len(), 20);
        inside.clear();
        assert!(gate.enter(now, address(2)).is_ok());
    }

    #[test]
    fn sixty_at_once_and_twenty_a_second() {
        let (gate, now) = (Gate::new(LIMITS), Instant::now());
        let entered = (0..100)
            .filter(|_| gate.enter(now, address(1)).is_ok())
            .count();
        assert_eq!(entered, 60);
        let later = now + Duration::from_secs(1);
        let entered = (0..100)
            .filter(|_| gate.enter(later, address(1)).is_ok())
            .count();
        assert_eq!(entered, 20);
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten() {
        let (gate, now) = (Gate::new(LIMITS), Instant::now());
        for last in 0..=255 {
            gate.enter(now, address(last)).ok();
        }
        gate.enter(now + Duration::from_secs(11), address(0)).ok();
        assert_eq!(gate.lock().addresses.len(), 1);
    }
}
