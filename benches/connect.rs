//! How long two peers need to find each other, by what stands between them: `rdv` in the laboratory of `tests/netlab`, with 20 ms each
//! way on either side's line, so that a round trip between the two takes 80 ms, and one through host or relay as long.
//!
//! Measured from the first candidates that go out to the first lane that both hold, and to the first direct one. Needs root; takes
//! minutes. `RDV_BENCH_ROUNDS` (1) is how often each pair of kinds connects in each direction.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use rdv_benches::report::headline;
use rdv_benches::{Failure, quick, tool};
use rdv_tests::process::Ended;

use crate::cells::{cells, flags};
use crate::world::{Plan, World, file_of};

#[path = "../tests/scenarios/netns/cells.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod cells;
#[path = "../tests/scenarios/netns/world.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod world;

/// Milliseconds of a round trip through the host, between the peers, and through the relay.
const ROUND_TRIP: f64 = 80.0;

static BINARY: OnceLock<PathBuf> = OnceLock::new();

fn binary() -> PathBuf {
    BINARY.get().cloned().unwrap_or_default()
}

fn main() -> Result<(), Failure> {
    let built = tool::rdv()?;
    BINARY.get_or_init(|| built);
    let given = std::env::var("RDV_BENCH_ROUNDS").ok();
    let rounds = given.map_or(Ok(1), |given| given.parse())?;
    if World::new(&["A=open"]).is_none() {
        return Ok(());
    }
    headline("Milliseconds to connect, 80 ms a round trip");
    println!(
        "{:<34} {:>5} {:>5} {:>15} {:>15} {:>15}",
        "between", "runs", "good", "first lane", "direct", "goal"
    );
    println!("{:>61} {:>15} {:>15}", "median / 95 %", "median / 95 %", "");
    for class in classes() {
        class.measure(rounds);
    }
    later(if quick() { 1 } else { 5 });
    Ok(())
}

/// Pairs of networks for which the same is expected.
struct Class {
    name: &'static str,
    pairs: Vec<(String, String)>,
    /// Of both sides' lines, beside the delay.
    line: &'static str,
    /// MiB, so many that the transfer goes on until it is direct.
    mib: u64,
    direct: bool,
    /// Median and 95 %, in milliseconds.
    goal: (f64, f64),
}

