//! Accounts that are signed on, each with up to a handful of sign-ons: who is there, and who sees whom.

mod delivery;
mod lists;
mod presence;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdv_proto::pace::Origin;
use rdv_proto::session::{
    DEFAULT_PARAMETERS, Lists, LocateChange, Party, Privacy, ProposalBook, Sessions, Shown,
    StatusChange,
};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::{IcbmParameters, LoginErrorCode, tlv};
use rdv_proto::wire::snac::{Foodgroup, HOST_REQUEST, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;

pub(crate) use lists::TooManyNames;

use crate::accounts::{Account, AccountId};
use crate::limits::Limits;
use crate::metrics::{Limit, Metrics};
use crate::queue::Queue;
use crate::relay::Residents;
use crate::time::unix_s;

/// Sign-off reason: the account came in elsewhere.
const SIGNED_ON_ELSEWHERE: u16 = 1;
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
    /// Changes of its list happen one after the other.
    edits: Arc<tokio::sync::Mutex<()>>,
}

/// One sign-on.
#[derive(Debug)]
struct Instance {
    id: u64,
    queue: Queue,
    from: Origin,
    sign_off: SignOff,
    shown: Shown,
    online: bool,
    parameters: IcbmParameters,
    /// Names that it watches without having them on its list.
    watching: BTreeSet<ScreenName>,
    /// Whether it goes by the list that the host keeps.
    uses_list: bool,
    /// Lists of its own, for the time of the session.
    privacy: Option<Privacy>,
}

/// How a client is told that it is signed off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignOff {
    WithReason,
    /// It hangs at a length field.
    Bare,
}

/// Somebody who comes in.
pub(crate) struct Entrant<'a> {
    pub(crate) account: &'a Account,
    pub(crate) lists: Lists,
    pub(crate) sessions: Sessions,
    pub(crate) party: Party,
    /// Where it comes from, as the relay sees it, too.
    pub(crate) from: Origin,
    pub(crate) queue: Queue,
}

/// The place of one sign-on; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    people: Arc<People>,
    id: u64,
    pub(crate) account: AccountId,
    pub(crate) name: ScreenName,
    pub(crate) since_unix_s: u32,
    number: u8,
}

impl People {
    pub(crate) fn new(limits: Limits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            limits,
            metrics,
            state: Mutex::default(),
        })
    }

    /// Whether one more sign-on of that account would be taken now.
    pub(crate) fn has_room(&self, account: &Account, sessions: Sessions) -> bool {
        let state = self.lock();
        let user = state.users.get(&account.name);
        let user = user.filter(|user| user.account == account.id);
        let has_room = sessions.displaces()
            || user.is_none_or(|user| user.instances.len() < self.limits.sign_ons_per_account);
        if !has_room {
            self.metrics.refused(Limit::SignOnsPerAccount);
        }
        has_room
    }

    /// By which the list of an account is changed, and read for a sign-on, one after the other: or a sign-on would go by what
    /// was read before a change.
    pub(crate) fn edits(&self, name: &ScreenName) -> Arc<tokio::sync::Mutex<()>> {
        let state = self.lock();
        let user = state.users.get(name);
        user.map(|user| Arc::clone(&user.edits)).unwrap_or_default()
    }

    /// Lets a sign-on in; others have to go if it says so.
    pub(crate) fn sign_on(
        self: &Arc<Self>,
        now: Instant,
        entrant: Entrant<'_>,
    ) -> Result<Place, LoginErrorCode> {
        let name = &entrant.account.name;
        let mut state = self.lock();
        state.sweep(now);
        if state.owners.len() >= self.limits.clients {
            self.metrics.refused(Limit::Clients);
            return Err(LoginErrorCode::UNAVAILABLE);
        }
        let account = entrant.account.id;
        let namesake = state.users.get(name);
        let is_another = namesake.is_some_and(|user| user.account != account);
        if entrant.sessions.displaces() || is_another {
            state.displace(now, name);
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
            edits: Arc::default(),
        });
        let used: Vec<u8> = user.instances.iter().map(|one| one.shown.number).collect();
        let most = u8::try_from(self.limits.sign_ons_per_account).unwrap_or(u8::MAX);
        let Some(number) = (1..=most).find(|number| !used.contains(number)) else {
            self.metrics.refused(Limit::SignOnsPerAccount);
            return Err(LoginErrorCode::ADDRESS_RATE_LIMITED);
        };
        user.lists = entrant.lists;
        user.left = None;
        let since_unix_s = unix_s();
        state.next_id += 1;
        let id = state.next_id;
        let bare = entrant.party == Party::Old && entrant.sessions == Sessions::Unaware;
        let instance = Instance {
            id,
            queue: entrant.queue,
            from: entrant.from,
            sign_off: match bare {
                true => SignOff::Bare,
                false => SignOff::WithReason,
            },
            shown: Shown::new(number, since_unix_s),
            online: false,
            parameters: DEFAULT_PARAMETERS,
            watching: BTreeSet::new(),
            uses_list: false,
            privacy: None,
        };
        if let Some(user) = state.users.get_mut(name) {
            user.instances.push(instance);
        }
        state.owners.insert(id, name.clone());
        Ok(Place {
            people: Arc::clone(self),
            id,
            account,
            name: name.clone(),
            since_unix_s,
            number,
        })
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

