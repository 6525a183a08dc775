use std::time::Duration;

use super::*;
use crate::relay::{Ticket, TicketError, TicketKey};
use crate::wire::ars::{ErrorCode, TLV_TICKET};
use crate::wire::service::SEND_FILE;

const COOKIE: Cookie = Cookie(*b"TRYST01\0");
const RANDOM: [u8; 32] = [0x23; 32];
const TOKEN: u16 = 0x2323;
const NOW_UNIX_S: u64 = 1_000;

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

fn name(name: &str) -> ScreenName {
    ScreenName::new(name).unwrap()
}

/// A relay and the time, told in sentences.
struct Stage {
    pairing: Pairing,
    now: Instant,
    next: u64,
    refusals: Vec<Refusal>,
}

impl Stage {
    fn open() -> Self {
        Self::with(Access::Open, RelayLimits::default())
    }

    fn with(access: Access, limits: RelayLimits) -> Self {
        Self {
            pairing: Pairing::new(access, limits),
            now: start(),
            next: 1,
            refusals: Vec::new(),
        }
    }

    fn arrives_from(&mut self, last: u8) -> ConnectionId {
        let connection = ConnectionId(self.next);
        self.next += 1;
        let address = [192, 0, 2, last].into();
        let announce = Ipv4Addr::new(198, 51, 100, 80);
        self.pairing.handle_input(
            self.now,
            Input::Opened {
                connection,
                address,
                announce,
            },
        );
        connection
    }

    fn says(&mut self, connection: ConnectionId, command: Command, random: [u8; 32]) {
        self.says_as(false, connection, command, random);
    }

    fn says_as(
        &mut self,
        signed_on: bool,
        connection: ConnectionId,
        command: Command,
        random: [u8; 32],
    ) {
        self.pairing.handle_input(
            self.now,
            Input::Command {
                connection,
                command,
                signed_on,
                unix_s: NOW_UNIX_S,
                random,
            },
        );
    }

    fn creates(&mut self, connection: ConnectionId, cookie: Cookie, random: u8, tlvs: TlvList) {
        let create = Command::Create {
            name: name("alice"),
            cookie,
            tlvs,
        };
        self.says(connection, create, [random; 32]);
    }

    fn joins(&mut self, connection: ConnectionId, token: u16, cookie: Cookie, tlvs: TlvList) {
        let join = Command::Join {
            name: name("bob"),
            token,
            cookie,
            tlvs,
        };
        self.says(connection, join, RANDOM);
    }

    /// An old client of that name, signed on, creates; its token is made of `random`.
    fn old_client_creates(
        &mut self,
        address: u8,
        who: &str,
        cookie: Cookie,
        random: u8,
    ) -> ConnectionId {
        let connection = self.arrives_from(address);
        let create = Command::Create {
            name: name(who),
            cookie,
            tlvs: send_file(),
        };
        self.says_as(true, connection, create, [random; 32]);
        connection
    }

    /// An old client of that name, signed on, joins.
    fn old_client_joins(
        &mut self,
        address: u8,
        who: &str,
        cookie: Cookie,
        token: u8,
    ) -> ConnectionId {
        let connection = self.arrives_from(address);
        let join = Command::Join {
            name: name(who),
            token: u16::from_be_bytes([token; 2]),
            cookie,
            tlvs: send_file(),
        };
        self.says_as(true, connection, join, RANDOM);
        connection
    }

    fn closes(&mut self, connection: ConnectionId, carried: u64) {
        self.pairing.handle_input(
            self.now,
            Input::Closed {
                connection,
                carried,
            },
        );
    }

    fn waits(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.pairing.handle_input(self.now, Input::Timeout);
    }

    /// What is to be done; what was refused is kept apart.
    fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.pairing.poll_output() {
            match output {
                Output::Refused(why) => self.refusals.push(why),
                other => outputs.push(other),
            }
        }
        outputs
    }

    /// What was refused since this was asked last.
    fn refusals(&mut self) -> Vec<Refusal> {
        self.outputs();
        std::mem::take(&mut self.refusals)
    }

    /// A session with token 0x2323 that waits.
    fn waiting(&mut self) -> ConnectionId {
        let creator = self.arrives_from(1);
        self.creates(creator, COOKIE, 0x23, TlvList::new());
        let ip = Ipv4Addr::new(198, 51, 100, 80);
        let created = Command::Created { token: TOKEN, ip };
        assert_eq!(self.outputs(), [send(creator, created)]);
        creator
    }
}

