//! What `rdv host` and `rdv relay` are told: by a file, by the environment, and by flags, which win in this order.

mod check;
mod limits;
mod read;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rdv_host::accounts::Fields;
use rdv_host::mail::MailConfig;
use rdv_host::{
    AdminConfig, DrainConfig, Limits, LogPolicy, Registration, RelayLimits, ResponderLimits,
};

use self::read::{Table, Trouble};
use self::values::{ADDRESS, COUNT_U32, FLAG, NUMBERS, PATH, SOCKET, SOCKETS, TEXT, TEXTS, TIME};
use crate::args;
use crate::exit::{Exit, Failure};

pub(crate) use check::run as check;

/// More than any such file has, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Where to listen if nothing was said.
const LISTEN: &str = "[::]:5190";

/// Everything that may be set, with what was.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Empty: see [`or_default`].
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) public: Option<IpAddr>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) numbers: RangeInclusive<u16>,
    pub(crate) museum: bool,
    pub(crate) db: Option<String>,
    pub(crate) relay: RelaySettings,
    pub(crate) admin: AdminConfig,
    pub(crate) mail: Option<MailConfig>,
    pub(crate) limits: Limits,
    pub(crate) relay_limits: RelayLimits,
    pub(crate) stun_limits: ResponderLimits,
    pub(crate) drain: DrainConfig,
    pub(crate) metrics: Option<SocketAddr>,
    /// The metrics may be read from other machines.
    pub(crate) metrics_for_all: bool,
    pub(crate) log: LogSettings,
}

/// Of a relay, and of a host about its relays.
#[derive(Debug, Default)]
pub(crate) struct RelaySettings {
    pub(crate) listen: Vec<SocketAddr>,
    /// Relays elsewhere.
    pub(crate) addresses: Vec<String>,
    pub(crate) public: Option<String>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) open: bool,
}

#[derive(Debug, Default)]
pub(crate) struct LogSettings {
    pub(crate) json: bool,
    /// As of the variable `RDV_LOG`.
    pub(crate) level: Option<String>,
    pub(crate) policy: LogPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            public: None,
            tls_cert: None,
            tls_key: None,
            state: None,
            numbers: 1..=9999,
            museum: false,
            db: None,
            relay: RelaySettings::default(),
            admin: AdminConfig::default(),
            mail: None,
            limits: Limits::default(),
            relay_limits: RelayLimits::default(),
            stun_limits: ResponderLimits::default(),
            drain: DrainConfig::default(),
            metrics: None,
            metrics_for_all: false,
            log: LogSettings::default(),
        }
    }
}

