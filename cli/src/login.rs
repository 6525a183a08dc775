//! `rdv account login`, `logout` and `list`: what is kept here.

use rdv::signaling::Signaling;
use rdv::transport::Route;
use rdv::{Fingerprint, Services, show};
use serde_json::json;

use crate::args::Login;
use crate::exit::{Exit, Failure};
use crate::kept::{self, KeptAccount};
use crate::password;
use crate::road::with_port;
use crate::signed_on;
use crate::ui::Ui;
use crate::ways;

/// Longest name on a line.
const NAME_SHOWN_MAX: usize = 64;

/// Forgets what is kept of an account.
pub(crate) fn log_out(name: Option<&str>, ui: &Ui) -> Result<Exit, Failure> {
    let account = kept::account(name, None)?;
    kept::forget(&account)?;
    ui.say(format!("Forgot {}.", label(&account)));
    Ok(Exit::DONE)
}

/// Tried at the host before it is kept.
pub(crate) async fn log_in(login: Login, ui: &Ui) -> Result<Exit, Failure> {
    let host = with_port(&login.host)?;
    // What is wrong with it is said before a password is asked for.
    let route = Route::default().with_socks(ways::proxy(&login.through)?);
    let whose = format!("{} at {host}", show(login.name.as_str(), NAME_SHOWN_MAX));
    let password = password::known(login.password_file.as_deref(), &whose).await?;
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

/// Shows what is kept.
pub(crate) fn list(ui: &Ui) -> Result<Exit, Failure> {
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

/// The account, for people.
pub(crate) fn label(account: &KeptAccount) -> String {
    let name = show(account.name.as_str(), NAME_SHOWN_MAX);
    format!("{name} at {}", account.host)
}

/// A line of payload.
pub(crate) fn print(ui: &Ui, line: &str) -> Result<(), Failure> {
    ui.payload(line)
        .map_err(|error| Failure::new(Exit::FILES, format!("cannot write: {error}")))
}