fn send(connection: ConnectionId, command: Command) -> Output {
    Output::Send {
        connection,
        command,
    }
}

fn refused(connection: ConnectionId, code: ErrorCode) -> [Output; 2] {
    [
        send(connection, Command::Error(code)),
        Output::Close { connection },
    ]
}

fn ready(creator: ConnectionId, joiner: ConnectionId) -> [Output; 3] {
    let bytes_max = RelayLimits::default().pair_bytes;
    [
        send(creator, Command::Ready),
        send(joiner, Command::Ready),
        Output::Pair {
            creator,
            joiner,
            bytes_max,
        },
    ]
}

/// What old clients say of their service.
fn send_file() -> TlvList {
    TlvList::new().with(TLV_SERVICE, SEND_FILE.as_bytes().to_vec())
}

fn is_paired(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Pair { .. }))
}

#[test]
fn two_who_name_the_same_token_and_cookie_are_joined() {
    let mut stage = Stage::open();
    let creator = stage.waiting();
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), ready(creator, joiner));
    assert_eq!(stage.pairing.poll_timeout(), None);
}

#[test]
fn s_38_a_wrong_token_or_cookie_is_refused_and_the_session_stays() {
    let mut stage = Stage::open();
    let creator = stage.waiting();
    for (token, cookie) in [(TOKEN + 1, COOKIE), (TOKEN, Cookie([9; 8]))] {
        let stranger = stage.arrives_from(3);
        stage.joins(stranger, token, cookie, TlvList::new());
        assert_eq!(stage.outputs(), refused(stranger, ErrorCode::BAD_REQUEST));
    }
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), ready(creator, joiner));
}

#[test]
fn s_38_a_third_is_refused_and_the_pair_stays() {
    let mut stage = Stage::open();
    let creator = stage.waiting();
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), ready(creator, joiner));
    let third = stage.arrives_from(3);
    stage.joins(third, TOKEN, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), refused(third, ErrorCode::BAD_REQUEST));
}

#[test]
fn s_38_a_second_create_with_name_and_cookie_of_another_is_refused() {
    let mut stage = Stage::open();
    let creator = stage.waiting();
    let second = stage.arrives_from(3);
    stage.creates(second, COOKIE, 0x44, TlvList::new());
    assert_eq!(stage.outputs(), refused(second, ErrorCode::BAD_REQUEST));
    // On the same connection it is the partner's business.
    stage.creates(creator, Cookie([4; 8]), 0x55, TlvList::new());
    assert_eq!(stage.outputs(), []);
}

#[test]
fn a_silent_connection_is_told_so_after_ten_seconds() {
    let mut stage = Stage::open();
    let silent = stage.arrives_from(1);
    assert_eq!(
        stage.pairing.poll_timeout(),
        Some(stage.now + Duration::from_secs(10))
    );
    stage.waits(9);
    assert_eq!(stage.outputs(), []);
    stage.waits(1);
    assert_eq!(
        stage.outputs(),
        refused(silent, ErrorCode::NO_FIRST_COMMAND)
    );
    assert_eq!(stage.pairing.poll_timeout(), None);
}

#[test]
fn a_partner_who_does_not_come_within_two_minutes_comes_too_late() {
    let mut stage = Stage::open();
    let creator = stage.waiting();
    stage.waits(119);
    assert_eq!(stage.outputs(), []);
    stage.waits(1);
    assert_eq!(
        stage.outputs(),
        refused(creator, ErrorCode::PEER_DID_NOT_JOIN)
    );
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), refused(joiner, ErrorCode::BAD_REQUEST));
}

#[test]
fn a_creator_who_hangs_up_takes_the_session_along() {
    let mut stage = Stage::open();
    let creator = stage.waiting();
    stage.closes(creator, 0);
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), refused(joiner, ErrorCode::BAD_REQUEST));
}

