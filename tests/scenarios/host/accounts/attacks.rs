//! What one account can do to another one, and what it cannot.

use bytes::{BufMut as _, Bytes, BytesMut};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::icbm::subgroup;
use rdv_proto::wire::signon::LoginErrorCode;
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::text::ScreenName;
use rdv_tests::old_client::{Manners, OldClient, Ticket};

use super::Town;

/// A SNAC of foodgroup 0x0004 that fills a FLAP frame to its last byte: `start`, and zeros.
fn filled(subgroup: u16, start: &[u8], fill: impl FnOnce(&mut BytesMut, usize)) -> Bytes {
    let mut body = BytesMut::from(start);
    let room = usize::from(u16::MAX) - 10 - body.len();
    fill(&mut body, room);
    Snac::new(Foodgroup::ICBM, subgroup, 7, body.freeze()).encode()
}

#[tokio::test]
async fn s_35_a_message_that_grows_on_its_way_does_not_end_its_recipient() {
    let town = Town::in_a_hurry().await;
    let mut eve = town.citizen("eve is very long").await;
    let mut bob = town.citizen("bob").await;
    // Channel 1, a short text, and a TLV of no meaning that takes the rest of the frame.
    let text = b"12345678\0\x01\x03bob\0\x02\0\x0d\x05\x01\0\x01\x01\x01\x01\0\x04\0\0\0\0";
    let message = filled(subgroup::MESSAGE_TO_HOST, text, |body, room| {
        body.put_u16(0x0077);
        body.put_u16(u16::try_from(room - 4).unwrap());
        body.put_bytes(0, room - 4);
    });
    eve.send(Channel::DATA, message).await;
    let refusal = b"12345678\0\x02\x03bob\0\x03";
    let error = filled(subgroup::CLIENT_ERROR, refusal, |body, room| {
        body.put_bytes(0, room)
    });
    eve.send(Channel::DATA, error).await;
    eve.text("bob", "still there?").await;
    loop {
        let message = bob.expect_message().await;
        if message.cookie.0 != *b"12345678" {
            break;
        }
    }
}

#[tokio::test]
async fn who_gets_the_name_of_an_account_that_was_removed_is_somebody_else() {
    let town = Town::new().await;
    let mut old = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let alice = ScreenName::new("alice").unwrap();
    town.accounts.remove(&alice).await.unwrap();
    let mut new = town.citizen("Alice").await;
    old.expect_sign_off().await;
    bob.text("alice", "for the new one").await;
    new.expect_message().await;
}

#[tokio::test]
async fn so_08_a_cookie_is_of_no_use_once_the_account_is_closed_to_old_clients_or_another_one() {
    let town = Town::new().await;
    let manners = Manners::default();
    let alice = ScreenName::new("alice").unwrap();
    let password = town.account("alice").await;
    let mut tickets = Vec::new();
    for _ in 0..2 {
        let login = OldClient::login(town.port(), "alice", &password, &manners);
        tickets.push(login.await.unwrap());
    }
    let redeem = async |ticket: &Ticket| {
        let bos = OldClient::bos(town.port(), "alice", &ticket.cookie, &manners);
        bos.await.err()
    };
    town.accounts.revoke_legacy_password(&alice).await.unwrap();
    assert_eq!(redeem(&tickets[0]).await, Some(LoginErrorCode::BAD_COOKIE));
    town.accounts.remove(&alice).await.unwrap();
    town.account("alice").await;
    assert_eq!(redeem(&tickets[1]).await, Some(LoginErrorCode::BAD_COOKIE));
}

#[tokio::test]
async fn s_35_a_change_of_a_list_that_is_longer_than_any_list_is_refused() {
    let town = Town::new().await;
    let mut eve = town.citizen("eve").await;
    // Items without a name, as short as they come.
    let items: Vec<u8> = (0..6_000_u16)
        .flat_map(|id| [[0, 0], [0, 1], id.to_be_bytes(), [0, 0], [0, 0]].concat())
        .collect();
    let id = eve.snac(Foodgroup::FEEDBAG, 0x09, items.into()).await;
    eve.expect_error(Foodgroup::FEEDBAG, id, 0x0E).await;
}
