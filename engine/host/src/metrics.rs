//! What a host or a relay counts about itself, for Prometheus.
//!
//! All names begin with `rdv_`. No label has a value that a client could choose: so the number of series is fixed.

mod limit;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use limit::Limit;

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];

/// The counters of one host or relay. Clones are the same counters.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    /// By [`Limit`], in the order of [`Limit::ALL`].
    refused: Vec<Counter>,
    connections: [Counter; Transport::ALL.len()],
    open: Gauge,
    clients: [Gauge; Kind::ALL.len()],
    sign_ons: [Counter; Kind::ALL.len()],
    sign_ons_refused: Family<Label, Counter>,
    messages: [Counter; Message::ALL.len()],
    relay_pairs: Gauge,
    relay_pairs_total: Counter,
    relay_waiting: Gauge,
    relay_bytes: Counter,
    database_errors: Family<Label, Counter>,
    mails: [Counter; 2],
    admin: Family<Labels, Counter>,
    draining: Gauge,
}

macro_rules! closed {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            const ALL: [&'static str; [$($label,)*].len()] = [$($label,)*];
        }
    };
}

closed! {
    /// What a connection turned out to speak.
    Transport {
        Tls = "tls",
        Plain = "plain",
        Relay = "relay",
        Stun = "stun",
        /// Nothing that is known here.
        Other = "other",
    }
}

closed! {
    /// What kind of client is signed on.
    Kind {
        Guest = "guest",
        /// An account with one of our own clients.
        Account = "account",
        /// An account with an old client.
        Old = "old",
        /// A connection for the administration of an account.
        Admin = "admin",
    }
}

closed! {
    /// What passes through the host.
    Message {
        /// For people to read.
        Text = "text",
        /// The first proposal of a rendezvous.
        Proposal = "proposal",
        /// All else of a rendezvous.
        Rendezvous = "rendezvous",
        /// Kept for an account that is not there.
        Stored = "stored",
        /// Refused, for whatever reason.
        Refused = "refused",
    }
}

/// A client that is signed on; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct SignedOn(Gauge);