#[test]
fn a_token_rests_ten_minutes_before_it_is_given_out_again() {
    let mut stage = Stage::open();
    let creator = stage.waiting();
    stage.closes(creator, 0);
    stage.waits(599);
    let second = stage.arrives_from(1);
    stage.creates(second, COOKIE, 0x23, TlvList::new());
    assert_eq!(stage.outputs(), refused(second, ErrorCode::BAD_REQUEST));
    stage.waits(1);
    stage.waiting();
}

#[test]
fn an_unknown_even_command_is_refused_and_an_odd_one_ignored() {
    let mut stage = Stage::open();
    let client = stage.arrives_from(1);
    let unknown = |command| Command::Unknown {
        command,
        data: bytes::Bytes::new(),
    };
    stage.says(client, unknown(7), RANDOM);
    assert_eq!(stage.outputs(), []);
    stage.says(client, unknown(8), RANDOM);
    assert_eq!(stage.outputs(), refused(client, ErrorCode::BAD_REQUEST));
}

#[test]
fn a_frame_that_cannot_be_read_is_answered_once() {
    let mut stage = Stage::open();
    let connection = stage.arrives_from(1);
    stage
        .pairing
        .handle_input(stage.now, Input::Malformed { connection });
    assert_eq!(stage.outputs(), refused(connection, ErrorCode::MALFORMED));
    stage
        .pairing
        .handle_input(stage.now, Input::Malformed { connection });
    assert_eq!(stage.outputs(), []);
}

#[test]
fn wrong_joins_close_the_door_to_an_address_for_ten_minutes() {
    let mut stage = Stage::open();
    for _ in 0..11 {
        let guesser = stage.arrives_from(66);
        stage.joins(guesser, 1, COOKIE, TlvList::new());
    }
    stage.outputs();
    let guesser = stage.arrives_from(66);
    assert_eq!(
        stage.outputs(),
        [Output::Close {
            connection: guesser
        }]
    );
    stage.arrives_from(1);
    assert_eq!(stage.outputs(), [], "others are not concerned");
    stage.waits(601);
    stage.outputs();
    stage.arrives_from(66);
    assert_eq!(stage.outputs(), []);
}

#[test]
fn an_address_has_sixteen_silent_connections_and_eight_waiting_sessions() {
    let mut stage = Stage::open();
    let silent: Vec<_> = (0..17).map(|_| stage.arrives_from(1)).collect();
    assert_eq!(
        stage.outputs(),
        [Output::Close {
            connection: silent[16]
        }]
    );
    let mut created = 0;
    for (n, &connection) in (0u8..).zip(&silent[..16]) {
        stage.creates(connection, Cookie([n; 8]), 100 + n, TlvList::new());
    }
    for output in stage.outputs() {
        created += usize::from(matches!(
            output,
            Output::Send {
                command: Command::Created { .. },
                ..
            }
        ));
    }
    assert_eq!(created, 8);
}

#[test]
fn pairs_are_limited_per_address_and_a_full_one_leaves_the_session_waiting() {
    let limits = RelayLimits {
        pairs_per_address: 1,
        ..RelayLimits::default()
    };
    let mut stage = Stage::with(Access::Open, limits);
    let first = stage.waiting();
    let bob = stage.arrives_from(2);
    stage.joins(bob, TOKEN, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), ready(first, bob));
    let second = stage.arrives_from(3);
    stage.creates(second, COOKIE, 0x44, TlvList::new());
    stage.outputs();
    let again = stage.arrives_from(2);
    stage.joins(again, 0x4444, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), refused(again, ErrorCode::BAD_REQUEST));
    stage.closes(bob, 0);
    let again = stage.arrives_from(2);
    stage.joins(again, 0x4444, COOKIE, TlvList::new());
    assert_eq!(stage.outputs(), ready(second, again));
}

#[test]
fn nothing_is_remembered_of_those_who_are_gone() {
    let mut stage = Stage::open();
    for last in 1..=100 {
        let connection = stage.arrives_from(last);
        stage.closes(connection, 0);
    }
    let creator = stage.waiting();
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, TlvList::new());
    stage.closes(joiner, 5);
    stage.closes(creator, 5);
    stage.waits(60);
    assert_eq!(stage.pairing.ledger.len(), 0);
    assert_eq!((stage.pairing.pairs(), stage.pairing.silent), (0, 0));
    assert!(stage.pairing.connections.is_empty());
}

