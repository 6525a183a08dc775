//! Accounts that are signed on, each with up to a handful of sign-ons: who is there, and who sees whom.

mod changes;
mod delivery;
mod lists;
mod presence;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdv_proto::pace::Origin;
use rdv_proto::session::{Lists, LocateChange, Privacy, ProposalBook, Shown, StatusChange};
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::text::ScreenName;

use crate::accounts::AccountId;
use crate::limits::Limits;
use crate::mailbox::{Mailbox, Recipient, SIGNED_ON_ELSEWHERE};
use crate::metrics::{Limit, Metrics};
use crate::relay::Residents;
use crate::routing::{Address, Kind, Parcel, Registered, Resident, RouteError, Seen, Word};
use crate::time::unix_s;

pub(crate) use delivery::blocked;

/// Whom an account has written to lately, at most so many.
const CONTACTS_MAX: usize = 256;
/// An account is remembered for so long after it left, so that signing on again resets no limit.
const REMEMBER: Duration = Duration::from_secs(600);

/// All accounts that are signed on.
#[derive(Debug)]
pub(crate) struct People {
    limits: Limits,
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<ScreenName, User>,
    /// Who wants to see whom: sign-ons by the name that they watch.
    watchers: HashMap<ScreenName, BTreeSet<u64>>,
    /// Whose sign-on it is.
    owners: HashMap<u64, ScreenName>,
    next_id: u64,
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
struct User {
    /// A name may be given to somebody else.
    account: AccountId,
    name: ScreenName,
    /// In the order in which they came.
    instances: Vec<Instance>,
    lists: Lists,
    book: ProposalBook,
    /// Whom it has written to lately, the last one last.
    contacts: Vec<ScreenName>,
    left: Option<Instant>,
}

/// One sign-on.
#[derive(Debug)]
struct Instance {
    id: u64,
    recipient: Recipient,
    from: Origin,
    /// Since 1970.
    since: Duration,
    shown: Shown,
    online: bool,
    /// Names that it watches without having them on its list.
    watching: BTreeSet<ScreenName>,
    /// Whether it goes by the list that the host keeps.
    uses_list: bool,
    /// Lists of its own, for the time of the session.
    privacy: Option<Privacy>,
    /// How its name is written, if that has changed since it came.
    renamed: Option<ScreenName>,
}

/// One sign-on, while something is said by it or to it.
#[derive(Clone, Copy)]
struct Place<'a> {
    people: &'a People,
    id: u64,
    name: &'a ScreenName,
}

