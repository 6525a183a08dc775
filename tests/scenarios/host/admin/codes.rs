//! Each of the 35 error codes, over the wire, by the condition that the protocol's description gives for it.

use std::collections::BTreeSet;

use rdv_host::DrainConfig;
use rdv_host::accounts::{Fields, State, StoreError};
use rdv_host::mail::MailError;
use rdv_proto::wire::admin::{
    AdminErrorCode as Code, ChangeRequest, ConfirmReply, ConfirmStatus, DeleteRequest, Permissions,
    ReplyBlock, subgroup, tag,
};
use rdv_proto::wire::tlv::TlvList;

use super::faults::Fault;
use super::{Hall, code};

/// Which codes were seen.
#[derive(Default)]
struct Seen(BTreeSet<u16>);

impl Seen {
    fn see(&mut self, seen: Option<Code>, expected: Code) {
        assert_eq!(seen, Some(expected));
        self.0.insert(expected.0);
    }

    fn block(&mut self, block: &ReplyBlock, expected: Code) {
        self.see(code(block), expected);
    }

    fn confirm(&mut self, reply: &ConfirmReply, expected: Code) {
        assert_eq!(reply.status, ConfirmStatus::CANNOT);
        self.see(reply.error(), expected);
    }
}

#[tokio::test]
async fn all_35_codes_are_seen_each_by_its_condition() {
    let mut hall = Hall::with(|config| {
        config.admin.blocked_domains = vec!["trash.example".to_owned()];
        config.admin.names_per_email = 1;
        config.admin.delete = true;
    })
    .await;
    let mut seen = Seen::default();
    names(&hall, &mut seen).await;
    addresses(&hall, &mut seen).await;
    passwords(&hall, &mut seen).await;
    requests(&hall, &mut seen).await;
    accounts(&hall, &mut seen).await;
    store(&hall, &mut seen).await;
    confirmation(&hall, &mut seen).await;
    mail(&hall, &mut seen).await;
    draining(&mut hall, &mut seen).await;
    let all = Code::ALL.map(|code| code.0);
    assert_eq!(seen.0.into_iter().collect::<Vec<_>>(), all);
}

async fn names(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("namesake").await;
    seen.block(
        &owner.set(tag::FORMAT, b"other").await,
        Code::VALIDATE_NICKNAME,
    );
    seen.block(
        &owner.set(tag::FORMAT, b"namesake ").await,
        Code::INVALID_NICKNAME,
    );
    seen.block(
        &owner.set(tag::FORMAT, b"n a m e s a k e  ").await,
        Code::INVALID_NICKNAME_LENGTH,
    );
    let mut number = hall.owner("1234567").await;
    let refused = number.set(tag::FORMAT, b"1 234567").await;
    seen.block(&refused, Code::READ_ONLY_FIELD);
    assert_eq!(refused.permissions, Permissions::NEVER);
}

async fn addresses(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("addressee").await;
    let set = async |owner: &mut super::Owner, email: &[u8]| owner.set(tag::EMAIL, email).await;
    seen.block(
        &set(&mut owner, b"a@trash.example").await,
        Code::VALIDATE_EMAIL,
    );
    seen.block(&set(&mut owner, b"no address").await, Code::INVALID_EMAIL);
    let long = format!("a@{}.example", "x".repeat(311));
    assert_eq!(long.len(), 321);
    seen.block(
        &set(&mut owner, long.as_bytes()).await,
        Code::INVALID_EMAIL_LENGTH,
    );
    assert_eq!(code(&set(&mut owner, b"a@example.org").await), None);
    seen.block(
        &set(&mut owner, b"b@example.org").await,
        Code::PENDING_REQUEST,
    );
    let mut other = hall.owner("neighbour").await;
    seen.block(&set(&mut other, b"A@example.org").await, Code::OVER_LIMIT);
    hall.mailer.next().await;
}

