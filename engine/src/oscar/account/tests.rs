//! Accounts against scripted hosts of both kinds, over sockets on loopback.

use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::icbm::{MessageToClient, MessageToHost, UserInfo, subgroup, user_tlv};
use rdv_proto::wire::rendezvous::{Cookie, Message, SequenceNumber};
use rdv_proto::wire::service::{NATIVE, SEND_FILE};
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::signon::{DigestKind, InfoQuery, InfoReply, Login, UserList, digest, tlv};
use rdv_proto::wire::snac::{ErrorCode, Foodgroup};
use rdv_proto::wire::tlv::TlvList;
use tokio::time::timeout;

use super::*;
use crate::oscar::HostSecurity;
use crate::oscar::scripted::{Door, KEY, Scripted};
use crate::transport::tls::HostTlsError;
use crate::trust::KnownHosts;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const COOKIE: Cookie = Cookie(*b"TRYST001");
const PASSWORD: &str = "a secret that nobody sees";

fn name(text: &str) -> ScreenName {
    ScreenName::new(text).unwrap()
}

fn settings(door: &Door) -> AccountSettings {
    let password = Password::new(PASSWORD);
    AccountSettings::new(
        door.address(),
        HostTrust::AcceptAny,
        name("al ice"),
        password,
    )
    .capabilities([NATIVE, SEND_FILE])
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Signed on to a host of our kind.
async fn at_our_host() -> (Account, Door, Scripted) {
    let door = Door::secure().await;
    let serve = async {
        let mut host = door.open().await.unwrap();
        host.take_account("Alice").await;
        host
    };
    let (account, host) =
        soon(async { tokio::join!(Account::connect(settings(&door)), serve) }).await;
    (account.unwrap(), door, host)
}

/// Both connections of an old sign-on. Gives what the client said in the login and the session.
async fn serve_the_old_way(door: &Door) -> (Scripted, TlvList, Vec<(u16, u16)>) {
    let mut first = loop {
        if let Some(mut host) = door.open().await {
            // A TLS greeting is no FLAP frame: an old host hangs up.
            if host.challenge_or_hang_up().await {
                break host;
            }
        }
    };
    let login = first.expect(Foodgroup::BUCP, 0x02).await;
    let login = Login::decode(&login.body).unwrap();
    let next = TlvList::new()
        .with(tlv::SCREEN_NAME, "al ice")
        .with(tlv::ADDRESS, door.address())
        .with(tlv::COOKIE, vec![7; 256]);
    first.login_reply(next).await;
    first.frame(Channel::SIGN_OFF, Bytes::new()).await;

    let mut second = door.open().await.unwrap();
    let hello = second.greeting().await;
    assert_eq!(
        hello.first(tlv::COOKIE).map(|cookie| cookie.len()),
        Some(256)
    );
    let heard = second.take_old_session("Alice").await;
    (second, login.tlvs, heard)
}

impl Scripted {
    /// False if what came is no FLAP.
    async fn challenge_or_hang_up(&mut self) -> bool {
        let Some(frame) = self.hear().await else {
            return false;
        };
        assert_eq!(frame.channel, Channel::SIGN_ON);
        let asked = self.expect(Foodgroup::BUCP, 0x06).await;
        let key = Bytes::from_static(KEY);
        let tlvs = TlvList::new();
        let challenge = rdv_proto::wire::signon::Challenge { key, tlvs };
        self.say(Foodgroup::BUCP, 0x07, asked.request_id, challenge.encode())
            .await;
        true
    }

    /// A proposal of bob, whose client can do that.
    async fn propose(&mut self, capabilities: &[Uuid]) {
        self.propose_as(user("Bob", capabilities)).await;
    }

    async fn propose_as(&mut self, sender: UserInfo) {
        let block = proposal();
        let tlvs = TlvList::new().with(rdv_proto::wire::icbm::tlv::RENDEZVOUS, block.slice(1..));
        let message = MessageToClient {
            cookie: COOKIE,
            channel: rdv_proto::wire::icbm::Channel::RENDEZVOUS,
            sender,
            tlvs,
        };
        let body = message.encode();
        self.say(
            Foodgroup::ICBM,
            subgroup::MESSAGE_TO_CLIENT,
            0x8000_0000,
            body,
        )
        .await;
    }
}

fn proposal() -> Bytes {
    let sequence = SequenceNumber::new(1).unwrap();
    Signal::Rendezvous(Message::propose(COOKIE, NATIVE, sequence)).encode()
}

fn user(text: &str, capabilities: &[Uuid]) -> UserInfo {
    let list: Vec<u8> = capabilities
        .iter()
        .flat_map(|uuid| *uuid.as_bytes())
        .collect();
    UserInfo {
        name: name(text),
        warning: 0,
        tlvs: TlvList::new().with(user_tlv::CAPABILITIES, list),
    }
}

#[tokio::test]
async fn a_password_goes_over_tls_on_one_connection() {
    let door = Door::secure().await;
    let serve = async {
        let mut host = door.open().await.unwrap();
        let login = host.take_account("Alice").await;
        (host, Login::decode(&login.body).unwrap())
    };
    let (account, (_host, login)) =
        soon(async { tokio::join!(Account::connect(settings(&door)), serve) }).await;
    let account = account.unwrap();
    assert_eq!(
        account.local_name().as_str(),
        "Alice",
        "as the host formats it"
    );
    assert_eq!(login.tlvs.text(tlv::SCREEN_NAME), Some("al ice"));
    assert_eq!(login.tlvs.text(tlv::PASSWORD), Some(PASSWORD));
    assert_eq!(login.tlvs.first(tlv::MULTIPLE_SESSIONS).unwrap()[..], [1]);
    assert!(!login.tlvs.contains(tlv::DIGEST));
    let relay = account.relay().await.unwrap().unwrap();
    assert_eq!(relay.address, "192.0.2.9:5190");
    assert!(matches!(
        account.client().host_security(),
        HostSecurity::Tls { .. }
    ));
}

#[tokio::test]
async fn a_refused_password_is_final_and_keeps_its_reason() {
    let door = Door::secure().await;
    let serve = async {
        let mut host = door.open().await.unwrap();
        let welcome = TlvList::new().with(tlv::NORMAL_SIGN_ON, vec![1]);
        host.challenge(welcome).await;
        host.expect(Foodgroup::BUCP, 0x02).await;
        let no = TlvList::new().with_u16(tlv::ERROR_CODE, LoginErrorCode::WRONG_PASSWORD.0);
        host.login_reply(no).await;
        host
    };
    let (refused, _host) =
        soon(async { tokio::join!(Account::connect(settings(&door)), serve) }).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, OscarError::Refused { code } if is_for_good(code)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_host_of_others_gets_no_digest_unless_that_is_allowed() {
    let door = Door::secure().await;
    let serve = async {
        let mut host = door.open().await.unwrap();
        host.challenge(TlvList::new()).await;
        host.hear().await
    };
    let (refused, heard) =
        soon(async { tokio::join!(Account::connect(settings(&door)), serve) }).await;
    assert!(
        matches!(refused, Err(OscarError::OldSignOnOnly)),
        "{refused:?}"
    );
    assert_eq!(heard, None);

    // Nor does one without TLS hear anything.
    let door = Door::plain().await;
    let serve = async { door.open().await.unwrap().hear().await };
    let (refused, heard) =
        soon(async { tokio::join!(Account::connect(settings(&door)), serve) }).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, OscarError::TlsFailed { .. }),
        "{refused:?}"
    );
    assert_eq!(heard, None);
}

