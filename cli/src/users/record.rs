//! What the host knows of an account, and who changed what.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdv::{ScreenName, show};
use rdv_host::accounts::{Accounts, AuditEntry, Author, Fields, Record, State};
use serde_json::{Value, json};

use super::{NAME_SHOWN_MAX, News, found, payload, told};
use crate::exit::Failure;
use crate::ui::Ui;

/// Longest mail address on a line.
const EMAIL_SHOWN_MAX: usize = 320;
/// Changes that are read of the audit table.
const ENTRIES_MAX: u32 = 10_000;

/// All that is stored of an account but its secrets.
pub(super) async fn shown(accounts: &Accounts, name: &str) -> Result<News, Failure> {
    let name = found(accounts, name).await?.name;
    let record = accounts.record_named(&name).await.map_err(told)?;
    let record = record.ok_or_else(|| super::unknown(name.as_str()))?;
    Ok(News {
        object: object_of(&record),
        lines: lines_of(&record),
        secret: false,
    })
}

fn object_of(record: &Record) -> Value {
    let pending = record.email_pending.as_ref();
    json!({
        "name": record.name.as_str(), "state": state_word(record.state), "legacy": record.legacy,
        "email": record.email, "confirmed": record.confirmed,
        "email_pending": pending.map(|(email, _)| email),
        "email_pending_until_unix_s": pending.map(|(_, until)| until),
        "confirm_until_unix_s": record.confirm_outstanding,
        "findable": findable_word(record.registration), "frozen": frozen_words(record.frozen),
        "created_unix_s": record.created_unix_s,
    })
}

fn lines_of(record: &Record) -> Vec<String> {
    let address = |email: &str| show(email, EMAIL_SHOWN_MAX);
    let mut lines = vec![
        format!("Account: {}", show(record.name.as_str(), NAME_SHOWN_MAX)),
        format!("State: {}", state_word(record.state)),
        format!("Made: {}", time(record.created_unix_s)),
        format!("Old clients: {}", if record.legacy { "yes" } else { "no" }),
        format!(
            "Mail address: {}{}",
            record.email.as_deref().map_or("none".to_owned(), address),
            if record.confirmed {
                ""
            } else {
                "  NOT CONFIRMED"
            }
        ),
    ];
    if let Some((email, until)) = &record.email_pending {
        let until = time(*until);
        lines.push(format!(
            "To become: {}, if confirmed until {until}",
            address(email)
        ));
    }
    if let Some(until) = record.confirm_outstanding {
        lines.push(format!(
            "A mail with a code is out, good until {}",
            time(until)
        ));
    }
    lines.push(format!(
        "Who knows the address finds: {}",
        findable_word(record.registration)
    ));
    let frozen = frozen_words(record.frozen);
    if !frozen.is_empty() {
        lines.push(format!("Its owner may not change: {}", frozen.join(", ")));
    }
    lines
}

/// Prints the changes, the oldest first; with `since`, those of so long ago.
pub(super) async fn audit(
    accounts: &Accounts,
    name: Option<&str>,
    since: Option<Duration>,
    ui: &Ui,
) -> Result<(), Failure> {
    // Lines outlive the accounts that they are about, so that the name need not be one.
    let name = name.map(|typed| ScreenName::new(typed).map_err(|_| super::unknown(typed)));
    let name = name.transpose()?;
    let entries = accounts
        .audit(name.as_ref(), ENTRIES_MAX)
        .await
        .map_err(told)?;
    let from = since.map_or(0, unix_s_before);
    let fitting = entries.iter().filter(|entry| entry.at_unix_s >= from);
    for entry in fitting.rev() {
        let line = match ui.json {
            true => entry_object(entry).to_string(),
            false => entry_line(entry),
        };
        payload(ui, &line)?;
    }
    Ok(())
}

fn unix_s_before(since: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().saturating_sub(since).as_secs()
}

fn entry_object(entry: &AuditEntry) -> Value {
    json!({
        "at_unix_s": entry.at_unix_s, "name": entry.name.as_str(), "action": entry.action,
        "by": author_word(entry.author),
    })
}

fn entry_line(entry: &AuditEntry) -> String {
    format!(
        "{}  {}  {}, by the {}",
        time(entry.at_unix_s),
        show(entry.name.as_str(), NAME_SHOWN_MAX),
        entry.action,
        author_word(entry.author)
    )
}

fn author_word(author: Author) -> &'static str {
    match author {
        Author::Operator => "operator",
        Author::Owner => "owner",
        _ => "host",
    }
}

pub(super) fn state_word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Disabled => "disabled",
        State::Deleted => "deleted",
        State::Expired => "expired",
        _ => "unknown",
    }
}

fn findable_word(registration: u8) -> &'static str {
    match registration {
        1 => "nothing",
        2 => "account",
        3 => "name",
        _ => "unknown",
    }
}

fn frozen_words(frozen: Fields) -> Vec<&'static str> {
    let words = [
        (Fields::FORMAT, "format"),
        (Fields::EMAIL, "email"),
        (Fields::REGISTRATION, "findable"),
        (Fields::PASSWORD, "password"),
    ];
    let set = words
        .into_iter()
        .filter(|(field, _)| frozen.contains(*field));
    set.map(|(_, word)| word).collect()
}

/// A moment, for people and for scripts.
pub(super) fn time(unix_s: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(unix_s));
    humantime::format_rfc3339_seconds(at.unwrap_or(UNIX_EPOCH)).to_string()
}
