//! How long it takes until both sides hold the lane, by kind of road, in virtual time.
//!
//! The table is part of the test: a change of policy shows in it. Round trips: through the host
//! 80 ms, direct 160 ms with the proof, each command of the relay 80 ms; the receiver's user takes
//! one second to decide in legacy conversations.

use std::fmt::Write as _;
use std::time::Duration;

use rdv_proto::rendezvous::{LegacySecurity, Path, RelayPolicy};
use rdv_tests::pair::{ALICE, Pair};
use rdv_tests::road::{Relay, Road, Tcp};

const TABLE: &str = "\
road                      native             legacy
open both ways            direct    325 ms   direct   1245 ms
only the first dials      direct    325 ms   direct   6290 ms
only the second dials     direct    325 ms   direct   1245 ms
first refused             direct    325 ms   direct   1245 ms
both refused              relay     545 ms   relay   11410 ms
both silent               relay     545 ms   relay   11410 ms
second dials, no relay    direct    325 ms   direct   1245 ms
nothing                   no way  15085 ms   no way  11310 ms
";

const ROADS: [(&str, Tcp, Tcp, bool); 8] = [
    ("open both ways", Tcp::Open, Tcp::Open, true),
    ("only the first dials", Tcp::Open, Tcp::Dropped, true),
    ("only the second dials", Tcp::Dropped, Tcp::Open, true),
    ("first refused", Tcp::Refused, Tcp::Open, true),
    ("both refused", Tcp::Refused, Tcp::Refused, true),
    ("both silent", Tcp::Dropped, Tcp::Dropped, true),
    ("second dials, no relay", Tcp::Dropped, Tcp::Open, false),
    ("nothing", Tcp::Dropped, Tcp::Dropped, false),
];

fn outcome(pair: &mut Pair) -> String {
    pair.run();
    pair.assert_settled();
    let end = pair.last_event().as_millis();
    if !pair.is_connected(ALICE) {
        return format!("no way {end:>6} ms");
    }
    let (_, _, path) = pair.established(ALICE).expect("is connected");
    let way = if matches!(path, Path::Direct { .. }) {
        "direct"
    } else {
        "relay"
    };
    format!("{way:<6} {end:>6} ms")
}

#[test]
fn time_to_connect_by_road() {
    let mut table = format!("{:<26}{:<19}{}\n", "road", "native", "legacy");
    for (name, first, second, relay) in ROADS {
        let road = || Road {
            relay: if relay {
                Relay::Open(Duration::from_millis(80))
            } else {
                Relay::Unreachable
            },
            ..Road::with_tcp(first, second)
        };
        let native = outcome(&mut Pair::meet_by_code(road(), 1, RelayPolicy::Auto));
        let mut pair = Pair::new(road(), 1);
        pair.propose_file(ALICE, 1, LegacySecurity::Opportunistic, RelayPolicy::Auto);
        let legacy = outcome(&mut pair);
        writeln!(table, "{name:<26}{native:<19}{legacy}").expect("text");
    }
    assert_eq!(table, TABLE, "\n{table}");
}
