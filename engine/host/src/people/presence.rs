//! Arrivals and departures: who is told, and of whom.

use std::time::Instant;

use rdv_proto::session::{Shown, departed, unite};
use rdv_proto::wire::icbm::UserInfo;
use rdv_proto::wire::signon::{InfoQuery, InfoReply, UserList, locate_tlv};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;

use super::{Place, State, User};

/// Subgroup of an arrival.
const ARRIVED: u16 = 0x0B;
/// Subgroup of a departure.
const DEPARTED: u16 = 0x0C;

impl Place<'_> {
    /// From now on messages arrive, and those who watch see it. The names that the client is to be shown come back.
    pub(super) fn set_online(&self, now: Instant) -> Vec<ScreenName> {
        let mut state = self.people.lock();
        let Some(instance) = state.instance_mut(self.name, self.id) else {
            return Vec::new();
        };
        instance.online = true;
        state.announce(now, self.name);
        state.watched(self.name, self.id)
    }

    /// Tells this client who of these is there.
    pub(super) fn show(&self, now: Instant, names: &[ScreenName]) {
        let state = self.people.lock();
        for name in names {
            state.show_to(now, name, self.id);
        }
    }

    /// What the asker may know of a user; none if that is nothing.
    pub(super) fn user_info(&self, now: Instant, query: &InfoQuery) -> Option<InfoReply> {
        let state = self.people.lock();
        let user = state.users.get(&query.name)?;
        if !state.sees(self.name, user) {
            return None;
        }
        let mut tlvs = TlvList::new();
        let shown = user.online().map(|instance| &instance.shown);
        let mut add = |wanted, mime, text, of: fn(&Shown) -> &rdv_proto::session::Text| {
            let said = shown.clone().map(of).find(|said| !said.text.is_empty());
            if let Some(said) = said.filter(|_| query.wants & wanted != 0) {
                tlvs.push(mime, said.mime.clone());
                tlvs.push(text, said.text.clone());
            }
        };
        add(
            InfoQuery::PROFILE,
            locate_tlv::PROFILE_MIME,
            locate_tlv::PROFILE,
            |shown| &shown.profile,
        );
        add(
            InfoQuery::AWAY,
            locate_tlv::AWAY_MIME,
            locate_tlv::AWAY,
            |shown| &shown.away,
        );
        let info = user.info(now);
        if query.wants & InfoQuery::CAPABILITIES != 0 {
            let list = info.capabilities().into_iter();
            let list: Vec<u8> = list.flat_map(uuid::Uuid::into_bytes).collect();
            tlvs.push(locate_tlv::CAPABILITIES, list);
        }
        Some(InfoReply { user: info, tlvs })
    }
}

impl State {
    /// The names that a sign-on watches.
    pub(super) fn watched(&self, name: &ScreenName, id: u64) -> Vec<ScreenName> {
        let Some(user) = self.users.get(name) else {
            return Vec::new();
        };
        let instance = user.instances.iter().find(|one| one.id == id);
        let watched = instance.map(|one| one.watched(&user.lists));
        watched.into_iter().flatten().collect()
    }

    /// A sign-on watches these from now on.
    pub(super) fn watch(&mut self, id: u64, names: &[ScreenName]) {
        for name in names {
            self.watchers.entry(name.clone()).or_default().insert(id);
        }
    }

    /// Tells all who watch the user that it is there, or that something about it is new.
    pub(super) fn announce(&self, now: Instant, name: &ScreenName) {
        let watchers = self.watchers.get(name);
        for &id in watchers.into_iter().flatten() {
            self.show_to(now, name, id);
        }
    }

    /// Tells one sign-on of a user, if it is there and may be seen.
    pub(super) fn show_to(&self, now: Instant, name: &ScreenName, id: u64) {
        let Some(user) = self.users.get(name) else {
            return;
        };
        let Some((owner, watcher)) = self.owner(id) else {
            return;
        };
        if watcher.online && self.sees(&owner.name, user) {
            let users = vec![user.info(now)];
            watcher.push(Foodgroup::BUDDY, ARRIVED, UserList { users }.encode());
        }
    }

    /// A sign-on is gone: those who watch see the user with one less, or not at all.
    pub(super) fn left(&mut self, now: Instant, name: &ScreenName, was_online: bool) {
        if !was_online {
            return;
        }
        match self.users.get(name).is_some_and(User::is_seen) {
            true => self.announce(now, name),
            false => self.depart(name),
        }
    }

    /// Tells all who watch the user, and might have seen it, that it is gone.
    pub(super) fn depart(&self, name: &ScreenName) {
        let watchers = self.watchers.get(name);
        for &id in watchers.into_iter().flatten() {
            if let Some((owner, _)) = self.owner(id)
                && self.may_see(&owner.name, name)
            {
                self.hide_from(name, id);
            }
        }
    }

    /// Tells one sign-on that a user is gone.
    pub(super) fn hide_from(&self, name: &ScreenName, id: u64) {
        let formatted = self.users.get(name).map_or(name, |user| &user.name);
        if let Some((_, watcher)) = self.owner(id)
            && watcher.online
        {
            let users = vec![departed(formatted)];
            watcher.push(Foodgroup::BUDDY, DEPARTED, UserList { users }.encode());
        }
    }

    /// Whether a user sees another one now. Who blocks somebody is not seen, and does not see.
    pub(super) fn sees(&self, watcher: &ScreenName, user: &User) -> bool {
        user.is_seen() && self.may_see(watcher, &user.name)
    }

    fn may_see(&self, watcher: &ScreenName, name: &ScreenName) -> bool {
        let allows = |one: &ScreenName, other: &ScreenName| {
            self.users.get(one).is_none_or(|user| user.allows(other))
        };
        watcher == name || (allows(name, watcher) && allows(watcher, name))
    }

    fn owner(&self, id: u64) -> Option<(&User, &super::Instance)> {
        let user = self.users.get(self.owners.get(&id)?)?;
        let instance = user.instances.iter().find(|one| one.id == id)?;
        Some((user, instance))
    }
}

impl User {
    /// The user as others see it.
    pub(super) fn info(&self, now: Instant) -> UserInfo {
        let shown = self.online().map(|instance| &instance.shown);
        unite(&self.name, shown, now)
    }
}
