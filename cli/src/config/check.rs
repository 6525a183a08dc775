//! `rdv host check-config`: everything that is wrong is said at once, and nothing is started.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use rdv_host::mail::SmtpMailer;

use super::Settings;
use super::read::Trouble;
use crate::accounts;
use crate::exit::{Exit, Failure};
use crate::ops;
use crate::relay;
use crate::serve;
use crate::ui::Ui;

/// Checks the file, and what it names.
pub(crate) async fn run(file: Option<PathBuf>, ui: &Ui) -> Result<Exit, Failure> {
    let Some(file) = file else {
        return Err(Failure::new(
            Exit::USAGE,
            "which file? Name it, or set RDV_HOST_CONFIG",
        ));
    };
    let (settings, mut troubles) = Settings::read(&file)?;
    troubles.extend(
        things(&settings)
            .await
            .into_iter()
            .map(|what| Trouble { line: None, what }),
    );
    let shown = file.display();
    if troubles.is_empty() {
        ui.must_say(format!("\"{shown}\" is in order."));
        return Ok(Exit::DONE);
    }
    for trouble in &troubles {
        ui.must_say(trouble.to_string());
    }
    let count = troubles.len();
    let mistakes = if count == 1 { "mistake" } else { "mistakes" };
    Err(Failure::new(
        Exit::USAGE,
        format!("{count} {mistakes} in \"{shown}\"; nothing was started"),
    ))
}

/// What the values are about: files, addresses, the database.
async fn things(settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |result: Result<(), String>| wrong.extend(result.err());
    let sentence = |failure: Failure| failure.sentence;
    note(match serve::identity(settings) {
        Ok(identity) => identity
            .check()
            .map_err(|error| format!("host.tls_cert: {}", serve::chain(&error))),
        Err(failure) => Err(format!("host.tls_cert: {}", failure.sentence)),
    });
    for (key, addresses) in [
        ("host.listen", &settings.listen),
        ("relay.listen", &settings.relay.listen),
    ] {
        for address in addresses {
            note(is_here(*address).map_err(|why| format!("{key}: {address}: {why}")));
        }
    }
    if let Some(address) = settings.metrics {
        let allowed = ops::may_listen(address, settings.metrics_for_all);
        note(allowed.map_err(|failure| format!("metrics.listen: {}", failure.sentence)));
    }
    note(
        relay::key_of_host(settings, false)
            .map(|_| ())
            .map_err(|failure| format!("relay.key: {}", failure.sentence)),
    );
    if let Some(mail) = &settings.mail
        && let Err(error) = SmtpMailer::new(mail)
    {
        note(Err(format!("mail: {}", serve::chain(&error))));
    }
    let database = async {
        let store = settings.store();
        let Some(url) = accounts::url(&store)? else {
            return Ok(());
        };
        // A database that is not there yet is made by the first start, and in order.
        let path = url.strip_prefix("sqlite:").map(PathBuf::from);
        if path.is_some_and(|path| !path.exists() && has_folder(&path)) {
            return Ok(());
        }
        let accounts = accounts::open(&url, &store).await?;
        let count = accounts.count().await;
        count.map(|_| ()).map_err(|error| accounts::failed(&error))
    };
    note(
        database
            .await
            .map_err(sentence)
            .map_err(|why| format!("accounts.db: {why}")),
    );
    wrong
}

/// Whether the address is one of this machine's. The port may well be in use: by the host that runs.
fn is_here(address: SocketAddr) -> Result<(), std::io::Error> {
    let any_port = SocketAddr::new(address.ip(), 0);
    TcpListener::bind(any_port)?;
    UdpSocket::bind(any_port)?;
    Ok(())
}

fn has_folder(path: &Path) -> bool {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => true,
        folder => folder.is_some_and(Path::is_dir),
    }
}