async fn passwords(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("secretive").await;
    let old = owner.password.clone();
    seen.block(&owner.passwd(&old).await, Code::VALIDATE_PASSWORD);
    seen.block(&owner.passwd("secretive").await, Code::INVALID_PASSWORD);
    seen.block(&owner.passwd("bell\x07bell").await, Code::INVALID_PASSWORD);
    seen.block(&owner.passwd("abc").await, Code::INVALID_PASSWORD_LENGTH);
    seen.block(
        &owner.change_password(b"newsecret", b"wrong").await,
        Code::INVALID_OLD_PASSWORD,
    );
    seen.block(
        &owner.change_password(b"newsecret", b"").await,
        Code::INVALID_OLD_PASSWORD_LENGTH,
    );
    seen.block(
        &owner.set(tag::PASSWORD, b"newsecret").await,
        Code::NEED_OLD_PASSWORD,
    );
}

async fn requests(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("asker").await;
    seen.block(
        &owner.set(tag::REGISTRATION, &[0, 4]).await,
        Code::INVALID_REGISTRATION_PREFERENCE,
    );
    seen.block(&owner.get(tag::PASSWORD).await, Code::WRITE_ONLY_FIELD);
    seen.block(&owner.get(0x0099).await, Code::UNSUPPORTED_TYPE);
    let both = ChangeRequest {
        tlvs: TlvList::new()
            .with(tag::FORMAT, &b"as ker"[..])
            .with(tag::REGISTRATION, vec![0, 1]),
    };
    seen.block(&owner.change(both).await, Code::BAD_SNAC);
    hall.store.tells(|record| {
        Some(rdv_host::accounts::Record {
            frozen: Fields::REGISTRATION,
            ..record
        })
    });
    let refused = owner.set(tag::REGISTRATION, &[0, 2]).await;
    hall.store.tells_the_truth();
    seen.block(&refused, Code::FIELD_CHANGE_TEMP_UNAVAILABLE);
    assert_eq!(refused.permissions, Permissions::LOCKED);
}

async fn accounts(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("shadow").await;
    hall.store.tells(|_| None);
    seen.block(&owner.get(tag::FORMAT).await, Code::INVALID_ACCOUNT);
    for (state, expected) in [
        (State::Deleted, Code::DELETED_ACCOUNT),
        (State::Expired, Code::EXPIRED_ACCOUNT),
        (State::Disabled, Code::INVALID_ACCOUNT),
    ] {
        hall.store
            .tells(move |record| Some(rdv_host::accounts::Record { state, ..record }));
        seen.block(&owner.get(tag::EMAIL).await, expected);
        seen.block(&owner.set(tag::FORMAT, b"shad ow").await, expected);
        seen.confirm(&owner.confirm().await, expected);
        let password = owner.password.clone();
        let refused = owner.delete(DeleteRequest::of(password.as_bytes())).await;
        seen.see(refused.error(), expected);
    }
    hall.store.tells_the_truth();
}

async fn store(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("keeper").await;
    for (error, expected) in [
        (StoreError::ReadOnly, Code::SERVICE_TEMP_UNAVAILABLE),
        (StoreError::Busy, Code::SERVICE_TEMP_UNAVAILABLE),
        (StoreError::Full, Code::SERVICE_TEMP_UNAVAILABLE),
        (StoreError::Unreachable, Code::NO_DATABASE_ACCESS),
        (StoreError::Damaged, Code::INVALID_DATABASE_FIELDS),
        (StoreError::Unexpected, Code::BAD_DATABASE_STATUS),
        (StoreError::Internal, Code::INTERNAL_ERROR),
        (StoreError::Unknown, Code::INVALID_ACCOUNT),
    ] {
        hall.store.fails(Fault::Changes(error));
        seen.block(&owner.set(tag::FORMAT, b"kee per").await, expected);
        seen.block(&owner.set(tag::REGISTRATION, &[0, 1]).await, expected);
        seen.block(&owner.set(tag::EMAIL, b"k@example.org").await, expected);
        seen.block(&owner.passwd("newsecret").await, expected);
        assert_eq!(code(&owner.get(tag::FORMAT).await), None, "it can be read");
        hall.store.fails(Fault::All(error));
        seen.block(&owner.get(tag::FORMAT).await, expected);
        seen.confirm(&owner.confirm().await, expected);
        seen.confirm(&owner.confirm_with("x").await, expected);
        let refused = owner.delete(DeleteRequest::of(b"x")).await;
        seen.see(refused.error(), expected);
    }
    hall.store.fails(Fault::Panic);
    seen.block(&owner.get(tag::FORMAT).await, Code::INTERNAL_ERROR);
    seen.confirm(&owner.confirm().await, Code::INTERNAL_ERROR);
    hall.store.fails(None);
    // Nothing of all that was done, and nothing of it lasts.
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"keeper");
    assert_eq!(code(&owner.passwd("newsecret").await), None);
}

