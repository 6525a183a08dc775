//! From whom files are taken, and who must be asked (security rules, section 4).

use std::collections::BTreeSet;

use rdv::ScreenName;

/// What the command line and the contacts say.
#[derive(Debug, Default)]
pub(crate) struct Welcome {
    /// Nobody else, if there are any.
    pub(crate) from: BTreeSet<ScreenName>,
    /// Whom the user knows.
    pub(crate) contacts: BTreeSet<ScreenName>,
    /// Known ones are not asked about.
    pub(crate) yes: bool,
    /// A person can be asked.
    pub(crate) can_ask: bool,
}

/// What is to be done with somebody's proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take it.
    Take,
    /// Ask.
    Ask,
    /// Decline, for this reason.
    Decline(&'static str),
}

impl Welcome {
    /// Whether to connect to `peer` to hear what it offers. Our addresses go out with that (S-11).
    pub(crate) fn to_connect(&self, peer: &ScreenName) -> Verdict {
        match self.to_take(peer) {
            Verdict::Ask if self.knows(peer) => Verdict::Take,
            other => other,
        }
    }

    /// Whether to take what `peer` offers.
    pub(crate) fn to_take(&self, peer: &ScreenName) -> Verdict {
        if !self.from.is_empty() && !self.from.contains(peer) {
            return Verdict::Decline("not among those named with --from");
        }
        match (self.yes && self.knows(peer), self.can_ask) {
            (true, _) => Verdict::Take,
            (false, true) => Verdict::Ask,
            (false, false) if self.yes => Verdict::Decline(
                "--yes counts for --from and for contacts only, and nobody can be asked",
            ),
            (false, false) => {
                Verdict::Decline("nobody can be asked; --yes with --from NAME takes without asking")
            }
        }
    }

    /// Whether `--yes` is meant for nobody.
    pub(crate) fn yes_to_nobody(&self) -> bool {
        self.yes && !self.can_ask && self.from.is_empty() && self.contacts.is_empty()
    }

    fn knows(&self, peer: &ScreenName) -> bool {
        self.from.contains(peer) || self.contacts.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<ScreenName> {
        let names = names.iter().map(|name| ScreenName::new(*name));
        names.map(Result::unwrap).collect()
    }

    fn welcome(from: &[&str], yes: bool, can_ask: bool) -> Welcome {
        Welcome {
            from: names(from),
            contacts: names(&["carol"]),
            yes,
            can_ask,
        }
    }

    #[test]
    fn nothing_is_taken_unasked_from_strangers() {
        let stranger = ScreenName::new("mallory").unwrap();
        for yes in [false, true] {
            let asks = welcome(&[], yes, true);
            assert_eq!(asks.to_connect(&stranger), Verdict::Ask);
            assert_eq!(asks.to_take(&stranger), Verdict::Ask);
            for declines in [welcome(&[], yes, false), welcome(&["bob"], yes, true)] {
                assert!(matches!(
                    declines.to_connect(&stranger),
                    Verdict::Decline(_)
                ));
                assert!(matches!(declines.to_take(&stranger), Verdict::Decline(_)));
            }
        }
    }

    #[test]
    fn those_named_are_connected_to_and_with_yes_not_asked_about() {
        let (bob, carol) = (
            ScreenName::new("B O B").unwrap(),
            ScreenName::new("carol").unwrap(),
        );
        let yes = welcome(&["bob"], true, false);
        assert_eq!(yes.to_take(&bob), Verdict::Take);
        assert_eq!(welcome(&[], true, false).to_take(&carol), Verdict::Take);
        // A contact is not among those named.
        assert!(matches!(yes.to_take(&carol), Verdict::Decline(_)));
        let asks = welcome(&["bob"], false, true);
        assert_eq!(asks.to_connect(&bob), Verdict::Take);
        assert_eq!(asks.to_take(&bob), Verdict::Ask);
        let mute = welcome(&["bob"], false, false);
        assert!(matches!(mute.to_connect(&bob), Verdict::Decline(_)));
    }
}
