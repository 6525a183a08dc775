//! `rdv host user`: the accounts of a host, from the command line.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rdv::{ScreenName, show};
use rdv_host::accounts::{Account, Accounts, AccountsError, Author, NewAccount, Password, State};
use rdv_host::check_email;
use serde_json::{Value, json};

use crate::accounts;
use crate::args::{User, UserVerb};
use crate::exit::{Exit, Failure};
use crate::ui::Ui;

mod record;

/// Accounts read at once.
const PAGE: u32 = 500;
/// Characters of a name in a list.
const NAME_SHOWN_MAX: usize = 64;

/// What is told of a deed: to programs, and to people.
struct News {
    object: Value,
    lines: Vec<String>,
    /// Whether a password is among it, which is shown this once.
    secret: bool,
}

pub(crate) async fn run(user: User, ui: &mut Ui) -> Result<Exit, Failure> {
    let more = user.verb.more();
    // Programs get one object, of a failure, too; no greeting before it.
    ui.json = more.json;
    let url = accounts::url(&more.store)?.ok_or_else(|| {
        Failure::new(
            Exit::FILES,
            "there is no home folder to keep accounts in; name a database with --db",
        )
    })?;
    let accounts = accounts::open(&url, &more.store).await?;
    let news = match user.verb {
        UserVerb::List { .. } => {
            list(&accounts, ui).await?;
            return Ok(Exit::DONE);
        }
        UserVerb::Add {
            name,
            legacy,
            email,
            unconfirmed,
            password,
            ..
        } => {
            let new = NewAccount {
                name: &name,
                password: chosen(password.password_file.as_deref())?,
                legacy,
                email: email.map(checked).transpose()?,
                confirmed: !unconfirmed,
                author: Author::Operator,
            };
            add(&accounts, new).await?
        }
        UserVerb::Show { name, .. } => record::shown(&accounts, &name).await?,
        UserVerb::Audit { name, since, .. } => {
            record::audit(&accounts, name.as_deref(), since, ui).await?;
            return Ok(Exit::DONE);
        }
        UserVerb::Confirm { name, .. } => {
            let account = found(&accounts, &name).await?;
            accounts.confirm_named(&account.name).await.map_err(told)?;
            done(&account.name, "confirmed")
        }
        UserVerb::Disable { name, .. } => set_disabled(&accounts, &name, true).await?,
        UserVerb::Enable { name, .. } => set_disabled(&accounts, &name, false).await?,
        UserVerb::Reset { name, password, .. } => {
            let password = chosen(password.password_file.as_deref())?;
            reset(&accounts, &name, password).await?
        }
        UserVerb::ResetLegacy { name, revoke, .. } => {
            reset_legacy(&accounts, &name, revoke).await?
        }
        UserVerb::Remove { name, .. } => {
            let account = found(&accounts, &name).await?;
            accounts.remove(&account.name).await.map_err(told)?;
            done(&account.name, "removed")
        }
    };
    if ui.json {
        payload(ui, &news.object.to_string())?;
        return Ok(Exit::DONE);
    }
    for line in &news.lines {
        payload(ui, line)?;
    }
    if news.secret {
        ui.say("This is shown once: write it down or pass it on now.");
    }
    Ok(Exit::DONE)
}

async fn add(accounts: &Accounts, new: NewAccount<'_>) -> Result<News, Failure> {
    let made = new.password.is_none();
    let created = accounts.add(new).await.map_err(told)?;
    let password = made.then_some(created.password);
    Ok(with_passwords(
        &created.account.name,
        password.as_ref(),
        created.legacy_password.as_ref(),
    ))
}

/// An address that mail could go to.
fn checked(email: String) -> Result<String, Failure> {
    check_email(email.as_bytes()).map_err(|code| {
        let reason = code.name().unwrap_or("not an address");
        Failure::new(
            Exit::USAGE,
            format!(
                "{} is no mail address ({reason}); write it as name@example.org",
                show(&email, 320)
            ),
        )
    })
}

async fn set_disabled(accounts: &Accounts, name: &str, disabled: bool) -> Result<News, Failure> {
    let name = found(accounts, name).await?.name;
    accounts.set_disabled(&name, disabled).await.map_err(told)?;
    Ok(done(&name, if disabled { "disabled" } else { "enabled" }))
}

