//! Follows one transfer to its end: events, progress, the question, requests to stop.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rdv::transfer::Phase;
use rdv::{Error, Path, Security, Summary, Transfer, TransferEvent};

use crate::exit::{Exit, Failure};
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

/// How it ended, and over which path.
pub(crate) struct Followed {
    pub(crate) outcome: Result<Summary, Failure>,
    pub(crate) path: Option<Path>,
    pub(crate) security: Option<Security>,
}

impl Followed {
    pub(crate) fn path_name(&self) -> String {
        self.path
            .as_ref()
            .map(|path| path.kind.to_string())
            .unwrap_or_default()
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
        path: None,
        security: None,
    };
    let mut question: Option<Question> = None;
    let mut met = false;
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
                    ui.connected(&path, security);
                    followed.path = Some(path);
                    followed.security = Some(security);
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
                    ui.progress(&progress, &followed.path_name());
                }
            }
            exit = stop.asked() => break exit,
        }
    };
    farewell(transfer, stop).await;
    let mut sentence = stop::why(exit).to_owned();
    if met {
        sentence.push_str("; the other side was told");
    }
    followed.outcome = Err(Failure::new(exit, sentence));
    followed
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
