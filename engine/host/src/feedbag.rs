//! The list that the host keeps for an account: between what a client says and what the store holds.

use rdv_proto::session::{FeedbagEdit, FeedbagRequest, Lists, Session};
use rdv_proto::wire::signon::{FeedbagStamp, Item, ItemClass, Status};
use rdv_proto::wire::text::ScreenName;
use tracing::warn;

use crate::accounts::{
    AccountId, Accounts, AccountsError, Feedbag, FeedbagChange, FeedbagItem, FeedbagStatus,
};
use crate::edits::Edits;
use crate::metrics::{Limit, Metrics};
use crate::routing::{Seat, Seen, Word};

/// What the store holds for an account, as far as the host goes by it.
pub(crate) async fn lists(accounts: &Accounts, id: AccountId) -> Result<Lists, AccountsError> {
    let feedbag = accounts.feedbag(id).await?;
    Ok(Lists::of(&items(feedbag.items)))
}

/// Does what the client asks for; the names that it is to be shown come back.
pub(crate) async fn answer(
    session: &mut Session,
    (seat, account): (&Seat, AccountId),
    (accounts, edits): (&Accounts, &Edits),
    metrics: &Metrics,
    request: FeedbagRequest,
) -> Vec<ScreenName> {
    let (request_id, done) = match request {
        FeedbagRequest::Use => {
            return match seat.presence(Word::UsesList).await {
                Seen::Names(shown) => shown,
                _ => Vec::new(),
            };
        }
        FeedbagRequest::Query { request_id, unless } => {
            let feedbag = accounts.feedbag(account).await;
            let done = feedbag.map(|feedbag| tell(session, request_id, unless, feedbag));
            (request_id, done)
        }
        FeedbagRequest::Change {
            request_id,
            edit,
            items,
        } => {
            let changed = change((seat, account), accounts, edits, edit, items).await;
            if let Ok(statuses) = &changed {
                let full = Status(FeedbagStatus::Full.code());
                let refused = statuses.iter().filter(|status| **status == full);
                refused.for_each(|_| metrics.refused(Limit::ListItems));
            }
            let done = changed.map(|statuses| session.feedbag_changed(request_id, statuses));
            (request_id, done)
        }
    };
    if let Err(error) = done {
        warn!(%error, "a contact list cannot be had");
        session.feedbag_failed(request_id);
    }
    Vec::new()
}

fn tell(session: &mut Session, request_id: u32, unless: Option<FeedbagStamp>, feedbag: Feedbag) {
    let stamp = FeedbagStamp {
        changed_unix_s: feedbag.changed_unix_s,
        items: u16::try_from(feedbag.items.len()).unwrap_or(u16::MAX),
    };
    match unless == Some(stamp) {
        true => session.feedbag_unchanged(request_id, stamp),
        false => session.feedbag(request_id, &items(feedbag.items), stamp),
    }
}

async fn change(
    (seat, account): (&Seat, AccountId),
    accounts: &Accounts,
    edits: &Edits,
    edit: FeedbagEdit,
    items: Vec<Item>,
) -> Result<Vec<Status>, AccountsError> {
    // What is read behind a change is what that change left, whoever else of the user edits.
    let _turn = edits.turn(account).await;
    let changes = items.iter().map(|item| match edit {
        FeedbagEdit::Insert => FeedbagChange::Insert(stored(item)),
        FeedbagEdit::Update => FeedbagChange::Update(stored(item)),
        FeedbagEdit::Delete => FeedbagChange::Delete {
            group: item.group,
            id: item.id,
        },
    });
    let statuses = accounts.change_feedbag(account, changes.collect()).await?;
    let lists = lists(accounts, account).await?;
    let done = items.into_iter().zip(&statuses);
    let done = done.filter(|(_, status)| **status == FeedbagStatus::Done);
    let done = done.map(|(item, _)| item).collect();
    let changed = Word::ListChanged { lists, edit, done };
    seat.presence(changed).await;
    let statuses = statuses.into_iter().map(|status| Status(status.code()));
    Ok(statuses.collect())
}

fn items(stored: Vec<FeedbagItem>) -> Vec<Item> {
    stored
        .into_iter()
        .map(|item| Item {
            name: item.name,
            group: item.group,
            id: item.id,
            class: ItemClass(item.class),
            tlvs: item.tlvs,
        })
        .collect()
}

fn stored(item: &Item) -> FeedbagItem {
    FeedbagItem {
        name: item.name.clone(),
        group: item.group,
        id: item.id,
        class: item.class.0,
        tlvs: item.tlvs.clone(),
    }
}
