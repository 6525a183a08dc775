//! What the user may type behind `rdv host`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `rdv host`, alone or with a verb.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Host {
    /// Where to listen; TLS, plain FLAP and relay connections share the port
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:5190")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Run a relay on this address, too; without it the relay shares the port of the host
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) relay_listen: Option<SocketAddr>,
    /// Name a relay that runs elsewhere instead of running one; may be given again, those that answer are used in turn
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["relay_listen", "relay_public"])]
    pub(crate) relay: Vec<String>,
    /// The key that those relays know, as `rdv host relay-key` prints it; without it the one in the host's folder
    #[arg(long, value_name = "FILE", requires = "relay")]
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
    #[command(subcommand)]
    pub(crate) verb: Option<HostVerb>,
}

/// Where a host keeps what it must not forget.
#[derive(Debug, Args)]
pub(crate) struct Store {
    /// The database of accounts, sqlite:PATH or postgres://USER@HOST/DATABASE; without it `host.db` in the folder of --state
    #[arg(long, value_name = "URL")]
    pub(crate) db: Option<String>,
    /// The host's folder, for the certificate that was made and for accounts; without it one in the home folder
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostVerb {
    /// Manage the accounts of a host, while it runs or not
    User(User),
    /// Print the key that relays on other machines need, for `rdv relay --key`; it is made and kept if there is none
    RelayKey(RelayKey),
}

#[derive(Debug, Args)]
pub(crate) struct RelayKey {
    #[command(flatten)]
    pub(crate) store: Store,
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
        #[command(flatten)]
        password: PasswordFrom,
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
