//! `rdv relay`, and the key that a host shares with its relays.

use rdv_host::{Relay, RelayConfig, RelayKeyError, RelaySource, Sockets};

use crate::accounts;
use crate::args;
use crate::config::{self, Settings};
use crate::exit::{Exit, Failure};
use crate::ops::log::Teller;
use crate::ops::{self, Subject, systemd};
use crate::serve::{cannot_start, chain, say_where_metrics_are, say_where_stun_is_missing};
use crate::stop::Stop;
use crate::ui::Ui;

/// Runs a relay until the process is asked to stop.
pub(crate) async fn run(
    args: args::Relay,
    verbose: u8,
    sockets: Sockets,
    ui: &Ui,
    stop: Stop,
) -> Result<Exit, Failure> {
    let mut settings = Settings::load(args.config.as_deref())?;
    settings.override_with_relay(args);
    ops::log::start(&settings.log, verbose);
    ops::descriptors::raise();
    let log = Teller::new(&settings.log, ui);
    let ticket_key = match &settings.relay.key {
        Some(file) => Some(rdv_host::read_relay_key(file).map_err(|error| key_failed(&error))?),
        None if settings.relay.open => None,
        None => {
            return Err(Failure::new(
                Exit::USAGE,
                "whom shall the relay serve? Name the key of the host with --key FILE (see `rdv host relay-key`), or say --open for everybody",
            ));
        }
    };
    let open = ticket_key.is_none();
    let public = settings.relay.public.as_deref().map(str::parse).transpose();
    let config = RelayConfig {
        listen: config::or_default(&settings.relay.listen),
        open,
        ticket_key,
        public_address: public.map_err(|_| {
            Failure::new(
                Exit::USAGE,
                "relay.public of a relay is the IPv4 address that old clients are told",
            )
        })?,
        limits: settings.relay_limits,
        stun_limits: settings.stun_limits,
    };
    let Sockets { host, relay } = sockets;
    let relay = Relay::bind_to(config, host.into_iter().chain(relay).collect())
        .await
        .map_err(|error| cannot_start(&error))?;
    let subject = Subject {
        metrics: relay.metrics(),
        health: None,
    };
    let metrics = ops::serve(&settings, subject).await?;
    for address in relay.local_addrs() {
        log.must_say(format!("Relay on {address}"));
    }
    say_where_metrics_are(metrics, &log);
    say_where_stun_is_missing(relay.stun_missing(), &log);
    if open {
        log.must_say("Note: an open relay carries bytes for everybody who finds it.");
    }
    let relay_time = settings.drain.relay_time;
    let down = ops::down(stop, settings.drain);
    systemd::ready();
    let drain = async {
        // What there is to it is the time above.
        let _ = down.drain.await;
    };
    relay.run_draining(drain, down.end, relay_time).await;
    Ok(Exit::DONE)
}

/// Which relays a host hands out.
pub(crate) fn source(settings: &Settings, sockets: &Sockets) -> RelaySource {
    let relay = &settings.relay;
    if !relay.addresses.is_empty() {
        RelaySource::Foreign(relay.addresses.clone())
    } else if !relay.listen.is_empty() || !sockets.relay.is_empty() {
        RelaySource::Listen(relay.listen.clone())
    } else {
        RelaySource::SamePort
    }
}

/// The key of the tickets: that of the file, or, for relays elsewhere, the one in the host's folder, which is made if `make` says so. None:
/// one for this run will do.
pub(crate) fn key_of_host(settings: &Settings, make: bool) -> Result<Option<[u8; 32]>, Failure> {
    if let Some(file) = &settings.relay.key {
        return rdv_host::read_relay_key(file)
            .map(Some)
            .map_err(|error| key_failed(&error));
    }
    if settings.relay.addresses.is_empty() || !make {
        return Ok(None);
    }
    match accounts::folder(&settings.store())? {
        Some(folder) => {
            let (key, _) = rdv_host::keep_relay_key(&folder).map_err(|error| key_failed(&error))?;
            Ok(Some(key))
        }
        None => Ok(None),
    }
}

/// Says the key that relays on other machines need, and where it is; makes it if there is none.
pub(crate) fn show_key(store: &args::Store, ui: &Ui) -> Result<Exit, Failure> {
    let folder = accounts::folder(store)?.ok_or_else(|| {
        Failure::new(
            Exit::FILES,
            "there is no home folder to keep the key of the relays in; name one with --state",
        )
    })?;
    let (key, path) = rdv_host::keep_relay_key(&folder).map_err(|error| key_failed(&error))?;
    ui.say(format!(
        "The key of the relays, kept in \"{}\". Whoever has it can make tickets for them. Put it into a file that you alone may \
         read (chmod 600) on the machine of the relay, and run there: rdv relay --key FILE",
        path.display()
    ));
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    ui.payload(&digits)
        .map_err(|error| Failure::new(Exit::FILES, format!("cannot write the key: {error}")))?;
    Ok(Exit::DONE)
}

fn key_failed(error: &RelayKeyError) -> Failure {
    Failure::new(Exit::FILES, chain(error))
}
