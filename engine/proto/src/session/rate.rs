//! Rate classes: the formula that host and client both compute.
//!
//! Source: `sign-on`, section 6. Per class and per SNAC, in integers:
//! `level = min((level * (window - 1) + ms since the last SNAC) / window, max)`.

use std::time::{Duration, Instant};

/// The numbers of one class, as SNAC 0x0001/0x0007 announces them. Levels are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateClass {
    /// Class id.
    pub id: u16,
    /// How many SNACs the moving average looks back on.
    pub window: u32,
    /// At or above it, a limited client is clear again.
    pub clear: u32,
    /// Below it, the client is warned.
    pub alert: u32,
    /// Below it, SNACs are dropped.
    pub limit: u32,
    /// Below it, the client is disconnected.
    pub disconnect: u32,
    /// The level of a client at rest.
    pub max: u32,
}

impl RateClass {
    /// Everything that no other class names: 87 back to back until alert, 109 until limited, 157 until disconnected.
    pub const GENERAL: Self = Self {
        id: 1,
        window: 80,
        clear: 2500,
        alert: 2000,
        limit: 1500,
        disconnect: 800,
        max: 6000,
    };

    /// Changes of lists: 87 back to back until alert, 109 until limited, 140 until disconnected.
    pub const EDITS: Self = Self {
        id: 2,
        window: 80,
        clear: 3000,
        alert: 2000,
        limit: 1500,
        disconnect: 1000,
        max: 6000,
    };

    /// Searches: 9 back to back until alert, 13 until limited, 20 until disconnected.
    pub const SEARCH: Self = Self {
        id: 4,
        window: 20,
        clear: 5500,
        alert: 5300,
        limit: 4200,
        disconnect: 3000,
        max: 8000,
    };

    /// Chat rooms: 4 back to back until alert, 7 until limited, 10 until disconnected.
    pub const CHAT: Self = Self {
        id: 5,
        window: 10,
        clear: 5500,
        alert: 5300,
        limit: 4200,
        disconnect: 3000,
        max: 8000,
    };

    /// ICBM as old clients know it: 4 back to back until alert, 8 until limited, 14 until disconnected.
    pub const ICBM_LEGACY: Self = Self {
        id: 3,
        window: 20,
        clear: 5100,
        alert: 5000,
        limit: 4000,
        disconnect: 3000,
        max: 6000,
    };

    /// ICBM for our own clients, whose rendezvous trickle their candidates: 53 back to back until alert, 62 until
    /// limited, 79 until disconnected; four a second never limit.
    pub const ICBM: Self = Self {
        id: 3,
        window: 20,
        clear: 500,
        alert: 400,
        limit: 250,
        disconnect: 100,
        max: 6000,
    };
}

/// What a SNAC did to the level of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Clear,
    /// Pass it on; the next ones come too fast.
    Alert,
    /// Drop it.
    Limited,
    /// Drop the client.
    Disconnect,
}

/// Where one client stands in one class.
#[derive(Clone, Debug)]
pub struct RateState {
    class: RateClass,
    level: u32,
    last: Instant,
    limited: bool,
}

impl RateState {
    /// A client at rest.
    pub fn new(class: RateClass, now: Instant) -> Self {
        Self {
            class,
            level: class.max,
            last: now,
            limited: false,
        }
    }

    /// A client as the host describes it (0x0001/0x0007, 0x0001/0x000A): where its level stood after its last SNAC, and since
    /// when nothing came.
    pub fn described(
        class: RateClass,
        level: u32,
        idle: Duration,
        limited: bool,
        now: Instant,
    ) -> Self {
        Self {
            class,
            level: level.min(class.max),
            last: now.checked_sub(idle).unwrap_or(now),
            limited,
        }
    }

    /// The class.
    pub fn class(&self) -> &RateClass {
        &self.class
    }

