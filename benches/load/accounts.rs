//! Accounts for old clients, in a database that is made once and copied for each host.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rdv_benches::Failure;
use rdv_host::accounts::Accounts;
use tokio::task::JoinSet;

/// Accounts that are made at a time.
const AT_ONCE: usize = 4;
const DATABASE: &str = "host.db";
const KEY: &str = "host.db.key";
/// There if whoever made the accounts was not done with closing.
const LOG: &str = "host.db-wal";
const PASSWORDS: &str = "passwords";

/// Names and passwords, in the order of their making.
#[derive(Clone)]
pub(crate) struct People(Arc<[(String, String)]>);

impl People {
    /// One of them; behind the last one comes the first one.
    pub(crate) fn get(&self, number: usize) -> (&str, &str) {
        let (name, password) = &self.0[number % self.0.len()];
        (name, password)
    }
}

/// Puts a database with so many accounts into `folder`.
pub(crate) async fn settle(folder: &Path, count: usize) -> Result<People, Failure> {
    let kept = kept(count);
    let passwords = kept.join(PASSWORDS);
    if !passwords.is_file() {
        println!("Making {count} accounts, once…");
        fs::remove_dir_all(&kept).ok();
        fs::create_dir_all(&kept)?;
        let made = make(&kept.join(DATABASE), count).await?;
        let lines: Vec<String> = made
            .iter()
            .map(|(name, password)| format!("{name}\t{password}\n"))
            .collect();
        fs::write(&passwords, lines.concat())?;
    }
    for file in [DATABASE, KEY] {
        fs::copy(kept.join(file), folder.join(file))?;
    }
    if kept.join(LOG).is_file() {
        fs::copy(kept.join(LOG), folder.join(LOG))?;
    }
    let people = fs::read_to_string(&passwords)?
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, password)| (name.to_owned(), password.to_owned()))
        .collect();
    Ok(People(people))
}

fn kept(count: usize) -> PathBuf {
    let root = std::env::var_os("RDV_LOAD_ACCOUNTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    root.join(format!("accounts-{count}"))
}

async fn make(database: &Path, count: usize) -> Result<Vec<(String, String)>, Failure> {
    let accounts = Accounts::open(&format!("sqlite:{}", database.display())).await?;
    let mut making = JoinSet::new();
    let mut made = Vec::new();
    for number in 0..count {
        if making.len() == AT_ONCE
            && let Some(done) = making.join_next().await
        {
            made.push(done??);
        }
        let accounts = accounts.clone();
        making.spawn(async move {
            let name = format!("Client {number}");
            let created = accounts.create(&name, None, true).await?;
            let password = created.legacy_password.ok_or("no password was made")?;
            Ok::<_, Failure>((name, password.expose().to_owned()))
        });
    }
    while let Some(done) = making.join_next().await {
        made.push(done??);
    }
    Ok(made)
}
