//! Accounts and contacts, as they are kept between runs: two JSON files for the user alone.

use std::path::PathBuf;

use rdv::ScreenName;
use rdv::oscar::Password;
use rdv::trust::PrivateFile;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::exit::{Exit, Failure};
use crate::state;

/// An account and what is needed to sign on to its host. No `Debug`: the password is in it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeptAccount {
    /// As the host formats it.
    #[serde(serialize_with = "put_name", deserialize_with = "take_name")]
    pub(crate) name: ScreenName,
    /// `HOST:PORT`.
    pub(crate) host: String,
    /// The fingerprint that the host must show; without it the one on file counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host_key: Option<String>,
    /// The old sign-on is allowed, and no encryption if the host has none.
    #[serde(default)]
    pub(crate) plain_host: bool,
    #[serde(serialize_with = "put_password", deserialize_with = "take_password")]
    pub(crate) password: Password,
}

impl KeptAccount {
    /// `NAME@HOST:PORT`.
    pub(crate) fn label(&self) -> String {
        format!("{}@{}", self.name.as_str(), self.host)
    }

    fn is(&self, name: &ScreenName, host: Option<&str>) -> bool {
        self.name == *name && host.is_none_or(|host| host.eq_ignore_ascii_case(&self.host))
    }
}

/// Somebody whom the user named. A name means something together with its host alone.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeptContact {
    /// [`KeptAccount::label`] of the account whose contact it is.
    account: String,
    #[serde(serialize_with = "put_name", deserialize_with = "take_name")]
    pub(crate) name: ScreenName,
    /// Files may go without encryption.
    #[serde(default)]
    pub(crate) allow_plain: bool,
}

/// All accounts.
pub(crate) fn accounts() -> Result<Vec<KeptAccount>, Failure> {
    read(state::accounts())
}

/// The account that the user means: the one named (`NAME` or `NAME@HOST:PORT`), at `host` if that is given, or the only one.
pub(crate) fn account(typed: Option<&str>, host: Option<&str>) -> Result<KeptAccount, Failure> {
    let (name, typed_host) = match typed {
        Some(typed) => split(typed)?,
        None => (None, None),
    };
    let all = accounts()?;
    let none = all.is_empty();
    let host = typed_host.or(host);
    let mut fitting = all.into_iter().filter(|kept| match &name {
        Some(name) => kept.is(name, host),
        None => host.is_none_or(|host| host.eq_ignore_ascii_case(&kept.host)),
    });
    let first = fitting.next().ok_or_else(|| {
        let at = host.map(|host| format!(" at {}", rdv::show(host, 64)));
        let at = at.unwrap_or_default();
        Failure::new(
            Exit::USAGE,
            match (&name, none) {
                (_, true) => "there is no account; sign on first: rdv account login NAME --host HOST:PORT".to_owned(),
                (Some(name), _) => format!(
                    "there is no account {}{at}; `rdv account list` shows those that are kept",
                    rdv::show(name.as_str(), 64)
                ),
                (None, _) => format!("there is no account{at}; sign on first: rdv account login NAME --host HOST:PORT"),
            },
        )
    })?;
    let others: Vec<String> = fitting.map(|kept| kept.label()).collect();
    if others.is_empty() {
        return Ok(first);
    }
    Err(Failure::new(
        Exit::USAGE,
        format!(
            "there are several accounts, say which with --account: {}, {}",
            first.label(),
            others.join(", ")
        ),
    ))
}

/// Keeps an account, in the place of an earlier one of the same name at the same host.
pub(crate) fn keep(account: KeptAccount) -> Result<(), Failure> {
    change(state::accounts(), |all: &mut Vec<KeptAccount>| {
        all.retain(|kept| !kept.is(&account.name, Some(&account.host)));
        all.push(account);
    })
}

/// Forgets an account.
pub(crate) fn forget(account: &KeptAccount) -> Result<(), Failure> {
    change(state::accounts(), |all: &mut Vec<KeptAccount>| {
        all.retain(|kept| !kept.is(&account.name, Some(&account.host)));
    })
}

/// Those whom the user of `account` knows.
pub(crate) fn contacts(account: &KeptAccount) -> Result<Vec<KeptContact>, Failure> {
    let mut all: Vec<KeptContact> = read(state::contacts())?;
    let label = label_in_file(account);
    all.retain(|contact| contact.account == label);
    Ok(all)
}

