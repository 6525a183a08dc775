//! `rdv`: files from one person to another, from the command line.

mod args;
mod embedded;
mod exit;
mod follow;
mod receive;
mod road;
mod send;
mod serve;
mod state;
mod stop;
mod ui;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Verb};
use crate::exit::Exit;
use crate::stop::Stop;
use crate::ui::Ui;

fn main() {
    let cli = Cli::parse_from(with_verb(std::env::args_os().collect()));
    log(cli.global.verbose);
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
    let exit = runtime.block_on(run(cli));
    // Nothing that still reads the terminal may hold the process back.
    runtime.shutdown_background();
    std::process::exit(exit.0);
}

async fn run(cli: Cli) -> Exit {
    let json = match &cli.verb {
        Verb::Send(send) => send.road.json,
        Verb::Receive(receive) => receive.road.json,
        _ => false,
    };
    let mut ui = Ui::new(json, cli.global.quiet);
    let mut stop = Stop::listen();
    let ended = match cli.verb {
        Verb::Send(send) => send::run(send, &mut ui, &mut stop).await,
        Verb::Receive(receive) => receive::run(receive, &mut ui, &mut stop).await,
        Verb::Host(host) => serve::host(host, &ui, stop).await,
        Verb::Relay(relay) => serve::relay(relay, &ui, stop).await,
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "rdv", &mut std::io::stdout());
            Ok(Exit::DONE)
        }
    };
    ended.unwrap_or_else(|failure| ui.failed(&failure, None))
}

/// `rdv CODE` is `rdv receive CODE`.
fn with_verb(mut words: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let is_code = words
        .get(1)
        .and_then(|word| word.to_str())
        .is_some_and(|word| {
            word.split_once('-').is_some_and(|(number, rest)| {
                (1..=4).contains(&number.len())
                    && number.bytes().all(|b| b.is_ascii_digit())
                    && rest.contains('-')
            })
        });
    if is_code {
        words.insert(1, "receive".into());
    }
    words
}

/// Logs go to standard error: warnings, or what `-v` and `RDV_LOG` ask for.
fn log(verbose: u8) {
    let default = match verbose {
        0 => "warn",
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
