//! Long, lossy and fast roads: `rdv` from process to process, beside bare quinn with BBR on the same road in the same run.
//!
//! The roads are made by `benches/linksim` between two network namespaces, so this needs root, `/dev/net/tun` and `ip`; without them
//! it says so and ends. Host, relay and sender stand at one end, the receiver at the other. `RDV_BENCH_ROUNDS` (3) is how often each
//! way is measured, in turns.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdv_benches::report::{Goal, headline, median, spread, verdict};
use rdv_benches::{Failure, lanes, quick, rounds, scratch, tool};
use rdv_tests::process::{ERR, Person};
use rustix::process::{Pid, Signal, kill_process};

/// Both ends, as software takes them for public addresses.
const ENDS: [&str; 2] = ["11.77.0.1", "11.77.0.2"];
/// Where the host listens, and its relay one further.
const PORT: u16 = 5_190;

/// What lies between two peers.
struct Kind {
    name: &'static str,
    linksim: &'static [&'static str],
    mib: u64,
    /// The line in bytes per second, where that is what counts.
    line: Option<f64>,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "100 ms round trip, 1 % loss each way, 100 Mbit/s",
        linksim: &["--delay", "50", "--loss", "1", "--rate", "100m"],
        mib: 8,
        line: None,
    },
    Kind {
        name: "20 ms round trip, no loss, 300 Mbit/s",
        linksim: &["--delay", "10", "--rate", "300m"],
        mib: 256,
        line: Some(300e6 / 8.0),
    },
];

fn main() -> Result<(), Failure> {
    if lanes::play_role()? {
        return Ok(());
    }
    let place = scratch::folder()?;
    lanes::prepare(place.path())?;
    let rdv = tool::rdv()?;
    loopback(&rdv, place.path())?;
    let missing = missing();
    if !missing.is_empty() {
        println!("\nSKIPPED, the long roads: no {}", missing.join(", no "));
        return Ok(());
    }
    let linksim = build_linksim()?;
    for kind in &KINDS {
        measure(kind, &linksim, &rdv, place.path())?;
    }
    Ok(())
}

/// What a road needs and is not there.
fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root");
    }
    if !Path::new("/dev/net/tun").exists() {
        missing.push("/dev/net/tun");
    }
    if Command::new("ip").arg("-V").output().is_err() {
        missing.push("ip");
    }
    missing
}

/// The emulator has a workspace of its own: it cannot do without `unsafe`.
fn build_linksim() -> Result<PathBuf, Failure> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = here.join("../target/linksim");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(here.join("linksim/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !built.success() {
        return Err("the build of linksim failed".into());
    }
    Ok(target.join("release/linksim"))
}

/// A road that is there until it is dropped.
struct Road {
    link: Child,
    ends: [String; 2],
}

impl Road {
    fn open(linksim: &Path, kind: &Kind) -> Result<Self, Failure> {
        let id = std::process::id();
        let ends = ["a", "b"].map(|end| format!("rdv-road-{id}-{end}"));
        let mut link = Command::new(linksim)
            .args(["--ns", &ends.join(","), "--addr", &ENDS.join(",")])
            .args(kind.linksim)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = link.stdout.as_mut().ok_or("no pipe")?;
        BufReader::new(out).read_line(&mut line)?;
        let road = Self { link, ends };
        match line.trim() {
            "ready" => Ok(road),
            said => Err(format!("linksim: {said}").into()),
        }
    }

    fn inside(&self, end: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.ends[end]]);
        command.arg(program);
        command
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.link.id()).ok().and_then(Pid::from_raw) {
            // It removes what it made.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.link.wait();
    }
}

