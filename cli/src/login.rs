//! `rdv account`.

use std::io::Read;
use std::path::Path;

use rdv::oscar::Password;
use rdv::signaling::Signaling;
use rdv::transport::Route;
use rdv::{Fingerprint, Services, show};
use serde_json::json;

use crate::args::{AccountVerb, Login};
use crate::exit::{Exit, Failure};
use crate::kept::{self, KeptAccount};
use crate::road::with_port;
use crate::signed_on;
use crate::stop::Stop;
use crate::ui::{self, Ui};
use crate::ways;

/// Longest password that is read.
const PASSWORD_MAX: u64 = 1024;
/// Longest name on a line.
const NAME_SHOWN_MAX: usize = 64;

pub(crate) async fn run(verb: AccountVerb, ui: &mut Ui, stop: &mut Stop) -> Result<Exit, Failure> {
    match verb {
        AccountVerb::Login(login) => stop.or(log_in(login, ui)).await,
        AccountVerb::Logout { name } => {
            let account = kept::account(name.as_deref(), None)?;
            kept::forget(&account)?;
            ui.say(format!("Forgot {}.", label(&account)));
            Ok(Exit::DONE)
        }
        AccountVerb::List { .. } => list(ui),
    }
}

/// Tried at the host before it is kept.
async fn log_in(login: Login, ui: &Ui) -> Result<Exit, Failure> {
    let host = with_port(&login.host)?;
    // What is wrong with it is said before a password is asked for.
    let route = Route::default().with_socks(ways::proxy(&login.through)?);
    let password = password(login.password_file.as_deref(), &login, &host).await?;
    let mut account = KeptAccount {
        name: login.name,
        host,
        host_key: login.host_key,
        plain_host: login.plain_host,
        password,
    };
    let session = signed_on::sign_on(&account, route, Services::NONE, ui).await?;
    account.name = session.local_name();
    session.close().await;
    kept::keep(account.clone())?;
    ui.say(format!("Signed on; {} is kept.", label(&account)));
    Ok(Exit::DONE)
}

async fn password(file: Option<&Path>, login: &Login, host: &str) -> Result<Password, Failure> {
    let text = match file {
        Some(path) => read_password(path).map_err(|error| {
            let path = path.display();
            Failure::new(
                Exit::FILES,
                format!("cannot read the password from \"{path}\": {error}"),
            )
        })?,
        None if !ui::can_ask() => {
            return Err(Failure::new(
                Exit::USAGE,
                "standard input is not a terminal, so nobody can be asked for the password; use --password-file",
            ));
        }
        None => {
            let name = show(login.name.as_str(), NAME_SHOWN_MAX);
            let prompt = format!("Password of {name} at {host}: ");
            let asked = tokio::task::spawn_blocking(move || rpassword::prompt_password(prompt));
            let asked = asked
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)));
            asked.map_err(|error| {
                Failure::new(Exit::USAGE, format!("no password was given: {error}"))
            })?
        }
    };
    if text.is_empty() {
        return Err(Failure::new(Exit::USAGE, "the password is empty"));
    }
    Ok(Password::new(text))
}

/// Without the end of its line.
fn read_password(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(PASSWORD_MAX)
        .read_to_string(&mut text)?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

fn list(ui: &Ui) -> Result<Exit, Failure> {
    let own = Fingerprint::of(&signed_on::identity()?.key_hash);
    let accounts = kept::accounts()?;
    ui.event(&json!({ "event": "key", "fingerprint": own.to_string() }));
    for account in &accounts {
        ui.event(&json!({
            "event": "account", "name": account.name.as_str(), "host": account.host,
            "plain_host": account.plain_host,
        }));
        if !ui.json {
            let plain = if account.plain_host {
                "  old host, encryption not demanded"
            } else {
                ""
            };
            print(ui, &format!("{}{plain}", label(account)))?;
        }
    }
    ui.say(format!("The fingerprint of your key: {own}"));
    ui.succeeded();
    Ok(Exit::DONE)
}

fn label(account: &KeptAccount) -> String {
    let name = show(account.name.as_str(), NAME_SHOWN_MAX);
    format!("{name} at {}", account.host)
}

/// A line of payload.
pub(crate) fn print(ui: &Ui, line: &str) -> Result<(), Failure> {
    ui.payload(line)
        .map_err(|error| Failure::new(Exit::FILES, format!("cannot write: {error}")))
}
