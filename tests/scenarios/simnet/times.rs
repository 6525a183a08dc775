//! How long it takes until both hold a lane, by places and round-trip time.

use std::fmt::Write as _;
use std::path::Path as File;
use std::time::Duration;

use rdv_proto::rendezvous::{Carrier, Path};
use rdv_tests::netpair::{Ground, NetPair};
use rdv_tests::pair::{ALICE, BOB};
use rdv_tests::simnet::kinds::Kind;

use super::pairs::cell_of;

const KEPT: &str = include_str!("time-to-connect.md");
/// Rewrites the table.
const WRITE: &str = "RDV_WRITE_TABLE";
const ROUND_TRIPS: [u64; 3] = [20, 80, 200];

fn name(path: &Path) -> &'static str {
    match path {
        Path::Direct {
            carrier: Carrier::Quic,
            ..
        } => "QUIC",
        Path::Direct {
            carrier: Carrier::TcpOpen,
            ..
        } => "TCP-SO",
        Path::Direct { .. } => "TCP",
        Path::Relay(_) => "relay",
    }
}

/// The lanes that carried the conversation in turn, and when the later side got each, in milliseconds after the first message
/// with addresses.
fn cell(controller: Kind, other: Kind, round_trip: u64) -> String {
    let ground =
        Ground::between(other, controller).with_round_trip(Duration::from_millis(round_trip));
    let mut pair = NetPair::meet(ground);
    pair.run_for(Duration::from_secs(12));
    let Some(told) = pair.candidates_told() else {
        return "nothing".into();
    };
    let (first, second) = (pair.carried(ALICE), pair.carried(BOB));
    let lanes = first.iter().zip(&second).map(|((at, _, path), (far, ..))| {
        let at = (*at).max(*far).saturating_sub(told).as_millis();
        format!("{} {at}", name(path))
    });
    let lanes: Vec<_> = lanes.collect();
    pair.finish();
    lanes.join(", ")
}

fn table() -> String {
    let mut table = String::from("| controller | other |");
    for round_trip in ROUND_TRIPS {
        let _ = write!(table, " {round_trip} ms |");
    }
    table.push_str("\n|---|---|---|---|---|\n");
    for controller in Kind::ALL {
        for other in Kind::ALL {
            let _ = write!(table, "| {} | {} |", controller.name(), other.name());
            for round_trip in ROUND_TRIPS {
                let _ = write!(table, " {} |", cell(controller, other, round_trip));
            }
            table.push('\n');
        }
    }
    table
}

#[test]
fn the_table_of_times_is_the_one_that_is_kept() {
    let found = table();
    if std::env::var_os(WRITE).is_some() {
        let file =
            File::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/simnet/time-to-connect.md");
        std::fs::write(file, &found).expect("the table can be written");
        return;
    }
    let differing: Vec<_> = found
        .lines()
        .zip(KEPT.lines())
        .filter(|(found, kept)| found != kept)
        .map(|(found, kept)| format!("now  {found}\nkept {kept}"))
        .collect();
    assert!(
        found == KEPT,
        "times changed (see README.md beside the table):\n{}",
        differing.join("\n")
    );
}

/// The goals, for lines without loss; `h` and `r` are equal here, and so is the round trip through the relay.
#[test]
fn the_first_lane_is_proven_within_the_goal() {
    for round_trip in ROUND_TRIPS {
        let r = Duration::from_millis(round_trip);
        for controller in Kind::ALL {
            for other in Kind::ALL {
                let ground = Ground::between(other, controller).with_round_trip(r);
                let mut pair = NetPair::meet(ground);
                pair.run_until_met(Duration::from_secs(15));
                let goal = match cell_of(controller, other) {
                    // h + 2 r, and a bit.
                    cell if cell.contains(['U', 'u']) => r * 3 + Duration::from_millis(100),
                    // h + 3 r, and a bit.
                    cell if cell.contains(['T', 't']) => r * 4 + Duration::from_millis(1_500),
                    _ => r * 4 + Duration::from_millis(1_200),
                };
                let time = pair.time_to_prove();
                assert!(
                    time.is_some_and(|time| time <= goal),
                    "{time:?} of {goal:?}: {}",
                    pair.story()
                );
            }
        }
    }
}