impl People {
    pub(crate) fn new(limits: Limits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            limits,
            metrics,
            state: Mutex::default(),
        })
    }

    /// Lets a sign-on in; others have to go if it says so.
    pub(crate) fn sign_on(
        &self,
        now: Instant,
        entrant: Resident,
        mailbox: Mailbox,
    ) -> Result<Registered, LoginErrorCode> {
        let (account, name) = (entrant.account, &entrant.name);
        let mut state = self.lock();
        state.sweep(now);
        if state.owners.len() >= self.limits.clients {
            self.metrics.refused(Limit::Clients);
            return Err(LoginErrorCode::UNAVAILABLE);
        }
        let namesake = state.users.get(name);
        let is_another = namesake.is_some_and(|user| user.account != account);
        if entrant.sessions.displaces() || is_another {
            state.displace(now, name, Some(SIGNED_ON_ELSEWHERE), None);
        }
        if is_another {
            state.users.remove(name);
        }
        let book = || ProposalBook::new(self.limits.proposals);
        let user = state.users.entry(name.clone()).or_insert_with(|| User {
            account,
            name: name.clone(),
            instances: Vec::new(),
            lists: Lists::default(),
            book: book(),
            contacts: Vec::new(),
            left: None,
        });
        let used: Vec<u8> = user.instances.iter().map(|one| one.shown.number).collect();
        let most = u8::try_from(self.limits.sign_ons_per_account).unwrap_or(u8::MAX);
        let Some(number) = (1..=most).find(|number| !used.contains(number)) else {
            self.metrics.refused(Limit::SignOnsPerAccount);
            return Err(LoginErrorCode::ADDRESS_RATE_LIMITED);
        };
        user.lists = entrant.lists;
        user.left = None;
        user.name.clone_from(name);
        let since_unix_s = unix_s();
        state.next_id += 1;
        let id = state.next_id;
        let mut shown = Shown::new(number, since_unix_s);
        shown.unconfirmed = !entrant.confirmed;
        let instance = Instance {
            id,
            recipient: Recipient::new(mailbox),
            from: entrant.from,
            since: entrant.proven,
            shown,
            online: false,
            watching: BTreeSet::new(),
            uses_list: false,
            privacy: None,
            renamed: None,
        };
        if let Some(user) = state.users.get_mut(name) {
            user.instances.push(instance);
        }
        state.owners.insert(id, name.clone());
        let (name, kind) = (name.clone(), Kind::Account(account));
        Ok(Registered {
            address: Address { name, id, kind },
            since_unix_s,
            token: None,
        })
    }

    /// A sign-on is gone.
    pub(crate) fn sign_off(&self, now: Instant, address: &Address) {
        let mut state = self.lock();
        if let Some(instance) = state.remove(now, &address.name, address.id) {
            state.left(now, &address.name, instance.online);
        }
    }

    /// Carries something from one account to another.
    pub(crate) fn route(
        &self,
        now: Instant,
        from: &Address,
        parcel: Parcel,
    ) -> Result<(), RouteError> {
        let place = self.place(from);
        match parcel {
            Parcel::Message(outbound) => return place.deliver(now, &outbound),
            Parcel::Refusal(error) => place.pass_on(error),
            Parcel::Event(event) => place.pass_on_event(event),
        }
        Ok(())
    }

    /// What a sign-on says about itself, or asks.
    pub(crate) fn word(&self, now: Instant, address: &Address, word: Word) -> Seen {
        let place = self.place(address);
        match word {
            Word::Online => return Seen::Names(place.set_online(now)),
            Word::Locate(change) => place.locate(now, change),
            Word::Idle(idle) => place.set_idle(now, idle),
            Word::Status(change) => place.set_status(now, change),
            Word::Parameters(parameters) => {
                let mut state = self.lock();
                if let Some(instance) = state.instance_mut(place.name, place.id) {
                    instance.recipient.set_parameters(parameters);
                }
            }
            Word::Names(change) => {
                let shown = place.change_names(now, change);
                return shown.map_or(Seen::TooManyNames, Seen::Names);
            }
            Word::UsesList => return Seen::Names(place.use_list()),
            Word::ListChanged { lists, edit, done } => place.list_changed(now, lists, edit, done),
            Word::Own => return place.own(),
            Word::User(query) => return Seen::User(place.user_info(now, &query)),
            Word::Show(names) => place.show(now, &names),
            // These are about accounts.
            Word::Room(_) | Word::Renamed(_) | Word::Confirmed(_) | Word::Expelled { .. } => {}
        }
        Seen::Nothing
    }

    fn place<'a>(&'a self, address: &'a Address) -> Place<'a> {
        Place {
            people: self,
            id: address.id,
            name: &address.name,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Residents for People {
    fn is_signed_on(&self, name: &ScreenName, from: Origin) -> bool {
        let state = self.lock();
        let user = state.users.get(name);
        user.is_some_and(|user| user.online().any(|one| one.from == from))
    }
}

impl Place<'_> {
    /// Says something about the user; those who watch it are told if they see a difference.
    fn locate(&self, now: Instant, change: LocateChange) {
        self.shown(now, |shown| shown.locate(change));
    }

    /// Says since when the user has been idle.
    fn set_idle(&self, now: Instant, idle: Duration) {
        self.shown(now, |shown| {
            shown.set_idle(now, idle);
            true
        });
    }

    /// Says something else about the user; who becomes invisible leaves for those who watch.
    fn set_status(&self, now: Instant, change: StatusChange) {
        let mut state = self.people.lock();
        let seen = |user: &User| user.is_seen();
        let was_seen = state.users.get(self.name).is_some_and(seen);
        if let Some(instance) = state.instance_mut(self.name, self.id) {
            instance.shown.set_status(change);
        }
        if was_seen && !state.users.get(self.name).is_some_and(seen) {
            state.depart(self.name);
        } else {
            state.announce(now, self.name);
        }
    }

    /// What the user's sign-ons show, and which of them this is.
    fn own(&self) -> Seen {
        let state = self.people.lock();
        let Some(user) = state.users.get(self.name) else {
            return Seen::Nothing;
        };
        let own = user.instances.iter().find(|one| one.id == self.id);
        let shown = user.instances.iter().map(|one| one.shown.clone());
        own.map_or(Seen::Nothing, |own| Seen::Own {
            renamed: own.renamed.clone(),
            number: own.shown.number,
            shown: shown.collect(),
        })
    }

    fn shown(&self, now: Instant, change: impl FnOnce(&mut Shown) -> bool) {
        let mut state = self.people.lock();
        let Some(instance) = state.instance_mut(self.name, self.id) else {
            return;
        };
        if change(&mut instance.shown) && instance.online {
            state.announce(now, self.name);
        }
    }
}

impl State {
    fn instance_mut(&mut self, name: &ScreenName, id: u64) -> Option<&mut Instance> {
        let user = self.users.get_mut(name)?;
        user.instances.iter_mut().find(|one| one.id == id)
    }

    /// Takes a sign-on out; nobody is told.
    fn remove(&mut self, now: Instant, name: &ScreenName, id: u64) -> Option<Instance> {
        self.owners.remove(&id)?;
        let user = self.users.get_mut(name)?;
        let place = user.instances.iter().position(|one| one.id == id)?;
        let instance = user.instances.remove(place);
        if user.instances.is_empty() {
            user.left = Some(now);
        }
        for watched in instance.watched(&user.lists) {
            if let Some(watchers) = self.watchers.get_mut(&watched) {
                watchers.remove(&id);
                if watchers.is_empty() {
                    self.watchers.remove(&watched);
                }
            }
        }
        Some(instance)
    }

    /// Ends the sign-ons of an account: those that were there at that time, or all.
    fn displace(
        &mut self,
        now: Instant,
        name: &ScreenName,
        reason: Option<u16>,
        at: Option<Duration>,
    ) {
        let user = self.users.get(name);
        let ids = user.iter().flat_map(|user| &user.instances);
        let ids = ids.filter(|one| at.is_none_or(|at| one.since <= at));
        let ids: Vec<u64> = ids.map(|instance| instance.id).collect();
        let mut was_online = false;
        for id in ids {
            if let Some(instance) = self.remove(now, name, id) {
                was_online |= instance.online;
                instance.recipient.dismiss(reason);
            }
        }
        self.left(now, name, was_online);
    }

    /// Forgets the accounts that there is nothing to remember of, at most once a minute.
    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| at > now) {
            return;
        }
        self.sweep_at = Some(now + Duration::from_secs(60));
        self.users.retain(|_, user| {
            let left = user.left.filter(|_| user.instances.is_empty());
            left.is_none_or(|left| now.saturating_duration_since(left) < REMEMBER)
        });
    }
}

