//! What the operator does to accounts that are signed on, with another program and the same database.
//!
//! Each deed leaves a line in the audit table. A look at what is new there, every two seconds, costs one search by its key.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info};

use crate::accounts::{Accounts, AccountsError, Effect, Journal};
use crate::host::Shared;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Sign-off reason: there is no such account any more.
const DELETED: u16 = 2;

/// Looks until `stopped`.
pub(crate) async fn watch_accounts(
    accounts: Accounts,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut journal = Journal::default();
    loop {
        match look(&accounts, &shared, &mut journal).await {
            Ok(()) => {}
            // The next look sees what this one missed.
            Err(error) => debug!(%error, "what the operator does cannot be seen"),
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

async fn look(
    accounts: &Accounts,
    shared: &Shared,
    journal: &mut Journal,
) -> Result<(), AccountsError> {
    for deed in accounts.news(journal).await? {
        let (id, name) = (deed.account, &deed.name);
        let routes = &shared.routes;
        let administration = |reason| {
            // Whoever is on its way with a cookie showed who it is before this.
            shared.cookies.take_back(id, deed.at);
            if let Some(admin) = &shared.admin {
                admin.connections.expel(id, reason);
            }
        };
        match deed.effect {
            Effect::Deleted => {
                administration(Some(DELETED));
                routes.expel(id, name, DELETED).await;
            }
            Effect::Ended => {
                info!("sign-ons of an account end: it was disabled, or has another password");
                administration(None);
                // Who came with the new password stays.
                routes.expel_earlier(id, name, deed.at).await;
            }
            Effect::Confirmed => routes.confirmed(id, name, true).await,
        }
    }
    Ok(())
}
