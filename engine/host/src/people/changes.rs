//! What happens to an account while it is signed on: another form of its name, its confirmation, its end.

use std::time::Instant;

use rdv_proto::session::Sessions;
use rdv_proto::wire::text::ScreenName;

use super::{People, State, User};
use crate::accounts::AccountId;
use crate::metrics::Limit;
use crate::routing::{Seen, Word};

impl People {
    /// Takes in what is new about an account, or says what is known.
    pub(crate) fn word_about(
        &self,
        now: Instant,
        account: AccountId,
        name: &ScreenName,
        word: Word,
    ) -> Seen {
        let mut state = self.lock();
        match word {
            Word::Room(sessions) => Seen::Room(self.has_room(&state, account, name, sessions)),
            Word::Renamed(form) => {
                state.change(now, account, name, |user| {
                    for instance in &mut user.instances {
                        instance.renamed = Some(form.clone());
                    }
                    user.name = form;
                });
                Seen::Nothing
            }
            Word::Confirmed(confirmed) => {
                state.change(now, account, name, |user| {
                    for instance in &mut user.instances {
                        instance.shown.unconfirmed = !confirmed;
                    }
                });
                Seen::Nothing
            }
            Word::Expelled(reason) => {
                if state.user(account, name).is_some() {
                    state.displace(now, name, reason);
                }
                Seen::Nothing
            }
            // These are about one sign-on.
            _ => Seen::Nothing,
        }
    }

    /// The accounts that are signed on.
    pub(crate) fn who_is_on(&self) -> Seen {
        let state = self.lock();
        let on = state
            .users
            .iter()
            .filter(|(_, user)| !user.instances.is_empty());
        Seen::Accounts(
            on.map(|(name, user)| (user.account, name.clone()))
                .collect(),
        )
    }

    fn has_room(
        &self,
        state: &State,
        account: AccountId,
        name: &ScreenName,
        sessions: Sessions,
    ) -> bool {
        let user = state.user(account, name);
        let has_room = sessions.displaces()
            || user.is_none_or(|user| user.instances.len() < self.limits.sign_ons_per_account);
        if !has_room {
            self.metrics.refused(Limit::SignOnsPerAccount);
        }
        has_room
    }
}

impl State {
    /// The user of that name, if it is that account.
    fn user(&self, account: AccountId, name: &ScreenName) -> Option<&User> {
        let user = self.users.get(name);
        user.filter(|user| user.account == account)
    }

    /// Changes what is shown of an account: its own sign-ons learn of it, and those who watch it.
    fn change(
        &mut self,
        now: Instant,
        account: AccountId,
        name: &ScreenName,
        change: impl FnOnce(&mut User),
    ) {
        let user = self.users.get_mut(name);
        let Some(user) = user.filter(|user| user.account == account) else {
            return;
        };
        change(user);
        for instance in user.online() {
            instance.recipient.notify();
        }
        self.announce(now, name);
    }
}
