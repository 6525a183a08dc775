//! What is told of an account and what may be changed of it: names, addresses, registration status, confirmation.

use bytes::Bytes;
use rdv_host::accounts::{Fields, Record};
use rdv_proto::wire::admin::{
    AdminErrorCode as Code, ChangeRequest, ConfirmStatus, InfoQuery, Permissions, subgroup, tag,
};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::icbm::{UserInfo, user_tlv};
use rdv_proto::wire::signon::UserList;
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient};

use super::{AdminClient, Hall, Owner, code};

/// Flag of the user class: not confirmed.
const UNCONFIRMED: u32 = 0x0001;

/// What a client is told about its own account, without asking.
async fn own_info(client: &mut OldClient) -> UserInfo {
    let snac = client.expect(Foodgroup::OSERVICE, 0x0F).await;
    let mut users = UserList::decode(&snac.body).unwrap().users;
    users.swap_remove(0)
}

fn class(user: &UserInfo) -> u32 {
    user.tlvs.u16(user_tlv::CLASS).map_or(0, u32::from)
}

#[tokio::test]
async fn a_05_each_field_is_told_in_one_block_with_the_number_of_the_question() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("Alice Lab").await;
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"Alice Lab");
    assert_eq!(&owner.value(tag::EMAIL).await[..], b"");
    assert_eq!(owner.value(tag::REGISTRATION).await.len(), 2);
    // libpurple asks with number 0.
    let body = InfoQuery::of(&[tag::FORMAT]).encode();
    let snac = Snac::new(Foodgroup::ADMIN, subgroup::INFO_QUERY, 0, body);
    owner.client.send(Channel::DATA, snac.encode()).await;
    let reply = owner
        .client
        .expect(Foodgroup::ADMIN, subgroup::INFO_REPLY)
        .await;
    assert_eq!(reply.request_id, 0);
}

#[tokio::test]
async fn a_06_three_fields_are_three_blocks() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let tags = [tag::EMAIL, tag::FORMAT, tag::REGISTRATION];
    let reply = owner.query(&tags).await;
    let told: Vec<_> = reply
        .blocks
        .iter()
        .map(|block| block.field().unwrap())
        .collect();
    assert_eq!(told, tags);
}

#[tokio::test]
async fn a_07_no_address_is_an_empty_one() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let block = owner.get(tag::EMAIL).await;
    assert_eq!((code(&block), block.tlvs.0.len()), (None, 1));
    assert_eq!(block.tlvs.first(tag::EMAIL), Some(&Bytes::new()));
}

#[tokio::test]
async fn a_08_passwords_are_not_told_and_other_fields_are_none() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let reply = owner
        .query(&[tag::PASSWORD, tag::FORMAT, 0x0099, tag::OLD_PASSWORD])
        .await;
    let codes: Vec<_> = reply.blocks.iter().map(code).collect();
    let write_only = Some(Code::WRITE_ONLY_FIELD);
    assert_eq!(
        codes,
        [write_only, None, Some(Code::UNSUPPORTED_TYPE), write_only]
    );
}

#[tokio::test]
async fn a_09_a_name_may_be_written_otherwise_and_not_be_another_one() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    for (format, expected) in [
        (&b"alicf"[..], Code::VALIDATE_NICKNAME),
        (b"alice ", Code::INVALID_NICKNAME),
        (b"al  ice", Code::INVALID_NICKNAME),
        (b"1alice", Code::INVALID_NICKNAME),
        (b"seventeen letters", Code::INVALID_NICKNAME_LENGTH),
        (b"a b", Code::INVALID_NICKNAME_LENGTH),
    ] {
        let refused = owner.set(tag::FORMAT, format).await;
        assert_eq!(code(&refused), Some(expected), "{format:?}");
    }
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"alice");
    let changed = owner.set(tag::FORMAT, b"a LI ce").await;
    assert_eq!(changed.permissions, Permissions::CHANGEABLE);
    assert_eq!(
        changed.tlvs,
        TlvList::new().with(tag::FORMAT, &b"a LI ce"[..])
    );
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"a LI ce");
}

