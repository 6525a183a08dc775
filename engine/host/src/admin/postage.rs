//! How many mails one address gets, whoever asks for them: nobody is to be pestered through the host.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdv_proto::pace::{Bucket, Pace};

/// Mails to one address.
const PACE: Pace = Pace::new(4, Duration::from_secs(3600));
/// Addresses that are remembered; as many may get mail in an hour.
const REMEMBERED: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Postage {
    addresses: Mutex<HashMap<String, Bucket>>,
}

impl Postage {
    /// Counts a mail to the address; false if it is one too many.
    pub(super) fn pay(&self, now: Instant, email: &str) -> bool {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= REMEMBERED {
            addresses.retain(|_, bucket| !bucket.is_full(now));
            if addresses.len() >= REMEMBERED {
                return false;
            }
        }
        let bucket = addresses.entry(email.to_ascii_lowercase());
        bucket.or_insert_with(|| Bucket::new(PACE)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_four_mails_and_then_one_in_a_quarter_of_an_hour() {
        let (postage, now) = (Postage::default(), Instant::now());
        for email in [
            "a@example.org",
            "A@example.org",
            "a@EXAMPLE.org",
            "a@example.org",
        ] {
            assert!(postage.pay(now, email));
        }
        assert!(!postage.pay(now, "a@example.org"));
        assert!(postage.pay(now, "b@example.org"));
        assert!(postage.pay(now + Duration::from_secs(900), "a@example.org"));
    }

    #[test]
    fn addresses_are_not_remembered_without_end() {
        let (postage, now) = (Postage::default(), Instant::now());
        for n in 0..REMEMBERED {
            assert!(postage.pay(now, &format!("{n}@example.org")));
        }
        assert!(!postage.pay(now, "one.more@example.org"));
        let later = now + Duration::from_secs(3600);
        assert!(postage.pay(later, "one.more@example.org"));
        assert_eq!(postage.addresses.lock().unwrap().len(), 1);
    }
}