#[tokio::test]
async fn an_old_host_is_taken_step_by_step_over_two_connections() {
    for secure in [false, true] {
        let door = match secure {
            true => Door::secure().await,
            false => Door::plain().await,
        };
        let settings = settings(&door).old_host(true);
        let (account, (_host, login, heard)) =
            soon(async { tokio::join!(Account::connect(settings), serve_the_old_way(&door)) })
                .await;
        let account = account.unwrap();
        assert_eq!(account.local_name(), name("alice"));
        let expected = digest(DigestKind::New, KEY, PASSWORD.as_bytes());
        assert_eq!(login.first(tlv::DIGEST).unwrap()[..], expected);
        assert!(login.contains(tlv::NEW_DIGEST) && !login.contains(tlv::PASSWORD));
        let rights = [(0x13, 2), (0x13, 4), (2, 2), (3, 2), (4, 4), (9, 2)];
        let mut expected = vec![(1, 8), (1, 0x0E)];
        expected.extend(rights);
        expected.extend([(0x13, 7), (2, 4), (4, 2), (1, 2)]);
        assert_eq!(heard, expected);
        let client = account.client();
        let plain = matches!(client.host_security(), HostSecurity::Plain);
        assert_eq!(plain, !secure);
        let seen = client.seen_address().unwrap();
        assert_eq!(seen.ip().to_string(), "203.0.113.5");
    }
}

