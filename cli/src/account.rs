//! `rdv account`: accounts at hosts, from making them to deleting them.

mod words;

use std::path::Path;

use rdv::oscar::{
    Account, AccountAdmin, AccountInfo, AccountSettings, AdminError, Confirmation, Registration,
};
use rdv::signaling::Signaling;
use rdv::transport::Route;
use rdv::{ScreenName, show};
use serde_json::json;

use crate::args::{AccountAt, AccountVerb, Create, Findable};
use crate::exit::{Exit, Failure};
use crate::kept::{self, KeptAccount};
use crate::login::{self, label, print};
use crate::password;
use crate::road::{self, tell_host, with_port};
use crate::signed_on::{self, SIGN_ON_TIMEOUT};
use crate::stop::Stop;
use crate::ui::{self, Ui};
use crate::ways;

/// Longest name on a line.
const NAME_SHOWN_MAX: usize = 64;
/// When there is nothing to confirm.
const ALREADY: &str = "The account is confirmed already.";
/// Longest mail address on a line.
const EMAIL_SHOWN_MAX: usize = 320;

pub(crate) async fn run(verb: AccountVerb, ui: &mut Ui, stop: &mut Stop) -> Result<Exit, Failure> {
    match verb {
        AccountVerb::Login(login) => stop.or(login::log_in(login, ui)).await,
        AccountVerb::Logout { name } => login::log_out(name.as_deref(), ui),
        AccountVerb::List { .. } => login::list(ui),
        verb => {
            stop.or(manage(verb, ui)).await?;
            ui.succeeded();
            Ok(Exit::DONE)
        }
    }
}

async fn manage(verb: AccountVerb, ui: &Ui) -> Result<(), Failure> {
    match verb {
        AccountVerb::Create(wish) => create(wish, ui).await,
        AccountVerb::Info { at } => info(&at, ui).await,
        AccountVerb::Passwd { password_file, at } => {
            change_password(password_file.as_deref(), &at, ui).await
        }
        AccountVerb::Email {
            address,
            findable,
            at,
        } => change_email(address.as_deref(), findable, &at, ui).await,
        AccountVerb::Format { name, at } => format(&name, &at, ui).await,
        AccountVerb::Confirm { code, at } => confirm(code.as_deref(), &at, ui).await,
        AccountVerb::Delete {
            name,
            password_file,
            at,
        } => delete(name, password_file.as_deref(), &at, ui).await,
        // What is kept here needs no host.
        AccountVerb::Login(_) | AccountVerb::Logout { .. } | AccountVerb::List { .. } => Ok(()),
    }
}

/// The service for the account that is meant.
struct Open {
    kept: KeptAccount,
    admin: AccountAdmin,
}

impl Open {
    async fn new(kept: KeptAccount, at: &AccountAt, ui: &Ui) -> Result<Self, Failure> {
        let route = Route::default().with_socks(ways::proxy(&at.through)?);
        let trust = road::trust(kept.host_key.as_deref())?;
        let settings = signed_on::settings(&kept, trust)
            .route(route)
            .limit(SIGN_ON_TIMEOUT);
        let opened = AccountAdmin::connect(&settings).await;
        let admin = opened.map_err(|error| words::of(&kept.host, &error))?;
        tell_host(&kept.host, admin.client(), ui);
        Ok(Self { kept, admin })
    }

    fn told<T>(&self, answer: Result<T, AdminError>) -> Result<T, Failure> {
        answer.map_err(|error| words::of(&self.kept.host, &error))
    }
}

fn meant(at: &AccountAt) -> Result<KeptAccount, Failure> {
    kept::account(at.account.as_deref(), None)
}

