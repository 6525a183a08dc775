//! Passwords: changed by who knows the old one, and guessed by nobody.

use rdv_host::Limit;
use rdv_proto::wire::admin::{AdminErrorCode as Code, DeleteRequest, tag};
use rdv_proto::wire::signon::{DigestKind, LoginErrorCode, LoginReply, tlv};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient};

use super::super::accounts::PASSWORD;
use super::super::client::Client;
use super::connection::ours_on_admin;
use super::{AdminClient, Hall, code};

/// Signs on as old clients do; what the host says.
async fn old(
    hall: &Hall,
    name: &str,
    password: &str,
    digest: DigestKind,
) -> Option<LoginErrorCode> {
    let manners = Manners {
        digest,
        ..Manners::default()
    };
    let login = OldClient::login(hall.town.port(), name, password, &manners);
    login.await.err()
}

/// Signs on as our own clients do.
async fn normal(hall: &Hall, name: &str, password: &str) -> Option<LoginErrorCode> {
    let mut client = Client::tls(hall.town.port()).await;
    let more = TlvList::new().with(tlv::PASSWORD, password.as_bytes().to_vec());
    client.login(name, more).await;
    let reply = client.expect(Foodgroup::BUCP, 0x03).await;
    LoginReply::decode(&reply.body).unwrap().error()
}

const WRONG: Option<LoginErrorCode> = Some(LoginErrorCode::WRONG_PASSWORD);

#[tokio::test]
async fn a_13_a_new_password_opens_and_the_old_one_does_not() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let mut twin = hall.town.sign_on("alice", &owner.password).await;
    let before = owner.password.clone();
    for (new, given, expected) in [
        ("newsecret", None, Code::NEED_OLD_PASSWORD),
        ("newsecret", Some("wrong"), Code::INVALID_OLD_PASSWORD),
        ("newsecret", Some(""), Code::INVALID_OLD_PASSWORD_LENGTH),
        ("abc", Some(&before[..]), Code::INVALID_PASSWORD_LENGTH),
        (
            "seventeen letters",
            Some(&before[..]),
            Code::INVALID_PASSWORD_LENGTH,
        ),
        // The old one is looked at first.
        ("abc", Some("wrong"), Code::INVALID_OLD_PASSWORD),
        ("tab\tstop", Some(&before[..]), Code::INVALID_PASSWORD),
        ("A Lice", Some(&before[..]), Code::INVALID_PASSWORD),
        (&before[..], Some(&before[..]), Code::VALIDATE_PASSWORD),
        ("aaaaaa", Some(&before[..]), Code::VALIDATE_PASSWORD),
    ] {
        let refused = match given {
            Some(given) => {
                owner
                    .change_password(new.as_bytes(), given.as_bytes())
                    .await
            }
            None => owner.set(tag::PASSWORD, new.as_bytes()).await,
        };
        assert_eq!(code(&refused), Some(expected), "{new} {given:?}");
    }
    let changed = owner.passwd("newsecret").await;
    assert_eq!(
        changed.tlvs,
        TlvList::new().with(tag::PASSWORD, bytes::Bytes::new())
    );
    for digest in [DigestKind::Old, DigestKind::New] {
        assert_eq!(
            old(&hall, "alice", "newsecret", digest).await,
            None,
            "{digest:?}"
        );
        assert_eq!(
            old(&hall, "alice", &before, digest).await,
            WRONG,
            "{digest:?}"
        );
    }
    // Who is signed on stays so.
    owner.bos.expect_nothing().await;
    twin.expect_nothing().await;
    // An old client changes its own password alone (security 9).
    assert_eq!(normal(&hall, "alice", PASSWORD).await, None);
}

#[tokio::test]
async fn a_13_passwords_of_icq_have_six_to_eight_bytes() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("1234567").await;
    for wrong in ["12ab5", "12ab56789"] {
        let refused = owner.passwd(wrong).await;
        assert_eq!(
            code(&refused),
            Some(Code::INVALID_PASSWORD_LENGTH),
            "{wrong}"
        );
    }
    assert_eq!(code(&owner.passwd("12ab56").await), None);
    assert_eq!(old(&hall, "1234567", "12ab56", DigestKind::New).await, None);
}

#[tokio::test]
async fn a_client_of_ours_changes_the_normal_password_alone() {
    let hall = Hall::new().await;
    let legacy = hall.town.account("alice").await;
    let (_bos, mut admin) = ours_on_admin(&hall, "alice").await;
    let new = b"another normal password";
    let refused = admin.change_password(new, legacy.as_bytes()).await;
    assert_eq!(code(&refused), Some(Code::INVALID_OLD_PASSWORD));
    let refused = admin.change_password(b"short", PASSWORD.as_bytes()).await;
    assert_eq!(code(&refused), Some(Code::INVALID_PASSWORD_LENGTH));
    let changed = admin.change_password(new, PASSWORD.as_bytes()).await;
    assert_eq!(code(&changed), None);
    assert_eq!(
        normal(&hall, "alice", "another normal password").await,
        None
    );
    assert_eq!(normal(&hall, "alice", PASSWORD).await, WRONG);
    assert_eq!(old(&hall, "alice", &legacy, DigestKind::New).await, None);
}

#[tokio::test]
async fn a_22_after_five_wrong_passwords_the_connection_ends_and_bos_does_not() {
    let hall = Hall::with(|config| config.admin.delete = true).await;
    let mut owner = hall.owner("alice").await;
    let mut other = AdminClient::open(&mut owner.bos).await;
    for n in 0..5 {
        let wrong = Some(Code::INVALID_OLD_PASSWORD);
        // Over one connection or the other, for a change or to delete.
        match n {
            0 => {
                let refused = other.delete(DeleteRequest::of(b"wrong")).await;
                assert_eq!(refused.error(), wrong);
            }
            _ => {
                let refused = owner.change_password(b"newsecret", b"wrong").await;
                assert_eq!(code(&refused), wrong);
            }
        }
    }
    let right = owner.password.clone();
    let refused = owner.passwd("newsecret").await;
    assert_eq!(code(&refused), Some(Code::OVER_LIMIT));
    owner.client.expect_sign_off().await;
    assert_eq!(hall.town.host.metrics().refusals(Limit::AdminPasswords), 1);
    let refused = other.delete(DeleteRequest::of(right.as_bytes())).await;
    assert_eq!(refused.error(), Some(Code::OVER_LIMIT));
    other.client.expect_sign_off().await;
    // BOS is untouched, and everything but passwords still works.
    owner.bos.expect_nothing().await;
    let mut again = AdminClient::open(&mut owner.bos).await;
    assert_eq!(&again.value(tag::FORMAT).await[..], b"alice");
    assert_eq!(code(&again.set(tag::FORMAT, b"Alice").await), None);
    assert_eq!(old(&hall, "alice", &right, DigestKind::New).await, None);
    // Another account has its own five.
    let mut bob = hall.owner("bob").await;
    assert_eq!(code(&bob.passwd("newsecret").await), None);
}