#[tokio::test]
async fn an_old_host_has_no_relay_and_says_so() {
    let door = Door::plain().await;
    let settings = settings(&door).old_host(true);
    let (account, (mut host, ..)) =
        soon(async { tokio::join!(Account::connect(settings), serve_the_old_way(&door)) }).await;
    let account = account.unwrap();
    let serve = async {
        let asked = host.expect(Foodgroup::OSERVICE, 0x04).await;
        host.refuse(&asked, ErrorCode::SERVICE_NOT_DEFINED).await;
    };
    let (relay, ()) = soon(async { tokio::join!(account.relay(), serve) }).await;
    assert_eq!(relay.unwrap(), None);
}

#[tokio::test]
async fn s_03_a_host_that_had_tls_once_is_never_spoken_to_without() {
    let folder = tempfile::tempdir().unwrap();
    let known = KnownHosts::new(folder.path().join("known_hosts"));
    let door = Door::plain().await;
    let key = crate::Fingerprint::of(&[7; 32]);
    known.remember(&door.address(), key).unwrap();
    let mut settings = settings(&door).old_host(true);
    settings.trust = HostTrust::FirstUse(known);
    // It is tried three times, and hears nothing in any of them.
    let serve = async {
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.extend(door.open().await.unwrap().hear().await);
        }
        heard
    };
    let (refused, heard) = soon(async { tokio::join!(Account::connect(settings), serve) }).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(
            refused,
            OscarError::TlsFailed {
                source: HostTlsError::Tls(_) | HostTlsError::Io(_),
                ..
            }
        ),
        "{refused:?}"
    );
    assert!(heard.is_empty());
}

