//! Which recordings, from which seats, under which circumstances; how each ends, and every difference with the rule that wants it.

use std::time::Duration;

use rdv_proto::rendezvous::{AttemptError, EndReason, RelayPolicy, Wait};
use rdv_proto::wire::rendezvous::{CancelReason, NakCode};

use super::files::Over;
use super::script::Seat;
use super::setting::{Cancels, Outcome, PLAIN, Setting, Way, Wishes};

/// As [`super::compare::differences`] names it, and why: a rule by its number, or the section of a page of the protocol's description
/// ("messages": those of the rendezvous; "flows": how they follow each other).
pub(super) type Difference = (&'static str, &'static str);

/// One recording from one seat.
pub(super) struct Row {
    pub(super) capture: &'static str,
    /// Which conversation of the recording.
    pub(super) nth: usize,
    pub(super) seat: Seat,
    pub(super) setting: Setting,
    pub(super) outcome: Outcome,
    pub(super) differences: Vec<Difference>,
}

/// Our offer beside one of libpurple.
const OFFER: &[Difference] = &[
    ("P1: +0011", "T-09"),
    ("P1: +2712", "OFT 8"),
    ("P1: +2713", "L-26"),
    ("P1: name twice", "L-31"),
    ("P1: tag order", "R-14"),
];
/// libpurple sends the checks of addresses with relay proposals only.
const CHECKS: &[Difference] = &[("P1: +0016", "R-29"), ("P1: +0017", "R-30")];
/// Who wants the relay only tells no address of its own.
const NO_ADDRESS: &[Difference] = &[("P1: -0003", "S-11")];
/// Our prompt beside one of libpurple.
const PROMPT: &[Difference] = &[
    ("PROMPT: cookie", "L-15"),
    ("PROMPT: flags", "OFT 1"),
    ("PROMPT: mtime", "OFT 1"),
    ("PROMPT: offsets", "OFT 1"),
];
/// libpurple copies the RESUME, we our prompt.
const RESUMED: &[Difference] = &[
    ("RESUME_ACCEPT: flags", "OFT 1"),
    ("RESUME_ACCEPT: mtime", "OFT 1"),
    ("RESUME_ACCEPT: offsets", "OFT 1"),
];
/// Our redirect beside one of libpurple.
const TURNED: &[Difference] = &[
    ("P2: +0016", "R-29"),
    ("P2: +0017", "R-30"),
    ("P2: -000f", "messages 12"),
    ("P2: tag order", "R-14"),
];
/// Our relay proposal after the failed others beside one of libpurple.
const RELAYED: &[Difference] = &[
    ("P3: -0003", "S-11"),
    ("P3: -000f", "messages 12"),
    ("P3: -2711", "L-06"),
    ("P3: tag order", "R-14"),
];
/// Our relay proposal in answer to an offer beside one of libpurple.
const CREATED: &[Difference] = &[
    ("P2: -0003", "S-11"),
    ("P2: -000f", "messages 12"),
    ("P2: tag order", "R-14"),
];
/// We say that it is over.
const DONE: &[Difference] = &[("DONE: flags", "OFT 4")];
/// The sums of libpurple are wrong for most odd lengths, ours are right.
const SUM: &[Difference] = &[("DONE: received checksum", "L-19")];
/// Our waits end, and the other side learns it. libpurple has no timer and says nothing.
const SILENT: &[Difference] = &[("+CANCEL 2", "T-07")];
/// Before we give up, the other side is asked for a way.
const NULL: &[Difference] = &[("+P3", "flows 6")];
/// libpurple with "always use the relay" accepts its own proposal.
const ONE_ACCEPT: &[Difference] = &[("-ACCEPT", "R-23")];
/// A cancel comes when it comes: how much passed before it is chance.
const CUT: &[Difference] = &[("BODY: length", "R-21")];

const RELAY_ONLY: Setting = Setting {
    relay: RelayPolicy::Only,
    ..PLAIN
};

