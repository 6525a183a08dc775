//! Guests sign on, and are answered as the protocol says.

use bytes::Bytes;
use rdv_host::{HostConfig, IdentitySource};
use rdv_proto::wire::icbm::user_tlv;
use rdv_proto::wire::signon::{RateReply, UserList, Versions, tlv};
use rdv_proto::wire::snac::Foodgroup;
use rdv_proto::wire::tlv::TlvList;

use super::client::Client;
use super::{host, host_with, port};

#[tokio::test]
async fn a_guest_who_sends_everything_at_once_is_answered_in_order() {
    let host = host().await;
    let owner = Client::owner(port(&host)).await;
    assert!(
        (1..=9).contains(&owner.name().parse::<u16>().unwrap()),
        "the shortest is given"
    );
    assert_eq!(owner.token().len(), 16);
    let joiner = Client::joiner(port(&host)).await;
    let random = joiner.name().strip_prefix("guest").unwrap();
    assert_eq!(random.len(), 10);
    assert!(random.chars().all(|c| matches!(c, 'a'..='z' | '2'..='7')));
    host.shutdown().await;
}

#[tokio::test]
async fn an_embedded_host_gives_out_the_number_that_it_was_given() {
    let host = host_with(|config: &mut HostConfig| config.numbers = 4711..=4711).await;
    let owner = Client::owner(port(&host)).await;
    assert_eq!(owner.name(), "4711");
    let wish = TlvList::new().with(tlv::GUEST, vec![1]);
    let refused = Client::guest(port(&host), wish).await.err().unwrap();
    assert_eq!(refused.0, 0x02, "no number is free");
}

#[tokio::test]
async fn tls_1_2_is_taken_from_old_clients() {
    let host = host().await;
    let mut client = Client::tls_of(port(&host), &rustls::version::TLS12).await;
    client
        .login("guest", TlvList::new().with(tlv::GUEST, vec![2]))
        .await;
    client.expect(Foodgroup::BUCP, 0x03).await;
    client.expect(Foodgroup::OSERVICE, 0x03).await;
}

#[tokio::test]
async fn so_11_so_12_versions_and_rates_are_told_as_the_client_can_read_them() {
    let host = host().await;
    let mut client = Client::joiner(port(&host)).await;
    for (version, record) in [(2, 30), (3, 35)] {
        let pairs = vec![(Foodgroup::OSERVICE, version), (Foodgroup(0x77), 1)];
        client
            .snac(Foodgroup::OSERVICE, 0x17, Versions { pairs }.encode())
            .await;
        let told = client.expect(Foodgroup::OSERVICE, 0x18).await;
        assert_eq!(
            Versions::decode(&told.body).unwrap().pairs,
            [(Foodgroup::OSERVICE, version)]
        );
        client.snac(Foodgroup::OSERVICE, 0x06, Bytes::new()).await;
        let rates = client.expect(Foodgroup::OSERVICE, 0x07).await;
        let read = RateReply::decode(&rates.body).unwrap();
        let members: usize = read
            .members
            .iter()
            .map(|class| 4 + 4 * class.members.len())
            .sum();
        assert_eq!(rates.body.len(), 2 + 2 * record + members);
        assert!(
            read.members
                .iter()
                .any(|class| class.members.contains(&(Foodgroup::ICBM, 0x06)))
        );
    }
}

#[tokio::test]
async fn the_client_is_told_how_it_is_seen() {
    let host = host().await;
    let mut client = Client::owner(port(&host)).await;
    client.snac(Foodgroup::OSERVICE, 0x0E, Bytes::new()).await;
    let info = client.expect(Foodgroup::OSERVICE, 0x0F).await;
    let info = UserList::decode(&info.body).unwrap().users.remove(0);
    assert_eq!(info.name.as_str(), client.name());
    assert_eq!(info.tlvs.u32(user_tlv::EXTERNAL_IP), Some(0x7F00_0001));
    let seen = info.tlvs.text(tlv::SEEN_ADDRESS).unwrap();
    let (address, port) = seen.split_once(' ').unwrap();
    assert_eq!(address, "127.0.0.1");
    assert!(port.parse::<u16>().unwrap() > 0);
}

#[tokio::test]
async fn so_17_an_unknown_snac_is_an_error_in_its_own_foodgroup() {
    let host = host().await;
    let mut client = Client::joiner(port(&host)).await;
    for foodgroup in [Foodgroup::OSERVICE, Foodgroup::LOCATE, Foodgroup::ICBM] {
        let id = client.snac(foodgroup, 0x77, Bytes::new()).await;
        client.expect_error(foodgroup, id, 0x01).await;
    }
    let id = client.snac(Foodgroup::FEEDBAG, 0x04, Bytes::new()).await;
    client.expect_error(Foodgroup::FEEDBAG, id, 0x08).await;
}

#[tokio::test]
async fn so_14_capabilities_that_are_no_uuids_are_an_error_and_the_client_stays() {
    let host = host().await;
    let mut client = Client::joiner(port(&host)).await;
    let body = Bytes::from_static(&[0, 5, 0, 3, 1, 2, 3]);
    let id = client.snac(Foodgroup::LOCATE, 0x04, body).await;
    client.expect_error(Foodgroup::LOCATE, id, 0x0E).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_host_that_goes_down_signs_its_clients_off() {
    let host = host().await;
    let mut client = Client::joiner(port(&host)).await;
    let down = tokio::spawn(host.shutdown());
    client.expect_sign_off().await;
    drop(client);
    down.await.unwrap();
}

#[tokio::test]
async fn a_kept_certificate_gives_a_host_the_same_fingerprint_again() {
    let state = tempfile::tempdir().unwrap();
    let kept =
        |config: &mut HostConfig| config.identity = IdentitySource::Kept(state.path().to_owned());
    let first = host_with(kept).await;
    let fingerprint = first.fingerprint();
    first.shutdown().await;
    assert_eq!(host_with(kept).await.fingerprint(), fingerprint);
}