/// Adds a contact, or changes it.
pub(crate) fn add_contact(
    account: &KeptAccount,
    name: ScreenName,
    allow_plain: bool,
) -> Result<(), Failure> {
    let account = label_in_file(account);
    change(state::contacts(), |all: &mut Vec<KeptContact>| {
        all.retain(|kept| kept.account != account || kept.name != name);
        all.push(KeptContact {
            account,
            name,
            allow_plain,
        });
    })
}

/// Removes a contact; false if there was none.
pub(crate) fn remove_contact(account: &KeptAccount, name: &ScreenName) -> Result<bool, Failure> {
    let account = label_in_file(account);
    change(state::contacts(), |all: &mut Vec<KeptContact>| {
        let before = all.len();
        all.retain(|kept| kept.account != account || kept.name != *name);
        all.len() < before
    })
}

/// The same however the name is typed.
fn label_in_file(account: &KeptAccount) -> String {
    let name = account.name.normalized();
    format!("{name}@{}", account.host.to_lowercase())
}

/// `NAME` or `NAME@HOST:PORT`. Names with an `@` of their own need the long form.
fn split(typed: &str) -> Result<(Option<ScreenName>, Option<&str>), Failure> {
    let (name, host) = match typed.rsplit_once('@') {
        Some((name, host)) if !name.is_empty() => (name, Some(host)),
        _ => (typed, None),
    };
    let name = ScreenName::new(name).map_err(|error| {
        let typed = rdv::show(typed, 64);
        Failure::new(Exit::USAGE, format!("--account {typed}: {error}"))
    })?;
    Ok((Some(name), host))
}

fn file(path: Option<PathBuf>) -> Result<PrivateFile, Failure> {
    path.map(PrivateFile::new)
        .ok_or_else(|| Failure::new(Exit::FILES, "there is no home folder to keep accounts in"))
}

fn read<T: DeserializeOwned>(path: Option<PathBuf>) -> Result<Vec<T>, Failure> {
    let file = file(path)?;
    let text = file.read().map_err(unusable)?;
    parse(&file, &text)
}

fn change<T: DeserializeOwned + Serialize, R>(
    path: Option<PathBuf>,
    act: impl FnOnce(&mut Vec<T>) -> R,
) -> Result<R, Failure> {
    let file = file(path)?;
    let changed = file.update(|text| {
        let mut all = parse(&file, &text).map_err(Trouble::Content)?;
        let result = act(&mut all);
        let text = serde_json::to_string_pretty(&all)
            .map_err(|error| Trouble::Content(Failure::new(Exit::FILES, error.to_string())))?;
        Ok((Some(text + "\n"), result))
    });
    changed.map_err(|trouble| match trouble {
        Trouble::Content(failure) => failure,
        Trouble::System(path, error) => unusable((path, error)),
    })
}

/// An error of the parser would quote the text, and a password with it: only the place is told.
fn parse<T: DeserializeOwned>(file: &PrivateFile, text: &str) -> Result<Vec<T>, Failure> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|error| {
        let path = file.path().display();
        let line = error.line();
        Failure::new(
            Exit::FILES,
            format!("{path} cannot be read (line {line}); correct it or remove it"),
        )
    })
}

enum Trouble {
    Content(Failure),
    System(PathBuf, std::io::Error),
}

impl From<(PathBuf, std::io::Error)> for Trouble {
    fn from((path, error): (PathBuf, std::io::Error)) -> Self {
        Self::System(path, error)
    }
}

fn unusable((path, error): (PathBuf, std::io::Error)) -> Failure {
    Failure::new(Exit::FILES, format!("{}: {error}", path.display()))
}

fn put_name<S: Serializer>(name: &ScreenName, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name.as_str())
}

fn take_name<'de, D: Deserializer<'de>>(from: D) -> Result<ScreenName, D::Error> {
    let name = String::deserialize(from)?;
    ScreenName::new(name).map_err(serde::de::Error::custom)
}

fn put_password<S: Serializer>(password: &Password, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(password.reveal())
}

fn take_password<'de, D: Deserializer<'de>>(from: D) -> Result<Password, D::Error> {
    String::deserialize(from).map(Password::new)
}
