//! `rdv host` and `rdv relay`.

use std::path::Path;

use rdv::Fingerprint;
use rdv_host::{Host, HostConfig, HostError, IdentitySource, Relay, RelayConfig, RelaySource};

use crate::args;
use crate::exit::{Exit, Failure};
use crate::state;
use crate::stop::Stop;
use crate::ui::Ui;

pub(crate) async fn host(args: args::Host, ui: &Ui, stop: Stop) -> Result<Exit, Failure> {
    let relay = match (args.relay_listen, args.relay) {
        (Some(address), _) => RelaySource::Listen(vec![address]),
        (None, Some(address)) => RelaySource::Foreign(address),
        (None, None) => RelaySource::SamePort,
    };
    let config = HostConfig {
        listen: args.listen,
        relay,
        identity: identity(
            args.tls_cert.as_deref().zip(args.tls_key.as_deref()),
            args.state,
        )?,
        relay_public: args.relay_public,
        public_address: args.public,
        ..HostConfig::default()
    };
    let host = Host::bind(config)
        .await
        .map_err(|error| cannot_start(&error))?;
    for address in host.local_addrs() {
        ui.must_say(format!("Host on {address}"));
    }
    for address in host.relay_addrs() {
        ui.must_say(format!("Relay on {address}"));
    }
    ui.must_say(format!(
        "Fingerprint: {}",
        Fingerprint::of(&host.fingerprint())
    ));
    ui.say("Clients use it with --host HOST:PORT; to be sure of it on the first visit, with --host-key FINGERPRINT, too.");
    run(stop, |asked| host.run(asked)).await
}

pub(crate) async fn relay(args: args::Relay, ui: &Ui, stop: Stop) -> Result<Exit, Failure> {
    let config = RelayConfig {
        listen: args.listen,
        open: args.open,
        ..RelayConfig::default()
    };
    let relay = Relay::bind(config)
        .await
        .map_err(|error| cannot_start(&error))?;
    for address in relay.local_addrs() {
        ui.must_say(format!("Relay on {address}"));
    }
    ui.must_say("Note: an open relay carries bytes for everybody who finds it.");
    run(stop, |asked| relay.run(asked)).await
}

/// Runs until the process is asked to stop. To be stopped is how a server ends well.
async fn run<F: Future<Output = ()>>(
    mut stop: Stop,
    serve: impl FnOnce(Asked) -> F,
) -> Result<Exit, Failure> {
    let asked: Asked = Box::pin(async move {
        stop.asked().await;
    });
    serve(asked).await;
    Ok(Exit::DONE)
}

type Asked = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn identity(
    pem: Option<(&Path, &Path)>,
    kept: Option<std::path::PathBuf>,
) -> Result<IdentitySource, Failure> {
    if let Some((certificate, key)) = pem {
        return Ok(IdentitySource::Pem {
            certificate: read(certificate)?,
            key: read(key)?,
        });
    }
    let folder = kept
        .or_else(|| state::folder().map(|folder| folder.join("host")))
        .ok_or_else(|| {
            Failure::new(
                Exit::FILES,
                "there is no home folder to keep the certificate in; name one with --state",
            )
        })?;
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::new(
            Exit::FILES,
            format!("cannot make \"{}\": {error}", folder.display()),
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

fn cannot_start(error: &HostError) -> Failure {
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
