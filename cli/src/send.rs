//! `rdv send`.

use std::io::IsTerminal;
use std::time::Duration;

use rdv::{Code, Source, SourceOptions};
use serde_json::json;

use crate::args;
use crate::embedded::Embedded;
use crate::exit::{self, Exit, Failure};
use crate::follow::{Consent, follow};
use crate::road::Meeting;
use crate::send_to;
use crate::stop::Stop;
use crate::ui::Ui;

/// How long the list of files may take before the code is shown without it.
const LISTING_HEAD_START: Duration = Duration::from_millis(400);

pub(crate) async fn run(
    mut args: args::Send,
    ui: &mut Ui,
    stop: &mut Stop,
) -> Result<Exit, Failure> {
    if let Some(to) = args.to.take() {
        return send_to::run(args, to, ui, stop).await;
    }
    stop.limit(args.road.timeout);
    let source = match &args.text {
        Some(text) => Source::text(text.clone()),
        None => Source::paths(args.paths.clone(), SourceOptions::default()),
    };
    let mut source = source.map_err(|error| Failure::new(Exit::FILES, error.to_string()))?;
    // Most lists are complete by the time that a host is found; then what is wrong with them is said before a code is shown.
    let opened = async {
        Ok(tokio::join!(
            Meeting::open(&args.road, args.expire, ui),
            tokio::time::timeout(LISTING_HEAD_START, source.ready())
        ))
    };
    let (meeting, listed) = stop.or(opened).await?;
    if let Ok(Err(error)) = listed {
        return Err(Failure::new(Exit::FILES, error.to_string()));
    }
    let meeting = meeting?;
    let words = rdv::new_code_words();
    let addresses = meeting
        .embedded()
        .map(Embedded::addresses)
        .unwrap_or_default();
    let code = Code::new(meeting.number(), words.clone(), addresses)
        .map_err(|error| Failure::new(Exit::HOST, error.to_string()))?;
    let engine = meeting.engine(&args.road).await?;
    let transfer = engine
        .offer_with_code(words, source, Some(args.expire))
        .await
        .map_err(|error| exit::of(&error))?;
    show_code(&code, meeting.embedded().is_some(), ui);

    let followed = follow(transfer, ui, Consent::Given, stop, &exit::of).await;
    stop.leave(async {
        engine.close().await;
        meeting.close().await;
    })
    .await;
    let (outcome, record) = followed.end("send");
    match outcome {
        Ok(summary) => {
            ui.done("Sent", args.text.is_some(), &summary, &record);
            Ok(Exit::DONE)
        }
        Err(failure) => Ok(ui.failed(&failure, Some(&record))),
    }
}

/// People get the short form, programs one line on standard output. With a host of our own that line is the long form, which
/// works without multicast.
fn show_code(code: &Code, embedded: bool, ui: &mut Ui) {
    let short = code.short().to_string();
    let long = code.to_string();
    let for_programs = if embedded { &long } else { &short };
    if ui.json {
        ui.event(&json!({ "event": "code", "code": for_programs, "short": short }));
    } else if !std::io::stdout().is_terminal() {
        // Standard error shows it, too.
        let _ = ui.payload(for_programs);
    }
    ui.must_say(format!("Code: {short}"));
    ui.say(format!("The other side runs:  rdv receive {short}"));
    if embedded {
        ui.say(format!(
            "If it finds nobody (a network without multicast):  rdv receive {long}"
        ));
    }
}
