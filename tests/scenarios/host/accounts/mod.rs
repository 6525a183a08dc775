//! Accounts, and the old clients that sign on to them.

mod attacks;
mod captures;
mod frames;
mod instances;
mod lists;
mod messages;
mod offline;
mod presence;
mod relay;
mod sessions;
mod sign_on;

use std::net::SocketAddr;

use rdv_host::accounts::{Accounts, Password};
use rdv_host::{DrainConfig, HostConfig, HostHandle, Unready};
use rdv_proto::session::RateClass;
use rdv_tests::old_client::{Manners, OldClient};
use tempfile::TempDir;

use super::{host_with, port};

/// The password of everybody: for the normal sign-on.
pub(super) const PASSWORD: &str = "a normal password";

/// A host with accounts.
pub(super) struct Town {
    pub(super) host: HostHandle,
    pub(super) accounts: Accounts,
    _folder: TempDir,
}

impl Town {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// One in which old clients may write as fast as they like.
    async fn in_a_hurry() -> Self {
        Self::with(|config| config.limits.rates_old.icbm = RateClass::ICBM).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.db");
        let accounts = Accounts::open(&format!("sqlite:{}", path.display()))
            .await
            .unwrap();
        let used = accounts.clone();
        let host = host_with(|config| {
            config.accounts = Some(used);
            change(config);
        })
        .await;
        Self {
            host,
            accounts,
            _folder: folder,
        }
    }

    pub(super) fn port(&self) -> SocketAddr {
        port(&self.host)
    }

    /// Begins to go down.
    pub(super) async fn drain(&mut self, config: DrainConfig) {
        self.host.begin_drain(config);
        while !self
            .host
            .health()
            .troubles()
            .await
            .contains(&Unready::Draining)
        {
            tokio::task::yield_now().await;
        }
    }

    /// Makes an account that old clients may use; the password for them.
    pub(super) async fn account(&self, name: &str) -> String {
        let password = Some(Password::new(PASSWORD));
        let created = self.accounts.create(name, password, true).await.unwrap();
        created.legacy_password.unwrap().expose().to_owned()
    }

    /// Makes an account, and signs on to it as libpurple does.
    pub(super) async fn citizen(&self, name: &str) -> OldClient {
        let password = self.account(name).await;
        self.sign_on(name, &password).await
    }

    pub(super) async fn sign_on(&self, name: &str, password: &str) -> OldClient {
        OldClient::sign_on(self.port(), name, password, &Manners::default())
            .await
            .unwrap()
    }
}
