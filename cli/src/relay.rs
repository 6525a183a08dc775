//! `rdv relay`, and the key that a host shares with its relays.

use std::path::Path;

use rdv_host::{Relay, RelayConfig, RelayKeyError, RelaySource};

use crate::accounts;
use crate::args;
use crate::exit::{Exit, Failure};
use crate::serve::{cannot_start, run, say_where_stun_is_missing};
use crate::stop::Stop;
use crate::ui::Ui;

/// Runs a relay until the process is asked to stop.
pub(crate) async fn run_relay(args: args::Relay, ui: &Ui, stop: Stop) -> Result<Exit, Failure> {
    let key = args.key.as_deref().map(rdv_host::read_relay_key);
    let config = RelayConfig {
        listen: args.listen,
        open: args.open,
        ticket_key: key.transpose().map_err(|error| key_failed(&error))?,
        public_address: args.public,
        ..RelayConfig::default()
    };
    let relay = Relay::bind(config)
        .await
        .map_err(|error| cannot_start(&error))?;
    for address in relay.local_addrs() {
        ui.must_say(format!("Relay on {address}"));
    }
    say_where_stun_is_missing(relay.stun_missing(), ui);
    if args.open {
        ui.must_say("Note: an open relay carries bytes for everybody who finds it.");
    }
    run(stop, |asked| relay.run(asked)).await
}

/// Says the key that relays on other machines need, and where it is; makes it if there is none.
pub(crate) fn show_key(args: &args::RelayKey, ui: &Ui) -> Result<Exit, Failure> {
    let Some(folder) = accounts::folder(&args.store)? else {
        return Err(no_folder());
    };
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

/// Which relays a host hands out, as the user said.
pub(crate) fn source(args: &args::Host) -> RelaySource {
    match args.relay_listen {
        Some(address) => RelaySource::Listen(vec![address]),
        None if args.relay.is_empty() => RelaySource::SamePort,
        None => RelaySource::Foreign(args.relay.clone()),
    }
}

/// The key for the tickets: from the file that was named, else, if relays elsewhere need one, from the host's folder.
pub(crate) fn key_of_host(args: &args::Host) -> Result<Option<[u8; 32]>, Failure> {
    let read = |path: &Path| rdv_host::read_relay_key(path).map_err(|error| key_failed(&error));
    match &args.relay_key {
        Some(path) => read(path).map(Some),
        None if args.relay.is_empty() => Ok(None),
        None => {
            let folder = accounts::folder(&args.store)?.ok_or_else(no_folder)?;
            let kept = rdv_host::keep_relay_key(&folder);
            let (key, _) = kept.map_err(|error| key_failed(&error))?;
            Ok(Some(key))
        }
    }
}

fn no_folder() -> Failure {
    Failure::new(
        Exit::FILES,
        "there is no home folder to keep the key of the relays in; name one with --state",
    )
}

fn key_failed(error: &RelayKeyError) -> Failure {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    Failure::new(Exit::FILES, format!("{error}{}", cause.unwrap_or_default()))
}