/// A thing that is open; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("rdv");
        let registry_mut = &mut registry;
        let refused = counters(
            registry_mut,
            ("refused", "What was refused for a limit"),
            "limit",
            &Limit::ALL
                .iter()
                .map(|limit| limit.label())
                .collect::<Vec<_>>(),
        );
        let connections = array(counters(
            registry_mut,
            (
                "connections",
                "Connections that came in, by what they spoke",
            ),
            "transport",
            &Transport::ALL,
        ));
        let clients = Family::<Label, Gauge>::default();
        registry_mut.register(
            "clients",
            "Clients that are signed on now, by kind",
            clients.clone(),
        );
        let sign_ons = array(counters(
            registry_mut,
            ("sign_ons", "Sign-ons that worked, by kind"),
            "kind",
            &Kind::ALL,
        ));
        let messages = array(counters(
            registry_mut,
            ("messages", "Messages to other clients, by what they were"),
            "kind",
            &Message::ALL,
        ));
        let mails = array(counters(
            registry_mut,
            ("mails", "Mails, by what became of them"),
            "result",
            &["sent", "failed"],
        ));
        let inner = Inner {
            refused,
            connections,
            open: gauge(
                registry_mut,
                "connections_open",
                "Connections that are open now",
            ),
            clients: Kind::ALL.map(|kind| clients.get_or_create(&[("kind", kind)]).clone()),
            sign_ons,
            sign_ons_refused: family(
                registry_mut,
                "sign_ons_refused",
                "Sign-ons that were refused, by what the client was told",
            ),
            messages,
            relay_pairs: gauge(
                registry_mut,
                "relay_pairs",
                "Pairs that the relay carries now",
            ),
            relay_pairs_total: counter(
                registry_mut,
                "relay_pairs_joined",
                "Pairs that the relay has joined",
            ),
            relay_waiting: gauge(
                registry_mut,
                "relay_sessions_waiting",
                "Sessions of the relay that wait for a partner now",
            ),
            relay_bytes: counter(
                registry_mut,
                "relay_bytes",
                "Bytes that the relay has carried",
            ),
            database_errors: family(
                registry_mut,
                "database_errors",
                "Questions to the database that failed, by why",
            ),
            mails,
            admin: {
                let admin = Family::default();
                registry_mut.register(
                    "admin_requests",
                    "Requests about one's own account, by what was asked and what came of it",
                    Family::clone(&admin),
                );
                admin
            },
            draining: gauge(
                registry_mut,
                "draining",
                "1 while the host or relay takes nothing new because it is about to end",
            ),
            registry,
        };
        Self(Arc::new(inner))
    }

    /// All of it in the text form of OpenMetrics.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // A String takes everything.
        encode(&mut text, &self.0.registry).ok();
        text
    }

    /// How often something was refused for this limit.
    pub fn refusals(&self, limit: Limit) -> u64 {
        self.0.refused.get(limit as usize).map_or(0, Counter::get)
    }

    /// Something was refused for a limit.
    pub(crate) fn refused(&self, limit: Limit) {
        if let Some(counter) = self.0.refused.get(limit as usize) {
            counter.inc();
        }
    }

    /// A connection came in.
    pub(crate) fn connected(&self) -> Open {
        self.0.open.inc();
        Open(self.0.open.clone())
    }

    /// It turned out what a connection speaks.
    pub(crate) fn spoke(&self, transport: Transport) {
        self.0.connections[transport as usize].inc();
    }

    /// A client signed on.
    pub(crate) fn signed_on(&self, kind: Kind) -> SignedOn {
        self.0.sign_ons[kind as usize].inc();
        let gauge = self.0.clients[kind as usize].clone();
        gauge.inc();
        SignedOn(gauge)
    }

    /// A sign-on was refused; `why` is the name of a login error, never a text from outside.
    pub(crate) fn sign_on_refused(&self, why: &'static str) {
        self.0
            .sign_ons_refused
            .get_or_create(&[("error", why)])
            .inc();
    }

    /// A message went through the host, or did not.
    pub(crate) fn message(&self, message: Message) {
        self.0.messages[message as usize].inc();
    }

    /// The relay joined two clients.
    pub(crate) fn relay_joined(&self) {
        self.0.relay_pairs_total.inc();
    }

    /// So many pairs and sessions that wait are there now.
    pub(crate) fn relay_holds(&self, pairs: usize, waiting: usize) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.0.relay_pairs.set(count(pairs));
        self.0.relay_waiting.set(count(waiting));
    }

    /// Bytes that the relay has carried; batch them.
    pub(crate) fn relayed(&self, bytes: u64) {
        self.0.relay_bytes.inc_by(bytes);
    }

    /// The database did not do what it was asked; `why` is the name of an error of ours.
    pub(crate) fn database_error(&self, why: &'static str) {
        self.0
            .database_errors
            .get_or_create(&[("error", why)])
            .inc();
    }

    /// A mail was handed to the mail server, or not.
    pub(crate) fn mail(&self, is_sent: bool) {
        self.0.mails[usize::from(!is_sent)].inc();
    }

    /// A request of ADMIN was answered: its name, and `ok` or the name of the error.
    pub(crate) fn admin(&self, request: &'static str, result: &'static str) {
        let labels = [("request", request), ("result", result)];
        self.0.admin.get_or_create(&labels).inc();
    }

    /// Whether the host or relay takes nothing new any more.
    pub fn is_draining(&self) -> bool {
        self.0.draining.get() != 0
    }

    /// The host or relay takes nothing new from here on.
    pub(crate) fn draining(&self) {
        self.0.draining.set(1);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Drop for SignedOn {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn family(registry: &mut Registry, name: &str, help: &str) -> Family<Label, Counter> {
    let family = Family::default();
    registry.register(name, help, Family::clone(&family));
    family
}

/// One counter for each value of the label, all there from the start.
fn counters(
    registry: &mut Registry,
    (name, help): (&str, &str),
    label: &'static str,
    values: &[&'static str],
) -> Vec<Counter> {
    let family = family(registry, name, help);
    let counter = |value: &&'static str| family.get_or_create(&[(label, *value)]).clone();
    values.iter().map(counter).collect()
}

/// As many as there are.
fn array<const N: usize>(counters: Vec<Counter>) -> [Counter; N] {
    let mut counters = counters.into_iter();
    std::array::from_fn(|_| counters.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_series_from_the_start() {
        let metrics = Metrics::new();
        metrics.refused(Limit::Queue);
        let text = metrics.text();
        for limit in Limit::ALL {
            let series = format!("rdv_refused_total{{limit=\"{}\"}} ", limit.label());
            assert!(text.contains(&series), "{series} in {text}");
            assert_eq!(metrics.refusals(*limit), u64::from(*limit == Limit::Queue));
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_gone_counts_no_more() {
        let metrics = Metrics::new();
        let (first, second) = (metrics.signed_on(Kind::Old), metrics.signed_on(Kind::Old));
        metrics.relay_joined();
        metrics.relay_holds(1, 0);
        drop(first);
        let text = metrics.text();
        assert!(text.contains("rdv_clients{kind=\"old\"} 1\n"), "{text}");
        assert!(
            text.contains("rdv_sign_ons_total{kind=\"old\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("rdv_relay_pairs 1\n"), "{text}");
        drop(second);
        metrics.relay_holds(0, 0);
        let text = metrics.text();
        assert!(text.contains("rdv_clients{kind=\"old\"} 0\n"), "{text}");
        assert!(text.contains("rdv_relay_pairs 0\n"), "{text}");
        assert!(text.contains("rdv_relay_pairs_joined_total 1\n"), "{text}");
    }
}
