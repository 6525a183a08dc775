//! What the user may type about accounts and contacts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rdv::ScreenName;

use super::Through;

#[derive(Debug, Subcommand)]
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