fn alice(capture: &'static str) -> Row {
    Row {
        capture,
        nth: 0,
        seat: Seat::Alice,
        setting: PLAIN,
        outcome: Outcome::Nothing,
        differences: Vec::new(),
    }
}

fn bob(capture: &'static str) -> Row {
    Row {
        seat: Seat::Bob,
        ..alice(capture)
    }
}

impl Row {
    fn nth(self, nth: usize) -> Self {
        Self { nth, ..self }
    }

    fn with(self, setting: Setting) -> Self {
        Self { setting, ..self }
    }

    fn passes(self, over: Over, way: Way) -> Self {
        let outcome = Outcome::Passed(over, way);
        Self { outcome, ..self }
    }

    fn ends(self, reason: EndReason) -> Self {
        let outcome = Outcome::Ended(reason);
        Self { outcome, ..self }
    }

    fn not_offered(self) -> Self {
        let outcome = Outcome::NotOffered;
        Self { outcome, ..self }
    }

    fn nothing(self) -> Self {
        self
    }

    fn differs(mut self, groups: &[&[Difference]]) -> Self {
        self.differences.extend(groups.iter().copied().flatten());
        self
    }

    fn also(self, differences: &[Difference]) -> Self {
        self.differs(&[differences])
    }
}

/// All of them.
#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    vec![
        alice("all-fail").with(Setting { relay_down: true, ..PLAIN }).ends(EndReason::NoPath { last: Some(AttemptError::Unreachable) }).differs(&[OFFER, CHECKS, SILENT, NULL]),
        bob("all-fail").with(Setting { relay_down: true, ..PLAIN }).ends(EndReason::NoPath { last: Some(AttemptError::Unreachable) }).differs(&[TURNED, SILENT, NULL]),
        alice("ars-both").with(RELAY_ONLY).passes(Over::Sent, Way::Relay).differs(&[OFFER, NO_ADDRESS, PROMPT, ONE_ACCEPT]),
        bob("ars-both").with(RELAY_ONLY).passes(Over::Received, Way::Relay).differs(&[DONE, SUM]),
        alice("ars-error").with(RELAY_ONLY).ends(EndReason::NoPath { last: Some(AttemptError::Relay(0x0D)) }),
        bob("ars-error").nothing(),
        alice("ars-receiver").passes(Over::Sent, Way::Relay).differs(&[OFFER, CHECKS, PROMPT]),
        bob("ars-receiver").with(RELAY_ONLY).passes(Over::Received, Way::Relay).differs(&[CREATED, DONE, SUM, ONE_ACCEPT]),
        alice("ars-sender").with(RELAY_ONLY).passes(Over::Sent, Way::Relay).differs(&[OFFER, NO_ADDRESS, PROMPT, ONE_ACCEPT]),
        bob("ars-sender").passes(Over::Received, Way::Relay).differs(&[DONE, SUM]),
        alice("ars-stage3").passes(Over::Sent, Way::Relay).differs(&[OFFER, CHECKS, PROMPT, RELAYED]),
        bob("ars-stage3").passes(Over::Received, Way::Relay).differs(&[TURNED, DONE, SUM]),
        alice("ars-stage3-timeout").passes(Over::Sent, Way::Relay).differs(&[OFFER, CHECKS, PROMPT, RELAYED]),
        bob("ars-stage3-timeout").passes(Over::Received, Way::Relay).differs(&[TURNED, DONE, SUM]),
        alice("ars-unreachable").with(RELAY_ONLY).ends(EndReason::NoPath { last: Some(AttemptError::Unreachable) }),
        bob("ars-unreachable").nothing(),
        alice("bot-folder").with(Setting { folder: true, ..PLAIN }).passes(Over::Waiting, Way::Direct).differs(&[OFFER]).also(&[("PROMPT: mtime", "OFT 1")]),
        bob("bot-folder").passes(Over::Waiting, Way::Direct).also(&[("+DONE", "OFT 5")]),
        alice("bot-have-it").passes(Over::AlreadyThere, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("bot-have-it").with(Setting { wish: Wishes::HaveIt, ..PLAIN }).passes(Over::AlreadyThere, Way::Direct).differs(&[DONE]),
        alice("bot-impatient").ends(EndReason::TimedOut(Wait::Answer)).differs(&[OFFER, SILENT]).also(&[("-BODY", "L-32"), ("-P2", "L-32"), ("-PROMPT", "L-32")]),
        bob("bot-impatient").with(Setting { thinks: Duration::from_secs(6), ..PLAIN }).passes(Over::Received, Way::Direct).also(&[("+DONE", "L-08"), ("-CANCEL 1", "L-08")]),
        alice("bot-repeat-name").passes(Over::Sent, Way::Direct).also(&[("P1: +0011", "T-09"), ("P1: +2712", "OFT 8"), ("P1: +2713", "L-26"), ("P1: tag order", "R-14"), ("PROMPT: mtime", "OFT 1")]),
        bob("bot-repeat-name").passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("bot-repeat-name-stock").passes(Over::Sent, Way::Direct).also(&[("P1: +0011", "T-09"), ("P1: +2712", "OFT 8"), ("P1: +2713", "L-26"), ("P1: tag order", "R-14"), ("PROMPT: mtime", "OFT 1")]),
        bob("bot-repeat-name-stock").passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("bot-resume").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT, RESUMED]),
        bob("bot-resume").with(Setting { wish: Wishes::Resume(40_001), ..PLAIN }).passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("bot-resume-bad").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT, RESUMED]),
        bob("bot-resume-bad").with(Setting { wish: Wishes::ResumeWrong(40_001, 0x1234_0000), ..PLAIN }).passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("bot-tags").passes(Over::Sent, Way::Direct).also(&[("P1: +2712", "OFT 8"), ("P1: +2713", "L-26"), ("P1: -000c", "messages 4"), ("P1: -000d", "messages 4"), ("P1: -000e", "messages 4"), ("P1: -0012", "R-35"), ("P1: -0013", "R-35"), ("P1: -0018", "R-32"), ("P1: -0019", "messages 4"), ("P1: -7777", "R-16"), ("P1: name twice", "L-31"), ("P1: tag order", "R-14"), ("PROMPT: mtime", "OFT 1")]),
        bob("bot-tags").ends(EndReason::NoPath { last: Some(AttemptError::TimedOut) }).differs(&[SILENT, NULL]).also(&[("+P2", "T-09"), ("-ACK", "T-09"), ("-DONE", "T-09"), ("ACCEPT: +0011", "T-09")]),
        alice("bot-zero-cookie").ends(EndReason::NoPath { last: None }).differs(&[OFFER, CHECKS, PROMPT, SILENT]),
        bob("bot-zero-cookie").with(Setting { borrow: Some("direct"), ..PLAIN }).passes(Over::Received, Way::Direct).also(&[("+DONE", "L-15"), ("ACK: cookie", "L-15")]),
        alice("cancel-receiver-mid").ends(EndReason::Cancelled(CancelReason::USER)).differs(&[OFFER, CHECKS, PROMPT, CUT]),
        bob("cancel-receiver-mid").with(Setting { cancels: Some(Cancels::WhileBytesPass), ..PLAIN }).ends(EndReason::Withdrawn(CancelReason::USER)),
        alice("cancel-sender-mid").with(Setting { cancels: Some(Cancels::WhileBytesPass), ..PLAIN }).ends(EndReason::Withdrawn(CancelReason::USER)).differs(&[OFFER, CHECKS, PROMPT, CUT]),
        bob("cancel-sender-mid").ends(EndReason::Cancelled(CancelReason::USER)),
        alice("cancel-sender-pending").with(Setting { cancels: Some(Cancels::After(Duration::from_millis(2_525))), ..PLAIN }).ends(EndReason::Withdrawn(CancelReason::USER)).differs(&[OFFER, CHECKS]),
        bob("cancel-sender-pending").with(Setting { thinks: Duration::from_secs(60), ..PLAIN }).ends(EndReason::Cancelled(CancelReason::USER)),
        alice("decline").ends(EndReason::Cancelled(CancelReason::USER)).differs(&[OFFER, CHECKS]),
        bob("decline").with(Setting { yes: false, ..PLAIN }).ends(EndReason::Declined).also(&[("+NAK 0x01", "L-11")]),
        alice("deny-client-error").ends(EndReason::Refused(Some(NakCode::DENIED))).differs(&[OFFER, CHECKS]),
        bob("deny-client-error").with(Setting { yes: false, ..PLAIN }).ends(EndReason::Declined).also(&[("+CANCEL 1", "L-11")]),
        alice("direct").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("direct").passes(Over::Received, Way::Direct).differs(&[DONE, SUM]),
        alice("direct-tiny").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("direct-tiny").passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("empty-file").not_offered().also(&[("-P1", "L-22")]),
        bob("empty-file").with(Setting { yes: false, ..PLAIN }).ends(EndReason::Declined).also(&[("+CANCEL 1", "L-11"), ("+NAK 0x01", "L-11")]),
        alice("icq-ars").with(RELAY_ONLY).passes(Over::Sent, Way::Relay).differs(&[OFFER, NO_ADDRESS, PROMPT, ONE_ACCEPT]),
        bob("icq-ars").with(RELAY_ONLY).passes(Over::Received, Way::Relay).differs(&[DONE, SUM]),
        alice("icq-direct").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("icq-direct").passes(Over::Received, Way::Direct).differs(&[DONE, SUM]),
        alice("long-name").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("long-name").passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("no-verified-ip").with(Setting { answers: &["10.77.0.12:5190"], ..PLAIN }).passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]).also(&[("-P3", "T-06"), ("-CREATE", "T-06"), ("+ACCEPT", "T-06")]),
        bob("no-verified-ip").with(Setting { answers: &["10.77.0.11:5190"], ..PLAIN }).passes(Over::Received, Way::Direct).differs(&[DONE, SUM]).also(&[("-JOIN", "T-06"), ("-P2", "T-06")]),
        alice("odd-name").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("odd-name").passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("one-byte").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("one-byte").passes(Over::Received, Way::Direct).differs(&[DONE, SUM]),
        alice("peer-offline").ends(EndReason::Undeliverable { code: 4 }).differs(&[OFFER, CHECKS]),
        bob("peer-offline").nothing(),
        alice("reverse-refused").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("reverse-refused").passes(Over::Received, Way::Direct).differs(&[TURNED, DONE, SUM]),
        alice("reverse-timeout").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("reverse-timeout").passes(Over::Received, Way::Direct).differs(&[TURNED, DONE, SUM]),
        alice("stock-drops-offer").ends(EndReason::TimedOut(Wait::Answer)).differs(&[OFFER, CHECKS, SILENT]),
        bob("stock-drops-offer").with(Setting { answers: &["10.77.0.11:5190"], borrow: Some("direct"), ..PLAIN }).passes(Over::Received, Way::Direct).also(&[("+ACCEPT", "L-31"), ("+ACK", "L-31"), ("+DONE", "L-31")]),
        alice("stock-repeated-name").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("stock-repeated-name").passes(Over::Received, Way::Direct).differs(&[DONE, SUM]),
        alice("two-files").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        alice("two-files").nth(1).passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("two-files").passes(Over::Received, Way::Direct).differs(&[DONE]),
        bob("two-files").nth(1).passes(Over::Received, Way::Direct).differs(&[DONE, SUM]),
        alice("utf8-name").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]).also(&[("PROMPT: name", "OFT 8")]),
        bob("utf8-name").passes(Over::Received, Way::Direct).differs(&[DONE]),
        alice("wrong-requester-ip").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("wrong-requester-ip").passes(Over::Received, Way::Direct).differs(&[DONE, SUM]),
        alice("wrong-verified-ip").passes(Over::Sent, Way::Direct).differs(&[OFFER, CHECKS, PROMPT]),
        bob("wrong-verified-ip").passes(Over::Received, Way::Direct).differs(&[DONE, SUM]),
    ]
}
