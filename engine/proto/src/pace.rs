//! How often, and from where: what session, relay and host count strangers by. Time is handed in.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How many events are taken at once, and how long until the bucket is full again.
///
/// `Pace { burst: 10, per: 60 s }` takes ten at once and then one every six seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Events that may come back to back.
    pub burst: u32,
    /// Time in which an empty bucket fills up whole.
    pub per: Duration,
}

impl Pace {
    /// `burst` events at once, refilled over `per`.
    pub const fn new(burst: u32, per: Duration) -> Self {
        Self { burst, per }
    }
}

/// A token bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    pace: Pace,
    /// The instant at which the bucket will be full again. In the past: it is full.
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    pub const fn new(pace: Pace) -> Self {
        Self {
            pace,
            full_at: None,
        }
    }

    /// Takes one event; false (and nothing taken) when the bucket is empty.
    pub fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.owe(now);
        }
        has
    }

    /// Takes one event, out of what is to come if the bucket is empty: for what has happened whether it was allowed or not.
    pub fn owe(&mut self, now: Instant) {
        let from = self.full_at.filter(|&at| at > now).unwrap_or(now);
        self.full_at = Some(from + self.cost());
    }

    /// Whether [`Bucket::take`] would succeed now.
    pub fn has(&self, now: Instant) -> bool {
        let missing = self
            .full_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        self.pace.burst > 0 && missing + self.cost() <= self.pace.per
    }

    /// Whether it is as good as new, so that it need not be remembered.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }

    fn cost(&self) -> Duration {
        self.pace.per / self.pace.burst.max(1)
    }
}

/// Where a connection comes from, as limits count it: an IPv4 address, or the /64 that one holder of IPv6 has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(IpAddr);

impl Origin {
    /// The origin of `address`; an IPv4-mapped address counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_missing_later() {
        let (mut bucket, now) = (Bucket::new(Pace::new(10, Duration::from_secs(60))), start());
        for _ in 0..16 {
            bucket.owe(now);
        }
        assert!(!bucket.has(now + Duration::from_secs(41)));
        assert!(bucket.has(now + Duration::from_secs(42)));
    }

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_burst_is_taken_and_then_one_per_share_of_the_period() {
        let start = start();
        let mut bucket = Bucket::new(Pace::new(10, Duration::from_secs(60)));
        assert!((0..10).all(|_| bucket.take(start)));
        assert!(!bucket.take(start));
        assert!(!bucket.take(start + Duration::from_millis(5_999)));
        assert!(bucket.take(start + Duration::from_secs(6)));
        assert!(!bucket.take(start + Duration::from_secs(6)));
        assert!(bucket.is_full(start + Duration::from_secs(66)));
    }

    #[test]
    fn ipv6_is_counted_by_its_64_bit_prefix() {
        let origin = |address: &str| Origin::of(address.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
    }

    #[test]
    fn a_pace_of_nothing_takes_nothing() {
        let mut bucket = Bucket::new(Pace::new(0, Duration::from_secs(1)));
        assert!(!bucket.take(start()));
    }
}
