//! What the host bears. The relay's own limits are [`RelayLimits`](rdv_proto::relay::RelayLimits).

use std::time::Duration;

use rdv_proto::pace::Pace;
use rdv_proto::session::{ProposalLimits, RateClass, RateTable};

/// Limits of a host; each may be set. The defaults are those of the security page, section 6.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A client that is silent for so long after it connected waits for our greeting.
    pub greeting_delay: Duration,
    /// From the connection, or the end of its TLS handshake, to the first FLAP frame.
    pub first_frame: Duration,
    /// From the connection to the end of the sign-on.
    pub sign_on: Duration,
    /// TLS handshake.
    pub tls_handshake: Duration,
    /// We send a keep-alive after so long without anything else to send.
    pub keep_alive: Duration,
    /// A client of ours that sends nothing for so long is gone.
    pub silence: Duration,
    /// An old client that sends nothing for so long is gone.
    pub silence_old: Duration,
    /// From the sign-on of an account until it says that it is ready.
    pub set_up: Duration,
    /// A client that is asked to read first what waits for it, and reads nothing for so long, is gone.
    pub stall: Duration,
    /// Stored messages that were written to a client count as taken when it says anything so long after; those that do not are
    /// delivered again.
    pub stored_proof: Duration,
    /// How long a client that is sent away has to take what was still for it.
    pub farewell: Duration,
    /// New connections per address.
    pub connections: Pace,
    /// Connections that have not signed on, per address.
    pub unsigned_per_address: usize,
    /// Connections that have not signed on, in all.
    pub unsigned: usize,
    /// Guests per address.
    pub guests_per_address: usize,
    /// Sign-ons of one account at a time, at most 255.
    pub sign_ons_per_account: usize,
    /// How long an old client has from its sign-on to the next connection.
    pub cookie_life: Duration,
    /// Old clients that are on that way, in all.
    pub cookies: usize,
    /// A refused sign-on is answered after a multiple of this, whatever it was refused for.
    pub refusal_delay: Duration,
    /// Clients that are signed on, in all; guests and accounts each.
    pub clients: usize,
    /// Numbers asked for per address.
    pub numbers: Pace,
    /// Numbers spoken to for the first time, and failed sign-ons, per address.
    pub attempts: Pace,
    /// How long a number is kept for its owner after the connection ended.
    pub number_grace: Duration,
    /// The longest life of a number that may be asked for.
    pub number_life_max: Duration,
    /// Messages that wait for one client; it is cut off when there are more.
    pub queue_messages: usize,
    /// Bytes that wait for one client; it is cut off when there are more.
    pub queue_bytes: usize,
    /// Rate class of everything but messages, for guests and our own clients.
    pub rate_general: RateClass,
    /// Rate class of messages, for guests and our own clients.
    pub rate_icbm: RateClass,
    /// Rate classes of old clients.
    pub rates_old: RateTable,
    /// Rendezvous of one account.
    pub proposals: ProposalLimits,
    /// How long a relay ticket is good.
    pub ticket_life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            greeting_delay: Duration::from_millis(500),
            first_frame: Duration::from_secs(5),
            sign_on: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            silence: Duration::from_secs(150),
            silence_old: Duration::from_secs(300),
            set_up: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            stored_proof: Duration::from_secs(2),
            farewell: Duration::from_secs(2),
            connections: Pace::new(60, Duration::from_secs(3)),
            unsigned_per_address: 16,
            unsigned: 2_048,
            guests_per_address: 64,
            sign_ons_per_account: 5,
            cookie_life: Duration::from_secs(60),
            cookies: 4_096,
            refusal_delay: Duration::from_millis(200),
            clients: 50_000,
            numbers: Pace::new(10, Duration::from_secs(60)),
            attempts: Pace::new(10, Duration::from_secs(60)),
            number_grace: Duration::from_secs(600),
            number_life_max: Duration::from_secs(7 * 24 * 3600),
            queue_messages: 256,
            queue_bytes: 1 << 20,
            rate_general: RateClass::GENERAL,
            rate_icbm: RateClass::ICBM,
            rates_old: RateTable::OLD,
            proposals: ProposalLimits::default(),
            ticket_life: Duration::from_secs(3600),
        }
    }
}
