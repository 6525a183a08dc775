//! Section `[limits]`: every limit by the name that it has in the library.

use rdv_host::{Limits, ProposalLimits, RateClass, RateTable, RelayLimits, ResponderLimits};

use super::read::Table;
use super::values::{BYTES, BYTES_HERE, COUNT, COUNT_U32, PACE, RATE, SIGN_ONS, TIME};

/// `key kind` for each field of a struct, all of them: a new one does not compile until it is here, too.
macro_rules! fields {
    ($table:ident, $type:ident { $($key:ident $kind:expr,)* } else { $($other:ident,)* } = $config:expr) => {
        let $type { $($key,)* $($other,)* } = $config;
        $($table.set(stringify!($key), &$kind, $key);)*
    };
}

pub(super) fn fill(limits: &mut Limits, table: &mut Table<'_>) {
    fields!(table, Limits {
        greeting_delay TIME,
        first_frame TIME,
        sign_on TIME,
        tls_handshake TIME,
        keep_alive TIME,
        silence TIME,
        silence_old TIME,
        set_up TIME,
        stall TIME,
        farewell TIME,
        connections PACE,
        unsigned_per_address COUNT,
        unsigned COUNT,
        guests_per_address COUNT,
        sign_ons_per_account SIGN_ONS,
        cookie_life TIME,
        cookies COUNT,
        refusal_delay TIME,
        clients COUNT,
        numbers PACE,
        attempts PACE,
        number_grace TIME,
        number_life_max TIME,
        queue_messages COUNT,
        queue_bytes BYTES_HERE,
        ticket_life TIME,
        stored_proof TIME,
    } else {
        rate_general,
        rate_icbm,
        rates_old,
        proposals,
    } = limits);
    rate(table, "rate_general", rate_general);
    rate(table, "rate_icbm", rate_icbm);
    table.within("rates_old", |table| {
        let RateTable {
            general,
            edits,
            icbm,
            search,
            chat,
        } = rates_old;
        rate(table, "general", general);
        rate(table, "edits", edits);
        rate(table, "icbm", icbm);
        rate(table, "search", search);
        rate(table, "chat", chat);
    });
    table.within("proposals", |table| {
        fields!(table, ProposalLimits {
            first PACE,
            first_to_one PACE,
            cookies COUNT,
            forget_after TIME,
            proposals_per_cookie COUNT_U32,
        } else {} = proposals);
    });
}

pub(super) fn fill_relay(limits: &mut RelayLimits, table: &mut Table<'_>) {
    fields!(table, RelayLimits {
        first_command TIME,
        join TIME,
        pair_idle TIME,
        pair_life TIME,
        pair_bytes BYTES,
        account_bytes_per_day BYTES,
        silent_per_address COUNT,
        silent COUNT,
        waiting_per_address COUNT,
        waiting_per_account COUNT,
        waiting COUNT,
        pairs_per_address COUNT,
        pairs_per_account COUNT,
        pairs COUNT,
        wrong_joins PACE,
        closed_for TIME,
        accounts COUNT,
        tickets_per_account COUNT,
        token_rest TIME,
    } else {} = limits);
}

pub(super) fn fill_stun(limits: &mut ResponderLimits, table: &mut Table<'_>) {
    fields!(table, ResponderLimits {
        requests PACE,
        addresses COUNT,
    } else {} = limits);
}

/// The id of a class is the protocol's.
fn rate(table: &mut Table<'_>, key: &'static str, class: &mut RateClass) {
    if let Some(read) = table.get(key, &RATE) {
        *class = RateClass {
            id: class.id,
            ..read
        };
    }
}
