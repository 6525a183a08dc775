//! `rdv host`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rdv::{Fingerprint, show};
use rdv_host::mail::{Mailer, SmtpMailer};
use rdv_host::{Host, HostConfig, HostError, IdentitySource, RelaySource, Sockets};

use crate::accounts;
use crate::args;
use crate::config::{self, Settings};
use crate::exit::{Exit, Failure};
use crate::ops::log::Teller;
use crate::ops::{self, Subject, systemd};
use crate::relay;
use crate::stop::Stop;
use crate::ui::Ui;

/// Longest path on one line.
const PATH_SHOWN_MAX: usize = 400;
/// Where old clients join a relay, whatever they are told.
const LEGACY_RELAY_PORT: u16 = 5190;

pub(crate) async fn host(
    args: args::Host,
    verbose: u8,
    sockets: Sockets,
    ui: &Ui,
    stop: Stop,
) -> Result<Exit, Failure> {
    let mut settings = Settings::load(args.store.config.as_deref())?;
    settings.override_with_host(args);
    ops::log::start(&settings.log, verbose);
    ops::descriptors::raise();
    let log = Teller::new(&settings.log, ui);
    let store = settings.store();
    let url = accounts::url(&store)?;
    let config = HostConfig {
        listen: config::or_default(&settings.listen),
        relay: relay::source(&settings, &sockets),
        identity: identity(&settings)?,
        relay_public: settings.relay.public.clone(),
        ticket_key: relay::key_of_host(&settings, true)?,
        public_address: settings.public,
        numbers: settings.numbers.clone(),
        museum: settings.museum,
        accounts: match &url {
            Some(url) => Some(accounts::open(url, &store).await?),
            None => None,
        },
        admin: settings.admin.clone(),
        mailer: mailer(&settings)?,
        log: settings.log.policy,
        limits: settings.limits,
        relay_limits: settings.relay_limits,
        stun_limits: settings.stun_limits,
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
    let host = Host::bind_to(config, sockets)
        .await
        .map_err(|error| cannot_start(&error))?;
    let subject = Subject {
        metrics: host.metrics(),
        health: Some(host.health()),
    };
    let metrics = ops::serve(&settings, subject).await?;
    for address in host.local_addrs() {
        log.must_say(format!("Host on {address}"));
    }
    for address in host.relay_addrs() {
        log.must_say(format!("Relay on {address}"));
    }
    say_where_metrics_are(metrics, &log);
    say_where_stun_is_missing(host.stun_missing(), &log);
    log.must_say(format!(
        "Fingerprint: {}",
        Fingerprint::of(&host.fingerprint())
    ));
    log.must_say(format!("Accounts: {served}"));
    if url.is_some() {
        for note in notes_for_old_clients(&relay_source, &host.relay_addrs(), settings.museum) {
            log.say(note);
        }
    }
    log.say("Clients use it with --host HOST:PORT; to be sure of it on the first visit, with --host-key FINGERPRINT, too.");
    let down = ops::down(stop, settings.drain);
    systemd::ready();
    // To be stopped is how a server ends well.
    host.run_draining(down.drain, down.end).await;
    Ok(Exit::DONE)
}

fn mailer(settings: &Settings) -> Result<Option<Arc<dyn Mailer>>, Failure> {
    let Some(mail) = &settings.mail else {
        return Ok(None);
    };
    let mailer = SmtpMailer::new(mail)
        .map_err(|error| Failure::new(Exit::USAGE, format!("mail: {}", chain(&error))))?;
    Ok(Some(Arc::new(mailer)))
}

pub(crate) fn say_where_metrics_are(address: Option<SocketAddr>, log: &Teller<'_>) {
    if let Some(address) = address {
        log.must_say(format!("Metrics on http://{address}/metrics"));
    }
}

pub(crate) fn say_where_stun_is_missing(
    missing: &[(SocketAddr, std::io::Error)],
    log: &Teller<'_>,
) {
    for (address, error) in missing {
        log.must_say(format!(
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

/// The certificate that was named, or the one in the host's folder.
pub(crate) fn identity(settings: &Settings) -> Result<IdentitySource, Failure> {
    if let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
        return Ok(IdentitySource::Pem {
            certificate: read(certificate)?,
            key: read(key)?,
        });
    }
    let folder = accounts::folder(&settings.store())?.ok_or_else(|| {
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

/// An error, and what is behind it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        sentence = format!("{sentence}: {cause}");
        source = cause.source();
    }
    sentence
}

pub(crate) fn cannot_start(error: &HostError) -> Failure {
    let advice = match error {
        HostError::Listen { .. } => "; name another address with --listen",
        _ => "",
    };
    Failure::new(Exit::HOST, format!("{}{advice}", chain(error)))
}