async fn reset(
    accounts: &Accounts,
    name: &str,
    password: Option<Password>,
) -> Result<News, Failure> {
    let name = found(accounts, name).await?.name;
    let made = password.is_none();
    let password = accounts
        .reset_password(&name, password)
        .await
        .map_err(told)?;
    Ok(with_passwords(
        &name,
        made.then_some(password).as_ref(),
        None,
    ))
}

async fn reset_legacy(accounts: &Accounts, name: &str, revoke: bool) -> Result<News, Failure> {
    let name = found(accounts, name).await?.name;
    if revoke {
        accounts.revoke_legacy_password(&name).await.map_err(told)?;
        return Ok(done(&name, "closed to old clients"));
    }
    let password = accounts.reset_legacy_password(&name).await.map_err(told)?;
    Ok(with_passwords(&name, None, Some(&password)))
}

/// The account that somebody typed the name of, in any form.
async fn found(accounts: &Accounts, typed: &str) -> Result<Account, Failure> {
    let name = ScreenName::new(typed).map_err(|_| unknown(typed))?;
    accounts
        .find(&name)
        .await
        .map_err(told)?
        .ok_or_else(|| unknown(typed))
}

fn unknown(typed: &str) -> Failure {
    told(AccountsError::Unknown {
        name: typed.to_owned(),
    })
}

fn with_passwords(
    name: &ScreenName,
    password: Option<&Password>,
    legacy: Option<&Password>,
) -> News {
    let mut lines = vec![format!("Account: {}", name.as_str())];
    if let Some(password) = password {
        lines.push(format!("Password: {}", password.expose()));
    }
    if let Some(legacy) = legacy {
        lines.push(format!("Password for old clients: {}", legacy.expose()));
    }
    News {
        object: json!({
            "name": name.as_str(),
            "password": password.map(Password::expose),
            "legacy_password": legacy.map(Password::expose),
        }),
        lines,
        secret: password.or(legacy).is_some(),
    }
}

fn done(name: &ScreenName, what: &str) -> News {
    News {
        object: json!({ "name": name.as_str(), "done": what }),
        lines: vec![format!("Account {}: {what}.", name.as_str())],
        secret: false,
    }
}

async fn list(accounts: &Accounts, ui: &Ui) -> Result<(), Failure> {
    let mut after: Option<ScreenName> = None;
    loop {
        let page = accounts.list(after.as_ref(), PAGE).await.map_err(told)?;
        for account in &page {
            let line = if ui.json {
                json!({
                    "name": account.name.as_str(), "legacy": account.legacy,
                    "disabled": account.state == State::Disabled, "created_unix_s": account.created_unix_s,
                })
                .to_string()
            } else {
                line_of(account)
            };
            payload(ui, &line)?;
        }
        match page.into_iter().last() {
            Some(last) => after = Some(last.name),
            None => return Ok(()),
        }
    }
}

fn line_of(account: &Account) -> String {
    let since = UNIX_EPOCH
        .checked_add(Duration::from_secs(account.created_unix_s))
        .unwrap_or(UNIX_EPOCH);
    let mut line = format!(
        "{}  since {}",
        show(account.name.as_str(), NAME_SHOWN_MAX),
        humantime::format_rfc3339_seconds(since)
    );
    if account.legacy {
        line.push_str("  old clients, too");
    }
    match account.state {
        State::Active => {}
        State::Disabled => line.push_str("  DISABLED"),
        State::Deleted => line.push_str("  DELETED"),
        _ => line.push_str("  EXPIRED"),
    }
    line
}

/// The password in the first line of a file.
fn chosen(file: Option<&Path>) -> Result<Option<Password>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(
            Exit::FILES,
            format!("cannot read \"{}\": {error}", file.display()),
        )
    })?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Some(Password::new(line)))
}

/// What nobody reads any more is lost: that is told.
fn payload(ui: &Ui, line: &str) -> Result<(), Failure> {
    ui.payload(line).map_err(|error| {
        Failure::new(
            Exit::FILES,
            format!("cannot write to standard output: {error}"),
        )
    })
}

fn told(error: AccountsError) -> Failure {
    accounts::failed(&error)
}
