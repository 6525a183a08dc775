//! What owners do with their accounts over foodgroup 0x0007 (ADMIN), and how they make them.
//!
//! The session machine of `rdv-proto` has read the request and judged what the bytes alone tell. Here it is decided in this
//! order: whether anything is answered now, the account, whether the field may be changed, what the machine found, the
//! password, what the operator allows; then the store is asked to do it, and others are told.

mod config;
mod connections;
mod desk;
mod email;
mod policy;
mod postage;
mod registrar;

pub use config::{AdminConfig, Registration};
pub(crate) use connections::{AdminSeat, Connections};
pub(crate) use desk::{Asker, Desk, Then};
pub(crate) use registrar::{NotRegistered, Registrar};

use std::sync::Arc;

use crate::accounts::{Accounts, AdminStore};
use crate::config::HostConfig;
use crate::metrics::Metrics;

/// All that a host needs for this.
#[derive(Debug)]
pub(crate) struct Administration {
    pub(crate) desk: Desk,
    pub(crate) connections: Arc<Connections>,
    pub(crate) registrar: Arc<Registrar>,
}

impl Administration {
    /// For these accounts.
    pub(crate) fn new(accounts: &Accounts, config: &HostConfig, metrics: Metrics) -> Self {
        let store = config.admin_store.clone();
        let store = store.unwrap_or_else(|| Arc::new(accounts.clone()) as Arc<dyn AdminStore>);
        let settings = Arc::new(config.admin.clone());
        let desk = Desk::new(store, config.mailer.clone(), settings, metrics);
        Self {
            registrar: Arc::new(Registrar::new(
                accounts.clone(),
                desk.clone(),
                &config.limits,
            )),
            connections: Arc::default(),
            desk,
        }
    }
}