impl Settings {
    /// What the file says, if there is one; the rest is as ever.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let (settings, troubles) = Self::read(file)?;
        if troubles.is_empty() {
            return Ok(settings);
        }
        let troubles: Vec<String> = troubles.iter().map(ToString::to_string).collect();
        let sentence = format!(
            "\"{}\" cannot be used:\n  {}",
            file.display(),
            troubles.join("\n  ")
        );
        Err(Failure::new(Exit::USAGE, sentence))
    }

    /// What the file says, and all that is wrong with it.
    fn read(file: &Path) -> Result<(Self, Vec<Trouble>), Failure> {
        let failed = |error: std::io::Error| {
            let sentence = format!("cannot read \"{}\": {error}", file.display());
            Failure::new(Exit::FILES, sentence)
        };
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(failed)?;
        std::io::Read::read_to_string(&mut std::io::Read::take(opened, FILE_MAX), &mut text)
            .map_err(failed)?;
        let mut settings = Self::default();
        let troubles = read::read(&text, |root| settings.fill(root));
        settings.resolve(file.parent().unwrap_or(Path::new("")));
        Ok((settings, troubles))
    }

    fn fill(&mut self, root: &mut Table<'_>) {
        root.within("host", |host| {
            host.set("listen", &SOCKETS, &mut self.listen);
            host.set_some("public", &ADDRESS, &mut self.public);
            host.set_some("tls_cert", &PATH, &mut self.tls_cert);
            host.set_some("tls_key", &PATH, &mut self.tls_key);
            host.set_some("state", &PATH, &mut self.state);
            host.set("numbers", &NUMBERS, &mut self.numbers);
            host.set("museum", &FLAG, &mut self.museum);
            host.set("sign_off_spread", &TIME, &mut self.drain.sign_off_spread);
            host.set("sign_off_each", &TIME, &mut self.drain.sign_off_each);
            host.set("relay_time", &TIME, &mut self.drain.relay_time);
            if self.tls_cert.is_some() != self.tls_key.is_some() {
                let given = match self.tls_cert {
                    Some(_) => "tls_cert",
                    None => "tls_key",
                };
                host.complain(given, "tls_cert and tls_key go together");
            }
        });
        root.within("relay", |relay| self.relay.fill(relay));
        root.within("accounts", |accounts| {
            accounts.set_some("db", &TEXT, &mut self.db);
        });
        root.within("admin", |admin| fill_admin(&mut self.admin, admin));
        let mut mail = MailConfig::default();
        if root.within("mail", |table| fill_mail(&mut mail, table)) {
            self.mail = Some(mail);
        }
        root.within("limits", |limits| {
            limits::fill(&mut self.limits, limits);
            limits.within("relay", |relay| {
                limits::fill_relay(&mut self.relay_limits, relay)
            });
            limits.within("stun", |stun| {
                limits::fill_stun(&mut self.stun_limits, stun)
            });
        });
        root.within("metrics", |metrics| {
            metrics.set_some("listen", &SOCKET, &mut self.metrics);
            metrics.set("for_all", &FLAG, &mut self.metrics_for_all);
        });
        root.within("log", |log| self.log.fill(log));
    }

    /// Paths of the file are meant from where it is.
    fn resolve(&mut self, folder: &Path) {
        let mail = self
            .mail
            .as_mut()
            .map(|mail| [&mut mail.password_file, &mut mail.ca_file]);
        let own = [
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.state,
            &mut self.relay.key,
        ];
        for path in own.into_iter().chain(mail.into_iter().flatten()).flatten() {
            *path = folder.join(&path);
        }
    }

    /// Where the accounts are.
    pub(crate) fn store(&self) -> args::Store {
        args::Store {
            db: self.db.clone(),
            state: self.state.clone(),
            config: None,
        }
    }

    /// What was said on the command line counts more than the file.
    pub(crate) fn override_with_host(&mut self, args: args::Host) {
        replace(&mut self.listen, args.listen);
        if !args.relay_listen.is_empty() || !args.relay.is_empty() {
            self.relay.listen = args.relay_listen;
            self.relay.addresses = args.relay;
        }
        self.public = args.public.or(self.public);
        self.relay.public = args.relay_public.or(self.relay.public.take());
        self.relay.key = args.relay_key.or(self.relay.key.take());
        if args.tls_cert.is_some() {
            self.tls_cert = args.tls_cert;
            self.tls_key = args.tls_key;
        }
        self.db = args.store.db.or(self.db.take());
        self.state = args.store.state.or(self.state.take());
        self.museum |= args.museum;
        self.override_with_ops(args.ops);
    }

    /// As [`Settings::override_with_host`].
    pub(crate) fn override_with_relay(&mut self, args: args::Relay) {
        replace(&mut self.relay.listen, args.listen);
        self.relay.key = args.key.or(self.relay.key.take());
        self.relay.open |= args.open;
        let public = args.public.map(|public| public.to_string());
        self.relay.public = public.or(self.relay.public.take());
        self.override_with_ops(args.ops);
    }

    fn override_with_ops(&mut self, args: args::Ops) {
        self.metrics = args.metrics.or(self.metrics);
        self.metrics_for_all |= args.metrics_for_all;
        if let Some(log) = args.log {
            self.log.json = log == args::LogForm::Json;
        }
    }
}

