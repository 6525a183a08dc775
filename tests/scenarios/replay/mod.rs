//! Every recording again, with our side in the place of either party: the machine of the rendezvous, fed with what the host brought to
//! that party, and those of OFT, fed with what came over its connections.
//!
//! Our side must end as the rules say and say what the recorded party said: the same messages with the same type, sequence number and
//! service, in the same role. Every difference, down to the tags of a message and the fields of a header, stands in the table with the
//! rule that wants it; one that does not stand there, or stands there and is gone, fails.

mod compare;
mod files;
mod player;
mod rows;
mod script;
mod setting;

use std::collections::BTreeSet;

use rdv_proto::transfer::oft::proposed_name;
use rdv_tests::captures;

use compare::differences;
use files::Over;
use player::{Played, play};
use rows::{Row, rows};
use script::{Script, Seat, What};
use setting::{Outcome, PLAIN};

fn replayed(row: &Row) -> (Script, Played) {
    let script = Script::of(row.capture, row.seat, row.nth);
    let played = play(&script, row.seat, row.setting);
    (script, played)
}

/// What is wrong with a row; empty if nothing is.
fn complaints(row: &Row) -> Vec<String> {
    let (script, played) = replayed(row);
    let mut complaints = Vec::new();
    if played.outcome != row.outcome {
        complaints.push(format!(
            "ended as {:?}, not {:?}",
            played.outcome, row.outcome
        ));
    }
    let found = differences(&script, &played);
    let listed: BTreeSet<String> = row
        .differences
        .iter()
        .map(|(what, _)| (*what).to_owned())
        .collect();
    complaints.extend(
        found
            .difference(&listed)
            .map(|what| format!("not listed: {what}")),
    );
    complaints.extend(
        listed
            .difference(&found)
            .map(|what| format!("listed, but gone: {what}")),
    );
    let offered = script
        .arrivals
        .iter()
        .any(|arrival| matches!(arrival.what, What::Signal(_)));
    let asked = usize::from(row.seat == Seat::Bob && offered);
    if played.questions != asked {
        complaints.push(format!("the user was asked {} times", played.questions));
    }
    if let (Seat::Bob, Outcome::Passed(Over::Received, _)) = (row.seat, &row.outcome) {
        let name = proposed_name(&script.file.name, false);
        if played.names != [name.as_str()] {
            complaints.push(format!("saved as {:?}", played.names));
        }
    }
    complaints
}

#[test]
fn every_recording_replays_from_both_seats() {
    let mut wrong = Vec::new();
    for row in rows() {
        let place = format!("{} {:?} {}", row.capture, row.seat, row.nth);
        wrong.extend(
            complaints(&row)
                .into_iter()
                .map(|complaint| format!("{place}: {complaint}")),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_recording_is_left_out() {
    let played: BTreeSet<_> = rows()
        .iter()
        .map(|row| (row.capture.to_owned(), row.seat, row.nth))
        .collect();
    for capture in captures::names() {
        for seat in [Seat::Alice, Seat::Bob] {
            let conversations = Script::conversations(&capture).max(1);
            for nth in 0..conversations {
                assert!(
                    played.contains(&(capture.clone(), seat, nth)),
                    "{capture} {seat:?} {nth}"
                );
            }
        }
    }
}

#[test]
fn every_difference_has_a_rule() {
    for row in rows() {
        for (what, rule) in row.differences {
            let (first, rest) = rule.split_at(1);
            let numbered = ["L", "R", "T", "S", "F"].contains(&first) && rest.starts_with('-');
            let page = ["OFT ", "flows ", "messages "]
                .iter()
                .any(|page| rule.starts_with(page));
            assert!(numbered || page, "{}: {what} {rule}", row.capture);
        }
    }
}

#[test]
fn a_difference_that_is_not_listed_is_found() {
    let row = rows()
        .into_iter()
        .find(|row| row.capture == "direct" && row.seat == Seat::Bob)
        .unwrap();
    let (mut script, mut played) = replayed(&row);
    assert_eq!(differences(&script, &played).len(), 2);
    played.said.clear();
    assert!(differences(&script, &played).contains("-ACCEPT"));
    script.wrote.clear();
    assert!(differences(&script, &played).contains("+ACK"));
    let mut refusing = rows()
        .into_iter()
        .find(|row| row.capture == "decline" && row.seat == Seat::Bob)
        .unwrap();
    refusing.setting = PLAIN;
    assert!(
        !complaints(&refusing).is_empty(),
        "another answer of the user ends otherwise"
    );
}

#[test]
fn l_15_l_18_each_header_of_ours_has_the_cookie_and_is_whole() {
    for row in rows() {
        let (script, played) = replayed(&row);
        for item in &played.wrote {
            if let script::Item::Header(header) = item {
                assert_eq!(Some(header.cookie), script.cookie, "{}", row.capture);
                assert_eq!(header.encode().len(), 192 + header.name.as_bytes().len());
            }
        }
    }
}
