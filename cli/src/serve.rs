//! `rdv host`.

use std::net::SocketAddr;
use std::path::Path;

use rdv::{Fingerprint, show};
use rdv_host::{Host, HostConfig, HostError, IdentitySource, RelaySource};

use crate::accounts;
use crate::args;
use crate::exit::{Exit, Failure};
use crate::relay;
use crate::stop::Stop;
use crate::ui::Ui;

/// Longest path on one line.
const PATH_SHOWN_MAX: usize = 400;
/// Where old clients join a relay, whatever they are told.
const LEGACY_RELAY_PORT: u16 = 5190;

pub(crate) async fn host(args: args::Host, ui: &Ui, stop: Stop) -> Result<Exit, Failure> {
    let url = accounts::url(&args.store)?;
    let config = HostConfig {
        relay: relay::source(&args),
        ticket_key: relay::key_of_host(&args)?,
        listen: args.listen,
        identity: identity(
            args.tls_cert.as_deref().zip(args.tls_key.as_deref()),
            &args.store,
        )?,
        relay_public: args.relay_public,
        public_address: args.public,
        museum: args.museum,
        accounts: match &url {
            Some(url) => Some(accounts::open(url, &args.store).await?),
            None => None,
        },
        ..HostConfig::default()
    };
    let served = match (&config.accounts, &url) {
        (Some(accounts), Some(url)) => {
            let count = accounts
                .count()
                .await
                .map_err(|error| accounts::failed(&error))?;
            format!(
                "{count}, in {}",
                show(&rdv_host::accounts::Accounts::shown(url), PATH_SHOWN_MAX)
            )
        }
        _ => "none, for there is no folder to keep them in; name a database with --db".to_owned(),
    };
    let relay_source = config.relay.clone();
    let host = Host::bind(config)
        .await
        .map_err(|error| cannot_start(&error))?;
    for address in host.local_addrs() {
        ui.must_say(format!("Host on {address}"));
    }
    for address in host.relay_addrs() {
        ui.must_say(format!("Relay on {address}"));
    }
    say_where_stun_is_missing(host.stun_missing(), ui);
    ui.must_say(format!(
        "Fingerprint: {}",
        Fingerprint::of(&host.fingerprint())
    ));
    ui.must_say(format!("Accounts: {served}"));
    if url.is_some() {
        for note in notes_for_old_clients(&relay_source, &host.relay_addrs(), args.museum) {
            ui.say(note);
        }
    }
    ui.say("Clients use it with --host HOST:PORT; to be sure of it on the first visit, with --host-key FINGERPRINT, too.");
    run(stop, |asked| host.run(asked)).await
}

pub(crate) fn say_where_stun_is_missing(missing: &[(SocketAddr, std::io::Error)], ui: &Ui) {
    for (address, error) in missing {
        ui.must_say(format!(
            "Note: UDP port {} cannot be used ({error}); clients cannot ask there how the world sees them, so that fewer of them meet directly.",
            address.port()
        ));
    }
}

/// What the operator should know if old clients are to be served.
fn notes_for_old_clients(
    relay: &RelaySource,
    addresses: &[SocketAddr],
    museum: bool,
) -> Vec<&'static str> {
    let mut notes = Vec::new();
    match relay {
        RelaySource::Foreign(_) => notes.push(
            "Note: old clients cannot use a relay that runs elsewhere; their files go directly or not at all.",
        ),
        _ if addresses.iter().all(|address| address.port() != LEGACY_RELAY_PORT) => notes.push(
            "Note: old clients look for relays on port 5190 alone, so that they cannot use this one; see --relay-listen.",
        ),
        _ => {}
    }
    if museum {
        notes.push(
            "Note: with --museum very old clients send passwords that anybody on the way can read.",
        );
    }
    notes
}

/// Runs until the process is asked to stop. To be stopped is how a server ends well.
pub(crate) async fn run<F: Future<Output = ()>>(
    mut stop: Stop,
    serve: impl FnOnce(Asked) -> F,
) -> Result<Exit, Failure> {
    let asked: Asked = Box::pin(async move {
        stop.asked().await;
    });
    serve(asked).await;
    Ok(Exit::DONE)
}

pub(crate) type Asked = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn identity(pem: Option<(&Path, &Path)>, store: &args::Store) -> Result<IdentitySource, Failure> {
    if let Some((certificate, key)) = pem {
        return Ok(IdentitySource::Pem {
            certificate: read(certificate)?,
            key: read(key)?,
        });
    }
    let folder = accounts::folder(store)?.ok_or_else(|| {
        Failure::new(
            Exit::FILES,
            "there is no home folder to keep the certificate in; name one with --state",
        )
    })?;
    Ok(IdentitySource::Kept(folder))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(
            Exit::FILES,
            format!("cannot read \"{}\": {error}", path.display()),
        )
    })
}

pub(crate) fn cannot_start(error: &HostError) -> Failure {
    let mut sentence = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        sentence = format!("{sentence}: {cause}");
        source = cause.source();
    }
    let advice = match error {
        HostError::Listen { .. } => "; name another address with --listen",
        _ => "",
    };
    Failure::new(Exit::HOST, format!("{sentence}{advice}"))
}
