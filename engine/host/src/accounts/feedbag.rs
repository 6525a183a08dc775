//! Contact lists as clients store them on the host: items, kept as they came.

use bytes::Bytes;

use super::error::AccountsError;
use super::sql::{Statement, sql};
use super::{AccountId, Accounts, unix_s};

/// Items of one account.
pub const FEEDBAG_ITEMS_MAX: usize = 1_000;
/// Bytes of an item's name.
pub const FEEDBAG_NAME_MAX: usize = 255;
/// Bytes of an item's TLVs.
pub const FEEDBAG_TLVS_MAX: usize = 1_024;

/// One item of a contact list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbagItem {
    /// The name, in whatever charset the client has; at most [`FEEDBAG_NAME_MAX`] bytes.
    pub name: Bytes,
    /// The group that it is in. With the item id it names the item.
    pub group: u16,
    /// 0 for a group itself.
    pub id: u16,
    /// What it is: buddy, group, permit…
    pub class: u16,
    /// TLVs, not looked at; at most [`FEEDBAG_TLVS_MAX`] bytes.
    pub tlvs: Bytes,
}

/// A contact list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedbag {
    /// By group and item.
    pub items: Vec<FeedbagItem>,
    /// When it last changed, in seconds since 1970.
    pub changed_unix_s: u32,
}

/// One edit of a contact list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedbagChange {
    /// A new item.
    Insert(FeedbagItem),
    /// Another content for the item of that group and item id.
    Update(FeedbagItem),
    /// Takes the item away.
    Delete {
        /// Its group.
        group: u16,
        /// Its item id.
        id: u16,
    },
}

/// What became of an edit; the numbers are those of FEEDBAG 0x0E.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u16)]
pub enum FeedbagStatus {
    /// Done.
    Done = 0x0000,
    /// There is no such item.
    NotFound = 0x0002,
    /// There is one already.
    Exists = 0x0003,
    /// A name or TLVs longer than is kept.
    Invalid = 0x000A,
    /// No more items are kept.
    Full = 0x000C,
}

impl FeedbagStatus {
    /// As it stands in FEEDBAG 0x0E.
    pub fn code(self) -> u16 {
        self as u16
    }
}

impl Accounts {
    /// The contact list of an account; empty if it never had one.
    ///
    /// # Errors
    /// [`AccountsError`]: of the database.
    pub async fn feedbag(&self, id: AccountId) -> Result<Feedbag, AccountsError> {
        // Items first: a change in between is then seen again, not missed.
        let stored = sql(
            "SELECT group_id, item_id, class_id, name, attributes FROM feedbag_items \
             WHERE account_id = $1 ORDER BY group_id, item_id",
        );
        let rows = self.inner.pool.rows(stored.bind(id.0)).await?;
        let items = rows
            .iter()
            .map(|row| {
                Ok(FeedbagItem {
                    group: number(row.get("group_id")?)?,
                    id: number(row.get("item_id")?)?,
                    class: number(row.get("class_id")?)?,
                    name: row.get::<Vec<u8>>("name")?.into(),
                    tlvs: row.get::<Vec<u8>>("attributes")?.into(),
                })
            })
            .collect::<Result<_, AccountsError>>()?;
        let changed = sql("SELECT feedbag_changed_unix_s FROM accounts WHERE id = $1");
        let changed = self.inner.pool.row(changed.bind(id.0)).await?;
        let changed: i64 = changed.ok_or_else(unknown)?.get("feedbag_changed_unix_s")?;
        Ok(Feedbag {
            items,
            changed_unix_s: u32::try_from(changed).unwrap_or(u32::MAX),
        })
    }

    /// Edits the contact list of an account, one edit after the other: all that can be done, or, with an error, nothing.
    /// The answer says of each edit what became of it.
    ///
    /// # Errors
    /// [`AccountsError::Unknown`], or one of the database.
    pub async fn change_feedbag(
        &self,
        id: AccountId,
        changes: Vec<FeedbagChange>,
    ) -> Result<Vec<FeedbagStatus>, AccountsError> {
        // One after the other in the order in which they came: who edits all the time does not keep the others out.
        let _turn = self.inner.edits.lock().await;
        let mut transaction = self.inner.pool.begin().await?;
        let touched = sql("UPDATE accounts SET feedbag_changed_unix_s = $1 WHERE id = $2");
        let touched = touched.bind(unix_s()).bind(id.0);
        if transaction.execute(touched).await? == 0 {
            return Err(unknown());
        }
        let items = sql("SELECT COUNT(*) AS n FROM feedbag_items WHERE account_id = $1");
        let items = transaction.row(items.bind(id.0)).await?;
        let items: i64 = items.ok_or_else(unknown)?.get("n")?;
        let mut room = FEEDBAG_ITEMS_MAX.saturating_sub(usize::try_from(items).unwrap_or(0));
        let mut statuses = Vec::with_capacity(changes.len());
        for change in changes {
            let status = match change {
                FeedbagChange::Insert(item) | FeedbagChange::Update(item) if !fits(&item) => {
                    FeedbagStatus::Invalid
                }
                FeedbagChange::Insert(_) if room == 0 => FeedbagStatus::Full,
                FeedbagChange::Insert(item) => {
                    let inserted = sql(
                        "INSERT INTO feedbag_items (class_id, name, attributes, account_id, group_id, item_id) \
                         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                    );
                    let done = transaction.execute(with(inserted, id, item)).await?;
                    room -= usize::from(done > 0);
                    done_or(done, FeedbagStatus::Exists)
                }
                FeedbagChange::Update(item) => {
                    let updated = sql(
                        "UPDATE feedbag_items SET class_id = $1, name = $2, attributes = $3 \
                         WHERE account_id = $4 AND group_id = $5 AND item_id = $6",
                    );
                    let done = transaction.execute(with(updated, id, item)).await?;
                    done_or(done, FeedbagStatus::NotFound)
                }
                FeedbagChange::Delete { group, id: item } => {
                    let deleted = sql(
                        "DELETE FROM feedbag_items WHERE account_id = $1 AND group_id = $2 AND item_id = $3",
                    );
                    let deleted = deleted
                        .bind(id.0)
                        .bind(i64::from(group))
                        .bind(i64::from(item));
                    let done = transaction.execute(deleted).await?;
                    room += usize::from(done > 0);
                    done_or(done, FeedbagStatus::NotFound)
                }
            };
            statuses.push(status);
        }
        transaction.commit().await?;
        Ok(statuses)
    }
}

/// Class, name, TLVs, account, group and item, in this order.
fn with(statement: Statement, id: AccountId, item: FeedbagItem) -> Statement {
    statement
        .bind(i64::from(item.class))
        .bind(Vec::from(item.name))
        .bind(Vec::from(item.tlvs))
        .bind(id.0)
        .bind(i64::from(item.group))
        .bind(i64::from(item.id))
}

fn fits(item: &FeedbagItem) -> bool {
    item.name.len() <= FEEDBAG_NAME_MAX && item.tlvs.len() <= FEEDBAG_TLVS_MAX
}

fn done_or(rows: u64, otherwise: FeedbagStatus) -> FeedbagStatus {
    if rows > 0 {
        FeedbagStatus::Done
    } else {
        otherwise
    }
}

fn number(stored: i64) -> Result<u16, AccountsError> {
    u16::try_from(stored).map_err(|_| AccountsError::Damaged {
        reason: format!("the number {stored} of an item of a contact list"),
    })
}

fn unknown() -> AccountsError {
    AccountsError::Unknown {
        name: String::new(),
    }
}
