//! How clients are named in the log: so that what one of them did can be followed for a day, and no longer.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use rdv_proto::wire::text::ScreenName;
use sha2::{Digest as _, Sha256};

use crate::random::random;
use crate::time::unix_s;

const DAY_S: u32 = 24 * 3600;

/// What the log may hold of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPolicy {
    /// Names of accounts as they are. Otherwise hashed, with a key that is drawn anew each day and never kept.
    pub names: bool,
    /// Whole addresses. Otherwise the /24 or /48 that they are in.
    pub addresses: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Discreet {
    policy: LogPolicy,
    /// The day, and its key.
    today: Mutex<Option<(u32, [u8; 32])>>,
}

impl Discreet {
    pub(crate) fn new(policy: LogPolicy) -> Self {
        Self {
            policy,
            today: Mutex::default(),
        }
    }

    /// The account, as the log may name it.
    pub(crate) fn name(&self, name: &ScreenName) -> String {
        self.name_on(unix_s() / DAY_S, name)
    }

    fn name_on(&self, day: u32, name: &ScreenName) -> String {
        if self.policy.names {
            return rdv_proto::transfer::show(name.as_str(), 64);
        }
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match *today {
            Some((known, key)) if known == day => key,
            _ => match random() {
                Ok(key) => today.insert((day, key)).1,
                Err(_) => return "?".to_owned(),
            },
        };
        let digest = Sha256::new()
            .chain_update(key)
            .chain_update(name.normalized())
            .finalize();
        let mut text = String::new();
        for byte in digest.iter().take(6) {
            // A String takes everything.
            write!(text, "{byte:02x}").ok();
        }
        text
    }

    /// The address, as the log may name it.
    pub(crate) fn address(&self, address: IpAddr) -> String {
        match address.to_canonical() {
            whole if self.policy.addresses => whole.to_string(),
            IpAddr::V4(v4) => {
                let cut = Ipv4Addr::from_bits(v4.to_bits() >> 8 << 8);
                format!("{cut}/24")
            }
            IpAddr::V6(v6) => {
                let cut = Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80);
                format!("{cut}/48")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).unwrap()
    }

    #[test]
    fn an_account_has_one_hash_a_day_and_another_one_the_next() {
        let log = Discreet::new(LogPolicy::default());
        let hash = log.name_on(1, &name("Alice Lab"));
        assert_eq!(hash.len(), 12);
        assert!(!hash.contains("lice"));
        assert_eq!(log.name_on(1, &name("alicelab")), hash);
        assert_ne!(log.name_on(1, &name("bob")), hash);
        assert_ne!(log.name_on(2, &name("Alice Lab")), hash);
        let other = Discreet::new(LogPolicy::default());
        assert_ne!(other.name_on(1, &name("Alice Lab")), hash);
    }

    #[test]
    fn addresses_are_cut_to_their_network() {
        let log = Discreet::new(LogPolicy::default());
        for (address, cut) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(log.address(address.parse().unwrap()), cut);
        }
    }

    #[test]
    fn the_operator_may_want_them_whole() {
        let log = Discreet::new(LogPolicy {
            names: true,
            addresses: true,
        });
        assert_eq!(log.name(&name("Alice")), r#""Alice""#);
        assert_eq!(log.address("192.0.2.77".parse().unwrap()), "192.0.2.77");
    }
}