async fn confirmation(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("newcomer").await;
    seen.confirm(&owner.confirm().await, Code::NO_EMAIL_ADDRESS);
    owner.set(tag::EMAIL, b"new@example.org").await;
    seen.confirm(&owner.confirm().await, Code::OUTSTANDING_CONFIRM);
    seen.confirm(
        &owner.confirm_with("00000-00000-000000-00000-00000").await,
        Code::ALL_OTHER_ERRORS,
    );
    let mail = hall.mailer.next().await;
    let reply = owner.confirm_with(&mail.code.expose()).await;
    assert_eq!((reply.status, reply.error()), (ConfirmStatus::DONE, None));
    let reply = owner.confirm().await;
    assert_eq!(reply.status, ConfirmStatus::ALREADY);
    assert_eq!(reply.status.0, Code::NOT_DT_STATUS.0);
    seen.see(Some(Code(reply.status.0)), Code::NOT_DT_STATUS);
}

async fn mail(hall: &Hall, seen: &mut Seen) {
    let mut owner = hall.owner("writer").await;
    for (error, expected) in [
        (
            MailError::Refused { reply: Some(550) },
            Code::EMAIL_HOST_FAIL,
        ),
        (MailError::Unreachable, Code::EMAIL_HOST_FAIL),
        (MailError::Unresolved, Code::DNS_FAIL),
        (MailError::Busy, Code::ALL_OTHER_ERRORS),
        (MailError::Address, Code::INVALID_EMAIL),
        (MailError::Internal, Code::INTERNAL_ERROR),
    ] {
        hall.mailer.fails(error);
        let email = format!("w{}@example.org", expected.0);
        seen.block(&owner.set(tag::EMAIL, email.as_bytes()).await, expected);
    }
    hall.mailer.fails(None);
    // What did not leave is not waited for.
    assert_eq!(code(&owner.set(tag::EMAIL, b"w@example.org").await), None);
    hall.mailer.next().await;
}

async fn draining(hall: &mut Hall, seen: &mut Seen) {
    let mut owner = hall.owner("latecomer").await;
    let drain = DrainConfig {
        sign_off_spread: std::time::Duration::from_secs(6000),
        sign_off_each: std::time::Duration::from_secs(6000),
        relay_time: std::time::Duration::from_secs(6000),
    };
    hall.town.drain(drain).await;
    seen.block(&owner.get(tag::FORMAT).await, Code::MIGRATION_CANCEL);
    seen.block(
        &owner.set(tag::FORMAT, b"late comer").await,
        Code::MIGRATION_CANCEL,
    );
    seen.confirm(&owner.confirm().await, Code::MIGRATION_CANCEL);
    let refused = owner.delete(DeleteRequest::of(b"x")).await;
    seen.see(refused.error(), Code::MIGRATION_CANCEL);
    let empty = owner.ask(subgroup::INFO_QUERY, bytes::Bytes::new()).await;
    assert_eq!(empty.subgroup, 0x01, "what cannot be read is that still");
}
