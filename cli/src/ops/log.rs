//! The log of a host or relay, on standard error.

use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::config::LogSettings;
use crate::ui::Ui;

/// Says what a server has to say about itself: to people in sentences, to programs in the log, so that there is nothing else among its
/// objects.
pub(crate) struct Teller<'a> {
    json: bool,
    ui: &'a Ui,
}

impl<'a> Teller<'a> {
    pub(crate) fn new(settings: &LogSettings, ui: &'a Ui) -> Self {
        let json = settings.json;
        Self { json, ui }
    }

    /// What must be known.
    pub(crate) fn must_say(&self, line: impl AsRef<str>) {
        match self.json {
            true => info!("{}", line.as_ref()),
            false => self.ui.must_say(line),
        }
    }

    /// What helps.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        match self.json {
            true => info!("{}", line.as_ref()),
            false => self.ui.say(line),
        }
    }
}

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
