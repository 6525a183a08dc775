//! What one relay bears.

use std::time::Duration;

use crate::pace::Pace;

/// Limits of a relay; each may be set. The defaults are those of the security page, section 6.
#[derive(Clone, Copy, Debug)]
pub struct RelayLimits {
    /// From the connection to its first command.
    pub first_command: Duration,
    /// From CREATED to the join of the partner.
    pub join: Duration,
    /// A pair that carries nothing for so long ends.
    pub pair_idle: Duration,
    /// A pair ends after so long in any case.
    pub pair_life: Duration,
    /// A pair ends after so many bytes, both directions together.
    pub pair_bytes: u64,
    /// Bytes that the pairs of one account carry in a day.
    pub account_bytes_per_day: u64,
    /// Connections without a first command, per address.
    pub silent_per_address: usize,
    /// Connections without a first command, in all.
    pub silent: usize,
    /// Sessions that wait for a partner, per address.
    pub waiting_per_address: usize,
    /// Sessions that wait for a partner, per account.
    pub waiting_per_account: usize,
    /// Sessions that wait for a partner, in all.
    pub waiting: usize,
    /// Pairs per address.
    pub pairs_per_address: usize,
    /// Pairs per account.
    pub pairs_per_account: usize,
    /// Pairs in all.
    pub pairs: usize,
    /// Wrong joins per address.
    pub wrong_joins: Pace,
    /// How long an address with too many of them stays closed.
    pub closed_for: Duration,
    /// Accounts that something is remembered of: open sessions and pairs, bytes of the day, tickets.
    pub accounts: usize,
    /// Tickets of one account that are remembered until they expire, since each is good for one pair.
    pub tickets_per_account: usize,
    /// How long a used token is not given out again.
    pub token_rest: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            first_command: Duration::from_secs(10),
            join: Duration::from_secs(120),
            pair_idle: Duration::from_secs(120),
            pair_life: Duration::from_secs(24 * 3600),
            pair_bytes: 64 << 30,
            account_bytes_per_day: 200 << 30,
            silent_per_address: 16,
            silent: 2_048,
            waiting_per_address: 8,
            waiting_per_account: 4,
            waiting: 2_048,
            pairs_per_address: 16,
            pairs_per_account: 4,
            pairs: 2_000,
            wrong_joins: Pace::new(10, Duration::from_secs(60)),
            closed_for: Duration::from_secs(600),
            accounts: 65_536,
            tickets_per_account: 1_024,
            token_rest: Duration::from_secs(600),
        }
    }
}