#[tokio::test]
async fn a_10_a_24_all_sign_ons_and_all_who_watch_learn_of_a_new_format() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let mut twin = hall.town.sign_on("alice", &owner.password).await;
    let mut watcher = hall.town.citizen("bob").await;
    watcher.watch(&["alice"]).await;
    watcher.expect_arrival().await;
    assert_eq!(code(&owner.set(tag::FORMAT, b"Al Ice").await), None);
    assert_eq!(own_info(&mut owner.bos).await.name.as_str(), "Al Ice");
    assert_eq!(own_info(&mut twin).await.name.as_str(), "Al Ice");
    assert_eq!(watcher.expect_arrival().await.name.as_str(), "Al Ice");
    // And so is everything that comes later.
    let asked = owner
        .bos
        .ask(Foodgroup::OSERVICE, 0x0E, Bytes::new(), 0x0F)
        .await;
    let own = UserList::decode(&asked.body).unwrap().users.swap_remove(0);
    assert_eq!(own.name.as_str(), "Al Ice");
    twin.text("bob", "hello").await;
    assert_eq!(
        watcher.expect_message().await.sender.name.as_str(),
        "Al Ice"
    );
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"Al Ice");
}

#[tokio::test]
async fn a_11_an_address_is_taken_when_it_was_confirmed_and_the_old_one_stays_until_then() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let refused = owner.set(tag::EMAIL, b"@example.org").await;
    assert_eq!(code(&refused), Some(Code::INVALID_EMAIL));
    let long = format!("{}@{}.example", "a".repeat(64), "x".repeat(248));
    assert_eq!(long.len(), 321);
    let refused = owner.set(tag::EMAIL, long.as_bytes()).await;
    assert_eq!(code(&refused), Some(Code::INVALID_EMAIL_LENGTH));
    for (email, old) in [
        ("alice@example.org", ""),
        ("alice@other.example", "alice@example.org"),
    ] {
        let echoed = owner.set(tag::EMAIL, email.as_bytes()).await;
        assert_eq!(
            echoed.tlvs,
            TlvList::new().with(tag::EMAIL, email.as_bytes().to_vec())
        );
        let again = owner.set(tag::EMAIL, b"third@example.org").await;
        assert_eq!(code(&again), Some(Code::PENDING_REQUEST));
        assert_eq!(&owner.value(tag::EMAIL).await[..], old.as_bytes());
        let mail = hall.mailer.next().await;
        assert_eq!((mail.to.as_str(), mail.name.as_str()), (email, "alice"));
        // Typed as people type.
        let typed = mail.code.expose().to_lowercase().replace('-', " ");
        assert_eq!(owner.confirm_with(&typed).await.status, ConfirmStatus::DONE);
        assert_eq!(&owner.value(tag::EMAIL).await[..], email.as_bytes());
        let twice = owner.confirm_with(&typed).await;
        assert_eq!(twice.status, ConfirmStatus::ALREADY);
    }
    assert!(hall.mailer.is_empty().await);
}

#[tokio::test]
async fn a_11_without_a_mailer_an_address_is_taken_at_once() {
    let hall = Hall::with(|config| config.mailer = None).await;
    let mut owner = hall.owner("alice").await;
    assert_eq!(
        code(&owner.set(tag::EMAIL, b"alice@example.org").await),
        None
    );
    assert_eq!(&owner.value(tag::EMAIL).await[..], b"alice@example.org");
    assert_eq!(
        code(&owner.set(tag::EMAIL, b"alice@other.example").await),
        None
    );
    assert_eq!(&owner.value(tag::EMAIL).await[..], b"alice@other.example");
    let refused = owner.confirm().await;
    assert_eq!(refused.status, ConfirmStatus::CANNOT);
    assert_eq!(refused.error(), Some(Code::ALL_OTHER_ERRORS));
}

#[tokio::test]
async fn a_12_a_registration_status_is_one_of_three_and_two_bytes_long() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    for wrong in [&[0, 0][..], &[0, 4], &[1], &[], &[0, 0, 1]] {
        let refused = owner.set(tag::REGISTRATION, wrong).await;
        assert_eq!(
            code(&refused),
            Some(Code::INVALID_REGISTRATION_PREFERENCE),
            "{wrong:?}"
        );
    }
    for right in [[0, 1], [0, 2], [0, 3]] {
        let echoed = owner.set(tag::REGISTRATION, &right).await;
        assert_eq!(
            echoed.tlvs,
            TlvList::new().with(tag::REGISTRATION, right.to_vec())
        );
        assert_eq!(&owner.value(tag::REGISTRATION).await[..], right);
    }
}

