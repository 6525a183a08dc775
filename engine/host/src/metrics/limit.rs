//! The limits that a stranger can reach, by the names under which refusals are counted.

use rdv_proto::session::{Excess, ProposalExcess};

macro_rules! limits {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// A limit that a stranger can reach. What is over it is refused, with an error of the protocol where there is one, and counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Limit {
            $($(#[$doc])* $variant,)*
        }

        impl Limit {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Value of the label `limit` of `rdv_refused_total`.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }
    };
}

limits! {
    // Sizes and counts.
    /// A FLAP frame that is larger than a client may send now, or none.
    Frame = "frame",
    /// More items in a message than one may have: TLVs, names, parameters of a rendezvous.
    Items = "items",
    /// A field of a message that is longer than it may be.
    Field = "field",
    /// A message that is longer than its recipient takes.
    MessageSize = "message_size",
    /// An ARS frame whose length is none.
    RelayFrame = "relay_frame",

    // Open things.
    /// Connections that have not signed on, of one address.
    UnsignedPerAddress = "unsigned_per_address",
    /// Connections that have not signed on, in all.
    Unsigned = "unsigned",
    /// Guests of one address.
    GuestsPerAddress = "guests_per_address",
    /// Clients that are signed on, in all.
    Clients = "clients",
    /// Numbers: all are given out.
    NumbersTaken = "numbers_taken",
    /// Sign-ons of one account at a time.
    SignOnsPerAccount = "sign_ons_per_account",
    /// Sign-on cookies that are given out, in all.
    Cookies = "cookies",
    /// Passwords that are checked at a time.
    PasswordChecks = "password_checks",
    /// Open rendezvous of one account.
    OpenProposals = "open_proposals",
    /// Proposals with one rendezvous cookie.
    ProposalsPerCookie = "proposals_per_cookie",
    /// What waits for one client: it did not keep up, and was cut off.
    Queue = "queue",
    /// Names that one client watches.
    Names = "names",
    /// Items of a list that the host keeps.
    ListItems = "list_items",
    /// Messages kept for an account that is not there, in all or of one sender.
    StoredMessages = "stored_messages",
    /// Connections to the relay without a first command, of one address.
    RelaySilentPerAddress = "relay_silent_per_address",
    /// Connections to the relay without a first command, in all.
    RelaySilent = "relay_silent",
    /// Sessions of the relay that wait for a partner, of one address.
    RelayWaitingPerAddress = "relay_waiting_per_address",
    /// Sessions of the relay that wait for a partner, of one account.
    RelayWaitingPerAccount = "relay_waiting_per_account",
    /// Sessions of the relay that wait for a partner, in all.
    RelayWaiting = "relay_waiting",
    /// Pairs of the relay, of one address.
    RelayPairsPerAddress = "relay_pairs_per_address",
    /// Pairs of the relay, of one account.
    RelayPairsPerAccount = "relay_pairs_per_account",
    /// Pairs of the relay, in all.
    RelayPairs = "relay_pairs",
    /// Accounts that the relay remembers something of.
    RelayAccounts = "relay_accounts",
    /// Tickets of one account that the relay remembers.
    RelayTickets = "relay_tickets",
    /// Tokens of the relay: all that were drawn are in use or rest.
    RelayTokens = "relay_tokens",
    /// A session of the relay that exists already or does not exist, or somebody who has no ticket and is not signed on.
    RelayAccess = "relay_access",
    /// A ticket for the relay that cannot be read, or was forged.
    TicketForged = "ticket_forged",
    /// A ticket for the relay of another host, or somebody else's than the session.
    TicketForeign = "ticket_foreign",
    /// A ticket for the relay that has expired.
    TicketExpired = "ticket_expired",
    /// A ticket for another session of the relay.
    TicketCookie = "ticket_cookie",
    /// A ticket for the relay that has had its pair.
    TicketSpent = "ticket_spent",
    /// A session of a relay that is about to end.
    RelayDraining = "relay_draining",

    // Times.
    /// TLS handshake.
    TlsHandshake = "tls_handshake",
    /// First FLAP frame.
    FirstFrame = "first_frame",
    /// From the connection to the end of the sign-on.
    SignOnTime = "sign_on_time",
    /// From the sign-on to the client's word that it is ready.
    SetUp = "set_up",
    /// A client that sends nothing.
    Silence = "silence",
    /// A client that reads nothing.
    Stall = "stall",
    /// First command of a connection to the relay.
    RelayFirstCommand = "relay_first_command",
    /// The partner of a session of the relay.
    RelayPartner = "relay_partner",
    /// A pair of the relay that carries nothing.
    RelayIdle = "relay_idle",
    /// Life of a pair of the relay.
    RelayLife = "relay_life",
    /// Bytes of a pair of the relay, or of what its ticket allows.
    RelayBytes = "relay_bytes",
    /// Bytes that the relay carries for one account in a day.
    RelayBytesPerDay = "relay_bytes_per_day",

    // Rates.
    /// New connections of one address.
    Connections = "connections",
    /// New connections of one address to the relay.
    RelayConnections = "relay_connections",
    /// Failed sign-ons of one address.
    SignOnsPerAddress = "sign_ons_per_address",
    /// Failed sign-ons of one account: the answer is delayed.
    SignOnFailures = "sign_on_failures",
    /// First proposals of one account.
    Proposals = "proposals",
    /// First proposals of one account to one stranger.
    ProposalsToOne = "proposals_to_one",
    /// Numbers that one address asks for.
    Numbers = "numbers",
    /// Numbers that one address speaks to for the first time.
    NumberTries = "number_tries",
    /// Failed tries to have a number or name back, counted on it.
    TakeBacks = "take_backs",
    /// Rate class of everything but messages: SNACs are dropped.
    RateGeneral = "rate_general",
    /// Rate class of changes of lists: SNACs are dropped.
    RateEdits = "rate_edits",
    /// Rate class of messages: SNACs are dropped.
    RateMessages = "rate_messages",
    /// Rate class of searches: SNACs are dropped.
    RateSearch = "rate_search",
    /// Rate class of chat rooms: SNACs are dropped.
    RateChat = "rate_chat",
    /// A rate class that was overrun so far that the client was disconnected.
    RateDisconnect = "rate_disconnect",
    /// Wrong joins of one address at the relay: the address is closed for a while.
    RelayWrongJoins = "relay_wrong_joins",
    /// STUN requests of one address.
    StunRequests = "stun_requests",
    /// Accounts that one address makes.
    Registrations = "registrations",
    /// Changes of one account in a day.
    AdminChanges = "admin_changes",
    /// Accounts with one e-mail address.
    NamesPerEmail = "names_per_email",
    /// Confirmation mails to one address.
    Mails = "mails",
    /// Wrong passwords of one account, given where it is administered.
    AdminPasswords = "admin_passwords",
    /// Connections by which one account is administered.
    AdminConnections = "admin_connections",
}

impl From<ProposalExcess> for Limit {
    fn from(excess: ProposalExcess) -> Self {
        match excess {
            ProposalExcess::PerCookie => Self::ProposalsPerCookie,
            ProposalExcess::First => Self::Proposals,
            ProposalExcess::ToOne => Self::ProposalsToOne,
            _ => Self::OpenProposals,
        }
    }
}

impl From<Excess> for Limit {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Items => Self::Items,
            Excess::Rate(2) => Self::RateEdits,
            Excess::Rate(3) => Self::RateMessages,
            Excess::Rate(4) => Self::RateSearch,
            Excess::Rate(5) => Self::RateChat,
            Excess::Rate(_) => Self::RateGeneral,
            Excess::Overrun => Self::RateDisconnect,
            _ => Self::Field,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_limit_has_a_name_of_its_own() {
        let labels: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.label()).collect();
        assert_eq!(labels.len(), Limit::ALL.len());
        for label in labels {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(label.bytes().all(is_plain), "{label}");
        }
    }
}
