//! `rdv receive`.

use std::io::{IsTerminal, Read};

use rdv::{Code, Sink, SinkOptions};

use crate::args;
use crate::exit::{self, Exit, Failure};
use crate::follow::{Consent, follow};
use crate::listen;
use crate::road::{Visit, owner_of};
use crate::stop::Stop;
use crate::ui::{self, Ui};

/// Longest thing that is taken for a code; a whole file piped in by mistake is not read to its end.
const CODE_MAX: u64 = 4096;

pub(crate) async fn run(
    args: args::Receive,
    ui: &mut Ui,
    stop: &mut Stop,
) -> Result<Exit, Failure> {
    if args.listen {
        return listen::run(args, ui, stop).await;
    }
    stop.limit(args.road.timeout);
    if !args.yes && !ui::can_ask() {
        return Err(Failure::new(
            Exit::USAGE,
            "standard input is not a terminal, so nobody can be asked; add --yes to accept what comes",
        ));
    }
    let code = stop.or(code(&args, ui)).await?;
    let sink = Sink::folder(
        &args.output,
        SinkOptions {
            if_exists: args.if_exists.into(),
            keep_exec: args.keep_exec,
        },
    )
    .map_err(|error| Failure::new(Exit::FILES, error.to_string()))?;
    let visit = stop.or(Visit::open(&args.road, &code, ui)).await?;
    let engine = visit.engine(&args.road).await?;
    let peer = owner_of(code.number())?;
    let transfer = engine
        .fetch_with_code(peer, code.words().clone(), sink)
        .await
        .map_err(|error| visit.judge(exit::of(&error)))?;

    let consent = if args.yes {
        Consent::Given
    } else {
        Consent::Ask
    };
    let judge = |error: &rdv::Error| visit.judge(exit::of(error));
    let followed = follow(transfer, ui, consent, stop, &judge).await;
    let (outcome, record) = followed.end("receive");
    stop.leave(async {
        engine.close().await;
        visit.close().await;
    })
    .await;
    match outcome {
        Ok(summary) => {
            if let Some(text) = &summary.text {
                ui.text(text).map_err(|error| {
                    Failure::new(
                        Exit::FILES,
                        format!("the text arrived and cannot be written: {error}"),
                    )
                })?;
            }
            ui.done("Received", summary.text.is_some(), &summary, &record);
            Ok(Exit::DONE)
        }
        Err(failure) => Ok(ui.failed(&failure, Some(&record))),
    }
}

/// The code from wherever it was given; a person may try again after a slip.
async fn code(args: &args::Receive, ui: &Ui) -> Result<Code, Failure> {
    let given = if let Some(code) = &args.code {
        ui.must_say("Note: other users of this machine can see a code on the command line; the prompt, RDV_CODE and --code-file keep it hidden.");
        Some(code.clone())
    } else if let Some(file) = &args.code_file {
        let path = file.clone();
        let text = read_code(move || std::fs::File::open(path)).await;
        Some(text.map_err(|error| {
            Failure::new(
                Exit::FILES,
                format!("cannot read the code from \"{}\": {error}", file.display()),
            )
        })?)
    } else if let Ok(code) = std::env::var("RDV_CODE") {
        Some(code)
    } else if !std::io::stdin().is_terminal() {
        let text = read_code(|| Ok(std::io::stdin())).await;
        Some(text.map_err(|error| {
            Failure::new(
                Exit::USAGE,
                format!("cannot read the code from standard input: {error}"),
            )
        })?)
    } else {
        None
    };
    match given {
        Some(text) => {
            let code = parse(&text)?;
            if let Some(slip) = slip(&code) {
                if !ui::can_ask() {
                    ui.must_say(format!("Note: {slip}"));
                    return Ok(code);
                }
                ui.must_say(slip);
                return prompted(ui).await;
            }
            Ok(code)
        }
        None => prompted(ui).await,
    }
}

/// Reads to the end on a thread of its own: whoever writes may take his time, and Ctrl-C must count meanwhile.
async fn read_code<R: Read>(
    open: impl FnOnce() -> std::io::Result<R> + Send + 'static,
) -> std::io::Result<String> {
    let read = move || {
        let mut text = String::new();
        open()?.take(CODE_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

async fn prompted(ui: &Ui) -> Result<Code, Failure> {
    loop {
        let Some(text) = ui::ask("Code:").await else {
            return Err(Failure::new(Exit::USAGE, "no code was given"));
        };
        match parse(&text) {
            Ok(code) => match slip(&code) {
                None => return Ok(code),
                Some(slip) => ui.must_say(slip),
            },
            Err(failure) => ui.must_say(failure.sentence),
        }
    }
}

fn parse(text: &str) -> Result<Code, Failure> {
    Code::parse(text.trim())
        .map_err(|error| Failure::new(Exit::USAGE, format!("that is not a code: {error}")))
}

/// Words that are on no list were misread or mistyped.
fn slip(code: &Code) -> Option<String> {
    let unknown = code.words().unknown_words();
    if unknown.is_empty() {
        return None;
    }
    let which: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    Some(format!(
        "word {} of the code is on no list, so it was misread or mistyped; check it with the sender",
        which.join(" and ")
    ))
}
