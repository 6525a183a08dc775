//! Statements, and the databases that understand them.
//!
//! SQLite and PostgreSQL get the very same text, with `$1` for what is bound, and give back the same values. Whatever takes
//! longer than it may is given up.

use std::future::Future;
use std::time::Duration;

use sqlx::query::Query;
use sqlx::{Database, Decode, Encode, Postgres, Row as _, Sqlite, Type};

use super::error::AccountsError;

/// A value in a statement.
pub(super) enum Value {
    Int(i64),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Bytes(value)
    }
}

/// A statement with what is bound to it.
pub(super) struct Statement {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement. What stands for values is `$1`, `$2`…
pub(super) fn sql(text: &'static str) -> Statement {
    Statement {
        text,
        values: Vec::new(),
    }
}

impl Statement {
    /// Binds the next value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    fn query<DB: Database>(self) -> Query<'static, DB, DB::Arguments>
    where
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
        Option<Vec<u8>>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let query = sqlx::query(self.text);
        self.values
            .into_iter()
            .fold(query, |query, value| match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            })
    }
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

/// What a column can hold.
pub(super) trait Stored:
    for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres> + Type<Sqlite> + Type<Postgres>
{
}

impl Stored for i64 {}
impl Stored for Option<i64> {}
impl Stored for String {}
impl Stored for Option<String> {}
impl Stored for Vec<u8> {}
impl Stored for Option<Vec<u8>> {}

impl Row {
    pub(super) fn get<T: Stored>(&self, column: &'static str) -> Result<T, AccountsError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// A database of one kind or the other.
#[derive(Clone)]
pub(super) enum Driver<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// How long a statement may take, with the wait for a connection.
#[derive(Clone, Copy)]
struct Patience {
    at_most: Duration,
    /// Whoever gets no connection to a file waits for others who use it; a server may as well be gone.
    server: bool,
}

/// Connections to the database.
#[derive(Clone)]
pub(super) struct Pool {
    driver: Driver<sqlx::SqlitePool, sqlx::PgPool>,
    patience: Patience,
}

/// Statements that are carried out all, or, unless they are committed, not at all. The first one is to write: so it waits
/// for its turn instead of failing when somebody else wrote meanwhile.
pub(super) struct Transaction {
    driver: Driver<sqlx::Transaction<'static, Sqlite>, sqlx::Transaction<'static, Postgres>>,
    patience: Patience,
}

/// Does the same with either driver, within the time that it may take.
macro_rules! either {
    ($self:ident, $driver:expr, |$on:ident| $work:expr) => {
        bounded($self.patience, async move {
            Ok(match $driver {
                Driver::Sqlite($on) => $work,
                Driver::Postgres($on) => $work,
            })
        })
        .await
    };
}

/// Likewise, with what becomes of an answer.
macro_rules! rows {
    ($self:ident, $driver:expr, |$on:ident, $row:ident| $work:expr) => {
        bounded($self.patience, async move {
            Ok(match $driver {
                Driver::Sqlite($on) => {
                    let $row = Row::Sqlite;
                    $work
                }
                Driver::Postgres($on) => {
                    let $row = Row::Postgres;
                    $work
                }
            })
        })
        .await
    };
}

impl Pool {
    pub(super) fn new(driver: Driver<sqlx::SqlitePool, sqlx::PgPool>, at_most: Duration) -> Self {
        let server = matches!(driver, Driver::Postgres(_));
        let patience = Patience { at_most, server };
        Self { driver, patience }
    }

    #[cfg(test)]
    pub(super) fn driver(&self) -> &Driver<sqlx::SqlitePool, sqlx::PgPool> {
        &self.driver
    }

    pub(super) async fn begin(&self) -> Result<Transaction, AccountsError> {
        let driver = bounded(self.patience, async move {
            Ok(match &self.driver {
                Driver::Sqlite(pool) => Driver::Sqlite(pool.begin().await?),
                Driver::Postgres(pool) => Driver::Postgres(pool.begin().await?),
            })
        })
        .await?;
        Ok(Transaction {
            driver,
            patience: self.patience,
        })
    }

    /// Carries out a statement of its own; the number of rows that it changed.
    pub(super) async fn execute(&self, statement: Statement) -> Result<u64, AccountsError> {
        either!(self, &self.driver, |pool| {
            statement.query().execute(pool).await?.rows_affected()
        })
    }

    /// The first row of the answer.
    pub(super) async fn row(&self, statement: Statement) -> Result<Option<Row>, AccountsError> {
        rows!(self, &self.driver, |pool, row| {
            statement.query().fetch_optional(pool).await?.map(row)
        })
    }

    /// All rows of the answer.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<Row>, AccountsError> {
        rows!(self, &self.driver, |pool, row| {
            let rows = statement.query().fetch_all(pool).await?;
            rows.into_iter().map(row).collect()
        })
    }
}

impl Transaction {
    /// As [`Pool::execute`].
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, AccountsError> {
        either!(self, &mut self.driver, |on| {
            let done = statement.query().execute(&mut **on).await?;
            done.rows_affected()
        })
    }

    /// As [`Pool::row`].
    pub(super) async fn row(&mut self, statement: Statement) -> Result<Option<Row>, AccountsError> {
        rows!(self, &mut self.driver, |on, row| {
            let found = statement.query().fetch_optional(&mut **on).await?;
            found.map(row)
        })
    }

    pub(super) async fn commit(self) -> Result<(), AccountsError> {
        either!(self, self.driver, |on| on.commit().await?)
    }
}

/// Gives up what takes too long. The connection is put in order, or given up, before it is used again.
async fn bounded<T>(
    patience: Patience,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, AccountsError> {
    let silent = || AccountsError::Unavailable {
        reason: "it does not answer".to_owned(),
    };
    match tokio::time::timeout(patience.at_most, work).await {
        Ok(Err(sqlx::Error::PoolTimedOut)) if patience.server => Err(silent()),
        Ok(done) => done.map_err(AccountsError::from),
        Err(_) => Err(silent()),
    }
}
