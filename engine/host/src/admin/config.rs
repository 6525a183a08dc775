//! What the operator lets owners of accounts do.

use std::time::Duration;

use crate::accounts::Fields;

/// Settings of foodgroup 0x0007 and of accounts that are made at sign-on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where errors are explained; goes out with each of them, empty or not, and is never opened by our clients.
    pub error_url: String,
    /// Owners may delete their accounts.
    pub delete: bool,
    /// Domains that no address may be in, nor in one below them; without regard to case.
    pub blocked_domains: Vec<String>,
    /// Fields that nobody may change for now, beside those that are frozen for the account.
    pub frozen: Fields,
    /// Accounts with one e-mail address.
    pub names_per_email: u32,
    /// Changes of one account in 24 hours.
    pub changes_per_day: u32,
    /// For how long the code in a confirmation mail is good; nobody gets another one before.
    pub confirm_life: Duration,
    /// Whether everybody may make an account.
    pub registration: Registration,
    /// Accounts that one address may make in an hour.
    pub accounts_per_hour: u32,
    /// Names that nobody may take at sign-on; the operator may give them away.
    pub reserved_names: Vec<String>,
}

/// Who makes accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// The operator alone.
    #[default]
    Closed,
    /// Everybody, over TLS.
    Open,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            error_url: String::new(),
            delete: false,
            blocked_domains: Vec::new(),
            frozen: Fields::NONE,
            names_per_email: 5,
            changes_per_day: 20,
            confirm_life: Duration::from_secs(2 * 3600),
            registration: Registration::Closed,
            accounts_per_hour: 5,
            reserved_names: Vec::new(),
        }
    }
}
