//! The service against scripted hosts, over sockets on loopback.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rdv_proto::wire::admin::{InfoReply, Permissions};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::{
    ClientOnline, HostOnline, Login, LoginErrorCode, RateReply, ServiceReply, ServiceRequest,
    Versions, tlv,
};
use rdv_proto::wire::snac::{ErrorCode, Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use tokio::time::timeout;

use super::*;
use crate::oscar::account::Account;
use crate::oscar::scripted::{Door, Scripted};
use crate::signaling::Signaling;
use crate::transport::tls::HostTlsError;
use crate::trust::HostTrust;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "a secret that nobody sees";
const COOKIE: &[u8] = b"opens it once";

fn settings(door: &Door) -> AccountSettings {
    let name = ScreenName::new("al ice").unwrap();
    let password = Password::new(PASSWORD);
    AccountSettings::new(door.address(), HostTrust::AcceptAny, name, password)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

impl Scripted {
    /// Hears the question where accounts are managed, and names that address.
    async fn name_the_service(&mut self, address: &str) -> ServiceRequest {
        let asked = self.expect(Foodgroup::OSERVICE, 0x04).await;
        let tlvs = TlvList::new()
            .with_u16(tlv::SERVICE, 7)
            .with(tlv::ADDRESS, address.to_owned())
            .with(tlv::COOKIE, COOKIE);
        let reply = ServiceReply { tlvs }.encode();
        self.say(Foodgroup::OSERVICE, 0x05, asked.request_id, reply)
            .await;
        ServiceRequest::decode(&asked.body).unwrap()
    }

    /// The handshake of the service, each step when it is its turn.
    async fn take_admin(&mut self) {
        let hello = self.greeting().await;
        assert_eq!(
            hello.first(tlv::COOKIE).map(|cookie| &cookie[..]),
            Some(COOKIE)
        );
        let foodgroups = vec![Foodgroup::OSERVICE, Foodgroup::ADMIN];
        let online = HostOnline { foodgroups }.encode();
        self.say(Foodgroup::OSERVICE, 0x03, 0x8000_0000, online)
            .await;
        let versions = self.expect(Foodgroup::OSERVICE, 0x17).await;
        let pairs = Versions::decode(&versions.body).unwrap();
        assert_eq!(pairs.of(Foodgroup::ADMIN), Some(1));
        let id = versions.request_id;
        self.say(Foodgroup::OSERVICE, 0x18, id, versions.body).await;
        let rates = self.expect(Foodgroup::OSERVICE, 0x06).await;
        let reply = RateReply::default().encode();
        self.say(Foodgroup::OSERVICE, 0x07, rates.request_id, reply)
            .await;
        self.expect(Foodgroup::OSERVICE, 0x08).await;
        let online = self.expect(Foodgroup::OSERVICE, 0x02).await;
        assert_eq!(ClientOnline::decode(&online.body).unwrap().tools.len(), 2);
    }

    async fn asked(&mut self, subgroup: u16) -> Snac {
        self.expect(Foodgroup::ADMIN, subgroup).await
    }

    async fn answer(&mut self, request: &Snac, body: Bytes) {
        let subgroup = request.subgroup + 1;
        self.say(Foodgroup::ADMIN, subgroup, request.request_id, body)
            .await;
    }

    async fn answer_block(&mut self, request: &Snac, block: ReplyBlock) {
        let blocks = vec![block];
        self.answer(request, InfoReply { blocks }.encode()).await;
    }
}

fn value(tag: u16, value: &'static [u8]) -> ReplyBlock {
    ReplyBlock::value(Permissions::CHANGEABLE, tag, value)
}

fn error(tag: u16, code: AdminErrorCode) -> ReplyBlock {
    ReplyBlock::error(
        Permissions::LOCKED,
        tag,
        code,
        &b"http://host.example/why"[..],
    )
}

/// The service at a host of our kind; the first connection stays up.
async fn at_our_host() -> (AccountAdmin, Scripted, Scripted) {
    let door = Door::secure().await;
    let serve = async {
        let mut first = door.open().await.unwrap();
        first.take_account("Alice").await;
        let asked = first.name_the_service(&door.address()).await;
        assert_eq!(asked.foodgroup, Foodgroup::ADMIN);
        assert!(asked.tlvs.contains(tlv::WANTS_TLS));
        let mut second = door.open().await.unwrap();
        second.take_admin().await;
        (first, second)
    };
    let settings = settings(&door);
    let (admin, (first, second)) =
        soon(async { tokio::join!(AccountAdmin::connect(&settings), serve) }).await;
    (admin.unwrap(), first, second)
}

#[tokio::test]
async fn a_host_tells_what_it_knows_one_field_after_the_other() {
    let (mut admin, _first, mut host) = at_our_host().await;
    let serve = async {
        for (tag, block) in [
            (tag::FORMAT, value(tag::FORMAT, b"Al Ice")),
            (tag::EMAIL, value(tag::EMAIL, b"")),
            (
                tag::REGISTRATION,
                ReplyBlock::value(Permissions::LOCKED, tag::REGISTRATION, &[0, 2][..]),
            ),
        ] {
            let asked = host.asked(0x02).await;
            let query = InfoQuery::decode(&asked.body).unwrap();
            assert_eq!(query.tags().collect::<Vec<_>>(), [tag]);
            // An answer to something else does not count.
            let stray = InfoReply::default().encode();
            host.say(Foodgroup::ADMIN, 0x03, asked.request_id + 1, stray)
                .await;
            host.answer_block(&asked, block).await;
        }
    };
    let (info, ()) = soon(async { tokio::join!(admin.info(), serve) }).await;
    let info = info.unwrap();
    assert_eq!(info.name.value.as_str(), "Al Ice");
    assert!(info.name.changeable && info.email.changeable);
    assert_eq!(info.email.value, None, "of no length is none");
    assert_eq!(info.registration.value, Registration::LIMITED);
    assert!(!info.registration.changeable);
}

#[tokio::test]
async fn each_change_is_one_request_and_ends_with_what_the_host_took() {
    let (mut admin, _first, mut host) = at_our_host().await;
    let serve = async {
        let mut heard = Vec::new();
        for block in [
            value(tag::FORMAT, b"Al ICE"),
            value(tag::EMAIL, b"alice@example.org"),
            value(tag::REGISTRATION, &[0, 3]),
            value(tag::PASSWORD, b""),
        ] {
            let asked = host.asked(0x04).await;
            heard.push(ChangeRequest::decode(&asked.body).unwrap());
            host.answer_block(&asked, block).await;
        }
        heard
    };
    let change = async {
        let formatted = admin.set_format("Al ICE").await.unwrap();
        assert_eq!(formatted.as_str(), "Al ICE");
        admin.set_email("alice@example.org").await.unwrap();
        let status = admin.set_registration(Registration::FULL).await.unwrap();
        assert_eq!(status, Registration::FULL);
        let (new, old) = (Password::new("a newer one"), Password::new(PASSWORD));
        admin.set_password(&new, &old).await.unwrap();
    };
    let ((), heard) = soon(async { tokio::join!(change, serve) }).await;
    assert_eq!(heard[0], ChangeRequest::field(tag::FORMAT, &b"Al ICE"[..]));
    assert_eq!(
        heard[1],
        ChangeRequest::field(tag::EMAIL, &b"alice@example.org"[..])
    );
    assert_eq!(heard[2], ChangeRequest::registration(Registration::FULL));
    assert_eq!(
        heard[3],
        ChangeRequest::password(b"a newer one", PASSWORD.as_bytes())
    );
}

#[tokio::test]
async fn each_of_the_35_codes_is_told_with_the_address_that_explains_it() {
    let (mut admin, _first, mut host) = at_our_host().await;
    let serve = async {
        for code in AdminErrorCode::ALL {
            let asked = host.asked(0x04).await;
            host.answer_block(&asked, error(tag::FORMAT, code)).await;
        }
        // A known host leaves the address out.
        let asked = host.asked(0x04).await;
        let tlvs = TlvList::new().with_u16(tag::ERROR_CODE, 0x77);
        let permissions = Permissions::CHANGEABLE;
        host.answer_block(&asked, ReplyBlock { permissions, tlvs })
            .await;
    };
    let ask = async {
        for expected in AdminErrorCode::ALL {
            let refused = admin.set_format("x").await.unwrap_err();
            let said = refused.to_string();
            assert!(said.contains(expected.name().unwrap()), "{said}");
            let AdminError::Refused { code, url } = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(code, expected);
            assert_eq!(url.as_deref(), Some("http://host.example/why"));
        }
        let refused = admin.set_format("x").await.unwrap_err();
        assert_eq!(refused.to_string(), "the host refused: code 0x77");
        assert!(matches!(refused, AdminError::Refused { url: None, .. }));
    };
    soon(async { tokio::join!(ask, serve) }).await;
}

#[tokio::test]
async fn confirmation_is_a_mail_first_and_a_code_then() {
    let (mut admin, _first, mut host) = at_our_host().await;
    let reply = |status: u16, tlvs: TlvList| {
        let status = ConfirmStatus(status);
        ConfirmReply { status, tlvs }.encode()
    };
    let serve = async {
        let url = || TlvList::new().with(tag::ERROR_URL, Bytes::new());
        let outstanding = url().with_u16(tag::ERROR_CODE, AdminErrorCode::OUTSTANDING_CONFIRM.0);
        // A known host writes an empty TLV of tag 0.
        let odd = TlvList::new().with(0, Bytes::new());
        for (status, tlvs) in [
            (0, url()),
            (0x23, outstanding),
            (0x23, url()),
            (0x13, url()),
            (0x1E, odd),
        ] {
            let asked = host.asked(0x06).await;
            assert!(asked.body.is_empty());
            host.answer(&asked, reply(status, tlvs)).await;
        }
        let asked = host.asked(0x06).await;
        let asked_with = ConfirmRequest::decode(&asked.body).unwrap();
        assert_eq!(asked_with.code(), Some(&Bytes::from_static(b"otter-7")));
        host.answer(&asked, reply(0, url())).await;
        let asked = host.asked(0x06).await;
        host.answer(&asked, reply(0x1E, url())).await;
    };
    let ask = async {
        assert_eq!(admin.confirm().await.unwrap(), Confirmation::MailSent);
        for expected in [
            AdminErrorCode::OUTSTANDING_CONFIRM,
            AdminErrorCode::DNS_FAIL,
            AdminErrorCode::ALL_OTHER_ERRORS,
        ] {
            let refused = admin.confirm().await.unwrap_err();
            assert!(
                matches!(refused, AdminError::Refused { code, .. } if code == expected),
                "{refused:?}"
            );
        }
        assert_eq!(admin.confirm().await.unwrap(), Confirmation::Already);
        assert!(admin.confirm_with(" otter-7\n").await.unwrap());
        assert!(!admin.confirm_with("otter-8").await.unwrap());
    };
    soon(async { tokio::join!(ask, serve) }).await;
}

#[tokio::test]
async fn deletion_takes_the_password_and_an_empty_answer() {
    let (mut admin, _first, mut host) = at_our_host().await;
    let serve = async {
        let asked = host.asked(0x08).await;
        assert_eq!(
            DeleteRequest::decode(&asked.body).unwrap(),
            DeleteRequest::of(b"wrong")
        );
        let mut no = BytesMut::new();
        TlvList::new()
            .with_u16(tag::ERROR_CODE, AdminErrorCode::INVALID_OLD_PASSWORD.0)
            .with(tag::ERROR_URL, Bytes::new())
            .encode_rest(&mut no);
        host.answer(&asked, no.freeze()).await;
        let asked = host.asked(0x08).await;
        host.answer(&asked, Bytes::new()).await;
        host.frame(Channel::SIGN_OFF, Bytes::from_static(&[0, 9, 0, 2, 0, 2]))
            .await;
    };
    let ask = async {
        let refused = admin.delete(&Password::new("wrong")).await.unwrap_err();
        assert!(
            matches!(refused, AdminError::Refused { code, url: None } if code == AdminErrorCode::INVALID_OLD_PASSWORD),
        );
        admin.delete(&Password::new(PASSWORD)).await.unwrap();
        let gone = admin.info().await.unwrap_err();
        assert!(matches!(gone, AdminError::Closed(_)), "{gone:?}");
    };
    soon(async { tokio::join!(ask, serve) }).await;
}

#[tokio::test]
async fn what_a_host_does_not_take_or_answer_is_told_apart() {
    let (mut admin, _first, mut host) = at_our_host().await;
    let serve = async {
        let asked = host.asked(0x08).await;
        host.refuse(&asked, ErrorCode::INVALID_SNAC).await;
        let asked = host.asked(0x04).await;
        host.answer(&asked, Bytes::new()).await;
        let asked = host.asked(0x04).await;
        host.answer(&asked, Bytes::from_static(&[0, 3, 0, 9])).await;
    };
    let ask = async {
        let refused = admin.delete(&Password::new(PASSWORD)).await.unwrap_err();
        assert!(
            matches!(refused, AdminError::NotTaken { code } if code == ErrorCode::INVALID_SNAC),
            "{refused:?}"
        );
        let nothing = admin.set_format("x").await.unwrap_err();
        assert!(matches!(nothing, AdminError::Unanswered), "{nothing:?}");
        let junk = admin.set_format("x").await.unwrap_err();
        assert!(matches!(junk, AdminError::Protocol(_)), "{junk:?}");
    };
    soon(async { tokio::join!(ask, serve) }).await;
}

/// What comes of it if the host answers the question for the service in that way.
async fn answered(answer: impl AsyncFnOnce(&mut Scripted, &Snac)) -> AdminError {
    let door = Door::secure().await;
    let serve = async {
        let mut host = door.open().await.unwrap();
        host.take_account("Alice").await;
        let asked = host.expect(Foodgroup::OSERVICE, 0x04).await;
        answer(&mut host, &asked).await;
        host
    };
    let settings = settings(&door);
    let (refused, _host) =
        soon(async { tokio::join!(AccountAdmin::connect(&settings), serve) }).await;
    refused.unwrap_err()
}

#[tokio::test]
async fn a_host_without_the_service_says_so() {
    let code = ErrorCode::SERVICE_NOT_DEFINED;
    let none = answered(async |host, asked| host.refuse(asked, code).await).await;
    assert!(
        matches!(none, AdminError::NoService { code: said } if said == code),
        "{none:?}"
    );
    let odd = answered(async |host, asked| {
        let tlvs = TlvList::new().with(tlv::COOKIE, COOKIE);
        let reply = ServiceReply { tlvs }.encode();
        host.say(Foodgroup::OSERVICE, 0x05, asked.request_id, reply)
            .await;
    })
    .await;
    assert!(matches!(odd, AdminError::Nowhere), "{odd:?}");
    let deleted = answered(async |host, _| {
        let data = Bytes::from_static(&[0, 9, 0, 2, 0, 2]);
        host.frame(Channel::SIGN_OFF, data).await;
    })
    .await;
    assert!(
        matches!(deleted, AdminError::Host(OscarError::AccountDeleted)),
        "{deleted:?}"
    );
}

#[tokio::test]
async fn the_cookie_goes_to_the_host_that_gave_it_and_to_nobody_else() {
    let (door, other) = (Door::secure().await, Door::secure().await);
    let serve = async {
        let mut host = door.open().await.unwrap();
        host.take_account("Alice").await;
        host.name_the_service(&other.address()).await;
        host
    };
    let settings = settings(&door);
    let wrong = async { other.open().await.is_none() };
    let (refused, _host, hung_up) =
        soon(async { tokio::join!(AccountAdmin::connect(&settings), serve, wrong) }).await;
    let refused = refused.unwrap_err();
    let key = matches!(
        &refused,
        AdminError::Host(OscarError::TlsFailed {
            source: HostTlsError::Key(_),
            ..
        })
    );
    assert!(key, "{refused:?}");
    assert!(hung_up, "before a word was said");
}

#[tokio::test]
async fn an_address_that_is_of_no_use_here_is_made_up_for_by_the_one_that_was() {
    let door = Door::secure().await;
    // Nobody listens there any more.
    let gone = Door::plain().await.address();
    let serve = async {
        let mut first = door.open().await.unwrap();
        first.take_account("Alice").await;
        first.name_the_service(&gone).await;
        let mut second = door.open().await.unwrap();
        second.take_admin().await;
        (first, second)
    };
    let settings = settings(&door);
    let (admin, _served) =
        soon(async { tokio::join!(AccountAdmin::connect(&settings), serve) }).await;
    admin.unwrap();
}

#[tokio::test]
async fn a_plain_host_is_spoken_to_in_plain_words_where_that_is_allowed() {
    let door = Door::plain().await;
    let serve = async {
        // The first connection begins with TLS, which is no FLAP.
        let mut tried = door.open().await.unwrap();
        assert!(tried.hear().await.is_none());
        drop(tried);
        let mut first = door.open().await.unwrap();
        first.challenge(TlvList::new()).await;
        first.expect(Foodgroup::BUCP, 0x02).await;
        let next = TlvList::new()
            .with(tlv::ADDRESS, door.address())
            .with(tlv::COOKIE, "the first");
        first.login_reply(next).await;
        let mut session = door.open().await.unwrap();
        session.greeting().await;
        session.take_old_session("Alice").await;
        session.name_the_service(&door.address()).await;
        let mut second = door.open().await.unwrap();
        second.take_admin().await;
        let asked = second.asked(0x04).await;
        // As a known host says it: the code, no address.
        let tlvs = TlvList::new().with_u16(tag::ERROR_CODE, AdminErrorCode::VALIDATE_PASSWORD.0);
        let permissions = Permissions::CHANGEABLE;
        second
            .answer_block(&asked, ReplyBlock { permissions, tlvs })
            .await;
        (first, session, second)
    };
    let settings = settings(&door).old_host(true);
    let ask = async {
        let mut admin = AccountAdmin::connect(&settings).await.unwrap();
        let wrong = Password::new("wrong");
        let refused = admin.set_password(&wrong, &wrong).await.unwrap_err();
        assert!(
            matches!(refused, AdminError::Refused { code, .. } if code == AdminErrorCode::VALIDATE_PASSWORD)
        );
    };
    soon(async { tokio::join!(ask, serve) }).await;
}

#[tokio::test]
async fn a_cookie_that_is_not_taken_and_another_service_are_told() {
    async fn at_the_door(serve: impl AsyncFnOnce(&mut Scripted)) -> AdminError {
        let door = Door::secure().await;
        let serve = async {
            let mut first = door.open().await.unwrap();
            first.take_account("Alice").await;
            first.name_the_service(&door.address()).await;
            let mut second = door.open().await.unwrap();
            second.greeting().await;
            serve(&mut second).await;
            (first, second)
        };
        let settings = settings(&door);
        let (refused, _served) =
            soon(async { tokio::join!(AccountAdmin::connect(&settings), serve) }).await;
        refused.unwrap_err()
    }
    let stale = at_the_door(async |host| {
        let mut data = BytesMut::new();
        data.put_slice(&[0, 8, 0, 2, 0, 0x1A]);
        host.frame(Channel::SIGN_OFF, data.freeze()).await;
    })
    .await;
    assert!(
        matches!(&stale, AdminError::Host(OscarError::Refused { code }) if *code == LoginErrorCode(0x1A)),
        "{stale:?}"
    );
    let other = at_the_door(async |host| {
        let foodgroups = vec![Foodgroup::OSERVICE, Foodgroup::CHAT];
        let online = HostOnline { foodgroups }.encode();
        host.say(Foodgroup::OSERVICE, 0x03, 0, online).await;
    })
    .await;
    assert!(matches!(other, AdminError::Nowhere), "{other:?}");
}

#[tokio::test]
async fn an_account_is_made_with_one_tlv_more_and_comes_back_with_the_newest_password() {
    let door = Door::secure().await;
    let serve = async {
        let mut first = door.open().await.unwrap();
        let login = first.take_account("Al Ice").await;
        let login = Login::decode(&login.body).unwrap().tlvs;
        assert_eq!(login.text(tlv::PASSWORD), Some(PASSWORD));
        assert_eq!(login.text(tlv::CREATE_ACCOUNT), Some("me@example.org"));
        first.name_the_service(&door.address()).await;
        let mut admin = door.open().await.unwrap();
        admin.take_admin().await;
        let asked = admin.asked(0x04).await;
        admin.answer_block(&asked, value(tag::PASSWORD, b"")).await;
        drop((first, admin));
        let mut again = door.open().await.unwrap();
        let login = again.take_account("Al Ice").await;
        (again, Login::decode(&login.body).unwrap().tlvs)
    };
    let settings = settings(&door);
    let act = async {
        let account = Account::create(settings, Some("me@example.org"))
            .await
            .unwrap();
        assert_eq!(account.local_name().as_str(), "Al Ice");
        let mut admin = account.admin().await.unwrap();
        let (new, old) = (Password::new("the newest"), Password::new(PASSWORD));
        admin.set_password(&new, &old).await.unwrap();
        account
    };
    let (_account, (_host, login)) = soon(async { tokio::join!(act, serve) }).await;
    assert_eq!(login.text(tlv::PASSWORD), Some("the newest"));
    assert!(!login.contains(tlv::CREATE_ACCOUNT), "made once");
}

#[tokio::test]
async fn a_host_of_others_is_not_asked_to_make_an_account() {
    let door = Door::secure().await;
    let serve = async {
        let mut host = door.open().await.unwrap();
        host.challenge(TlvList::new()).await;
        host.hear().await
    };
    let settings = settings(&door).old_host(true);
    let (refused, heard) =
        soon(async { tokio::join!(Account::create(settings, None), serve) }).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, OscarError::NoAccountsMade), "{refused:?}");
    assert!(heard.is_none(), "no password, in no form");
}

#[tokio::test]
async fn s_26_a_25_nothing_of_it_shows_a_password_or_an_address() {
    let (admin, ..) = at_our_host().await;
    assert_eq!(format!("{admin:?}"), "AccountAdmin { .. }");
}

#[tokio::test]
async fn an_account_that_is_not_made_has_a_reason_of_its_own() {
    let door = Door::secure().await;
    let serve = async {
        let mut host = door.open().await.unwrap();
        let welcome = TlvList::new().with(tlv::NORMAL_SIGN_ON, vec![1]);
        host.challenge(welcome).await;
        host.expect(Foodgroup::BUCP, 0x02).await;
        let taken = AdminErrorCode::VALIDATE_NICKNAME;
        let no = TlvList::new()
            .with_u16(tlv::ERROR_CODE, LoginErrorCode::BAD_INPUT.0)
            .with_u16(tlv::CREATE_ACCOUNT, taken.0);
        host.login_reply(no).await;
        host
    };
    let settings = settings(&door);
    let (refused, _host) =
        soon(async { tokio::join!(Account::create(settings, None), serve) }).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, OscarError::NotCreated { code } if code == AdminErrorCode::VALIDATE_NICKNAME),
        "{refused:?}"
    );
}