impl User {
    fn online(&self) -> impl Iterator<Item = &Instance> + Clone {
        self.instances.iter().filter(|instance| instance.online)
    }

    /// Whether anybody can see that the user is there.
    fn is_seen(&self) -> bool {
        self.online().any(|one| !one.shown.is_invisible())
    }

    /// Whether the user lets `name` see it and write to it.
    fn allows(&self, name: &ScreenName) -> bool {
        let is_buddy = self.has_as_buddy(name);
        let own = self.instances.iter().filter_map(|one| one.privacy.as_ref());
        self.lists.privacy.allows(name, is_buddy)
            && own
                .into_iter()
                .all(|privacy| privacy.allows(name, is_buddy))
    }

    fn has_as_buddy(&self, name: &ScreenName) -> bool {
        self.lists.buddies.contains(name)
            || self.instances.iter().any(|one| one.watching.contains(name))
    }

    /// Whether the user has anything to do with `name`.
    fn knows(&self, name: &ScreenName) -> bool {
        self.has_as_buddy(name) || self.contacts.contains(name)
    }

    /// The user writes to `name`.
    fn writes_to(&mut self, name: &ScreenName) {
        self.contacts.retain(|contact| contact != name);
        if self.contacts.len() >= CONTACTS_MAX {
            self.contacts.remove(0);
        }
        self.contacts.push(name.clone());
    }
}

impl Instance {
    /// All names that it watches.
    fn watched(&self, lists: &Lists) -> BTreeSet<ScreenName> {
        let mut all = self.watching.clone();
        if self.uses_list {
            all.extend(lists.buddies.iter().cloned());
        }
        all
    }

    fn push(&self, foodgroup: Foodgroup, subgroup: u16, body: Bytes) -> bool {
        self.recipient.push(foodgroup, subgroup, body)
    }
}
