//! Who is signed on, and how messages get from one to the other: the one place that a host asks for that.
//!
//! What goes in and comes out are names and values, nothing that the two sides hold together; every call may take its time, and
//! may fail. So something that spans several machines can stand here, with one address on a bus for each user that is signed on.
//! Here is the one that knows the clients of this process.
//!
//! Nothing that is kept here is worth more than the connections that it is about. What is remembered of those who left is gone with
//! the process, and may be: the numbers and names of guests (for ten minutes; a code is told to one person, who is told another one;
//! transfers that run do not need it), who has proposed what (a limit, which begins anew as for a new account, and which sign-on
//! took something up, which no connection is left to ask about), and whom somebody has written to (spares a friend the limit for
//! strangers). What must not be lost is in the database: accounts, their lists, and messages until a client has taken them.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdv_proto::pace::Origin;
use rdv_proto::session::{
    FeedbagEdit, Lists, LocateChange, NamesChange, Outbound, Refusal, Sessions, Shown,
    StatusChange, Token, Wish,
};
use rdv_proto::wire::icbm::{ClientError, ClientEvent};
use rdv_proto::wire::signon::{IcbmParameters, InfoQuery, InfoReply, Item, LoginErrorCode};
use rdv_proto::wire::snac::ErrorCode;
use rdv_proto::wire::text::ScreenName;
use tracing::warn;

use crate::accounts::AccountId;
use crate::mailbox::Mailbox;
use crate::people::People;
use crate::router::Router;

/// What will be said some time.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The trait of the module.
pub(crate) trait Routing: fmt::Debug + Send + Sync {
    /// Lets a client in; from now on what is for it arrives in its mailbox. [`LoginErrorCode::UNAVAILABLE`] if it cannot be
    /// asked.
    fn register(
        &self,
        entrant: Entrant,
        mailbox: Mailbox,
    ) -> Answer<'_, Result<Registered, LoginErrorCode>>;

    /// A sign-on is over. Nobody waits for it: whoever has to tell others does so by itself.
    fn unregister(&self, address: &Address);

    /// Carries something from one to the other.
    fn route<'a>(&'a self, from: &'a Address, parcel: Parcel)
    -> Answer<'a, Result<(), RouteError>>;

    /// Takes in what is new about somebody, or says what is known.
    fn presence(&self, of: Subject, word: Word) -> Answer<'_, Result<Seen, Unreachable>>;
}

/// One sign-on, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Of the guest or the account.
    pub(crate) name: ScreenName,
    /// Of all sign-ons under that name, one after the other, which one.
    pub(crate) id: u64,
    pub(crate) kind: Kind,
}

/// Guests and accounts do not reach each other: each has its own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Guest,
    Account(AccountId),
}

/// Somebody who comes in.
pub(crate) enum Entrant {
    Guest { wish: Wish, from: Origin },
    Account(Resident),
}

/// Somebody who has an account, and was checked.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) account: AccountId,
    /// As it is stored.
    pub(crate) name: ScreenName,
    pub(crate) lists: Lists,
    pub(crate) sessions: Sessions,
    /// Where it comes from, as the relay sees it, too.
    pub(crate) from: Origin,
    /// Whether the account was confirmed.
    pub(crate) confirmed: bool,
    /// When it began to show who it is, since 1970.
    pub(crate) proven: Duration,
}

/// Somebody who is in.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) address: Address,
    pub(crate) since_unix_s: u32,
    /// What a guest takes its name back with.
    pub(crate) token: Option<Token>,
}

/// What goes from one user to the other.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    Message(Outbound),
    /// What cannot be passed on is forgotten.
    Refusal(ClientError),
    /// Likewise.
    Event(ClientEvent),
}

/// Why something did not get to its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteError {
    /// Nobody is there. Whether there is such a name at all is not known here.
    NotThere,
    /// It is not to be had there, for this reason.
    Refused(Refusal),
}

/// Whom a word is about.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// One sign-on, by itself.
    SignOn(Address),
    /// All sign-ons of an account.
    Account(AccountId, ScreenName),
}

/// What is said or asked about somebody.
#[derive(Debug)]
pub(crate) enum Word {
    /// A sign-on: from now on messages reach it, and those who watch see it. Answer: whom it is to be shown.
    Online,
    /// What a sign-on says about itself.
    Locate(LocateChange),
    /// Since when its user has been idle.
    Idle(Duration),
    /// What else it says about itself.
    Status(StatusChange),
    /// What it wants to get.
    Parameters(IcbmParameters),
    /// Whom it watches or blocks. Answer: whom it is to be shown.
    Names(NamesChange),
    /// It goes by the list that the host keeps. Answer: whom it is to be shown.
    UsesList,
    /// The list is another one, by what the sign-on did to these items.
    ListChanged {
        lists: Lists,
        edit: FeedbagEdit,
        done: Vec<Item>,
    },
    /// What is known of its own account. Answer: [`Seen::Own`].
    Own,
    /// What it may know of somebody. Answer: [`Seen::User`].
    User(InfoQuery),
    /// Tell it who of these is there.
    Show(Vec<ScreenName>),
    /// An account: whether one more sign-on would be taken. Answer: [`Seen::Room`].
    Room(Sessions),
    /// Its name is written otherwise.
    Renamed(ScreenName),
    /// It was confirmed, or is no longer.
    Confirmed(bool),
    /// Its sign-ons end: those that were there at some time since 1970, or all.
    Expelled {
        /// TLV 0x0009, if there is a word for it.
        reason: Option<u16>,
        /// Who came later stays.
        at: Option<Duration>,
    },
}