    /// The level after the last SNAC, in milliseconds.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Whether SNACs of this class are being dropped.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Milliseconds since the last SNAC of this class.
    pub fn idle_ms(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.last).as_millis()).unwrap_or(u32::MAX)
    }

    /// Counts one SNAC that came at `now`.
    pub fn count(&mut self, now: Instant) -> Verdict {
        let window = u64::from(self.class.window.max(1));
        let delta = u64::from(self.idle_ms(now));
        let level = (u64::from(self.level) * (window - 1) + delta) / window;
        self.level = u32::try_from(level).unwrap_or(u32::MAX).min(self.class.max);
        self.last = now;
        let verdict = if self.level < self.class.disconnect {
            Verdict::Disconnect
        } else if (self.limited && self.level < self.class.clear) || self.level < self.class.limit {
            Verdict::Limited
        } else if self.level < self.class.alert {
            Verdict::Alert
        } else {
            Verdict::Clear
        };
        self.limited = matches!(verdict, Verdict::Limited | Verdict::Disconnect);
        verdict
    }

    /// How long a client has to wait until its next SNAC leaves the level above `alert`, as libpurple paces itself.
    pub fn delay_until_clear(&self, now: Instant) -> Duration {
        self.delay_until(self.class.alert.saturating_add(1), now)
    }

    /// How long a client has to wait until its next SNAC is not dropped; for its last words before a sign-off.
    pub fn delay_until_passed(&self, now: Instant) -> Duration {
        self.delay_until(self.class.limit.saturating_add(1), now)
    }

    fn delay_until(&self, wanted: u32, now: Instant) -> Duration {
        let wanted = if self.limited {
            wanted.max(self.class.clear)
        } else {
            wanted
        };
        // A class that asks for more than its own maximum must not stop the traffic for ever.
        let wanted = u64::from(wanted.min(self.class.max));
        let window = u64::from(self.class.window.max(1));
        let carried = u64::from(self.level) * (window - 1);
        let idle = u64::from(self.idle_ms(now));
        Duration::from_millis(
            (wanted * window)
                .saturating_sub(carried)
                .saturating_sub(idle),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    /// The number of the first back-to-back SNAC that is alerted, limited and disconnected.
    fn firsts(class: RateClass) -> [u32; 3] {
        let now = start();
        let mut state = RateState::new(class, now);
        let mut firsts = [0; 3];
        for n in 1..1000 {
            let place = match state.count(now) {
                Verdict::Clear => continue,
                Verdict::Alert => 0,
                Verdict::Limited => 1,
                Verdict::Disconnect => 2,
            };
            if firsts[place] == 0 {
                firsts[place] = n;
            }
            if place == 2 {
                break;
            }
        }
        firsts
    }

    #[test]
    fn so_13_the_formula_reproduces_the_table() {
        assert_eq!(firsts(RateClass::GENERAL), [87, 109, 157]);
        assert_eq!(firsts(RateClass::EDITS), [87, 109, 140]);
        assert_eq!(firsts(RateClass::ICBM_LEGACY), [4, 8, 14]);
        assert_eq!(firsts(RateClass::SEARCH), [9, 13, 20]);
        assert_eq!(firsts(RateClass::CHAT), [4, 7, 10]);
    }

    #[test]
    fn our_own_class_gives_a_rendezvous_room() {
        let [alert, limit, disconnect] = firsts(RateClass::ICBM);
        assert_eq!([alert, limit, disconnect], [53, 62, 79]);
        let mut now = start();
        let mut state = RateState::new(RateClass::ICBM, now);
        for _ in 0..1000 {
            now += Duration::from_millis(260);
            assert!(matches!(state.count(now), Verdict::Clear | Verdict::Alert));
        }
    }

    #[test]
    fn a_limited_client_stays_limited_until_it_is_clear_again() {
        let mut now = start();
        let mut state = RateState::new(RateClass::ICBM_LEGACY, now);
        while state.count(now) != Verdict::Limited {}
        now += Duration::from_secs(20);
        assert_eq!(
            state.count(now),
            Verdict::Limited,
            "level {}",
            state.level()
        );
        now += Duration::from_secs(26);
        assert_eq!(state.count(now), Verdict::Clear);
    }

    #[test]
    fn whoever_waits_as_told_is_never_warned_and_waits_no_longer_than_needed() {
        for class in [RateClass::GENERAL, RateClass::ICBM_LEGACY, RateClass::ICBM] {
            let mut now = start();
            let mut state = RateState::new(class, now);
            let mut waited = 0;
            for _ in 0..300 {
                let delay = state.delay_until_clear(now);
                if !delay.is_zero() {
                    waited += 1;
                    let mut hasty = state.clone();
                    hasty.count(now + delay - Duration::from_millis(1));
                    assert_eq!(
                        hasty.level(),
                        class.alert,
                        "a millisecond less is too early"
                    );
                }
                now += delay;
                assert_eq!(state.count(now), Verdict::Clear);
            }
            assert!(waited > 0, "the class was never tight");
        }
    }

    #[test]
    fn a_limited_client_learns_how_long_it_stays_so() {
        let now = start();
        let mut state = RateState::new(RateClass::ICBM_LEGACY, now);
        while state.count(now) != Verdict::Limited {}
        assert_eq!(state.level(), 3977);
        let delay = state.delay_until_passed(now);
        assert_eq!(delay, Duration::from_millis(5100 * 20 - 3977 * 19));
        assert_eq!(
            state.clone().count(now + delay - Duration::from_millis(1)),
            Verdict::Limited
        );
        assert_eq!(state.count(now + delay), Verdict::Clear);
    }

    #[test]
    fn no_described_class_waits_for_ever_or_panics() {
        for number in [0, 1, 20, u32::MAX] {
            let (window, clear, alert, limit, disconnect, max) =
                (number, u32::MAX, u32::MAX, u32::MAX, 0, number);
            let class = RateClass {
                id: 3,
                window,
                clear,
                alert,
                limit,
                disconnect,
                max,
            };
            let idle = Duration::from_secs(u64::from(number));
            let mut state = RateState::described(class, u32::MAX, idle, true, start());
            state.count(start());
            assert!(state.delay_until_clear(start()) <= Duration::from_millis(u64::MAX));
            assert!(state.delay_until_passed(start()) <= Duration::from_millis(u64::MAX));
        }
    }
}