/// TLVs with a ticket of the key for the account, and any session.
fn ticket(key: &TicketKey, account: &str) -> TlvList {
    numbered(key, account, 1)
}

/// The same; each number is another ticket.
fn numbered(key: &TicketKey, account: &str, number: u8) -> TlvList {
    shown(key, &grant(account), number)
}

fn shown(key: &TicketKey, ticket: &Ticket, number: u8) -> TlvList {
    TlvList::new().with(TLV_TICKET, key.issue(ticket, [number; 12]))
}

fn grant(account: &str) -> Ticket {
    Ticket {
        account: name(account),
        expires_unix_s: NOW_UNIX_S + 60,
        cookie: None,
        budget: u64::MAX,
    }
}

#[test]
fn s_37_without_a_good_ticket_nobody_is_served() {
    let key = TicketKey::new([7; 32]);
    let mut stage = Stage::with(Access::Tickets(key.clone()), RelayLimits::default());
    let mut cut = ticket(&key, "7");
    cut.0[0].value = cut.0[0].value.slice(1..);
    for (tlvs, code) in [
        (TlvList::new(), ErrorCode::BAD_REQUEST),
        (
            ticket(&TicketKey::new([8; 32]), "7"),
            ErrorCode::TICKET_FOREIGN,
        ),
        (cut, ErrorCode::TICKET_FORGED),
    ] {
        let stranger = stage.arrives_from(9);
        stage.creates(stranger, COOKIE, 0x23, tlvs);
        assert_eq!(stage.outputs(), refused(stranger, code));
    }
    let creator = stage.arrives_from(1);
    stage.creates(creator, COOKIE, 0x23, ticket(&key, "7"));
    stage.outputs();
    for (tlvs, code) in [
        (TlvList::new(), ErrorCode::BAD_REQUEST),
        (ticket(&key, "8"), ErrorCode::TICKET_FOREIGN),
        (numbered(&key, "7", 2), ErrorCode::TICKET_FOREIGN),
    ] {
        let stranger = stage.arrives_from(3);
        stage.joins(stranger, TOKEN, COOKIE, tlvs);
        assert_eq!(stage.outputs(), refused(stranger, code));
    }
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, ticket(&key, "7"));
    assert_eq!(stage.outputs(), ready(creator, joiner));
}

#[test]
fn an_account_has_four_pairs_and_a_daily_allowance() {
    let key = TicketKey::new([7; 32]);
    let mut stage = Stage::with(Access::Tickets(key.clone()), RelayLimits::default());
    let pair = |stage: &mut Stage, n: u8| {
        let creator = stage.arrives_from(n);
        stage.creates(creator, Cookie([n; 8]), n, numbered(&key, "7", n));
        let joiner = stage.arrives_from(100 + n);
        let token = u16::from_be_bytes([n; 2]);
        stage.joins(joiner, token, Cookie([n; 8]), numbered(&key, "7", n));
        let budget = stage.outputs().into_iter().find_map(|output| match output {
            Output::Pair { bytes_max, .. } => Some(bytes_max),
            _ => None,
        });
        (creator, budget)
    };
    let pairs: Vec<_> = (1..=5).map(|n| pair(&mut stage, n)).collect();
    assert_eq!(
        pairs.iter().filter(|(_, budget)| budget.is_some()).count(),
        4
    );
    for (creator, _) in &pairs {
        stage.closes(*creator, 50 << 30);
    }
    // Four times 50 GiB are carried: the day's 200 GiB are used up.
    assert_eq!(pair(&mut stage, 6).1, None);
    stage.waits(24 * 3600);
    assert_eq!(pair(&mut stage, 7).1, Some(64 << 30));
}

/// A relay of a host, with its key.
fn relay_of_a_host() -> (Stage, TicketKey) {
    let key = TicketKey::new([7; 32]);
    let access = Access::Tickets(key.clone());
    (Stage::with(access, RelayLimits::default()), key)
}

