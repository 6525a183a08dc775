//! Messages between accounts.

use rdv_proto::wire::icbm;

use super::Town;

#[tokio::test]
async fn a_text_arrives_and_is_acked() {
    let town = Town::new().await;
    let mut alice = town.citizen("alice").await;
    let mut bob = town.citizen("bob").await;
    let id = alice.text("Bob", "hello").await;
    let ack = alice
        .expect(rdv_proto::wire::snac::Foodgroup::ICBM, 0x0C)
        .await;
    assert_eq!(ack.request_id, id);
    let message = bob.expect_message().await;
    assert_eq!(message.sender.name.as_str(), "alice");
    assert_eq!(message.channel, icbm::Channel::TEXT);
}