async fn create(wish: Create, ui: &Ui) -> Result<(), Failure> {
    let host = with_port(&wish.host)?;
    // What is wrong with them is said before a password is asked for.
    let route = Route::default().with_socks(ways::proxy(&wish.through)?);
    let trust = road::trust(wish.host_key.as_deref())?;
    let whose = format!("{} at {host}", show(wish.name.as_str(), NAME_SHOWN_MAX));
    let password = password::new(wish.password_file.as_deref(), &whose).await?;
    let settings = AccountSettings::new(host.clone(), trust, wish.name, password.clone())
        .route(route)
        .limit(SIGN_ON_TIMEOUT);
    let made = Account::create(settings, wish.email.as_deref()).await;
    let made = made.map_err(|error| words::not_made(&host, &error))?;
    tell_host(&host, &made.client(), ui);
    let account = KeptAccount {
        name: made.local_name(),
        host,
        host_key: wish.host_key,
        plain_host: false,
        password,
    };
    made.close().await;
    kept::keep(account.clone())?;
    ui.event(&json!({
        "event": "account", "name": account.name.as_str(), "host": account.host, "plain_host": false,
    }));
    ui.say(format!("Made {}, and kept it.", label(&account)));
    if wish.email.is_some() {
        ui.say("To prove that the mail address is yours, type the code of the mail: rdv account confirm CODE (without CODE another mail is asked for)");
    }
    Ok(())
}

async fn info(at: &AccountAt, ui: &Ui) -> Result<(), Failure> {
    let mut open = Open::new(meant(at)?, at, ui).await?;
    let info = open.admin.info().await;
    let info = open.told(info)?;
    open.admin.close().await;
    ui.event(&json!({
        "event": "account_info", "host": open.kept.host,
        "name": info.name.value.as_str(), "name_changeable": info.name.changeable,
        "email": info.email.value, "email_changeable": info.email.changeable,
        "findable": findable_word(info.registration.value),
        "findable_changeable": info.registration.changeable,
    }));
    if !ui.json {
        for line in lines_of(&info) {
            print(ui, &line)?;
        }
    }
    Ok(())
}

fn lines_of(info: &AccountInfo) -> [String; 3] {
    let fixed = |changeable| if changeable { "" } else { "  (fixed)" };
    let email = info.email.value.as_deref();
    let email = email.map_or("none".to_owned(), |email| show(email, EMAIL_SHOWN_MAX));
    [
        format!(
            "Name: {}{}",
            show(info.name.value.as_str(), NAME_SHOWN_MAX),
            fixed(info.name.changeable)
        ),
        format!("Mail address: {email}{}", fixed(info.email.changeable)),
        format!(
            "Who knows the address finds: {}{}",
            findable_word(info.registration.value),
            fixed(info.registration.changeable)
        ),
    ]
}

fn findable_word(status: Registration) -> &'static str {
    match status {
        Registration::NONE => "nothing",
        Registration::LIMITED => "account",
        Registration::FULL => "name",
        _ => "unknown",
    }
}

/// The old one is the one that is kept.
async fn change_password(file: Option<&Path>, at: &AccountAt, ui: &Ui) -> Result<(), Failure> {
    let account = meant(at)?;
    let new = password::new(file, &label(&account)).await?;
    let mut open = Open::new(account, at, ui).await?;
    let changed = open.admin.set_password(&new, &open.kept.password).await;
    changed.map_err(|error| words::password_not_changed(&open.kept.host, &error))?;
    // Before anything else can go wrong.
    open.kept.password = new;
    kept::keep(open.kept.clone()).map_err(|failure| {
        let sentence = format!(
            "the host took the new password, but it could not be kept here ({}); sign on with it: rdv account login",
            failure.sentence
        );
        Failure::new(failure.exit, sentence)
    })?;
    open.admin.close().await;
    ui.say(format!("The password of {} is changed.", label(&open.kept)));
    Ok(())
}

async fn change_email(
    address: Option<&str>,
    findable: Option<Findable>,
    at: &AccountAt,
    ui: &Ui,
) -> Result<(), Failure> {
    let mut open = Open::new(meant(at)?, at, ui).await?;
    if let Some(address) = address {
        let changed = open.admin.set_email(address).await;
        open.told(changed)?;
        // A host that wants the new one proven goes on with the old one.
        let info = open.admin.info().await;
        let in_force = open.told(info)?.email.value.as_deref() == Some(address);
        ui.event(&json!({ "event": "email", "email": address, "in_force": in_force }));
        let address = show(address, EMAIL_SHOWN_MAX);
        if in_force {
            ui.say(format!("The mail address is now {address}."));
        } else {
            ui.say(format!(
                "A mail with a code went to {address}. Until you type that, the old address stays: rdv account confirm CODE"
            ));
        }
    }
    if let Some(findable) = findable {
        let status = match findable {
            Findable::Nothing => Registration::NONE,
            Findable::Account => Registration::LIMITED,
            Findable::Name => Registration::FULL,
        };
        let changed = open.admin.set_registration(status).await;
        let word = findable_word(open.told(changed)?);
        ui.event(&json!({ "event": "findable", "findable": word }));
        ui.say(format!("Who knows the address finds: {word}."));
    }
    open.admin.close().await;
    Ok(())
}