#[test]
fn s_37_old_clients_without_a_ticket_are_served_if_they_are_signed_on() {
    let (mut stage, _) = relay_of_a_host();
    let stranger = stage.arrives_from(9);
    stage.creates(stranger, COOKIE, 0x23, send_file());
    assert_eq!(stage.outputs(), refused(stranger, ErrorCode::BAD_REQUEST));
    let alice = stage.old_client_creates(1, "alice", COOKIE, 0x23);
    let ip = Ipv4Addr::new(198, 51, 100, 80);
    let created = Command::Created { token: TOKEN, ip };
    assert_eq!(stage.outputs(), [send(alice, created)]);
    let stranger = stage.arrives_from(9);
    stage.joins(stranger, TOKEN, COOKIE, send_file());
    assert_eq!(stage.outputs(), refused(stranger, ErrorCode::BAD_REQUEST));
    let bob = stage.old_client_joins(2, "bob", COOKIE, 0x23);
    assert_eq!(stage.outputs(), ready(alice, bob));
}

#[test]
fn an_old_client_and_one_of_ours_with_a_ticket_of_its_own_meet_either_way() {
    for old_one_creates in [true, false] {
        let (mut stage, key) = relay_of_a_host();
        let mut tlvs = ticket(&key, "bob");
        tlvs.push(TLV_SERVICE, SEND_FILE.as_bytes().to_vec());
        let (creator, joiner);
        if old_one_creates {
            creator = stage.old_client_creates(1, "alice", COOKIE, 0x23);
            joiner = stage.arrives_from(2);
            stage.joins(joiner, TOKEN, COOKIE, tlvs);
        } else {
            creator = stage.arrives_from(2);
            stage.creates(creator, COOKIE, 0x23, tlvs);
            joiner = stage.old_client_joins(1, "alice", COOKIE, 0x23);
        }
        assert_eq!(stage.outputs()[1..], ready(creator, joiner));
    }
}

#[test]
fn s_38_a_session_of_the_native_service_is_joined_with_its_creators_ticket_alone() {
    let (mut stage, key) = relay_of_a_host();
    let creator = stage.arrives_from(1);
    let mut tlvs = ticket(&key, "alice");
    tlvs.push(TLV_SERVICE, NATIVE.as_bytes().to_vec());
    stage.creates(creator, COOKIE, 0x23, tlvs.clone());
    stage.outputs();
    let eve = stage.old_client_joins(3, "eve", COOKIE, 0x23);
    assert_eq!(stage.outputs(), refused(eve, ErrorCode::BAD_REQUEST));
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, tlvs);
    assert_eq!(stage.outputs(), ready(creator, joiner));
}

#[test]
fn cookies_of_old_clients_that_collide_are_told_apart_by_name_and_token() {
    let (mut stage, _) = relay_of_a_host();
    let alice = stage.old_client_creates(1, "alice", COOKIE, 1);
    let carol = stage.old_client_creates(3, "carol", COOKIE, 2);
    stage.outputs();
    let again = stage.old_client_creates(1, "Ali Ce", COOKIE, 3);
    assert_eq!(stage.outputs(), refused(again, ErrorCode::BAD_REQUEST));
    let dave = stage.old_client_joins(4, "dave", COOKIE, 2);
    assert_eq!(stage.outputs(), ready(carol, dave));
    let bob = stage.old_client_joins(2, "bob", COOKIE, 1);
    assert_eq!(stage.outputs(), ready(alice, bob));
    // A third one to either pair.
    let eve = stage.old_client_joins(5, "eve", COOKIE, 1);
    assert_eq!(stage.outputs(), refused(eve, ErrorCode::BAD_REQUEST));
}

#[test]
fn s_35_an_account_of_an_old_client_has_four_pairs_on_whichever_side_it_is() {
    let (mut stage, _) = relay_of_a_host();
    let mut pair = |n: u8, creator: &str, joiner: &str| {
        let created = stage.old_client_creates(n, creator, Cookie([n; 8]), n);
        stage.old_client_joins(100 + n, joiner, Cookie([n; 8]), n);
        let paired = is_paired(&stage.outputs());
        (created, paired)
    };
    let first = pair(1, "alice", "bob").0;
    for n in 2..=4 {
        assert!(pair(n, "carol", "Bob").1);
    }
    assert!(!pair(5, "dave", "bob").1, "bob has four");
    assert!(!pair(6, "bob", "dave").1, "and creates no fifth");
    assert!(pair(7, "alice", "dave").1, "alice has one");
    stage.closes(first, 5);
    stage.waits(121);
    stage.outputs();
    let creator = stage.old_client_creates(8, "dave", Cookie([8; 8]), 8);
    let joiner = stage.old_client_joins(108, "bob", Cookie([8; 8]), 8);
    assert_eq!(stage.outputs()[1..], ready(creator, joiner));
}