/// What is answered to a [`Word`].
#[derive(Debug)]
pub(crate) enum Seen {
    Nothing,
    Names(Vec<ScreenName>),
    TooManyNames,
    Own {
        /// How its name is written, if that has changed since it came.
        renamed: Option<ScreenName>,
        number: u8,
        shown: Vec<Shown>,
    },
    User(Option<InfoReply>),
    Room(bool),
}

/// Who should know could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("whoever knows about the user cannot be reached")]
pub(crate) struct Unreachable;

/// All that is signed on to this process.
#[derive(Debug)]
pub(crate) struct InProcess {
    pub(crate) guests: Arc<Router>,
    pub(crate) people: Arc<People>,
}

impl Routing for InProcess {
    fn register(
        &self,
        entrant: Entrant,
        mailbox: Mailbox,
    ) -> Answer<'_, Result<Registered, LoginErrorCode>> {
        let now = Instant::now();
        Box::pin(ready(match entrant {
            Entrant::Guest { wish, from } => self.guests.sign_on(now, &wish, from, mailbox),
            Entrant::Account(resident) => self.people.sign_on(now, resident, mailbox),
        }))
    }

    fn unregister(&self, address: &Address) {
        let now = Instant::now();
        match address.kind {
            Kind::Guest => self.guests.sign_off(now, address),
            Kind::Account(_) => self.people.sign_off(now, address),
        }
    }

    fn route<'a>(
        &'a self,
        from: &'a Address,
        parcel: Parcel,
    ) -> Answer<'a, Result<(), RouteError>> {
        let now = Instant::now();
        Box::pin(ready(match from.kind {
            Kind::Guest => self.guests.route(now, from, parcel),
            Kind::Account(_) => self.people.route(now, from, parcel),
        }))
    }

    fn presence(&self, of: Subject, word: Word) -> Answer<'_, Result<Seen, Unreachable>> {
        let now = Instant::now();
        let seen = match of {
            Subject::SignOn(address) => match address.kind {
                Kind::Guest => self.guests.word(&address, word),
                Kind::Account(_) => self.people.word(now, &address, word),
            },
            Subject::Account(account, name) => self.people.word_about(now, account, &name, word),
        };
        Box::pin(ready(Ok(seen)))
    }
}

/// The way to a [`Routing`]. Clones lead to the same.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    routing: Arc<dyn Routing>,
}

impl Routes {
    pub(crate) fn new(routing: Arc<dyn Routing>) -> Self {
        Self { routing }
    }

    /// Lets a client in.
    pub(crate) async fn register(
        &self,
        entrant: Entrant,
        mailbox: Mailbox,
    ) -> Result<Seat, LoginErrorCode> {
        let registered = self.routing.register(entrant, mailbox).await?;
        Ok(Seat {
            routes: self.clone(),
            address: registered.address,
            since_unix_s: registered.since_unix_s,
            token: registered.token,
        })
    }

    /// Whether one more sign-on of the account would be taken now.
    pub(crate) async fn has_room(
        &self,
        account: AccountId,
        name: &ScreenName,
        sessions: Sessions,
    ) -> bool {
        let seen = self.about(account, name, Word::Room(sessions)).await;
        matches!(seen, Seen::Room(true))
    }

    /// The name of an account is written otherwise from now on: all of its sign-ons learn of it, and those who watch it.
    pub(crate) async fn renamed(&self, account: AccountId, name: &ScreenName) {
        self.about(account, name, Word::Renamed(name.clone())).await;
    }

    /// The account was confirmed, or is no longer.
    pub(crate) async fn confirmed(&self, account: AccountId, name: &ScreenName, confirmed: bool) {
        self.about(account, name, Word::Confirmed(confirmed)).await;
    }

    /// Signs the account off wherever it is, for a reason of TLV 0x0009 if there is a word for it.
    pub(crate) async fn expel(
        &self,
        account: AccountId,
        name: &ScreenName,
        reason: impl Into<Option<u16>>,
    ) {
        let (reason, at) = (reason.into(), None);
        self.about(account, name, Word::Expelled { reason, at })
            .await;
    }

    /// Ends the sign-ons of an account that were there at a time since 1970, without a reason.
    pub(crate) async fn expel_earlier(&self, account: AccountId, name: &ScreenName, at: Duration) {
        let (reason, at) = (None, Some(at));
        self.about(account, name, Word::Expelled { reason, at })
            .await;
    }

    async fn about(&self, account: AccountId, name: &ScreenName, word: Word) -> Seen {
        let subject = Subject::Account(account, name.clone());
        self.routing
            .presence(subject, word)
            .await
            .unwrap_or_else(failed)
    }
}

/// The place of a client that is signed on; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    routes: Routes,
    address: Address,
    pub(crate) since_unix_s: u32,
    /// What a guest takes its name back with.
    pub(crate) token: Option<Token>,
}

impl Seat {
    pub(crate) fn name(&self) -> &ScreenName {
        &self.address.name
    }

    /// Whose it is; none: a guest's.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match self.address.kind {
            Kind::Guest => None,
            Kind::Account(account) => Some(account),
        }
    }

    pub(crate) async fn route(&self, parcel: Parcel) -> Result<(), RouteError> {
        self.routes.routing.route(&self.address, parcel).await
    }

    pub(crate) async fn presence(&self, word: Word) -> Seen {
        let subject = Subject::SignOn(self.address.clone());
        let seen = self.routes.routing.presence(subject, word).await;
        seen.unwrap_or_else(failed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.routes.routing.unregister(&self.address);
    }
}

impl From<Refusal> for RouteError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ErrorCode> for RouteError {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

fn failed(error: Unreachable) -> Seen {
    warn!(%error, "presence is incomplete");
    Seen::Nothing
}
