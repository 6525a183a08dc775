//! Rate classes: how fast a client may send SNACs. Host and client compute the same level from the same times.
//!
//! Source: `SNAC 0x0001/0x0007` as sent by AOL-style hosts (Shutko, `rate_limits.html`; libpurple). Integer division, for every
//! SNAC of a class before it is acted upon:
//! `level = min((level * (window - 1) + ms since the last SNAC) / window, max)`.
//!
//! ```
//! use rdv_proto::session::rate::{RateClass, RateLimits, Verdict};
//! let mut icbm = RateClass::new(RateLimits::ICBM, 0);
//! for _ in 0..3 {
//!     assert_eq!(icbm.on_snac(0), Verdict::Clear);
//! }
//! let wait_ms = icbm.delay_until_clear(0);
//! assert_eq!(wait_ms, 2284);
//! assert_eq!(icbm.on_snac(wait_ms), Verdict::Clear);
//! ```

/// The fixed numbers of one class. All levels are in milliseconds, as the level itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Number of the class in 01/07 and 01/0A.
    pub id: u16,
    /// How many SNACs the mean goes over; 0 counts as 1.
    pub window: u32,
    /// A limited client may send again from this level on.
    pub clear: u32,
    /// Below it the client is warned.
    pub alert: u32,
    /// Below it SNACs are dropped.
    pub limit: u32,
    /// Below it the connection is closed.
    pub disconnect: u32,
    /// The level does not rise above this.
    pub max: u32,
}

impl RateLimits {
    /// Class 1 of the usual set: everything that no other class names.
    pub const GENERAL: Self = Self::class(1, 80, [2500, 2000, 1500, 800, 6000]);
    /// Class 2: edits of the contact list.
    pub const LIST_EDITS: Self = Self::class(2, 80, [3000, 2000, 1500, 1000, 6000]);
    /// Class 3: 04/06 and 02/05. The one that rendezvous messages are in.
    pub const ICBM: Self = Self::class(3, 20, [5100, 5000, 4000, 3000, 6000]);
    /// Class 4: 02/09 and 02/0B.
    pub const DIRECTORY: Self = Self::class(4, 20, [5500, 5300, 4200, 3000, 8000]);
    /// Class 5: chat.
    pub const CHAT: Self = Self::class(5, 10, [5500, 5300, 4200, 3000, 8000]);
    /// The usual five classes, in order of their numbers.
    pub const DEFAULTS: [Self; 5] = [
        Self::GENERAL,
        Self::LIST_EDITS,
        Self::ICBM,
        Self::DIRECTORY,
        Self::CHAT,
    ];

    const fn class(id: u16, window: u32, levels: [u32; 5]) -> Self {
        let [clear, alert, limit, disconnect, max] = levels;
        Self {
            id,
            window,
            clear,
            alert,
            limit,
            disconnect,
            max,
        }
    }

    fn window(&self) -> u64 {
        u64::from(self.window).max(1)
    }
}

/// What is to be done with one SNAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Pass it.
    Clear,
    /// Pass it, the sender is near the limit.
    Alert,
    /// Drop it.
    Limited,
    /// Close the connection.
    Disconnect,
}

/// One class of one connection: its limits and where it stands.
///
/// Times are milliseconds of any clock that does not run backwards; only differences count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateClass {
    limits: RateLimits,
    level: u32,
    last_ms: u64,
    limited: bool,
}

impl RateClass {
    /// A class at rest: level at its maximum.
    pub fn new(limits: RateLimits, now_ms: u64) -> Self {
        Self::at(limits, limits.max, now_ms, false)
    }

    /// A class as the other side described it (01/07, 01/0A): its level when the last SNAC came, when that was, whether it
    /// drops.
    pub fn at(limits: RateLimits, level: u32, last_ms: u64, limited: bool) -> Self {
        Self {
            limits,
            level: level.min(limits.max),
            last_ms,
            limited,
        }
    }

    /// The fixed numbers.
    pub fn limits(&self) -> &RateLimits {
        &self.limits
    }

    /// The level after the last SNAC.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// When the last SNAC came.
    pub fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// Whether SNACs are being dropped until the level is back at `clear`.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Counts a SNAC and judges it. One that gets dropped counts as well.
    pub fn on_snac(&mut self, now_ms: u64) -> Verdict {
        self.level = self.level_at(now_ms);
        self.last_ms = self.last_ms.max(now_ms);
        let verdict = if self.level < self.limits.disconnect {
            Verdict::Disconnect
        } else if self.level < self.limits.limit || (self.limited && self.level < self.limits.clear)
        {
            Verdict::Limited
        } else if self.level < self.limits.alert {
            Verdict::Alert
        } else {
            Verdict::Clear
        };
        self.limited = verdict >= Verdict::Limited;
        verdict
    }