fn measure(kind: &Kind, linksim: &Path, rdv: &Path, place: &Path) -> Result<(), Failure> {
    let mib = if quick() { kind.mib.min(16) } else { kind.mib };
    let rounds = rounds(3)?;
    headline(&format!("{mib} MiB, {}, {rounds} round(s)", kind.name));
    let road = Road::open(linksim, kind)?;
    let this = std::env::current_exe()?;
    let bind: SocketAddr = format!("{}:0", ENDS[0]).parse()?;
    let file = place.join("road.bin");
    scratch::write_big(&file, mib << 20)?;
    let host = format!("{}:{PORT}", ENDS[0]);
    let relay = format!("{}:{}", ENDS[0], PORT + 1);
    let keeper = Person::new(rdv).in_namespace(&road.ends[0]);
    let mut serving = keeper.run(["host", "-v", "--listen", &host, "--relay-listen", &relay]);
    serving.line_with(ERR, "Fingerprint");
    let people = road.ends.each_ref().map(|end| {
        Person::new(rdv)
            .in_namespace(end)
            .with_env("RDV_HOST", &host)
    });

    let (mut bare, mut lane, mut whole, mut bytes) = (vec![], vec![], vec![], vec![]);
    for round in 1..=rounds {
        let by = |way| lanes::measure(way, mib << 20, place, bind, |end| road.inside(end, &this));
        bare.push(by("bare:mtu=1452")?);
        lane.push(by("quic")?);
        let copy = copy(&people, &file, &[])?;
        eprintln!("round {round}: {}", copy.path);
        whole.push(copy.whole);
        bytes.push(copy.bytes);
    }
    std::fs::remove_file(&file)?;
    println!("{:<44} {:>7} {:>7} {:>13}", "", "MiB/s", "wall s", "spread");
    for (name, walls) in [
        ("bare quinn, BBR, memory to memory", &bare),
        ("a lane of rdv's, memory to memory", &lane),
        ("rdv receive, from the first lane to the end", &bytes),
        ("rdv receive, the whole command", &whole),
    ] {
        let (least, most) = spread(walls);
        let (wall, mib) = (median(walls), mib as f64);
        let spread = format!("{least:.2}-{most:.2}");
        println!("{name:<44} {:>7.1} {wall:>7.2} {spread:>13}", mib / wall);
    }
    match kind.line {
        None => {
            let most = Goal::AtMost(1.3);
            verdict(
                "rdv, from the first lane / bare quinn, time",
                median(&bytes) / median(&bare),
                most,
            );
            verdict(
                "rdv, the whole command / bare quinn, time",
                median(&whole) / median(&bare),
                most,
            );
        }
        Some(line) => {
            let share = (mib << 20) as f64 / line / median(&bytes);
            verdict("share of the line", share, Goal::AtLeast(0.8));
            println!(
                "bare quinn's share: {:.2}",
                (mib << 20) as f64 / line / median(&bare)
            );
        }
    }
    Ok(())
}

/// Within the machine, where TLS over TCP is the faster one.
fn loopback(rdv: &Path, place: &Path) -> Result<(), Failure> {
    headline("Loopback: what rdv chooses");
    let file = place.join("road.bin");
    scratch::write_big(&file, 64 << 20)?;
    let people = [Person::new(rdv), Person::new(rdv)];
    let copy = copy(&people, &file, &[])?;
    std::fs::remove_file(&file)?;
    println!("64 MiB in {:.2} s over {}", copy.bytes, copy.path);
    Ok(())
}

/// One file by `rdv`.
struct Copy {
    /// Seconds of the receiver's whole command.
    whole: f64,
    /// Seconds from its first lane to its end.
    bytes: f64,
    /// What it says of the path.
    path: String,
}

fn copy([sender, receiver]: &[Person; 2], file: &Path, flags: &[&str]) -> Result<Copy, Failure> {
    let patience = Duration::from_secs(300);
    let name = file.to_str().ok_or("an odd path")?;
    let mut sending = sender
        .run(["send", "--json", name].iter().chain(flags))
        .patient(patience);
    let code = sending.event("code")["code"].clone();
    let code = code.as_str().ok_or("no code")?;
    let start = Instant::now();
    let words = ["receive", "--json", "--yes", "-o", "in", code];
    let mut receiving = receiver.run(words.iter().chain(flags)).patient(patience);
    receiving.event_or_result(|event| event["event"] == "connected");
    let connected = start.elapsed();
    let received = receiving.finish();
    let whole = start.elapsed();
    sending.finish();
    let result = received.result();
    if received.code != Some(0) {
        return Err(format!("rdv receive: {}", received.err).into());
    }
    let arrived = receiver.path("in").join(file.file_name().ok_or("no name")?);
    if !scratch::same_file(file, &arrived)? {
        return Err("what arrived differs".into());
    }
    std::fs::remove_file(arrived)?;
    Ok(Copy {
        whole: whole.as_secs_f64(),
        bytes: (whole - connected).as_secs_f64(),
        path: format!("{} {}", result["path"], result["carrier"]),
    })
}
