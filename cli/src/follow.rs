//! Follows one transfer to its end: events, progress, the question, requests to stop.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rdv::transfer::Phase;
use rdv::{Error, Security, Summary, Transfer, TransferEvent, TransferReport};

use crate::exit::{Exit, Failure};
use crate::record::Record;
use crate::records;
use crate::stop::{self, Stop};
use crate::ui::{self, TICK, Ui};

/// How long the other side gets to hear of a cancel before we leave.
const FAREWELL: Duration = Duration::from_millis(1500);

/// Who says yes to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Nothing is asked: `--yes`, or we send.
    Given,
    /// The person at the terminal.
    Ask,
}

type Question = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// How it ended, and what was tried for it.
pub(crate) struct Followed {
    pub(crate) outcome: Result<Summary, Failure>,
    pub(crate) security: Option<Security>,
    /// What was tried for it.
    pub(crate) report: TransferReport,
}

impl Followed {
    /// Keeps what became of it.
    pub(crate) fn end(self, verb: &str) -> (Result<Summary, Failure>, Record) {
        let record = Record::new(verb, &self.report, self.outcome.as_ref(), self.security);
        records::keep(&record);
        (self.outcome, record)
    }
}

/// `judge` turns an error into the last word.
pub(crate) async fn follow(
    mut transfer: Transfer,
    ui: &mut Ui,
    consent: Consent,
    stop: &mut Stop,
    judge: &dyn Fn(&Error) -> Failure,
) -> Followed {
    let mut followed = Followed {
        outcome: Err(Failure::new(Exit::OTHER, "ended")),
        security: None,
        report: transfer.report(),
    };
    let mut question: Option<Question> = None;
    let mut met = false;
    let mut way = String::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);

    let exit = loop {
        tokio::select! {
            event = transfer.next_event() => match event {
                Some(TransferEvent::PeerFound { .. }) => {
                    met = true;
                    ui.event(&serde_json::json!({ "event": "peer_found" }));
                    ui.say("Found the other side, looking for a path ...");
                }
                Some(TransferEvent::Connected { path, security }) => {
                    met = true;
                    let at_ms = taken_ms(&transfer.report());
                    ui.connected(&path, security, at_ms);
                    way = path.kind.to_string();
                    followed.security = Some(security);
                }
                Some(TransferEvent::PathChanged { path }) => {
                    ui.moved(&path, taken_ms(&transfer.report()));
                    way = path.kind.to_string();
                }
                Some(TransferEvent::Offered(offer)) => {
                    ui.offered(&offer, followed.security);
                    match consent {
                        Consent::Given => transfer.accept(),
                        Consent::Ask => question = Some(Box::pin(ui::ask("Accept? [y/N]"))),
                    }
                }
                Some(TransferEvent::Ended(outcome)) => {
                    followed.outcome = outcome.map_err(|error| judge(&error));
                    followed.report = transfer.report();
                    return followed;
                }
                Some(_) => {}
                None => return followed,
            },
            answer = asked(&mut question) => {
                question = None;
                match answer.as_deref().map(str::to_lowercase).as_deref() {
                    Some("y" | "yes") => transfer.accept(),
                    _ => transfer.decline(),
                }
            }
            _ = tick.tick() => {
                let progress = transfer.progress();
                if matches!(progress.phase, Phase::Moving | Phase::Finishing) {
                    ui.progress(&progress, &way);
                }
            }
            exit = stop.asked() => break exit,
        }
    };
    followed.report = transfer.report();
    farewell(transfer, stop).await;
    let mut sentence = stop::why(exit).to_owned();
    if met {
        sentence.push_str("; the other side was told");
    }
    followed.outcome = Err(Failure::new(exit, sentence));
    followed
}

/// When the way in use was taken, in ms from the beginning of the transfer.
pub(crate) fn taken_ms(report: &TransferReport) -> Option<u64> {
    report.paths.last().map(|used| used.from_ms)
}

/// Tells the other side that it is over, and waits until that is said. A second signal ends the process at once.
async fn farewell(mut transfer: Transfer, stop: &mut Stop) {
    transfer.cancel().await;
    let said = async { while transfer.next_event().await.is_some() {} };
    tokio::select! {
        _ = tokio::time::timeout(FAREWELL, said) => {}
        exit = stop.asked() => std::process::exit(exit.0),
    }
}

async fn asked(question: &mut Option<Question>) -> Option<String> {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}