impl Place {
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.people.metrics
    }

    /// Says something about the user; those who watch it are told if they see a difference.
    pub(crate) fn locate(&self, now: Instant, change: LocateChange) {
        self.shown(now, |shown| shown.locate(change));
    }

    /// Says since when the user has been idle.
    pub(crate) fn set_idle(&self, now: Instant, idle: Duration) {
        self.shown(now, |shown| {
            shown.set_idle(now, idle);
            true
        });
    }

    /// Says something else about the user; who becomes invisible leaves for those who watch.
    pub(crate) fn set_status(&self, now: Instant, change: StatusChange) {
        let mut state = self.people.lock();
        let seen = |user: &User| user.is_seen();
        let was_seen = state.users.get(&self.name).is_some_and(seen);
        if let Some(instance) = state.instance_mut(&self.name, self.id) {
            instance.shown.set_status(change);
        }
        if was_seen && !state.users.get(&self.name).is_some_and(seen) {
            state.depart(&self.name);
        } else {
            state.announce(now, &self.name);
        }
    }

    pub(crate) fn set_parameters(&self, parameters: IcbmParameters) {
        let mut state = self.people.lock();
        if let Some(instance) = state.instance_mut(&self.name, self.id) {
            instance.parameters = parameters;
        }
    }

    /// Hands over what the user's sign-ons show: the number of this one, and all of them.
    pub(crate) fn own_info(&self, tell: impl FnOnce(u8, &[&Shown])) {
        let state = self.people.lock();
        let user = state.users.get(&self.name);
        let shown = user.iter().flat_map(|user| &user.instances);
        let shown: Vec<&Shown> = shown.map(|instance| &instance.shown).collect();
        tell(self.number, &shown);
    }

    fn shown(&self, now: Instant, change: impl FnOnce(&mut Shown) -> bool) {
        let mut state = self.people.lock();
        let Some(instance) = state.instance_mut(&self.name, self.id) else {
            return;
        };
        if change(&mut instance.shown) && instance.online {
            state.announce(now, &self.name);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.people.lock();
        if let Some(instance) = state.remove(now, &self.name, self.id) {
            state.left(now, &self.name, instance.online);
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

    /// Ends all sign-ons of an account: it comes in elsewhere, alone.
    fn displace(&mut self, now: Instant, name: &ScreenName) {
        let user = self.users.get(name);
        let ids = user.iter().flat_map(|user| &user.instances);
        let ids: Vec<u64> = ids.map(|instance| instance.id).collect();
        let mut was_online = false;
        for id in ids {
            if let Some(instance) = self.remove(now, name, id) {
                was_online |= instance.online;
                instance.dismiss();
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
        let snac = Snac::new(foodgroup, subgroup, HOST_REQUEST, body);
        self.queue.push(Channel::DATA, snac.encode())
    }

    /// The account came in elsewhere.
    fn dismiss(self) {
        match self.sign_off {
            SignOff::Bare => self.queue.push_bare_sign_off(),
            SignOff::WithReason => {
                let mut data = BytesMut::new();
                TlvList::new()
                    .with_u16(tlv::SIGN_OFF_REASON, SIGNED_ON_ELSEWHERE)
                    .encode_rest(&mut data);
                self.queue.push(Channel::SIGN_OFF, data.freeze())
            }
        };
        self.queue.close();
    }
}
