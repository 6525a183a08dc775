//! Whether a host that runs can do its work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::host::Shared;
use crate::offer::Place;

/// How long the database has to answer.
const DATABASE: Duration = Duration::from_secs(2);

/// Asks a host whether it can do its work, while it runs and after. Clones ask the same host.
#[derive(Clone)]
pub struct Health(Arc<Shared>);

/// Why a host cannot do its work, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unready {
    /// It is on its way down.
    Draining,
    /// The database of accounts does not answer.
    Database,
    /// None of the relays that it hands out answers.
    Relays,
}

impl Health {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// What is wrong; nothing if the host is ready.
    pub async fn troubles(&self) -> Vec<Unready> {
        let mut troubles = Vec::new();
        if self.0.drain.is_on() {
            troubles.push(Unready::Draining);
        }
        if let Some(accounts) = &self.0.accounts {
            let answer = timeout(DATABASE, accounts.count()).await;
            if !matches!(answer, Ok(Ok(_))) {
                self.0.metrics.database_error("health");
                troubles.push(Unready::Database);
            }
        }
        if let Some(Place::Elsewhere(roster)) = self.0.relay.as_ref().map(|offer| &offer.place)
            && !roster.has_living()
        {
            troubles.push(Unready::Relays);
        }
        troubles
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draining => "draining",
            Self::Database => "the database does not answer",
            Self::Relays => "no relay answers",
        })
    }
}
