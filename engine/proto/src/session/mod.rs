//! The host's half of a session, as far as it is arithmetic: sign-on, administration of accounts, numbers, rate classes, what others see of a user, and
//! what a host does to the messages that pass through it.

mod account;
pub mod admin;
mod buddy;
mod duties;
mod excess;
mod feedbag;
mod guests;
mod icbm;
mod locate;
mod numbers;
mod oservice;
mod output;
mod presence;
mod privacy;
mod proposals;
mod rate;
mod rates;
mod server;
mod sign_on;

pub use account::{AccountSignOn, Admission, NewAccount, Party, Proof, Sessions};
pub use admin::{AdminAnswer, AdminRequest, Change, FieldAnswer, PasswordForm, Secret};
pub use duties::{BustedBlock, Carried, carry};
pub use excess::{Excess, ProposalExcess};
pub use guests::Guests;
pub use icbm::DEFAULT_PARAMETERS;
pub use numbers::{Numbers, ReclaimError, Token};
pub use output::{
    FeedbagEdit, FeedbagRequest, LocateChange, NamesChange, Outbound, Output, PrivacyList, Refusal,
    Rendezvous, SessionConfig, StatusChange, Text, Wish,
};
pub use presence::{Shown, departed, guest_info, unite};
pub use privacy::{Lists, NAMES_MAX, Privacy};
pub use proposals::{Entry, ProposalBook, ProposalLimits};
pub use rate::{RateClass, RateState, Verdict};
pub use rates::RateTable;
pub use server::Session;