#[tokio::test]
async fn a_14_an_error_says_where_it_is_explained() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let refused = owner.set(tag::FORMAT, b"bob").await;
    assert_eq!(
        refused.tlvs.text(tag::ERROR_URL),
        Some("http://host.example/help")
    );
    let hall = Hall::with(|config| config.admin.error_url = String::new()).await;
    let mut owner = hall.owner("alice").await;
    let refused = owner.set(tag::FORMAT, b"bob").await;
    assert_eq!(refused.tlvs.first(tag::ERROR_URL), Some(&Bytes::new()));
}

#[tokio::test]
async fn a_15_two_changes_at_once_are_none() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    let both = TlvList::new()
        .with(tag::FORMAT, &b"Alice"[..])
        .with(tag::EMAIL, &b"alice@example.org"[..]);
    let refused = owner.change(ChangeRequest { tlvs: both }).await;
    assert_eq!(code(&refused), Some(Code::BAD_SNAC));
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"alice");
    assert_eq!(&owner.value(tag::EMAIL).await[..], b"");
    assert!(hall.mailer.is_empty().await);
}

/// An account with an address of which nobody knows whether it is its own.
async fn unconfirmed(hall: &Hall) -> Owner {
    use rdv_host::accounts::{Author, NewAccount, Password};
    let new = NewAccount {
        name: "alice",
        password: Some(Password::new(super::super::accounts::PASSWORD)),
        legacy: true,
        email: Some("alice@example.org".to_owned()),
        confirmed: false,
        author: Author::Operator,
    };
    let created = hall.town.accounts.add(new).await.unwrap();
    let password = created.legacy_password.unwrap().expose().to_owned();
    let mut bos = hall.town.sign_on("alice", &password).await;
    let admin = AdminClient::open(&mut bos).await;
    Owner {
        bos,
        admin,
        password,
    }
}

#[tokio::test]
async fn a_16_a_confirmation_is_begun_once_and_is_done_once() {
    let hall = Hall::new().await;
    let mut owner = unconfirmed(&hall).await;
    let begun = owner.confirm().await;
    assert_eq!((begun.status, begun.error()), (ConfirmStatus::DONE, None));
    let again = owner.confirm().await;
    assert_eq!(again.status, ConfirmStatus::CANNOT);
    assert_eq!(again.error(), Some(Code::OUTSTANDING_CONFIRM));
    let mail = hall.mailer.next().await;
    assert_eq!(mail.to, "alice@example.org");
    for wrong in ["", "hello", "00000-00000-000000-00000-00000"] {
        let refused = owner.confirm_with(wrong).await;
        assert_eq!(refused.status, ConfirmStatus::CANNOT);
        assert_eq!(refused.error(), Some(Code::ALL_OTHER_ERRORS));
    }
    let done = owner.confirm_with(&mail.code.expose()).await;
    assert_eq!((done.status, done.error()), (ConfirmStatus::DONE, None));
    let already = owner.confirm().await;
    assert_eq!(
        (already.status, already.error()),
        (ConfirmStatus::ALREADY, None)
    );
    let mut other = hall.owner("bob").await;
    let refused = other.confirm().await;
    assert_eq!(refused.status, ConfirmStatus::CANNOT);
    assert_eq!(refused.error(), Some(Code::NO_EMAIL_ADDRESS));
}

#[tokio::test]
async fn a_16_a_code_is_good_for_its_account_and_for_its_time() {
    let hall = Hall::with(|config| {
        config.admin.confirm_life = std::time::Duration::ZERO;
    })
    .await;
    let mut owner = unconfirmed(&hall).await;
    assert_eq!(owner.confirm().await.status, ConfirmStatus::DONE);
    let late = hall.mailer.next().await.code.expose();
    let refused = owner.confirm_with(&late).await;
    assert_eq!(refused.error(), Some(Code::ALL_OTHER_ERRORS));
    // It is over: another one may be asked for.
    assert_eq!(owner.confirm().await.status, ConfirmStatus::DONE);
    let hall = Hall::new().await;
    let mut owner = unconfirmed(&hall).await;
    owner.confirm().await;
    let code = hall.mailer.next().await.code.expose();
    let mut other = hall.owner("bob").await;
    other.set(tag::EMAIL, b"bob@example.org").await;
    let refused = other.confirm_with(&code).await;
    assert_eq!(refused.error(), Some(Code::ALL_OTHER_ERRORS));
    assert_eq!(owner.confirm_with(&code).await.status, ConfirmStatus::DONE);
}

