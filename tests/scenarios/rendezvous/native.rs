//! Native conversations: keys first, addresses sealed, the controller chooses the lane.

use std::time::Duration;

use rdv_proto::rendezvous::{Path, RelayPolicy};
use rdv_tests::pair::{ALICE, BOB, Pair};
use rdv_tests::road::{Road, Tcp};

#[test]
fn a_code_leads_to_a_direct_lane() {
    let mut pair = Pair::meet_by_code(Road::default(), 1, RelayPolicy::Auto);
    let (took, path) = pair.assert_connects();
    assert!(matches!(path, Path::Direct(_)), "{path:?}");
    assert!(took < Duration::from_millis(700), "{took:?}");
}

#[test]
fn the_relay_is_taken_where_nothing_is_direct() {
    let road = Road::with_tcp(Tcp::Dropped, Tcp::Dropped);
    let mut pair = Pair::meet_by_code(road, 1, RelayPolicy::Auto);
    let (took, path) = pair.assert_connects();
    assert!(matches!(path, Path::Relay(_)), "{path:?}");
    assert!(took < Duration::from_millis(1_200), "{took:?}");
    let _ = (ALICE, BOB);
}