    /// Milliseconds to wait until a SNAC leaves the level above `alert` (as libpurple paces itself).
    pub fn delay_until_clear(&self, now_ms: u64) -> u64 {
        self.delay_until(self.limits.alert.saturating_add(1), now_ms)
    }

    /// Milliseconds to wait until a SNAC passes at all; for the last words before a sign-off.
    pub fn delay_until_passed(&self, now_ms: u64) -> u64 {
        self.delay_until(self.limits.limit.saturating_add(1), now_ms)
    }

    fn level_at(&self, now_ms: u64) -> u32 {
        let window = self.limits.window();
        let since = now_ms.saturating_sub(self.last_ms);
        let sum = (u64::from(self.level) * (window - 1)).saturating_add(since);
        u32::try_from(sum / window)
            .unwrap_or(u32::MAX)
            .min(self.limits.max)
    }

    fn delay_until(&self, wanted: u32, now_ms: u64) -> u64 {
        let wanted = if self.limited {
            wanted.max(self.limits.clear)
        } else {
            wanted
        };
        // Limits that can never be met must not stop the traffic for ever.
        let wanted = u64::from(wanted.min(self.limits.max));
        let window = self.limits.window();
        let sum = u64::from(self.level) * (window - 1);
        let since = now_ms.saturating_sub(self.last_ms);
        (wanted * window).saturating_sub(sum).saturating_sub(since)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many SNACs back to back until alert, limit, disconnect.
    fn burst(limits: RateLimits) -> (u32, u32, u32) {
        let mut class = RateClass::new(limits, 1000);
        let mut first = [0; 3];
        for sent in 1.. {
            let verdict = class.on_snac(1000);
            for (at, least) in
                first
                    .iter_mut()
                    .zip([Verdict::Alert, Verdict::Limited, Verdict::Disconnect])
            {
                if *at == 0 && verdict >= least {
                    *at = sent;
                }
            }
            if verdict == Verdict::Disconnect {
                break;
            }
        }
        (first[0], first[1], first[2])
    }

    /// SO-13: the table that was computed for the usual classes.
    #[test]
    fn the_usual_classes_allow_exactly_the_known_bursts() {
        let bursts = RateLimits::DEFAULTS.map(burst);
        assert_eq!(
            bursts,
            [
                (87, 109, 157),
                (87, 109, 140),
                (4, 8, 14),
                (9, 13, 20),
                (4, 7, 10)
            ]
        );
    }

    #[test]
    fn one_icbm_each_four_seconds_never_limits_and_each_five_never_alerts() {
        let worst = |pace_ms: u64| {
            let mut class = RateClass::new(RateLimits::ICBM, 0);
            (1..10_000).map(|n| class.on_snac(n * pace_ms)).max()
        };
        assert_eq!(worst(4000), Some(Verdict::Alert));
        assert_eq!(worst(5000), Some(Verdict::Clear));
    }

    #[test]
    fn after_being_limited_about_26_seconds_clear_it() {
        let mut class = RateClass::new(RateLimits::ICBM, 0);
        for _ in 0..8 {
            class.on_snac(0);
        }
        assert!(class.is_limited());
        assert_eq!(class.level(), 3977);
        let wait = class.delay_until_passed(0);
        assert_eq!(wait, 5100 * 20 - 3977 * 19);
        let mut too_soon = class.clone();
        assert_eq!(too_soon.on_snac(wait - 1), Verdict::Limited);
        assert_eq!(class.on_snac(wait), Verdict::Clear);
    }

    #[test]
    fn a_class_that_cannot_be_met_does_not_wait_for_ever() {
        let odd = RateLimits {
            window: 0,
            alert: u32::MAX,
            ..RateLimits::ICBM
        };
        let mut class = RateClass::new(odd, 0);
        class.on_snac(0);
        assert!(class.delay_until_clear(0) <= u64::from(odd.max));
    }

    proptest! {
        #[test]
        fn who_waits_as_told_is_never_warned(gaps in prop::collection::vec(0u64..8000, 1..200)) {
            let mut class = RateClass::new(RateLimits::ICBM, 0);
            let mut now = 0;
            for gap in gaps {
                now += gap;
                now += class.delay_until_clear(now);
                prop_assert_eq!(class.on_snac(now), Verdict::Clear);
            }
        }

        #[test]
        fn no_numbers_panic(
            numbers in any::<[u32; 7]>(), limited: bool, times in any::<[u64; 3]>(),
        ) {
            let [window, clear, alert, limit, disconnect, max, level] = numbers;
            let limits = RateLimits { id: 3, window, clear, alert, limit, disconnect, max };
            let mut class = RateClass::at(limits, level, times[0], limited);
            class.on_snac(times[1]);
            class.delay_until_clear(times[2]);
            class.delay_until_passed(times[2]);
        }
    }
}