/// Where the accounts are, if the file says so and nothing else does.
pub(crate) fn completed(store: &args::Store) -> Result<args::Store, Failure> {
    let settings = Settings::load(store.config.as_deref())?;
    Ok(args::Store {
        db: store.db.clone().or(settings.db),
        state: store.state.clone().or(settings.state),
        config: None,
    })
}

/// Where to listen.
pub(crate) fn or_default(listen: &[SocketAddr]) -> Vec<SocketAddr> {
    match listen {
        [] => LISTEN.parse().into_iter().collect(),
        named => named.to_vec(),
    }
}

fn replace<T>(list: &mut Vec<T>, by: Vec<T>) {
    if !by.is_empty() {
        *list = by;
    }
}

impl RelaySettings {
    fn fill(&mut self, relay: &mut Table<'_>) {
        relay.set("listen", &SOCKETS, &mut self.listen);
        relay.set("addresses", &TEXTS, &mut self.addresses);
        relay.set_some("public", &TEXT, &mut self.public);
        relay.set_some("key", &PATH, &mut self.key);
        relay.set("open", &FLAG, &mut self.open);
    }
}

impl LogSettings {
    fn fill(&mut self, log: &mut Table<'_>) {
        log.set("json", &FLAG, &mut self.json);
        log.set_some("level", &TEXT, &mut self.level);
        log.set("names", &FLAG, &mut self.policy.names);
        log.set("addresses", &FLAG, &mut self.policy.addresses);
        if let Some(level) = &self.level
            && let Err(error) = tracing_subscriber::EnvFilter::try_new(level)
        {
            log.complain(
                "level",
                format!("{error}; \"warn\", \"info\" and \"debug\" are allowed"),
            );
        }
    }
}

fn fill_admin(config: &mut AdminConfig, admin: &mut Table<'_>) {
    admin.set("error_url", &TEXT, &mut config.error_url);
    admin.set("delete", &FLAG, &mut config.delete);
    admin.set("blocked_domains", &TEXTS, &mut config.blocked_domains);
    admin.set("changes_per_day", &COUNT_U32, &mut config.changes_per_day);
    admin.set("confirm_life", &TIME, &mut config.confirm_life);
    admin.set("reserved_names", &TEXTS, &mut config.reserved_names);
    admin.set("names_per_email", &COUNT_U32, &mut config.names_per_email);
    admin.set(
        "accounts_per_hour",
        &COUNT_U32,
        &mut config.accounts_per_hour,
    );
    if let Some(registration) = admin.get("registration", &TEXT) {
        match registration.as_str() {
            "closed" => config.registration = Registration::Closed,
            "open" => config.registration = Registration::Open,
            _ => admin.complain("registration", "\"closed\" and \"open\" are allowed"),
        }
    }
    for name in admin.get("frozen", &TEXTS).into_iter().flatten() {
        let field = match name.as_str() {
            "format" => Fields::FORMAT,
            "email" => Fields::EMAIL,
            "password" => Fields::PASSWORD,
            "registration" => Fields::REGISTRATION,
            _ => {
                admin.complain(
                    "frozen",
                    "\"format\", \"email\", \"password\" and \"registration\" are allowed",
                );
                continue;
            }
        };
        config.frozen = config.frozen | field;
    }
}

fn fill_mail(config: &mut MailConfig, mail: &mut Table<'_>) {
    mail.set("smtp", &TEXT, &mut config.smtp);
    mail.set_some("password_file", &PATH, &mut config.password_file);
    mail.set("from", &TEXT, &mut config.from);
    mail.set_some("confirm_url", &TEXT, &mut config.confirm_url);
    mail.set("plain", &FLAG, &mut config.plain);
    mail.set_some("ca_file", &PATH, &mut config.ca_file);
    mail.set("timeout", &TIME, &mut config.timeout);
    mail.set("at_once", &values::COUNT, &mut config.at_once);
    mail.set("queue", &values::COUNT, &mut config.queue);
    mail.set("deferred", &values::COUNT, &mut config.deferred);
}