#[tokio::test]
async fn a_16_a_mail_that_did_not_leave_may_be_asked_for_again() {
    use rdv_host::mail::MailError;
    let hall = Hall::new().await;
    let mut owner = unconfirmed(&hall).await;
    hall.mailer.fails(MailError::Unresolved);
    let refused = owner.confirm().await;
    assert_eq!(refused.status, ConfirmStatus::CANNOT);
    assert_eq!(refused.error(), Some(Code::DNS_FAIL));
    hall.mailer.fails(MailError::Unreachable);
    assert_eq!(owner.confirm().await.error(), Some(Code::EMAIL_HOST_FAIL));
    hall.mailer.fails(None);
    assert_eq!(owner.confirm().await.status, ConfirmStatus::DONE);
}

#[tokio::test]
async fn a_17_the_flag_of_unconfirmed_users_goes_when_they_are() {
    let hall = Hall::new().await;
    let mut owner = unconfirmed(&hall).await;
    let mut watcher = hall.town.citizen("bob").await;
    watcher.watch(&["alice"]).await;
    let seen = watcher.expect_arrival().await;
    assert_eq!(class(&seen) & UNCONFIRMED, UNCONFIRMED);
    owner.confirm().await;
    let code = hall.mailer.next().await.code.expose();
    assert_eq!(owner.confirm_with(&code).await.status, ConfirmStatus::DONE);
    let seen = watcher.expect_arrival().await;
    assert_eq!(class(&seen) & UNCONFIRMED, 0);
    let own = own_info(&mut owner.bos).await;
    assert_eq!(class(&own) & UNCONFIRMED, 0);
    // And stays away.
    let again = hall.town.sign_on("alice", &owner.password).await;
    drop(again);
    let seen = watcher.expect_arrival().await;
    assert_eq!(class(&seen) & UNCONFIRMED, 0);
}

#[tokio::test]
async fn a_19_permissions_say_what_may_be_changed() {
    let hall = Hall::with(|config| config.admin.frozen = Fields::REGISTRATION).await;
    let mut owner = hall.owner("alice").await;
    let permissions = async |owner: &mut Owner| {
        let tags = [tag::FORMAT, tag::EMAIL, tag::REGISTRATION];
        let reply = owner.query(&tags).await;
        let told: Vec<_> = reply.blocks.iter().map(|block| block.permissions).collect();
        <[Permissions; 3]>::try_from(told).unwrap()
    };
    let (yes, locked, never) = (
        Permissions::CHANGEABLE,
        Permissions::LOCKED,
        Permissions::NEVER,
    );
    assert_eq!(permissions(&mut owner).await, [yes, yes, locked]);
    hall.store.tells(|record| {
        Some(Record {
            frozen: Fields::EMAIL | Fields::PASSWORD,
            ..record
        })
    });
    assert_eq!(permissions(&mut owner).await, [yes, locked, locked]);
    for refused in [
        owner.set(tag::EMAIL, b"alice@example.org").await,
        owner.set(tag::REGISTRATION, &[0, 1]).await,
        owner.passwd("newsecret").await,
        // What is locked is locked, whatever is asked for.
        owner.set(tag::EMAIL, b"no address").await,
    ] {
        assert_eq!(code(&refused), Some(Code::FIELD_CHANGE_TEMP_UNAVAILABLE));
        assert_eq!(refused.permissions, locked);
    }
    hall.store.tells_the_truth();
    let mut number = hall.owner("1234567").await;
    assert_eq!(permissions(&mut number).await, [never, yes, locked]);
    let refused = number.set(tag::FORMAT, b"1234567").await;
    assert_eq!(code(&refused), Some(Code::READ_ONLY_FIELD));
    assert_eq!(refused.permissions, never);
}

