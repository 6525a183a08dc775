//! The log of a host or relay, on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::LogSettings;

/// Starts it. What `RDV_LOG` says counts most, then the file; without either, what `-v` asks for.
pub(crate) fn start(settings: &LogSettings, verbose: u8) {
    let default = match verbose {
        // Programs read what people would be tired of.
        0 if settings.json => "warn,rdv=info,rdv_host=info",
        0 => "warn",
        1 => "info,rdv=debug,rdv_host=debug",
        _ => "trace",
    };
    let level = settings.level.as_deref().filter(|_| verbose == 0);
    let filter = EnvFilter::try_from_env("RDV_LOG")
        .or_else(|_| EnvFilter::try_new(level.unwrap_or(default)))
        .unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.json {
        true => log.json().flatten_event(true).init(),
        false => log
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
    }
}
