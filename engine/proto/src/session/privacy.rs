//! Who may see a user and write to it, and whom it wants to see: the lists of foodgroups 0x0003, 0x0009 and 0x0013.

use std::collections::BTreeSet;

use super::output::PrivacyList;
use crate::wire::signon::{Item, ItemClass, item_tlv};
use crate::wire::text::ScreenName;

/// Names on one list that a client keeps for the time of a session.
pub const NAMES_MAX: usize = 500;

/// Which rule of privacy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    All,
    Nobody,
    Permitted,
    #[default]
    NotDenied,
    Buddies,
}

/// Who may see a user and write to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    mode: Mode,
    permitted: BTreeSet<ScreenName>,
    denied: BTreeSet<ScreenName>,
}

impl Privacy {
    /// Whether the user lets `name` see it and write to it.
    pub fn allows(&self, name: &ScreenName, is_buddy: bool) -> bool {
        match self.mode {
            Mode::All => true,
            Mode::Nobody => false,
            Mode::Permitted => self.permitted.contains(name),
            Mode::NotDenied => !self.denied.contains(name),
            Mode::Buddies => is_buddy,
        }
    }

    /// Puts names onto a list, which counts from now on; false, and nothing changed, if it gets too long.
    pub fn add(&mut self, list: PrivacyList, names: Vec<ScreenName>) -> bool {
        let (mode, set) = match list {
            PrivacyList::Permit => (Mode::Permitted, &mut self.permitted),
            PrivacyList::Deny => (Mode::NotDenied, &mut self.denied),
        };
        if set.len() + names.len() > NAMES_MAX {
            return false;
        }
        set.extend(names);
        self.mode = mode;
        true
    }

    /// Takes names off a list.
    pub fn remove(&mut self, list: PrivacyList, names: &[ScreenName]) {
        let set = match list {
            PrivacyList::Permit => &mut self.permitted,
            PrivacyList::Deny => &mut self.denied,
        };
        set.retain(|name| !names.contains(name));
    }
}

/// What a list kept by the host says, as far as the host goes by it.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// Whom the user watches.
    pub buddies: BTreeSet<ScreenName>,
    /// Whom it lets see it.
    pub privacy: Privacy,
}

impl Lists {
    /// Reads the items; those that mean nothing to a host, or cannot be read, are skipped.
    pub fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut lists = Self::default();
        for item in items {
            let name = || ScreenName::from_bytes(&item.name);
            match item.class {
                ItemClass::BUDDY => lists.buddies.extend(name()),
                ItemClass::PERMIT => lists.privacy.permitted.extend(name()),
                ItemClass::DENY => lists.privacy.denied.extend(name()),
                ItemClass::PRIVACY => {
                    let tlvs = item.tlv_list().unwrap_or_default();
                    lists.privacy.mode = match tlvs.first(item_tlv::PRIVACY).map(|mode| &mode[..]) {
                        Some([1]) => Mode::All,
                        Some([2]) => Mode::Nobody,
                        Some([3]) => Mode::Permitted,
                        Some([5]) => Mode::Buddies,
                        _ => Mode::NotDenied,
                    };
                }
                _ => {}
            }
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::hex;

    fn name(name: &str) -> ScreenName {
        ScreenName::new(name).unwrap()
    }

    fn item(class: ItemClass, name: &'static str, tlvs: &str) -> Item {
        Item {
            name: Bytes::from_static(name.as_bytes()),
            group: 1,
            id: 1,
            class,
            tlvs: hex(tlvs),
        }
    }

    fn allowed(mode: Option<u8>) -> [bool; 3] {
        let mut items = vec![
            item(ItemClass::BUDDY, "Bud", ""),
            item(ItemClass::PERMIT, "per", ""),
            item(ItemClass::DENY, "d e n", ""),
            item(ItemClass::BART, "1", ""),
        ];
        items.extend(mode.map(|mode| item(ItemClass::PRIVACY, "", &format!("00ca0001{mode:02x}"))));
        let lists = Lists::of(&items);
        ["bud", "per", "den"]
            .map(name)
            .map(|name| lists.privacy.allows(&name, lists.buddies.contains(&name)))
    }

    #[test]
    fn each_rule_of_privacy_lets_in_whom_it_says() {
        assert_eq!(allowed(None), [true, true, false]);
        assert_eq!(allowed(Some(1)), [true, true, true]);
        assert_eq!(allowed(Some(2)), [false, false, false]);
        assert_eq!(allowed(Some(3)), [false, true, false]);
        assert_eq!(allowed(Some(4)), [true, true, false]);
        assert_eq!(allowed(Some(5)), [true, false, false]);
    }

    #[test]
    fn a_list_of_a_session_counts_once_there_is_something_on_it() {
        let mut privacy = Privacy::default();
        assert!(privacy.add(PrivacyList::Deny, vec![name("eve")]));
        assert!(!privacy.allows(&name("Eve"), true) && privacy.allows(&name("bob"), false));
        privacy.remove(PrivacyList::Deny, &[name("eve")]);
        assert!(privacy.allows(&name("eve"), false));
        assert!(privacy.add(PrivacyList::Permit, vec![name("bob")]));
        assert!(privacy.allows(&name("bob"), false) && !privacy.allows(&name("eve"), false));
    }

    #[test]
    fn a_list_of_a_session_has_an_end() {
        let mut privacy = Privacy::default();
        let names = |n: usize| (0..n).map(|n| name(&format!("u{n}"))).collect::<Vec<_>>();
        assert!(!privacy.add(PrivacyList::Deny, names(NAMES_MAX + 1)));
        assert!(privacy.add(PrivacyList::Deny, names(NAMES_MAX)));
        assert!(!privacy.add(PrivacyList::Deny, vec![name("one more")]));
    }
}
