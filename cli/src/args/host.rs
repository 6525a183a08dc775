//! What the user may type behind `rdv host`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// `rdv host`, alone or with a verb.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Host {
    /// Where to listen; TLS, plain FLAP and relay connections share the port [default: [::]:5190]
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "RDV_HOST_LISTEN",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// Run a relay on this address, too; without it the relay shares the port of the host
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) relay_listen: Vec<SocketAddr>,
    /// Name a relay that runs elsewhere instead of running one; may be given again, those that answer are used in turn
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["relay_listen", "relay_public"])]
    pub(crate) relay: Vec<String>,
    /// The key that relays elsewhere check tickets with; without it the one of `rdv host relay-key`
    #[arg(long, value_name = "FILE")]
    pub(crate) relay_key: Option<PathBuf>,
    /// The address of this machine as the world sees it, if clients connect to another
    #[arg(long, value_name = "ADDR")]
    pub(crate) public: Option<std::net::IpAddr>,
    /// The relay address to tell clients, if it is not the one that they see
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) relay_public: Option<String>,
    /// The certificate chain, PEM; without it one is made and kept
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) store: Store,
    /// Let clients in that are older than MD5 sign-on; anybody on the way can read the passwords that they send
    #[arg(long)]
    pub(crate) museum: bool,
    #[command(flatten)]
    pub(crate) ops: Ops,
    #[command(subcommand)]
    pub(crate) verb: Option<HostVerb>,
}

/// `rdv relay`.
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Where to listen [default: [::]:5190]
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "RDV_RELAY_LISTEN",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<SocketAddr>,
    /// The key of the hosts whose tickets are taken: a copy of what `rdv host relay-key` prints
    #[arg(long, value_name = "FILE", conflicts_with = "open")]
    pub(crate) key: Option<PathBuf>,
    /// Serve everybody, without tickets
    #[arg(long)]
    pub(crate) open: bool,
    /// The IPv4 address of this machine as the world sees it, if clients connect to another
    #[arg(long, value_name = "ADDR")]
    pub(crate) public: Option<std::net::Ipv4Addr>,
    /// Read settings from this file; flags count more
    #[arg(long, value_name = "FILE", env = "RDV_RELAY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ops: Ops,
}

/// What the operator of a host or a relay wants to see of it.
#[derive(Debug, Args)]
pub(crate) struct Ops {
    /// Answer GET /metrics (Prometheus), /healthz and /readyz here, over HTTP
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Let --metrics be an address that other machines reach
    #[arg(long)]
    pub(crate) metrics_for_all: bool,
    /// How the log is written, to standard error
    #[arg(long, value_name = "FORM", value_enum)]
    pub(crate) log: Option<LogForm>,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// For people
    Text,
    /// One JSON object on each line
    Json,
}

/// Where a host keeps what it must not forget.
#[derive(Debug, Args)]
pub(crate) struct Store {
    /// The database of accounts, sqlite:PATH or postgres://USER@HOST/DATABASE; without it `host.db` in the folder of --state
    #[arg(long, value_name = "URL", env = "RDV_HOST_DB", hide_env_values = true)]
    pub(crate) db: Option<String>,
    /// The host's folder, for the certificate that was made and for accounts; without it one in the home folder
    #[arg(long, value_name = "DIR", env = "RDV_HOST_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Read settings from this file; flags count more
    #[arg(long, value_name = "FILE", env = "RDV_HOST_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostVerb {
    /// Manage the accounts of a host, while it runs or not
    User(User),
    /// Check a configuration file and what it names: certificate, database, addresses, mail
    CheckConfig {
        /// The file
        #[arg(value_name = "FILE", env = "RDV_HOST_CONFIG")]
        file: Option<PathBuf>,
    },
    /// Print the key that relays elsewhere check tickets with; made the first time
    RelayKey {
        #[command(flatten)]
        store: Store,
    },
}

const AFTER_USER: &str = "\
A normal password is for rdv, over TLS. Old clients (AIM, ICQ, Pidgin and such) send what others may be able to use, so that they get \
a password of their own, made here; do not type the normal one into them. Passwords are shown once, on standard output. Who \
is signed on stays so, whatever is done to the account.

Exit codes:
    0  done
    2  usage, or a name or password that no account can have
    3  there is no such account
    8  local file problem
   12  there is such an account already, or the database cannot be used now";

#[derive(Debug, Args)]
#[command(after_help = AFTER_USER)]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) verb: UserVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Make an account: 3 to 16 letters, digits and spaces, a letter first; or an ICQ number
    Add {
        /// The name; case and spaces are kept, but make no other account
        name: String,
        /// Let old clients sign on, with another password that is made for them
        #[arg(long)]
        legacy: bool,
        /// The mail address of its owner, which you vouch for
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Do not vouch for it: the owner has to prove it
        #[arg(long, requires = "email")]
        unconfirmed: bool,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        more: UserMore,
    },
    /// Show all that is stored of an account but its secrets
    Show {
        /// The account
        name: String,
        #[command(flatten)]
        more: UserMore,
    },
    /// Show who changed what, the latest last: of all accounts, or of one
    Audit {
        /// The account; it may be gone
        name: Option<String>,
        /// No further back than this, such as 12h or 30d
        #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
        since: Option<Duration>,
        #[command(flatten)]
        more: UserMore,
    },
    /// Confirm an account without a mail: its address, or the one that waits to become it, is known to be right
    Confirm {
        /// The account
        name: String,
        #[command(flatten)]
        more: UserMore,
    },
    /// List the accounts
    List {
        #[command(flatten)]
        more: UserMore,
    },
    /// Let nobody sign on to an account
    Disable {
        /// The account
        name: String,
        #[command(flatten)]
        more: UserMore,
    },
    /// Let an account that was disabled sign on again
    Enable {
        /// The account
        name: String,
        #[command(flatten)]
        more: UserMore,
    },
    /// Give an account another normal password
    Reset {
        /// The account
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        more: UserMore,
    },
    /// Make another password for old clients, or a first one, which lets them in
    ResetLegacy {
        /// The account
        name: String,
        /// Make none: let old clients in no more
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        more: UserMore,
    },
    /// Take an account away, with its contacts; its name is free then
    Remove {
        /// The account
        name: String,
        #[command(flatten)]
        more: UserMore,
    },
}

impl UserVerb {
    /// What all of them take.
    pub(crate) fn more(&self) -> &UserMore {
        match self {
            Self::Add { more, .. }
            | Self::Show { more, .. }
            | Self::Audit { more, .. }
            | Self::Confirm { more, .. }
            | Self::List { more }
            | Self::Disable { more, .. }
            | Self::Enable { more, .. }
            | Self::Reset { more, .. }
            | Self::ResetLegacy { more, .. }
            | Self::Remove { more, .. } => more,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PasswordFrom {
    /// Take the normal password from the first line of this file; without it one is made
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct UserMore {
    /// Print JSON objects on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) store: Store,
}
