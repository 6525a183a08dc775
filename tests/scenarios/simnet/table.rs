//! The simulated network is like the laboratory: the same program finds the same table.
//!
//! `measured.md` is the table that the laboratory measured with namespaces and nftables. `U` datagrams, whoever begins; `u`
//! only with openers of a short life; `T` simultaneous open; `t` that, too, but only if both begin together (a measurement
//! that differed from run to run); `>` `<` A can simply dial B, B can dial A; `-` nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use rdv_tests::simnet::kinds::Kind;

use super::prober::{Mode, Skew, tcp, udp};

const MEASURED: &str = include_str!("measured.md");
const TOGETHER: Skew = [Duration::ZERO; 2];
const LATE: Duration = Duration::from_millis(150);
const A_FIRST: Skew = [Duration::ZERO, LATE];
const B_FIRST: Skew = [LATE, Duration::ZERO];

/// What the laboratory measured, by names of kinds.
pub(super) fn measured() -> BTreeMap<(String, String), String> {
    let mut lines = MEASURED.lines();
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        let cells = inner.split('|');
        cells
            .map(|cell| cell.trim().trim_matches('*').to_owned())
            .collect()
    };
    let head = cells(lines.next().expect("a head"));
    let mut table = BTreeMap::new();
    for line in lines.skip(1) {
        let row = cells(line);
        for (column, mark) in head.iter().zip(&row).skip(1) {
            if !mark.is_empty() {
                table.insert((row[0].clone(), column.clone()), mark.clone());
            }
        }
    }
    table
}

/// The same letters, found in the simulated network.
fn simulated(a: Kind, b: Kind) -> String {
    let kinds = [a, b];
    let mut mark = String::new();
    let skews = [TOGETHER, A_FIRST, B_FIRST];
    if skews.iter().all(|skew| udp(kinds, *skew, None)) {
        mark.push('U');
    } else if udp(kinds, TOGETHER, Some(4)) {
        mark.push('u');
    }
    let open = skews.map(|skew| tcp(kinds, skew, [Mode::Both; 2]));
    if open == [true; 3] {
        mark.push('T');
    } else if open[0] {
        mark.push('t');
    }
    if tcp(kinds, TOGETHER, [Mode::Dial, Mode::Listen]) {
        mark.push('>');
    }
    if tcp(kinds, TOGETHER, [Mode::Listen, Mode::Dial]) {
        mark.push('<');
    }
    if mark.is_empty() { "-".into() } else { mark }
}

#[test]
fn the_simulated_network_reproduces_the_table_that_the_laboratory_measured() {
    let measured = measured();
    let mut differing = Vec::new();
    let mut pairs = 0;
    for (index, a) in Kind::ALL.into_iter().enumerate() {
        for b in Kind::ALL.into_iter().skip(index) {
            let expected = &measured[&(a.name().to_owned(), b.name().to_owned())];
            let found = simulated(a, b);
            pairs += 1;
            // Where the laboratory was fickle, the simulation may succeed each time.
            let fickle = expected.contains('t') && found == expected.replace('t', "T");
            if found != *expected && !fickle {
                differing.push(format!(
                    "{} x {}: {found}, not {expected}",
                    a.name(),
                    b.name()
                ));
            }
        }
    }
    assert_eq!(pairs, 120);
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn two_routers_that_refuse_spoil_a_simultaneous_open_that_is_not_simultaneous() {
    for kinds in [
        [Kind::EimReject, Kind::EimReject],
        [Kind::EimReject, Kind::EimAccept],
        [Kind::EimAccept, Kind::EimAccept],
    ] {
        let both = [Mode::Both; 2];
        assert!(tcp(kinds, TOGETHER, both), "{kinds:?}");
        assert!(!tcp(kinds, A_FIRST, both), "{kinds:?}");
    }
}
