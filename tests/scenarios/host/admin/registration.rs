//! Accounts that people make for themselves.

use rdv_host::accounts::Accounts;
use rdv_host::{Limit, Registration};
use rdv_proto::wire::admin::{AdminErrorCode as Code, ConfirmStatus, tag};
use rdv_proto::wire::signon::{LoginErrorCode, LoginReply, tlv};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;

use super::super::accounts::PASSWORD;
use super::super::client::Client;
use super::Hall;
use super::connection::ours_on_admin;

/// Tries to make an account; none if it is made.
async fn create(
    hall: &Hall,
    name: &str,
    password: &str,
    email: &str,
) -> Result<Client, LoginReply> {
    let client = Client::tls(hall.town.port()).await;
    create_over(client, name, password, email).await
}

async fn create_over(
    mut client: Client,
    name: &str,
    password: &str,
    email: &str,
) -> Result<Client, LoginReply> {
    let more = TlvList::new()
        .with(tlv::PASSWORD, password.as_bytes().to_vec())
        .with(tlv::CREATE_ACCOUNT, email.as_bytes().to_vec());
    client.login(name, more).await;
    let reply = client.expect(Foodgroup::BUCP, 0x03).await;
    let reply = LoginReply::decode(&reply.body).unwrap();
    match reply.error() {
        None => Ok(client),
        Some(_) => Err(reply),
    }
}

/// What stands in the way.
fn rule(refused: Result<Client, LoginReply>) -> (LoginErrorCode, Option<Code>) {
    let reply = refused.err().unwrap();
    let rule = reply.tlvs.u16(tlv::CREATE_ACCOUNT).map(Code);
    (reply.error().unwrap(), rule)
}

async fn open() -> Hall {
    Hall::with(|config| {
        config.admin.registration = Registration::Open;
        config.admin.blocked_domains = vec!["trash.example".to_owned()];
        config.admin.reserved_names = vec!["Ad Min".to_owned()];
        config.admin.names_per_email = 1;
    })
    .await
}

async fn count(accounts: &Accounts) -> u64 {
    accounts.count().await.unwrap()
}

#[tokio::test]
async fn nobody_makes_accounts_unless_the_operator_wants_it() {
    let hall = Hall::new().await;
    let refused = create(&hall, "alice", PASSWORD, "").await;
    assert_eq!(rule(refused), (LoginErrorCode::NO_REGISTRATION, None));
    // Nor are names tried out like this.
    let refused = create(&hall, "1", PASSWORD, "").await;
    assert_eq!(rule(refused), (LoginErrorCode::NO_REGISTRATION, None));
    assert_eq!(count(&hall.town.accounts).await, 0);
}

#[tokio::test]
async fn who_makes_an_account_is_signed_on_to_it_and_is_asked_about_the_address() {
    let hall = open().await;
    let mut client = create(&hall, "Alice Lab", PASSWORD, "alice@example.org")
        .await
        .ok()
        .unwrap();
    client.expect(Foodgroup::OSERVICE, 0x03).await;
    let mail = hall.mailer.next().await;
    assert_eq!(
        (mail.to.as_str(), mail.name.as_str()),
        ("alice@example.org", "Alice Lab")
    );
    let (_bos, mut admin) = ours_on_admin(&hall, "alicelab").await;
    assert_eq!(&admin.value(tag::FORMAT).await[..], b"Alice Lab");
    assert_eq!(&admin.value(tag::EMAIL).await[..], b"");
    let done = admin.confirm_with(&mail.code.expose()).await;
    assert_eq!(done.status, ConfirmStatus::DONE);
    assert_eq!(&admin.value(tag::EMAIL).await[..], b"alice@example.org");
    // Old clients have no way in.
    let name = "alicelab".parse().unwrap();
    let account = hall.town.accounts.find(&name).await.unwrap().unwrap();
    assert!(!account.legacy);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_account_is_said() {
    let hall = open().await;
    create(&hall, "alice", PASSWORD, "alice@example.org")
        .await
        .ok()
        .unwrap();
    hall.mailer.next().await;
    for (name, password, email, expected) in [
        ("al ICE", PASSWORD, "", Code::VALIDATE_NICKNAME),
        ("admin", PASSWORD, "", Code::VALIDATE_NICKNAME),
        ("ab", PASSWORD, "", Code::INVALID_NICKNAME_LENGTH),
        ("guest1", PASSWORD, "", Code::INVALID_NICKNAME),
        ("al_ice", PASSWORD, "", Code::INVALID_NICKNAME),
        ("bob", "short", "", Code::INVALID_PASSWORD_LENGTH),
        ("bobbobbob", "bobbobbob", "", Code::INVALID_PASSWORD),
        ("bob", PASSWORD, "bob", Code::INVALID_EMAIL),
        (
            "bob",
            PASSWORD,
            "bob@mail.trash.example",
            Code::VALIDATE_EMAIL,
        ),
    ] {
        let refused = create(&hall, name, password, email).await;
        let expected = (LoginErrorCode::BAD_INPUT, Some(expected));
        assert_eq!(rule(refused), expected, "{name} {password} {email}");
    }
    assert_eq!(count(&hall.town.accounts).await, 1);
    assert!(hall.mailer.is_empty().await);
}

#[tokio::test]
async fn one_address_has_as_many_names_as_the_operator_wants() {
    let hall = open().await;
    create(&hall, "alice", PASSWORD, "alice@example.org")
        .await
        .ok()
        .unwrap();
    hall.mailer.next().await;
    let refused = create(&hall, "bob", PASSWORD, "ALICE@example.org").await;
    assert_eq!(
        rule(refused),
        (LoginErrorCode::BAD_INPUT, Some(Code::OVER_LIMIT))
    );
    assert_eq!(hall.town.host.metrics().refusals(Limit::NamesPerEmail), 1);
}

#[tokio::test]
async fn one_machine_makes_five_accounts_an_hour() {
    let hall = open().await;
    for name in ["alice", "bobby", "carol", "david", "erika"] {
        create(&hall, name, PASSWORD, "").await.ok().unwrap();
    }
    let refused = create(&hall, "frank", PASSWORD, "").await;
    assert_eq!(rule(refused), (LoginErrorCode::ADDRESS_RATE_LIMITED, None));
    assert_eq!(hall.town.host.metrics().refusals(Limit::Registrations), 1);
    assert_eq!(count(&hall.town.accounts).await, 5);
}

#[tokio::test]
async fn accounts_are_made_over_tls_only() {
    let hall = open().await;
    let stream = tokio::net::TcpStream::connect(hall.town.port())
        .await
        .unwrap();
    let refused = create_over(Client::over(stream), "alice", PASSWORD, "").await;
    assert_eq!(rule(refused), (LoginErrorCode::WRONG_PASSWORD, None));
    assert_eq!(count(&hall.town.accounts).await, 0);
}
