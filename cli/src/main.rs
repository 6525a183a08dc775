//! `rdv`: files from one person to another, from the command line.

mod account;
mod accounts;
mod args;
mod config;
mod contact;
mod doctor;
mod embedded;
mod exit;
mod follow;
mod incoming;
mod kept;
mod keyboard;
mod listen;
mod login;
mod ops;
mod password;
mod receive;
mod record;
mod records;
mod relay;
mod road;
mod send;
mod send_to;
mod serve;
mod shared;
mod sharing;
mod signed_on;
mod state;
mod stop;
mod transfers;
mod ui;
mod users;
mod ways;
mod welcome;

use std::ffi::OsString;
use std::io::Write;

use clap::{CommandFactory, Parser};
use rdv_host::Sockets;

use crate::args::{Cli, ContactVerb, HostVerb, Verb};
use crate::exit::{Exit, Failure};
use crate::stop::Stop;
use crate::ui::Ui;

fn main() {
    let words = with_verb(std::env::args_os().collect());
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => std::process::exit(misused(&error, &words)),
    };
    let serves = match &cli.verb {
        Verb::Host(host) => host.verb.is_none(),
        Verb::Relay(_) => true,
        _ => false,
    };
    // A server knows how to log once it has read its settings.
    let sockets = match serves {
        true => ops::systemd::sockets(),
        false => {
            log(cli.global.verbose);
            Ok(Sockets::default())
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rdv: cannot start: {error}");
            std::process::exit(Exit::OTHER.0);
        }
    };
    let exit = runtime.block_on(run(cli, sockets));
    // Nothing that still reads the terminal may hold the process back.
    runtime.shutdown_background();
    std::process::exit(exit.0);
}

async fn run(cli: Cli, sockets: Result<Sockets, Failure>) -> Exit {
    let json = match &cli.verb {
        Verb::Send(send) => send.road.json,
        Verb::Receive(receive) => receive.road.json,
        Verb::Shared(shared) => shared.road.json,
        Verb::Doctor(doctor) => doctor.json,
        Verb::Transfers(transfers) => transfers.json,
        Verb::Account(verb) => verb.json(),
        Verb::Contact(ContactVerb::List { json, .. }) => *json,
        _ => false,
    };
    let mut ui = Ui::new(json, cli.global.quiet);
    let mut stop = Stop::listen();
    let ended = match cli.verb {
        Verb::Send(send) => send::run(send, &mut ui, &mut stop).await,
        Verb::Receive(receive) => receive::run(receive, &mut ui, &mut stop).await,
        Verb::Shared(shared) => shared::run(shared, &mut ui, &mut stop).await,
        Verb::Account(verb) => account::run(verb, &mut ui, &mut stop).await,
        Verb::Contact(verb) => contact::run(verb, &ui),
        Verb::Host(host) => match host.verb {
            Some(HostVerb::User(user)) => users::run(user, &mut ui).await,
            Some(HostVerb::CheckConfig { file }) => config::check(file, &ui).await,
            Some(HostVerb::RelayKey { store }) => relay::show_key(&store, &ui),
            None => match sockets {
                Ok(sockets) => serve::host(host, cli.global.verbose, sockets, &ui, stop).await,
                Err(failure) => Err(failure),
            },
        },
        Verb::Relay(relay) => match sockets {
            Ok(sockets) => relay::run(relay, cli.global.verbose, sockets, &ui, stop).await,
            Err(failure) => Err(failure),
        },
        Verb::Doctor(args) => doctor::run(args, &ui, &mut stop).await,
        Verb::Transfers(args) => transfers::run(&args, &ui),
        Verb::Completions { shell } => completions(shell),
    };
    ended.unwrap_or_else(|failure| ui.failed(&failure, None))
}

/// Help and version are payload; anything else is explained on standard error, to programs in their own way, too.
fn misused(error: &clap::Error, words: &[OsString]) -> i32 {
    // That nobody reads it changes nothing about the exit code.
    let _ = error.print();
    if error.use_stderr() && words.iter().any(|word| word == "--json") {
        let explained = error.render().to_string();
        let sentence = explained.lines().next().unwrap_or_default();
        let sentence = sentence.strip_prefix("error: ").unwrap_or(sentence);
        Ui::new(true, false).result(&Failure::new(Exit::USAGE, sentence), None);
    }
    error.exit_code()
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rdv", &mut script);
    match std::io::stdout().write_all(&script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::FILES,
            format!("cannot write the script: {error}"),
        )),
        _ => Ok(Exit::DONE),
    }
}

/// `rdv CODE` is `rdv receive CODE`, with any options around it.
fn with_verb(mut words: Vec<OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let is_verb = |word: &OsString| {
        word == "help"
            || command.get_subcommands().any(|verb| {
                verb.get_name_and_visible_aliases()
                    .iter()
                    .any(|name| word == name)
            })
    };
    let typed = words.get(1..).unwrap_or_default();
    if !typed.iter().any(is_verb) && typed.iter().any(is_code) {
        words.insert(1, "receive".into());
    }
    words
}

/// A number and at least two words: more cannot be said before it is known whether it is meant as a code.
fn is_code(word: &OsString) -> bool {
    let Some(word) = word.to_str() else {
        return false;
    };
    let mut parts = word
        .split(|c: char| c == '-' || c.is_whitespace())
        .filter(|part| !part.is_empty());
    parts
        .next()
        .is_some_and(|number| number.len() <= 4 && number.bytes().all(|b| b.is_ascii_digit()))
        && parts.count() >= 2
}

/// Logs go to standard error: warnings of servers, errors of the others, or what `-v` and `RDV_LOG` ask for.
fn log(verbose: u8) {
    let default = match verbose {
        // What people need to know, the verbs say in sentences of their own.
        0 => "error",
        1 => "info,rdv=debug,rdv_host=debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("RDV_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_alone_means_receive_wherever_it_stands() {
        for typed in [
            "7-otter-cake-verse",
            "7 OTTER cake verse",
            "-q 7-otter-cake-verse@192.0.2.1:4",
            "-o out --yes 7-otter-cake-verse",
        ] {
            let words = if typed.starts_with("7 ") {
                vec![typed]
            } else {
                typed.split(' ').collect()
            };
            let words: Vec<OsString> = std::iter::once("rdv")
                .chain(words)
                .map(OsString::from)
                .collect();
            assert_eq!(with_verb(words)[1], "receive", "{typed}");
        }
        for typed in [
            "send 7-otter-cake-verse",
            "rx 7-otter-cake-verse",
            "frobnicate",
            "7",
            "-V",
        ] {
            let words: Vec<OsString> = std::iter::once("rdv")
                .chain(typed.split(' '))
                .map(OsString::from)
                .collect();
            assert_eq!(with_verb(words.clone()), words, "{typed}");
        }
    }
}
