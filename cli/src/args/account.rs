//! What the user may type about accounts and contacts.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rdv::ScreenName;

use super::Through;

const AFTER: &str = "\
Passwords are asked for, or read from a file; they stand on no command line. What the host refuses is told by its name, with what to do.";

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER)]
pub(crate) enum AccountVerb {
    /// Sign on once, and keep name and password if the host takes them
    Login(Login),
    /// Forget the password of an account
    Logout {
        /// Which, as NAME or NAME@HOST:PORT; needed if there are several
        name: Option<String>,
    },
    /// Show the accounts that are kept, and the fingerprint of your key
    List {
        /// Print one JSON object per line on standard output
        #[arg(long)]
        json: bool,
    },
    /// Make an account at a host that lets people do so, and keep it
    Create(Create),
    /// Show what the host knows of an account
    Info {
        #[command(flatten)]
        at: AccountAt,
    },
    /// Give an account another password, which is kept in place of the old one
    Passwd {
        /// Read the new password from this file; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        at: AccountAt,
    },
    /// Give an account another mail address, or say who may find it by that
    Email {
        /// The address
        #[arg(required_unless_present = "findable")]
        address: Option<String>,
        /// What somebody who knows the address may find out
        #[arg(long, value_enum, value_name = "WHAT")]
        findable: Option<Findable>,
        #[command(flatten)]
        at: AccountAt,
    },
    /// Write the name of an account in another way: capitals and single spaces
    Format {
        /// The name as it should be shown
        name: String,
        #[command(flatten)]
        at: AccountAt,
    },
    /// Have a code mailed to the address of an account; with the code, prove that the address is yours
    Confirm {
        /// The code in the mail
        code: Option<String>,
        #[command(flatten)]
        at: AccountAt,
    },
    /// Delete an account at its host, for good
    Delete {
        /// The name of the account, to be sure; without it, it is asked for
        name: Option<ScreenName>,
        /// Read the password from this file; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        at: AccountAt,
    },
}

impl AccountVerb {
    /// Whether programs want to know.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List { json } => *json,
            Self::Create(create) => create.json,
            Self::Info { at }
            | Self::Passwd { at, .. }
            | Self::Email { at, .. }
            | Self::Format { at, .. }
            | Self::Confirm { at, .. }
            | Self::Delete { at, .. } => at.json,
            Self::Login(_) | Self::Logout { .. } => false,
        }
    }
}

/// Which account, and how to get to its host.
#[derive(Debug, Args)]
pub(crate) struct AccountAt {
    /// Which of your accounts, as NAME or NAME@HOST:PORT; needed if there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Print one JSON object per line on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) through: Through,
}

/// What the mail address of an account tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Findable {
    /// Nothing
    Nothing,
    /// That there is an account
    Account,
    /// Its name
    Name,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The name: 3 to 16 letters, digits and spaces, a letter first
    pub(crate) name: ScreenName,
    /// The host to make it at
    #[arg(long, value_name = "HOST:PORT", env = "RDV_HOST")]
    pub(crate) host: String,
    /// A mail address of yours
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
    /// Read the password from this file; without it, it is asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The fingerprint that the host must show; without it, the first one seen is remembered
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) host_key: Option<String>,
    /// Print one JSON object per line on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) through: Through,
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The name of the account
    pub(crate) name: ScreenName,
    /// The host that it is at
    #[arg(long, value_name = "HOST:PORT", env = "RDV_HOST")]
    pub(crate) host: String,
    /// Read the password from this file; without it, it is asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The fingerprint that the host must show; without it, the first one seen is remembered
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) host_key: Option<String>,
    /// The host is an old one: allow its weak sign-on, and no encryption to it if it knows none
    #[arg(long)]
    pub(crate) plain_host: bool,
    #[command(flatten)]
    pub(crate) through: Through,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContactVerb {
    /// Show them
    List {
        #[command(flatten)]
        of: ContactOf,
        /// Print one JSON object per line on standard output
        #[arg(long)]
        json: bool,
    },
    /// Add somebody, or change what they may
    Add {
        #[command(flatten)]
        who: Contact,
        /// With this one, files may go without encryption, which anyone between you can read and change
        #[arg(long)]
        allow_plain: bool,
    },
    /// Remove somebody; their key stays known
    Remove(Contact),
    /// Note that you have compared this fingerprint with its owner
    Verify {
        #[command(flatten)]
        who: Contact,
        /// What the owner reads out to you
        fingerprint: String,
    },
    /// Forget the key that somebody had: the next transfer is a first contact
    Forget(Contact),
}

#[derive(Debug, Args)]
pub(crate) struct Contact {
    /// Who
    pub(crate) name: ScreenName,
    #[command(flatten)]
    pub(crate) of: ContactOf,
}

#[derive(Debug, Args)]
pub(crate) struct ContactOf {
    /// Of which of your accounts, as NAME or NAME@HOST:PORT; needed if there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
}
