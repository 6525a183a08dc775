//! Whom a user watches and blocks: what a client says for its session, and the list that the host keeps.

use std::time::Instant;

use bytes::Bytes;
use rdv_proto::session::{FeedbagEdit, Lists, NAMES_MAX, NamesChange};
use rdv_proto::wire::signon::{Item, Items};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::text::ScreenName;

use super::{Place, State};
use crate::metrics::Limit;

impl Place<'_> {
    /// Takes in names for the time of the session; the names that the client is to be shown come back.
    pub(super) fn change_names(
        &self,
        now: Instant,
        change: NamesChange,
    ) -> Result<Vec<ScreenName>, TooManyNames> {
        let mut state = self.people.lock();
        let before = match change {
            NamesChange::Add(..) | NamesChange::Remove(..) => state.sights(self.name),
            NamesChange::Watch(_) | NamesChange::Unwatch(_) => Vec::new(),
        };
        let Some(instance) = state.instance_mut(self.name, self.id) else {
            return Ok(Vec::new());
        };
        match change {
            NamesChange::Watch(names) => {
                if instance.watching.len() + names.len() > NAMES_MAX {
                    self.people.metrics.refused(Limit::Names);
                    return Err(TooManyNames);
                }
                instance.watching.extend(names.iter().cloned());
                let online = instance.online;
                state.watch(self.id, &names);
                Ok(if online { names } else { Vec::new() })
            }
            NamesChange::Unwatch(names) => {
                instance.watching.retain(|name| !names.contains(name));
                let still = state.watched(self.name, self.id);
                for name in names.iter().filter(|name| !still.contains(name)) {
                    state.unwatch(self.id, name);
                }
                Ok(Vec::new())
            }
            NamesChange::Add(list, names) => {
                let privacy = instance.privacy.get_or_insert_default();
                if !privacy.add(list, names) {
                    self.people.metrics.refused(Limit::Names);
                    return Err(TooManyNames);
                }
                state.tell_differences(now, before);
                Ok(Vec::new())
            }
            NamesChange::Remove(list, names) => {
                if let Some(privacy) = &mut instance.privacy {
                    privacy.remove(list, &names);
                }
                state.tell_differences(now, before);
                Ok(Vec::new())
            }
        }
    }

    /// The client goes by the list that the host keeps; the names on it that it is to be shown come back.
    pub(super) fn use_list(&self) -> Vec<ScreenName> {
        let mut state = self.people.lock();
        let Some(instance) = state.instance_mut(self.name, self.id) else {
            return Vec::new();
        };
        let was_used = std::mem::replace(&mut instance.uses_list, true);
        let online = instance.online;
        let watched = state.watched(self.name, self.id);
        state.watch(self.id, &watched);
        match online && !was_used {
            true => watched,
            false => Vec::new(),
        }
    }

    /// The list is another one now. Other sign-ons of the user are told what was done; each is shown who is new on it.
    pub(super) fn list_changed(
        &self,
        now: Instant,
        lists: Lists,
        edit: FeedbagEdit,
        done: Vec<Item>,
    ) {
        let mut state = self.people.lock();
        let before = state.sights(self.name);
        let Some(user) = state.users.get_mut(self.name) else {
            return;
        };
        let old = std::mem::replace(&mut user.lists, lists);
        let added: Vec<_> = user
            .lists
            .buddies
            .difference(&old.buddies)
            .cloned()
            .collect();
        let gone: Vec<_> = old
            .buddies
            .difference(&user.lists.buddies)
            .cloned()
            .collect();
        let body = Items { items: done }.encode();
        user.tell_others(self.id, edit, &body);
        let using = user.instances.iter().filter(|one| one.uses_list);
        let using: Vec<u64> = using.map(|one| one.id).collect();
        state.tell_differences(now, before);
        for id in using {
            state.watch(id, &added);
            for name in &added {
                state.show_to(now, name, id);
            }
            let still = state.watched(self.name, id);
            for name in gone.iter().filter(|name| !still.contains(name)) {
                state.unwatch(id, name);
            }
        }
    }
}

/// A list of names has no room left.
#[derive(Debug)]
pub(super) struct TooManyNames;

impl super::User {
    fn tell_others(&self, id: u64, edit: FeedbagEdit, items: &Bytes) {
        let subgroup = match edit {
            FeedbagEdit::Insert => 0x08,
            FeedbagEdit::Update => 0x09,
            FeedbagEdit::Delete => 0x0A,
        };
        if items.is_empty() {
            return;
        }
        for other in self.online().filter(|one| one.uses_list && one.id != id) {
            other.push(Foodgroup::FEEDBAG, subgroup, items.clone());
        }
    }
}

impl State {
    fn unwatch(&mut self, id: u64, name: &ScreenName) {
        if let Some(watchers) = self.watchers.get_mut(name) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.watchers.remove(name);
            }
        }
    }

    /// Who sees whom, of those who watch the user and those whom it watches.
    fn sights(&self, name: &ScreenName) -> Vec<Sight> {
        let Some(user) = self.users.get(name) else {
            return Vec::new();
        };
        let watchers = self.watchers.get(name).into_iter().flatten();
        let of_user = watchers.map(|&id| (name.clone(), id));
        let by_user = user.online().flat_map(|instance| {
            let watched = instance.watched(&user.lists).into_iter();
            watched.map(|name| (name, instance.id))
        });
        let pairs = of_user.chain(by_user);
        pairs
            .map(|(name, id)| Sight {
                sees: self.sees_now(&name, id),
                name,
                id,
            })
            .collect()
    }

    /// Tells those who see somebody now and did not before, and the other way round. Nobody else learns of a change.
    fn tell_differences(&self, now: Instant, before: Vec<Sight>) {
        for Sight { name, id, sees } in before {
            match (sees, self.sees_now(&name, id)) {
                (false, true) => self.show_to(now, &name, id),
                (true, false) => self.hide_from(&name, id),
                _ => {}
            }
        }
    }

    fn sees_now(&self, name: &ScreenName, id: u64) -> bool {
        let pair = self.owners.get(&id).zip(self.users.get(name));
        pair.is_some_and(|(owner, user)| self.sees(owner, user))
    }
}

/// Whether a sign-on sees a user.
struct Sight {
    name: ScreenName,
    id: u64,
    sees: bool,
}