#[tokio::test]
async fn a_day_has_so_many_changes_and_no_more() {
    let hall = Hall::with(|config| config.admin.changes_per_day = 3).await;
    let mut owner = hall.owner("alice").await;
    for format in [&b"Alice"[..], b"A lice", b"Al ice"] {
        assert_eq!(code(&owner.set(tag::FORMAT, format).await), None);
    }
    assert_eq!(
        code(&owner.set(tag::FORMAT, b"alice").await),
        Some(Code::OVER_LIMIT)
    );
    assert_eq!(
        code(&owner.set(tag::REGISTRATION, &[0, 1]).await),
        Some(Code::OVER_LIMIT)
    );
    assert_eq!(
        code(&owner.set(tag::EMAIL, b"a@example.org").await),
        Some(Code::OVER_LIMIT)
    );
    assert_eq!(
        code(&owner.passwd("newsecret").await),
        Some(Code::OVER_LIMIT)
    );
    assert_eq!(&owner.value(tag::FORMAT).await[..], b"Al ice");
    // Another one has its own.
    let mut other = hall.owner("bob").await;
    assert_eq!(code(&other.set(tag::FORMAT, b"Bob").await), None);
}

#[tokio::test]
async fn one_address_gets_few_mails_whoever_asks() {
    let hall = Hall::with(|config| {
        config.admin.confirm_life = std::time::Duration::ZERO;
        config.admin.names_per_email = 100;
        config.admin.changes_per_day = 100;
    })
    .await;
    let mut owner = hall.owner("alice").await;
    for _ in 0..4 {
        assert_eq!(
            code(&owner.set(tag::EMAIL, b"victim@example.org").await),
            None
        );
        hall.mailer.next().await;
    }
    let refused = owner.set(tag::EMAIL, b"VICTIM@example.org").await;
    assert_eq!(code(&refused), Some(Code::OVER_LIMIT));
    assert!(hall.mailer.is_empty().await);
}

#[tokio::test]
async fn a_mail_brings_its_code_by_smtp_to_an_account_that_is_confirmed_by_it() {
    use rdv_host::mail::SmtpMailer;
    use rdv_tests::smtp::{Manners as Behaviour, SmtpServer};
    let mut server = SmtpServer::start(Behaviour {
        recipients: vec!["550 5.1.1 no such user", "550 5.1.2 no such domain"],
        ..Behaviour::default()
    })
    .await;
    let mailer = SmtpMailer::new(&super::mails::settings(&server)).unwrap();
    let hall = Hall::with(|config| config.mailer = Some(std::sync::Arc::new(mailer))).await;
    let mut owner = unconfirmed(&hall).await;
    assert_eq!(owner.confirm().await.error(), Some(Code::EMAIL_HOST_FAIL));
    let refused = owner.set(tag::EMAIL, b"alice@nowhere.example").await;
    assert_eq!(code(&refused), Some(Code::DNS_FAIL));
    assert_eq!(owner.confirm().await.status, ConfirmStatus::DONE);
    let mail = server.next().await;
    assert_eq!(mail.to, ["alice@example.org"]);
    assert_eq!(
        owner.confirm_with(&mail.code()).await.status,
        ConfirmStatus::DONE
    );
    assert_eq!(owner.confirm().await.status, ConfirmStatus::ALREADY);
}

#[tokio::test]
async fn a_10_the_next_sign_on_is_told_the_new_format() {
    let hall = Hall::new().await;
    let mut owner = hall.owner("alice").await;
    assert_eq!(code(&owner.set(tag::FORMAT, b"Al Ice").await), None);
    let (port, manners) = (hall.town.port(), Manners::default());
    let ticket = OldClient::login(port, "alice", &owner.password, &manners);
    let ticket = ticket.await.unwrap();
    assert_eq!(&ticket.name[..], b"Al Ice");
    // libpurple compares that, and what comes here, with the form in which it knows the name.
    let mut again = OldClient::bos(port, "alice", &ticket.cookie, &manners)
        .await
        .unwrap();
    let own = again
        .ask(Foodgroup::OSERVICE, 0x0E, Bytes::new(), 0x0F)
        .await;
    let own = UserList::decode(&own.body).unwrap().users.swap_remove(0);
    assert_eq!(own.name.as_str(), "Al Ice");
}
