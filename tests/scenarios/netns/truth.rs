//! The truth table of `tests/netlab/README.md`: where two machines can talk directly they do, everywhere else the relay carries.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdv_tests::netlab::Netlab;

use crate::cells::{Cell, Must, cells, flags};
use crate::world::{Plan, World, file_of};

/// Of both sides' lines: transfers last long enough to move to a better path, and do not take the processor from each other.
const RATE: &str = "20mbit";

#[test]
fn the_table_has_a_cell_for_every_pair_of_kinds() {
    let cells = cells();
    assert_eq!(cells.len(), 120);
    let count = |must| cells.iter().filter(|cell| cell.must() == must).count();
    assert_eq!(count(Must::BeDirect), 87);
    assert_eq!(count(Must::MostlyBeDirect), 1);
    assert_eq!(count(Must::BeRelayed), 32);
}

/// One transfer in one cell.
struct Trial {
    cell: usize,
    /// `a` or `b`.
    sender: &'static str,
    path: Option<String>,
    carrier: String,
    punched: bool,
    /// Milliseconds from the first candidates to the first lane.
    lane: Option<u64>,
    /// Milliseconds over the relay.
    relay: Option<u64>,
    took: Duration,
    report: String,
}

fn attempt(number: usize, cell: &Cell, sender: &'static str) -> Option<Trial> {
    let side = |name: &str, kind: &str| format!("{name}={kind},rate={RATE}");
    let world = World::new(&[side("A", &cell.a), side("B", &cell.b)])?;
    let file = file_of(cell.mib());
    let receiver = if sender == "a" { "b" } else { "a" };
    let kind_of = |node| if node == "a" { &cell.a } else { &cell.b };
    let done = world
        .begin(&Plan {
            sender: flags(kind_of(sender)),
            receiver: flags(kind_of(receiver)),
            ..Plan::new(sender, receiver, &file)
        })
        .finish();
    let text = |value: serde_json::Value| value.as_str().unwrap_or("?").to_owned();
    Some(Trial {
        cell: number,
        sender,
        path: done.path(),
        carrier: text(done.field("carrier")),
        punched: done.field("punched").as_bool().unwrap_or_default(),
        lane: done.field("lane_ms").as_u64(),
        relay: done.field("relay_ms").as_u64(),
        took: done.took,
        report: done.report(),
    })
}

fn number_from(variable: &str, otherwise: usize) -> usize {
    let given = std::env::var(variable).ok();
    given
        .and_then(|given| given.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn every_pair_of_networks_ends_on_the_path_that_the_table_allows() {
    // Says so once, not once a cell.
    if Netlab::up(&["A=open"]).is_none() {
        return;
    }
    let only = std::env::var("RDV_TRUTH_ONLY").unwrap_or_default();
    let only: Vec<String> = only
        .split(',')
        .filter(|kind| !kind.is_empty())
        .map(str::to_owned)
        .collect();
    let runs = number_from("RDV_TRUTH_RUNS", 1);
    let cells = cells();
    let begun = Instant::now();
    let mut jobs = VecDeque::new();
    for run in 0..runs {
        for (number, cell) in cells.iter().enumerate() {
            if cell.concerns(&only) {
                let sender = if (number + run) % 2 == 0 { "a" } else { "b" };
                jobs.push_back((number, sender));
            }
        }
    }
    let jobs = Mutex::new(jobs);
    let trials = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..number_from("RDV_TRUTH_LABS", 4) {
            scope.spawn(|| {
                loop {
                    let job = jobs.lock().expect("nobody panics with it").pop_front();
                    let Some((number, sender)) = job else { break };
                    let trial = attempt(number, &cells[number], sender);
                    trials.lock().expect("nobody panics with it").extend(trial);
                }
            });
        }
    });
    let trials = trials.into_inner().expect("nobody panics with it");
    let took = begun.elapsed();

    let mut wrong = String::new();
    for (number, cell) in cells.iter().enumerate() {
        let of_cell: Vec<&Trial> = trials.iter().filter(|trial| trial.cell == number).collect();
        let count = |kind| {
            of_cell
                .iter()
                .filter(|trial| trial.path.as_deref() == Some(kind))
                .count()
        };
        let (all, direct, relayed) = (of_cell.len(), count("direct"), count("relay"));
        let good = match cell.must() {
            Must::BeDirect => direct == all,
            Must::MostlyBeDirect => direct + relayed == all && relayed * 10 <= all.max(10),
            Must::BeRelayed => relayed == all,
        };
        if good {
            continue;
        }
        let Cell { a, b, marks } = cell;
        let _ = writeln!(
            wrong,
            "{a} x {b} ({marks}): {direct} direct and {relayed} relayed of {all}"
        );
        let wanted = match cell.must() {
            Must::BeRelayed => "relay",
            _ => "direct",
        };
        let bad = of_cell
            .iter()
            .find(|trial| trial.path.as_deref() != Some(wanted));
        if let Some(bad) = bad {
            eprintln!(
                "=== {a} x {b} ({marks}), {} sends: {}",
                bad.sender, bad.report
            );
        }
    }
    println!(
        "{}\n{} transfers in {took:.1?}",
        table(&cells, &trials),
        trials.len()
    );
    assert!(
        !trials.is_empty(),
        "no cell has the kinds of RDV_TRUTH_ONLY"
    );
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// A line for each cell that was tried.
fn table(cells: &[Cell], trials: &[Trial]) -> String {
    let mut text = String::from(
        "| A | B | possible | ends | carrier | first lane, ms (median, worst) | over the relay, ms | took, s |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (number, cell) in cells.iter().enumerate() {
        let of_cell: Vec<&Trial> = trials.iter().filter(|trial| trial.cell == number).collect();
        if of_cell.is_empty() {
            continue;
        }
        let tally = |name: &dyn Fn(&Trial) -> String| {
            let mut names: Vec<String> = of_cell.iter().map(|trial| name(trial)).collect();
            names.sort();
            let mut tallied: Vec<(String, usize)> = Vec::new();
            for name in names {
                match tallied.last_mut() {
                    Some((last, count)) if *last == name => *count += 1,
                    _ => tallied.push((name, 1)),
                }
            }
            let parts: Vec<String> = tallied
                .iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            parts.join(", ")
        };
        let mut lanes: Vec<u64> = of_cell.iter().filter_map(|trial| trial.lane).collect();
        lanes.sort_unstable();
        let lane = match (lanes.get(lanes.len() / 2), lanes.last()) {
            (Some(median), Some(worst)) => format!("{median}, {worst}"),
            _ => String::from("?"),
        };
        let relay = of_cell.iter().filter_map(|trial| trial.relay).max();
        let took = of_cell.iter().map(|trial| trial.took).max();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {lane} | {} | {:.1} |",
            cell.a,
            cell.b,
            cell.marks,
            tally(&|trial| trial.path.clone().unwrap_or_else(|| "FAILED".into())),
            tally(&|trial| {
                let punched = if trial.punched { " punched" } else { "" };
                format!("{}{punched}", trial.carrier)
            }),
            relay.map_or_else(|| "?".into(), |ms| ms.to_string()),
            took.unwrap_or_default().as_secs_f64(),
        );
    }
    text
}
