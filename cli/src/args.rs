//! What the user may type.

mod account;
mod doctor;
mod host;
mod road;
mod shared;
mod transfers;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rdv::ScreenName;

pub(crate) use account::{AccountAt, AccountVerb, Contact, ContactVerb, Create, Findable, Login};
pub(crate) use doctor::Doctor;
pub(crate) use host::{Host, HostVerb, LogForm, Ops, Relay, Store, User, UserVerb};
pub(crate) use road::{RelayUse, Road, Through, Ways};
pub(crate) use shared::{Shared, Sharing};
pub(crate) use transfers::{Transfers, TransfersVerb};

const AFTER: &str = "\
`rdv CODE` is `rdv receive CODE`.

Exit codes:
    0  done and verified
    1  other failure
    2  usage
    3  nobody there or not signed on; the code is unknown, used or expired
    4  declined or cancelled by the other side
    5  wrong code, another key than before, or not as safe as demanded
    6  no path between the two machines
    8  local file problem
    9  content did not verify
   10  incompatible version
   11  rate limit
   12  host, relay or account
   13  accepted on another device
  124  --timeout is over
  130, 143  interrupted, terminated";

/// Sends files from one person to another: directly if the network allows it, through a relay if not.
#[derive(Debug, Parser)]
#[command(name = "rdv", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Say only what must be said
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice: say everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Send files, folders or a text: to whoever enters the code that is shown, or to somebody by name (--to)
    #[command(visible_alias = "tx")]
    Send(Send),
    /// Receive what somebody sends: by the code that they tell you, or with an account from whoever you know (--listen)
    #[command(visible_aliases = ["rx", "recv"])]
    Receive(Receive),
    /// Look at the files that somebody shares with you, and fetch some
    Shared(Shared),
    /// Make an account at a host, sign on with one, change it, delete it; name and password are kept
    #[command(subcommand)]
    Account(AccountVerb),
    /// Whom you know at a host
    #[command(subcommand)]
    Contact(ContactVerb),
    /// Run a host: it hands out codes and carries the messages of a rendezvous; or manage its accounts
    Host(Host),
    /// Run a relay: it joins two connections that cannot meet otherwise
    Relay(Relay),
    /// Look at the network: what kind it is, and what that means for transfers
    Doctor(Doctor),
    /// List the last transfers, or show what was tried for one of them
    Transfers(Transfers),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Files and folders to send
    #[arg(value_name = "PATH", required_unless_present = "text")]
    pub(crate) paths: Vec<PathBuf>,
    /// Send this text instead of files
    #[arg(long, value_name = "STR", conflicts_with = "paths")]
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) road: Road,
    /// How long the code stays good, such as 30m, 1h or 2d
    #[arg(long, value_name = "D", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) expire: Duration,
    /// Send to this user of the host that you are signed on to; no code is needed
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<ScreenName>,
    #[command(flatten)]
    pub(crate) user: AsUser,
    /// To an old client: send all files over one connection; not every one can take that
    #[arg(long, requires = "to")]
    pub(crate) batch: bool,
}

/// How to deal with the other users of a host.
#[derive(Debug, Args)]
pub(crate) struct AsUser {
    /// Which of your accounts, as NAME or NAME@HOST:PORT; needed if there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Old clients may send or get files without encryption, which anyone between you can read and change
    #[arg(long)]
    pub(crate) allow_plain: bool,
    /// Do as old clients do: no transfers of our own kind
    #[arg(long)]
    pub(crate) no_native: bool,
    /// A relay of your own, for hosts that have none
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) relay_server: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Receive {
    /// The code; better typed at the prompt, or given by RDV_CODE, --code-file or standard input
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Read the code from this file
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    pub(crate) code_file: Option<PathBuf>,
    /// The folder to write into; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// Accept what is offered without asking; with --listen only from --from and from contacts
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Stay signed on and take what users of the host send
    #[arg(short, long, conflicts_with_all = ["code", "code_file"])]
    pub(crate) listen: bool,
    /// Take files from this user and from nobody else; may be repeated
    #[arg(long, value_name = "NAME", requires = "listen")]
    pub(crate) from: Vec<ScreenName>,
    /// End after so many transfers
    #[arg(long, value_name = "N", requires = "listen", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) user: AsUser,
    #[command(flatten)]
    pub(crate) sharing: Sharing,
    /// What to do if a name is taken
    #[arg(long, value_enum, default_value_t = IfExists::Rename, value_name = "WHAT")]
    pub(crate) if_exists: IfExists,
    /// Keep the execute bits of files
    #[arg(long)]
    pub(crate) keep_exec: bool,
    #[command(flatten)]
    pub(crate) road: Road,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IfExists {
    /// Go on with a file of an old client that broke off, if it still is the same; else as `rename`
    Resume,
    /// Take a free name such as `name (1).ext`
    Rename,
    /// Replace the old file when the new one is whole
    Overwrite,
    /// Leave the old file and do not fetch the new one
    Skip,
    /// Refuse
    Fail,
}

impl From<IfExists> for rdv::IfExists {
    fn from(what: IfExists) -> Self {
        match what {
            IfExists::Resume => Self::Resume,
            IfExists::Rename => Self::Rename,
            IfExists::Overwrite => Self::Overwrite,
            IfExists::Skip => Self::Skip,
            IfExists::Fail => Self::Fail,
        }
    }
}
