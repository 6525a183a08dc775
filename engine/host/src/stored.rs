//! Messages for those who are away: stored when nobody is there, handed out when they come back and ask.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use rdv_proto::session::{DEFAULT_PARAMETERS, Outbound, Refusal, departed};
use rdv_proto::wire::codec::Reader;
use rdv_proto::wire::error::DecodeError;
use rdv_proto::wire::icbm::{Channel, MessageToClient, tlv};
use rdv_proto::wire::rendezvous::Cookie;
use rdv_proto::wire::snac::ErrorCode;
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use crate::accounts::{
    AccountId, Accounts, AccountsError, Kept, MessageId, MessageStore, State, StoreError,
    StoredMessage,
};
use crate::feedbag;
use crate::mailbox::payload_size;
use crate::time::unix_s;

/// See the module.
pub(crate) struct Stored {
    accounts: Accounts,
    messages: Arc<dyn MessageStore>,
    /// Whose messages are being handed out: to one sign-on at a time.
    in_hand: Arc<Mutex<HashSet<AccountId>>>,
}

/// Messages that were handed out, and are not known to have been taken. Dropped, they are there for the next one who asks.
#[derive(Debug)]
pub(crate) struct InHand {
    account: AccountId,
    messages: Vec<MessageId>,
    all: Arc<Mutex<HashSet<AccountId>>>,
    written: Option<Written>,
}

#[derive(Debug)]
enum Written {
    Soon(oneshot::Receiver<Instant>),
    At(Instant),
}

impl Stored {
    pub(crate) fn new(accounts: Accounts, messages: Arc<dyn MessageStore>) -> Self {
        Self {
            accounts,
            messages,
            in_hand: Arc::default(),
        }
    }

    /// Stores a message whose recipient is not there. Unknown, and blocking the sender, look alike.
    pub(crate) async fn keep(&self, from: &ScreenName, outbound: &Outbound) -> Result<(), Refusal> {
        let message = &outbound.message;
        let account = self.accounts.find(&message.recipient).await;
        let account = account.map_err(|error| unavailable(&error))?;
        let Some(account) = account.filter(|account| account.state == State::Active) else {
            return Err(Refusal::NOT_STORED);
        };
        let lists = feedbag::lists(&self.accounts, account.id).await;
        let lists = lists.map_err(|error| unavailable(&error))?;
        if !lists.privacy.allows(from, lists.buddies.contains(from)) {
            return Err(Refusal::NOT_STORED);
        }
        if payload_size(message) > usize::from(DEFAULT_PARAMETERS.incoming_max) {
            return Err(ErrorCode::REFUSED_BY_CLIENT.into());
        }
        let stored = StoredMessage {
            from: from.clone(),
            at_unix_s: unix_s().into(),
            channel: message.channel.0,
            content: content(message.cookie, &message.tlvs),
        };
        match self.messages.keep(account.id, stored).await {
            Ok(Kept::Yes) => Ok(()),
            Ok(Kept::Full) | Err(StoreError::Full) => Err(Refusal::STORE_FULL),
            Err(StoreError::Unknown) => Err(Refusal::NOT_STORED),
            Err(error) => {
                warn!(%error, "a message cannot be stored");
                Err(ErrorCode::SERVICE_UNAVAILABLE.into())
            }
        }
    }

    /// What is stored for an account, the oldest first; nothing while another sign-on is being handed it.
    pub(crate) async fn take(&self, account: AccountId) -> Option<(InHand, Vec<MessageToClient>)> {
        if !lock(&self.in_hand).insert(account) {
            return None;
        }
        let mut in_hand = InHand {
            account,
            messages: Vec::new(),
            all: Arc::clone(&self.in_hand),
            written: None,
        };
        let stored = self.messages.take(account).await;
        let stored = stored.inspect_err(|error| warn!(%error, "stored messages cannot be had"));
        let mut messages = Vec::new();
        for (id, message) in stored.ok()? {
            in_hand.messages.push(id);
            // One that does not parse would stand in the way of the others for good.
            match restored(message) {
                Ok(message) => messages.push(message),
                Err(error) => warn!(%error, "a stored message is damaged"),
            }
        }
        (!in_hand.messages.is_empty()).then_some((in_hand, messages))
    }

    /// The client took them: they are not stored any more.
    pub(crate) async fn done(&self, in_hand: InHand) {
        let messages = in_hand.messages.clone();
        debug!(count = messages.len(), "stored messages were taken");
        if let Err(error) = self.messages.done(in_hand.account, messages).await {
            warn!(%error, "messages that were delivered are still stored");
        }
    }
}

impl InHand {
    /// Whether it is to be said when the last of them is written.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.written.is_none()
    }

    /// The last of them is in the queue.
    pub(crate) fn queued(&mut self, written: oneshot::Receiver<Instant>) {
        self.written = Some(Written::Soon(written));
    }

    /// Whether something that the client said, which was read at `read`, shows that it had taken them by then: a while after
    /// they were written. OSCAR has no answer to a message.
    pub(crate) fn is_taken(&mut self, read: Instant, while_: Duration) -> bool {
        if let Some(Written::Soon(soon)) = &mut self.written
            && let Ok(at) = soon.try_recv()
        {
            self.written = Some(Written::At(at));
        }
        matches!(self.written, Some(Written::At(at)) if read >= at + while_)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.account);
    }
}

fn lock(all: &Mutex<HashSet<AccountId>>) -> MutexGuard<'_, HashSet<AccountId>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(error: &AccountsError) -> Refusal {
    warn!(%error, "a message cannot be stored");
    ErrorCode::SERVICE_UNAVAILABLE.into()
}

/// What is stored of a message: its cookie and its TLVs.
fn content(cookie: Cookie, tlvs: &TlvList) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&cookie.0);
    tlvs.encode_rest(&mut out);
    out.freeze()
}

fn restored(stored: StoredMessage) -> Result<MessageToClient, DecodeError> {
    let mut reader = Reader::new(&stored.content, "stored message");
    let cookie = Cookie(reader.array()?);
    let tlvs = TlvList::decode_rest(stored.content.slice_ref(reader.rest()))?;
    let at = u32::try_from(stored.at_unix_s).unwrap_or(u32::MAX);
    Ok(MessageToClient {
        cookie,
        channel: Channel(stored.channel),
        // Of one who may be gone by now no more is known than the name.
        sender: departed(&stored.from),
        tlvs: tlvs.with_u32(tlv::SENT_TIME, at),
    })
}