#[test]
fn what_a_pair_carried_counts_for_both_accounts() {
    let (mut stage, _) = relay_of_a_host();
    let mut carry = |n: u8, creator: &str, joiner: &str, carried: u64| {
        let created = stage.old_client_creates(n, creator, Cookie([n; 8]), n);
        stage.old_client_joins(100 + n, joiner, Cookie([n; 8]), n);
        let budget = stage.outputs().into_iter().find_map(|output| match output {
            Output::Pair { bytes_max, .. } => Some(bytes_max),
            _ => None,
        });
        stage.closes(created, carried);
        budget
    };
    assert_eq!(carry(1, "alice", "bob", 150 << 30), Some(64 << 30));
    assert_eq!(carry(2, "carol", "bob", 0), Some(50 << 30));
    assert_eq!(carry(3, "alice", "carol", 0), Some(50 << 30));
    assert_eq!(carry(4, "carol", "dave", 0), Some(64 << 30));
    // One account on both sides counts once.
    assert_eq!(carry(5, "erin", "Erin", 150 << 30), Some(64 << 30));
    assert_eq!(carry(6, "erin", "frank", 0), Some(50 << 30));
}

#[test]
fn s_35_wrong_joins_of_old_clients_close_the_door_to_their_address() {
    let (mut stage, _) = relay_of_a_host();
    let alice = stage.old_client_creates(1, "alice", COOKIE, 0x23);
    stage.outputs();
    for _ in 0..11 {
        let guess = stage.old_client_joins(2, "eve", Cookie([9; 8]), 0x23);
        assert_eq!(stage.outputs(), refused(guess, ErrorCode::BAD_REQUEST));
    }
    let late = stage.arrives_from(2);
    assert_eq!(stage.outputs(), [Output::Close { connection: late }]);
    let bob = stage.old_client_joins(3, "bob", COOKIE, 0x23);
    assert_eq!(stage.outputs(), ready(alice, bob));
}

