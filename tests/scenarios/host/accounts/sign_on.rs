//! From the challenge to BOS.

use rdv_proto::wire::signon::{DigestKind, Hello, LoginErrorCode};
use rdv_tests::old_client::{Manners, OldClient};

use super::Town;

#[tokio::test]
async fn libpurple_signs_on() {
    let town = Town::new().await;
    let mut alice = town.citizen("Alice Lab").await;
    alice.expect_nothing().await;
}