#[tokio::test]
async fn an_account_finds_out_what_a_peer_can_do() {
    let (account, _door, mut host) = at_our_host().await;
    let bob = name("bob");
    let serve = async {
        let asked = host.expect(Foodgroup::LOCATE, 0x05).await;
        let query = InfoQuery::decode_kind(&asked.body).unwrap();
        assert_eq!(
            (query.wants, query.name),
            (InfoQuery::CAPABILITIES, name("bob"))
        );
        let reply = InfoReply {
            user: user("Bob", &[SEND_FILE]),
            tlvs: TlvList::new(),
        };
        host.say(Foodgroup::LOCATE, 0x06, asked.request_id, reply.encode())
            .await;
        host
    };
    let (found, mut host) = soon(async { tokio::join!(account.capabilities(&bob), serve) }).await;
    assert_eq!(found.unwrap(), Some(vec![SEND_FILE]));
    // Known for a moment: the host is not asked again.
    assert_eq!(
        soon(account.capabilities(&bob)).await.unwrap(),
        Some(vec![SEND_FILE])
    );

    let carol = name("carol");
    let serve = async {
        let asked = host.expect(Foodgroup::LOCATE, 0x05).await;
        host.refuse(&asked, ErrorCode::NOT_LOGGED_ON).await;
        host
    };
    let (found, mut host) = soon(async { tokio::join!(account.capabilities(&carol), serve) }).await;
    assert!(
        matches!(found, Err(SignalingError::PeerOffline)),
        "{found:?}"
    );

    let serve = async {
        let asked = host.expect(Foodgroup::LOCATE, 0x05).await;
        host.refuse(&asked, ErrorCode::RATE_TO_HOST).await;
    };
    let (found, ()) = soon(async { tokio::join!(account.capabilities(&carol), serve) }).await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn whoever_writes_or_arrives_tells_what_its_client_can_do() {
    let (account, _door, mut host) = at_our_host().await;
    let mut presence = account.presence();
    host.propose(&[NATIVE]).await;
    let arrived = soon(account.recv()).await.unwrap();
    let body = proposal();
    assert_eq!(
        arrived,
        Incoming::Message {
            from: name("bob"),
            body
        }
    );
    assert_eq!(
        soon(account.capabilities(&name("bob"))).await.unwrap(),
        Some(vec![NATIVE])
    );

    account.watch(&[name("dave")]).await.unwrap();
    let watched = host.expect(Foodgroup::BUDDY, 0x04).await;
    assert_eq!(&watched.body[..], b"\x04dave");
    let dave = UserList {
        users: vec![user("Dave", &[SEND_FILE])],
    };
    host.say(Foodgroup::BUDDY, 0x0B, 0x8000_0000, dave.encode())
        .await;
    let event = soon(presence.recv()).await.unwrap();
    let capabilities = vec![SEND_FILE];
    assert_eq!(
        event,
        PresenceEvent::Arrived {
            name: name("dave"),
            capabilities
        }
    );
    assert_eq!(
        soon(account.capabilities(&name("dave"))).await.unwrap(),
        Some(vec![SEND_FILE])
    );
    host.say(Foodgroup::BUDDY, 0x0C, 0x8000_0000, dave.encode())
        .await;
    let event = soon(presence.recv()).await.unwrap();
    assert_eq!(event, PresenceEvent::Departed { name: name("dave") });
}

#[tokio::test]
async fn a_peer_that_has_signed_on_anew_is_announced_before_its_message() {
    let (account, _door, mut host) = at_our_host().await;
    for since in [7, 7, 9] {
        let mut bob = user("Bob", &[NATIVE]);
        bob.tlvs = bob.tlvs.with_u32(user_tlv::SIGN_ON_TIME, since);
        host.propose_as(bob).await;
    }
    let from = name("bob");
    let message = Incoming::Message {
        from: from.clone(),
        body: proposal(),
    };
    let anew = Incoming::NewSession { peer: from };
    for expected in [message.clone(), message.clone(), anew, message] {
        assert_eq!(soon(account.recv()).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_account_comes_back_and_is_watched_over_again() {
    let (account, door, mut host) = at_our_host().await;
    account.watch(&[name("dave")]).await.unwrap();
    host.expect(Foodgroup::BUDDY, 0x04).await;
    let mut standing = account.standing();
    drop(host);
    let serve = async {
        // A host that is not itself yet.
        drop(door.open().await);
        let mut host = door.open().await.unwrap();
        host.take_account("Alice").await;
        let watched = host.expect(Foodgroup::BUDDY, 0x04).await;
        assert_eq!(&watched.body[..], b"\x04dave");
        host
    };
    // Said while there is no connection: it waits.
    let sent = async {
        standing
            .wait_for(|standing| *standing == Standing::ComingBack)
            .await
            .unwrap();
        account.send(name("bob"), proposal(), false).await.unwrap();
    };
    let (mut host, ()) = soon(async { tokio::join!(serve, sent) }).await;
    let message = soon(host.expect(Foodgroup::ICBM, subgroup::MESSAGE_TO_HOST)).await;
    let message = MessageToHost::decode(&message.body).unwrap();
    assert_eq!(message.recipient, name("bob"));
    assert_eq!(*account.standing().borrow(), Standing::SignedOn);
    assert!(account.end().is_none());
}

#[tokio::test]
async fn signed_on_elsewhere_ends_it_with_a_clear_word() {
    // One host writes the reason as a byte.
    for reason in [&[0, 9, 0, 2, 0, 1][..], &[0, 9, 0, 1, 1]] {
        let (account, _door, mut host) = at_our_host().await;
        host.frame(Channel::SIGN_OFF, Bytes::copy_from_slice(reason))
            .await;
        let closed = soon(account.recv()).await;
        assert!(matches!(closed, Err(SignalingError::Closed)), "{closed:?}");
        let mut standing = account.standing();
        let gone = standing.wait_for(|standing| *standing == Standing::Gone);
        soon(gone).await.unwrap();
        let end = account.end().unwrap();
        assert!(matches!(*end, OscarError::SignedOnElsewhere), "{end:?}");
    }
}

#[tokio::test]
async fn a_password_that_was_changed_meanwhile_ends_it() {
    let (account, door, host) = at_our_host().await;
    drop(host);
    let serve = async {
        let mut host = door.open().await.unwrap();
        let welcome = TlvList::new().with(tlv::NORMAL_SIGN_ON, vec![1]);
        host.challenge(welcome).await;
        host.expect(Foodgroup::BUCP, 0x02).await;
        let no = TlvList::new().with_u16(tlv::ERROR_CODE, LoginErrorCode::WRONG_PASSWORD.0);
        host.login_reply(no).await;
        host
    };
    let (closed, _host) = soon(async { tokio::join!(account.recv(), serve) }).await;
    assert!(matches!(closed, Err(SignalingError::Closed)), "{closed:?}");
    let mut standing = account.standing();
    soon(standing.wait_for(|standing| *standing == Standing::Gone))
        .await
        .unwrap();
    assert!(matches!(
        *account.end().unwrap(),
        OscarError::Refused { .. }
    ));
}

#[test]
fn s_26_debug_of_the_settings_shows_no_password() {
    let settings = AccountSettings::new(
        "host:1",
        HostTrust::AcceptAny,
        name("a"),
        Password::new(PASSWORD),
    );
    assert!(!format!("{settings:?}").contains("secret"));
}
