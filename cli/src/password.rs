//! Passwords as people give them: at a prompt that does not show them, or in a file. Never on a command line (S-26).

use std::io::Read;
use std::path::Path;

use rdv::oscar::Password;

use crate::exit::{Exit, Failure};
use crate::ui;

/// Longest password that is read.
const PASSWORD_MAX: u64 = 1024;
/// How often a new one may be typed until both times are the same.
const TRIES: usize = 3;

/// One that exists already; `whose` is for the prompt.
pub(crate) async fn known(file: Option<&Path>, whose: &str) -> Result<Password, Failure> {
    match file {
        Some(path) => in_file(path),
        None => ask(format!("Password of {whose}: ")).await.and_then(some),
    }
}

/// A new one, typed twice.
pub(crate) async fn new(file: Option<&Path>, whose: &str) -> Result<Password, Failure> {
    if let Some(path) = file {
        return in_file(path);
    }
    for _ in 0..TRIES {
        let first = ask(format!("New password of {whose}: "))
            .await
            .and_then(some)?;
        let second = ask("The same again: ".to_owned()).await?;
        if first.reveal() == Password::new(second).reveal() {
            return Ok(first);
        }
        ui::note("The two are not the same.");
    }
    Err(Failure::new(
        Exit::USAGE,
        "the two passwords were not the same; nothing is changed",
    ))
}

fn some(text: String) -> Result<Password, Failure> {
    match text.is_empty() {
        true => Err(Failure::new(Exit::USAGE, "the password is empty")),
        false => Ok(Password::new(text)),
    }
}

async fn ask(prompt: String) -> Result<String, Failure> {
    if !ui::can_ask() {
        return Err(Failure::new(
            Exit::USAGE,
            "standard input is not a terminal, so nobody can be asked for the password; use --password-file",
        ));
    }
    let asked = tokio::task::spawn_blocking(move || rpassword::prompt_password(prompt)).await;
    let asked = asked.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    asked.map_err(|error| Failure::new(Exit::USAGE, format!("no password was given: {error}")))
}

fn in_file(path: &Path) -> Result<Password, Failure> {
    let text = read(path).map_err(|error| {
        let path = path.display();
        Failure::new(
            Exit::FILES,
            format!("cannot read the password from \"{path}\": {error}"),
        )
    })?;
    some(text)
}

/// Without the end of its line.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(PASSWORD_MAX)
        .read_to_string(&mut text)?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}