fn classes() -> Vec<Class> {
    let cells = cells();
    let of = |fits: &dyn Fn(&str, bool) -> bool| -> Vec<(String, String)> {
        cells
            .iter()
            .filter(|cell| {
                let symmetric = [&cell.a, &cell.b]
                    .iter()
                    .any(|kind| ["symmetric", "cgnat-sym"].contains(&kind.as_str()));
                fits(&cell.marks, symmetric)
            })
            .map(|cell| (cell.a.clone(), cell.b.clone()))
            .collect()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let punched = of(&|marks, symmetric| marks.contains('U') && !symmetric);
    let class = |name, pairs, goal| Class {
        name,
        pairs,
        line: "",
        mib: 1,
        direct: true,
        goal,
    };
    let trip = ROUND_TRIP;
    let neighbours = vec![pair("eim", "lan-a"), pair("symmetric", "lan-a")];
    vec![
        class("neighbours", neighbours, (trip + 30.0, trip + 50.0)),
        class(
            "U",
            punched.clone(),
            (2.5 * trip + 10.0, 3.0 * trip + 100.0),
        ),
        class(
            "U, one of them symmetric",
            of(&|marks, symmetric| marks.contains('U') && symmetric),
            (3.0 * trip + 10.0, 3.5 * trip + 100.0),
        ),
        Class {
            line: ",rate=20mbit",
            mib: 16,
            ..class(
                "u",
                of(&|marks, _| marks.contains('u')),
                (2.5 * trip + 10.0, 5000.0),
            )
        },
        Class {
            line: ",rate=20mbit",
            mib: 16,
            ..class(
                "T alone",
                of(&|marks, _| !marks.contains(['U', 'u']) && marks.contains(['T', 't'])),
                (4.0 * trip + 100.0, 4.0 * trip + 1600.0),
            )
        },
        Class {
            direct: false,
            ..class(
                "relay alone",
                of(&|marks, _| marks == "-"),
                (4.0 * trip + 300.0, 4.0 * trip + 1200.0),
            )
        },
        Class {
            line: ",loss=5,rate=20mbit",
            mib: 4,
            ..class(
                "U, 5 % loss on both sides",
                punched,
                (3.5 * trip + 10.0, 3.0 * trip + 1100.0),
            )
        },
    ]
}

impl Class {
    fn measure(&self, rounds: u32) {
        let file = file_of(self.mib);
        let (mut runs, mut good) = (0, 0);
        let (mut lanes, mut directs) = (Vec::new(), Vec::new());
        let few = if quick() { 1 } else { usize::MAX };
        for (a, b) in self.pairs.iter().take(few) {
            for turn in 0..2 * rounds {
                let line = |name: &str, kind: &str| match kind.starts_with("lan-") {
                    true => format!("{name}={kind}"),
                    false => format!("{name}={kind},delay=20{}", self.line),
                };
                let Some(world) = World::new(&[line("A", a), line("B", b)]) else {
                    return;
                };
                let sides = [("a", flags(a)), ("b", flags(b))];
                let [(from, sender), (to, receiver)] = match turn % 2 {
                    0 => sides,
                    _ => [sides[1], sides[0]],
                };
                let plan = Plan {
                    sender,
                    receiver,
                    ..Plan::new(from, to, &file)
                };
                let done = world.begin(&plan).finish();
                runs += 1;
                let wanted = if self.direct { "direct" } else { "relay" };
                if done.path().as_deref() == Some(wanted) {
                    good += 1;
                } else {
                    eprintln!("{a} x {b}, {from} sends: {}", done.report());
                }
                // Both hold it when the later one does.
                let lane = |ended: &Ended| ended.result()["lane_ms"].as_f64();
                lanes.extend(later_of(lane(&done.sent), lane(&done.received)));
                directs.extend(later_of(direct_at(&done.sent), direct_at(&done.received)));
            }
        }
        let goal = format!("{:.0} / {:.0}", self.goal.0, self.goal.1);
        println!(
            "{:<34} {runs:>5} {good:>5} {:>15} {:>15} {goal:>15}",
            self.name,
            figures(lanes),
            figures(directs),
        );
    }
}

/// A path that becomes possible while the relay carries: seconds until the transfer has moved.
fn later(rounds: u32) {
    let file = file_of(48);
    let mut took = Vec::new();
    for _ in 0..rounds {
        let sides = [
            "A=eim,delay=20,rate=20mbit",
            "B=symmetric,delay=20,rate=20mbit",
        ];
        let Some(world) = World::new(&sides) else {
            return;
        };
        let mut going = world.begin(&Plan::new("a", "b", &file));
        going.arrived(4 << 20);
        world.lab.netlab(&["set", "B=eim"]);
        let possible = Instant::now();
        let moved =
            |event: &serde_json::Value| event["event"] == "path" && event["path"] == "direct";
        if going.receiving.event_or_result(moved)["event"] == "path" {
            took.push(possible.elapsed().as_secs_f64() * 1e3);
        }
        going.finish();
    }
    println!(
        "{:<34} {rounds:>5} {:>5} {:>15} {:>15} {:>15}",
        "direct later, on the relay so far",
        took.len(),
        "",
        figures(took),
        "3000"
    );
}

fn later_of(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one?.max(other?))
}

/// Milliseconds until that side had a direct lane; `at_ms` counts from another beginning than `lane_ms`.
fn direct_at(ended: &Ended) -> Option<f64> {
    let events = ended.events();
    let ways: Vec<_> = events
        .iter()
        .filter(|event| {
            ["connected", "path"]
                .map(Into::into)
                .contains(&event["event"])
        })
        .collect();
    let direct = ways.iter().find(|way| way["path"] == "direct")?;
    let first = ended.result()["lane_ms"].as_f64()?;
    Some(first + direct["at_ms"].as_f64()? - ways.first()?["at_ms"].as_f64()?)
}

/// Median and the value that 95 of 100 do not exceed.
fn figures(mut samples: Vec<f64>) -> String {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (samples.len() as f64 * share).ceil() as usize;
        samples.get(place.max(1) - 1).copied()
    };
    match (at(0.5), at(0.95)) {
        (Some(median), Some(most)) => format!("{median:.0} / {most:.0}"),
        _ => String::from("-"),
    }
}