async fn format(form: &str, at: &AccountAt, ui: &Ui) -> Result<(), Failure> {
    let mut open = Open::new(meant(at)?, at, ui).await?;
    let formatted = open.admin.set_format(form).await;
    open.kept.name = open.told(formatted)?;
    open.admin.close().await;
    // The same account: it takes the place of the old form.
    kept::keep(open.kept.clone())?;
    ui.event(&json!({ "event": "format", "name": open.kept.name.as_str() }));
    let name = show(open.kept.name.as_str(), NAME_SHOWN_MAX);
    ui.say(format!("Others see the name as {name} now."));
    Ok(())
}

async fn confirm(code: Option<&str>, at: &AccountAt, ui: &Ui) -> Result<(), Failure> {
    let mut open = Open::new(meant(at)?, at, ui).await?;
    let status = match code {
        Some(code) => {
            let confirmed = open.admin.confirm_with(code).await;
            let host = &open.kept.host;
            match confirmed.map_err(|error| words::code_not_taken(host, &error))? {
                true => {
                    ui.say("Confirmed: the mail address is yours.");
                    "confirmed"
                }
                false => {
                    ui.say(ALREADY);
                    "already"
                }
            }
        }
        None => {
            let asked = open.admin.confirm().await;
            match open.told(asked)? {
                Confirmation::MailSent => {
                    ui.say("A mail with a code is on its way; type it: rdv account confirm CODE");
                    "mail_sent"
                }
                Confirmation::Already => {
                    ui.say(ALREADY);
                    "already"
                }
            }
        }
    };
    open.admin.close().await;
    ui.event(&json!({ "event": "confirm", "status": status }));
    Ok(())
}

/// For good: the name and the password are wanted, not what is kept.
async fn delete(
    name: Option<ScreenName>,
    file: Option<&Path>,
    at: &AccountAt,
    ui: &Ui,
) -> Result<(), Failure> {
    let account = meant(at)?;
    let typed = match name {
        Some(name) => name,
        None => asked_name(&account, ui).await?,
    };
    if typed != account.name {
        return Err(Failure::new(
            Exit::USAGE,
            format!(
                "{} is not the account {}; nothing is deleted",
                show(typed.as_str(), NAME_SHOWN_MAX),
                label(&account)
            ),
        ));
    }
    let password = password::known(file, &label(&account)).await?;
    let mut open = Open::new(account, at, ui).await?;
    let deleted = open.admin.delete(&password).await;
    deleted.map_err(|error| words::not_deleted(&open.kept.host, &error))?;
    kept::forget(&open.kept)?;
    open.admin.close().await;
    ui.event(
        &json!({ "event": "deleted", "name": open.kept.name.as_str(), "host": open.kept.host }),
    );
    ui.say(format!(
        "Deleted {}, and forgot it here.",
        label(&open.kept)
    ));
    Ok(())
}

async fn asked_name(account: &KeptAccount, ui: &Ui) -> Result<ScreenName, Failure> {
    if !ui::can_ask() {
        return Err(Failure::new(
            Exit::USAGE,
            "standard input is not a terminal, so nobody can be asked whether that is meant; give the name of the account behind `delete`",
        ));
    }
    ui.must_say(format!(
        "This deletes {} for good: contacts, stored messages, everything.",
        label(account)
    ));
    let typed = ui::ask("Type the name of the account to go on:").await;
    let typed = typed.unwrap_or_default();
    ScreenName::new(typed)
        .map_err(|_| Failure::new(Exit::USAGE, "that is no name; nothing is deleted"))
}