/// Says whether a session is made with that ticket, or why not.
fn tries(
    stage: &mut Stage,
    cookie: Cookie,
    random: u8,
    tlvs: TlvList,
) -> Result<ConnectionId, ErrorCode> {
    let creator = stage.arrives_from(1);
    stage.creates(creator, cookie, random, tlvs);
    match &stage.outputs()[..] {
        [
            Output::Send {
                command: Command::Created { .. },
                ..
            },
        ] => Ok(creator),
        [
            Output::Send {
                command: Command::Error(code),
                ..
            },
            Output::Close { .. },
        ] => Err(*code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s_37_each_bad_ticket_is_refused_with_its_own_error_and_counted() {
    let (mut stage, key) = relay_of_a_host();
    let good = grant("7");
    let mut forged = shown(&key, &good, 1);
    let mut bytes = forged.0[0].value.to_vec();
    // Eight times the budget.
    bytes[35] ^= 0x80;
    forged.0[0].value = bytes.into();
    let expired = Ticket {
        expires_unix_s: NOW_UNIX_S,
        ..good.clone()
    };
    let other = Ticket {
        cookie: Some(Cookie(*b"TRYST02\0")),
        ..good.clone()
    };
    for (tlvs, code, why) in [
        (
            TlvList::new().with(TLV_TICKET, &b"rubbish"[..]),
            ErrorCode::TICKET_FORGED,
            Refusal::Ticket(TicketError::Malformed),
        ),
        (
            forged,
            ErrorCode::TICKET_FORGED,
            Refusal::Ticket(TicketError::Forged),
        ),
        (
            shown(&TicketKey::new([8; 32]), &good, 1),
            ErrorCode::TICKET_FOREIGN,
            Refusal::Ticket(TicketError::Foreign),
        ),
        (
            shown(&key, &expired, 1),
            ErrorCode::TICKET_EXPIRED,
            Refusal::Ticket(TicketError::Expired),
        ),
        (
            shown(&key, &other, 1),
            ErrorCode::TICKET_COOKIE,
            Refusal::WrongCookie,
        ),
    ] {
        assert_eq!(tries(&mut stage, COOKIE, 1, tlvs.clone()), Err(code));
        assert_eq!(stage.refusals(), [why]);
        let joiner = stage.arrives_from(2);
        stage.joins(joiner, TOKEN, COOKIE, tlvs);
        assert_eq!(stage.outputs(), refused(joiner, code));
        assert_eq!(stage.refusals(), [why]);
    }
    assert!(tries(&mut stage, Cookie(*b"TRYST02\0"), 1, shown(&key, &other, 1)).is_ok());
}

#[test]
fn a_ticket_is_good_for_one_pair() {
    let (mut stage, key) = relay_of_a_host();
    let tlvs = ticket(&key, "7");
    let creator = tries(&mut stage, COOKIE, 1, tlvs.clone()).unwrap();
    let twice = tries(&mut stage, Cookie([2; 8]), 2, tlvs.clone());
    assert_eq!(twice, Err(ErrorCode::TICKET_SPENT));
    // Nobody came: it was not used.
    stage.closes(creator, 0);
    let creator = tries(&mut stage, COOKIE, 3, tlvs.clone()).unwrap();
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, 0x0303, COOKIE, tlvs.clone());
    assert_eq!(stage.outputs(), ready(creator, joiner));
    for over in [false, true] {
        let again = stage.arrives_from(2);
        stage.joins(again, 0x0303, COOKIE, tlvs.clone());
        assert_eq!(stage.outputs(), refused(again, ErrorCode::TICKET_SPENT));
        let again = tries(&mut stage, Cookie([4; 8]), 4, tlvs.clone());
        assert_eq!(again, Err(ErrorCode::TICKET_SPENT), "over: {over}");
        stage.closes(joiner, 0);
    }
    stage.refusals();
    assert!(tries(&mut stage, Cookie([5; 8]), 5, numbered(&key, "7", 2)).is_ok());
}

#[test]
fn what_is_remembered_of_tickets_is_bounded_and_goes_with_them() {
    let key = TicketKey::new([7; 32]);
    let limits = RelayLimits {
        tickets_per_account: 2,
        ..RelayLimits::default()
    };
    let mut stage = Stage::with(Access::Tickets(key.clone()), limits);
    for n in 1..=2 {
        let creator = tries(&mut stage, COOKIE, n, numbered(&key, "7", n)).unwrap();
        let joiner = stage.arrives_from(2);
        let token = u16::from_be_bytes([n; 2]);
        stage.joins(joiner, token, COOKIE, numbered(&key, "7", n));
        assert!(is_paired(&stage.outputs()));
        stage.closes(creator, 0);
    }
    let third = tries(&mut stage, COOKIE, 3, numbered(&key, "7", 3));
    assert_eq!(third, Err(ErrorCode::TOO_MANY));
    let why = Refusal::TooMany(Bound::TicketsPerAccount);
    assert_eq!(stage.refusals(), [why]);
    // The tickets of the pairs have expired, this one is of later.
    stage.waits(61);
    let later = Ticket {
        expires_unix_s: NOW_UNIX_S + 90,
        ..grant("7")
    };
    assert!(tries(&mut stage, COOKIE, 4, shown(&key, &later, 4)).is_ok());
}

#[test]
fn accounts_are_remembered_in_bounded_memory() {
    let key = TicketKey::new([7; 32]);
    let limits = RelayLimits {
        accounts: 2,
        ..RelayLimits::default()
    };
    let mut stage = Stage::with(Access::Tickets(key.clone()), limits);
    let first = tries(&mut stage, COOKIE, 1, numbered(&key, "1", 1)).unwrap();
    tries(&mut stage, COOKIE, 2, numbered(&key, "2", 2)).unwrap_err();
    tries(&mut stage, Cookie([2; 8]), 2, numbered(&key, "2", 2)).unwrap();
    let third = tries(&mut stage, Cookie([3; 8]), 3, numbered(&key, "3", 3));
    assert_eq!(third, Err(ErrorCode::TOO_MANY));
    stage.closes(first, 0);
    stage.waits(1);
    assert!(tries(&mut stage, Cookie([3; 8]), 3, numbered(&key, "3", 3)).is_ok());
}

#[test]
fn a_pair_over_the_budget_of_its_ticket_ends_and_the_ticket_says_why() {
    let (mut stage, key) = relay_of_a_host();
    let small = Ticket {
        budget: 1_000,
        ..grant("7")
    };
    let tlvs = shown(&key, &small, 1);
    let creator = tries(&mut stage, COOKIE, 0x23, tlvs.clone()).unwrap();
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, tlvs.clone());
    let bytes_max = 1_000;
    let pair = Output::Pair {
        creator,
        joiner,
        bytes_max,
    };
    assert_eq!(stage.outputs().last(), Some(&pair));
    let bytes = 600;
    let connection = creator;
    stage
        .pairing
        .handle_input(stage.now, Input::Carried { connection, bytes });
    assert_eq!(stage.outputs(), []);
    stage.closes(creator, 400);
    assert_eq!(stage.refusals(), [Refusal::PairBytes]);
    let again = tries(&mut stage, COOKIE, 3, tlvs);
    assert_eq!(again, Err(ErrorCode::BUDGET_SPENT));
    assert!(tries(&mut stage, COOKIE, 4, shown(&key, &small, 2)).is_ok());
}

#[test]
fn all_pairs_of_an_account_together_carry_no_more_than_its_day() {
    let (mut stage, key) = relay_of_a_host();
    let mut creators = Vec::new();
    for n in 1..=4 {
        let cookie = Cookie([n; 8]);
        let creator = tries(&mut stage, cookie, n, numbered(&key, "7", n)).unwrap();
        let joiner = stage.arrives_from(2);
        let token = u16::from_be_bytes([n; 2]);
        stage.joins(joiner, token, cookie, numbered(&key, "7", n));
        assert!(is_paired(&stage.outputs()));
        creators.push(creator);
    }
    for &connection in &creators {
        let bytes = 49 << 30;
        let carried = Input::Carried { connection, bytes };
        stage.pairing.handle_input(stage.now, carried);
    }
    assert_eq!(stage.outputs(), [], "196 of 200 GiB");
    let (connection, bytes) = (creators[2], 4 << 30);
    let carried = Input::Carried { connection, bytes };
    stage.pairing.handle_input(stage.now, carried);
    let cut = Output::Cut {
        creator: connection,
    };
    assert_eq!(stage.outputs(), [cut]);
    stage.closes(connection, 0);
    assert_eq!(stage.refusals(), [Refusal::AccountBytes]);
    let more = tries(&mut stage, COOKIE, 9, numbered(&key, "7", 9));
    assert_eq!(more, Err(ErrorCode::BUDGET_SPENT));
    assert_eq!(stage.refusals(), [Refusal::AccountBytes]);
}

#[test]
fn a_relay_that_drains_begins_nothing_new_and_lets_pairs_go_on() {
    let (mut stage, key) = relay_of_a_host();
    let creator = tries(&mut stage, COOKIE, 0x23, numbered(&key, "7", 1)).unwrap();
    let joiner = stage.arrives_from(2);
    stage.joins(joiner, TOKEN, COOKIE, numbered(&key, "7", 1));
    assert_eq!(stage.outputs(), ready(creator, joiner));
    let alone = tries(&mut stage, Cookie([2; 8]), 2, numbered(&key, "7", 2)).unwrap();
    let old = stage.old_client_creates(3, "alice", Cookie([3; 8]), 3);
    stage.outputs();
    stage.pairing.handle_input(stage.now, Input::Drain);
    let told = stage.outputs();
    for output in refused(alone, ErrorCode::DRAINING)
        .into_iter()
        .chain(refused(old, ErrorCode::BAD_REQUEST))
    {
        assert!(told.contains(&output), "{output:?}");
    }
    assert_eq!((stage.pairing.pairs(), stage.pairing.waiting()), (1, 0));
    let late = tries(&mut stage, Cookie([4; 8]), 4, numbered(&key, "7", 4));
    assert_eq!(late, Err(ErrorCode::DRAINING));
    stage.closes(joiner, 5);
    assert_eq!(stage.pairing.pairs(), 0);
}
