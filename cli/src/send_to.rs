//! `rdv send --to`.

use rdv::{OfferOptions, ScreenName, ServiceChoice, Services, Source, SourceOptions, show};

use crate::args;
use crate::exit::{self, Exit, Failure};
use crate::follow::{Consent, follow};
use crate::signed_on::{PlainFor, User};
use crate::stop::Stop;
use crate::ui::Ui;

/// Longest name in a sentence.
const NAME_SHOWN_MAX: usize = 64;

pub(crate) async fn run(
    args: args::Send,
    to: ScreenName,
    ui: &mut Ui,
    stop: &mut Stop,
) -> Result<Exit, Failure> {
    stop.limit(args.road.timeout);
    let is_text = args.text.is_some();
    let source = match args.text {
        Some(text) => Source::text(text),
        None => Source::paths(args.paths, SourceOptions::default()),
    };
    let mut source = source.map_err(|error| Failure::new(Exit::FILES, error.to_string()))?;
    // Whoever listens for this account hears what is proposed to it; this session only sends.
    let services = Services::NONE;
    // Nobody is asked about a list that cannot be sent (F-1).
    let opened = async {
        Ok(tokio::join!(
            User::open(&args.user, &args.road, services, ui),
            source.ready()
        ))
    };
    let (user, listed) = stop.or(opened).await?;
    let user = user?;
    if let Err(error) = listed {
        user.close().await;
        return Err(Failure::new(Exit::FILES, error.to_string()));
    }
    let mut plain = PlainFor::contacts(user.kept())?;
    if args.user.allow_plain {
        plain.names.insert(to.clone());
    }
    let engine = user.engine(&args.road, services, plain, None).await?;
    let service = match args.user.no_native {
        true => ServiceChoice::SendFile,
        false => ServiceChoice::Auto,
    };
    let options = OfferOptions {
        service,
        batch: args.batch,
    };
    let shown = show(to.as_str(), NAME_SHOWN_MAX);
    let offered = stop.or(async {
        let offered = engine.offer(to.clone(), source, options).await;
        offered.map_err(|error| exit::with_peer(&error, &to))
    });
    let transfer = match offered.await {
        Ok(transfer) => transfer,
        Err(failure) => {
            user.close().await;
            return Err(failure);
        }
    };
    ui.say(format!("Offered to {shown}; waiting for an answer ..."));

    let judge = |error: &rdv::Error| exit::with_peer(error, &to);
    let followed = follow(transfer, ui, Consent::Given, stop, &judge).await;
    stop.leave(async {
        engine.close().await;
        user.close().await;
    })
    .await;
    let (outcome, record) = followed.end("send");
    match outcome {
        Ok(summary) => {
            ui.done("Sent", is_text, &summary, &record);
            Ok(Exit::DONE)
        }
        Err(failure) => Ok(ui.failed(&failure, Some(&record))),
    }
}
