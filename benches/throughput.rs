//! One big file and many small ones from process to process over loopback, by `rdv` and by plain copies in turns.
//!
//! Every way listens in one process and receives in another; its time is that of the receiver's process, from its start to its
//! end. For `rdv` that includes signing on, the key exchange, the search for a path, the question, and BLAKE3 on both sides.
//! All use the congestion control that the system sets for new sockets; BBR, where it is the default, slows loopback down
//! for all of them. As root, `unshare -n` gives a place with settings of its own:
//! `unshare -n sh -c 'ip link set lo up; sysctl -w net.ipv4.tcp_congestion_control=cubic; cargo bench -p rdv-benches --offline'`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rdv_benches::plain::{self, Carrier};
use rdv_benches::process::{Running, Used};
use rdv_benches::report::{Goal, headline, median, mib, spread, verdict};
use rdv_benches::{Failure, quick, rounds, scratch, tool};

fn main() -> Result<(), Failure> {
    if plain::play_role()? {
        return Ok(());
    }
    let road = Road::prepare()?;
    big_file(&road)?;
    small_files(&road)
}

/// What all ways have in common: the binary, the place, how often.
struct Road {
    rdv: PathBuf,
    place: tempfile::TempDir,
    rounds: u32,
}

/// What one copy used: the receiver, the sender, and how long the sender took to be ready.
struct Copy {
    receiver: Used,
    sender: Used,
    ready_s: f64,
}

#[derive(Clone, Copy)]
enum Way {
    Plain(Carrier, usize),
    Rdv,
}

impl Way {
    fn name(self) -> String {
        match self {
            Self::Plain(Carrier::Tcp, chunk) => format!("raw TCP, {} KiB", chunk >> 10),
            Self::Plain(Carrier::Tls, chunk) => {
                format!("TLS 1.3, AES-128-GCM, {} KiB", chunk >> 10)
            }
            Self::Rdv => "rdv".to_owned(),
        }
    }
}

fn big_file(road: &Road) -> Result<(), Failure> {
    const WAYS: [Way; 4] = [
        Way::Plain(Carrier::Tcp, 64 << 10),
        Way::Plain(Carrier::Tcp, 256 << 10),
        Way::Plain(Carrier::Tls, 64 << 10),
        Way::Rdv,
    ];
    let bytes: u64 = if quick() { 128 << 20 } else { 1 << 30 };
    let file = road.place.path().join("big.bin");
    scratch::write_big(&file, bytes)?;
    headline(&format!(
        "One file of {} MiB, {} to itself, {} round(s) in turns, congestion control {}",
        bytes >> 20,
        road.place
            .path()
            .parent()
            .unwrap_or(Path::new("?"))
            .display(),
        road.rounds,
        congestion_control(),
    ));

    let mut copies: [Vec<Copy>; WAYS.len()] = Default::default();
    for round in 0..road.rounds {
        for (way, copies) in WAYS.iter().zip(&mut copies) {
            let copy = road.one_file(*way, &file, round == 0)?;
            eprintln!(
                "round {}: {}: {:.2} s",
                round + 1,
                way.name(),
                copy.receiver.wall_s
            );
            copies.push(copy);
        }
    }
    fs::remove_file(&file)?;

    println!(
        "{:<30} {:>7} {:>7} {:>13}  {:>13} {:>15}",
        "", "MiB/s", "wall s", "spread", "CPU s snd/rcv", "peak MiB snd/rcv"
    );
    for (way, copies) in WAYS.iter().zip(&copies) {
        let wall = middle(copies, |copy| copy.receiver.wall_s);
        println!(
            "{:<30} {:>7.0} {}",
            way.name(),
            mib(bytes) / wall,
            figures(copies)
        );
    }
    println!(
        "rdv shows its code after {:.2} s",
        middle(&copies[3], |copy| copy.ready_s)
    );
    let wall = copies
        .each_ref()
        .map(|copies| middle(copies, |copy| copy.receiver.wall_s));
    verdict("rdv / TLS 1.3", wall[2] / wall[3], Goal::AtLeast(0.60));
    println!(
        "rdv / raw TCP: {:.2} (64 KiB), {:.2} (256 KiB); TLS 1.3 / raw TCP: {:.2} (64 KiB)",
        wall[0] / wall[3],
        wall[1] / wall[3],
        wall[0] / wall[2],
    );
    Ok(())
}

fn small_files(road: &Road) -> Result<(), Failure> {
    let files = if quick() { 1000 } else { 10_000 };
    let tree = road.place.path().join("tree");
    let bytes = scratch::write_small(&tree, files)?;
    headline(&format!(
        "{files} files of 1 to 8 KiB ({:.0} MiB), {} round(s) in turns",
        mib(bytes),
        road.rounds
    ));

    let (mut plain, mut rdv) = (Vec::new(), Vec::new());
    for round in 0..road.rounds {
        plain.push(road.copy_tree(&tree, round == 0)?);
        rdv.push(road.send_tree(&tree, round == 0)?);
        eprintln!(
            "round {}: cp -r: {:.2} s, rdv: {:.2} s",
            round + 1,
            plain[plain.len() - 1].receiver.wall_s,
            rdv[rdv.len() - 1].receiver.wall_s
        );
    }
    println!(
        "{:<30} {:>7} {:>7} {:>13}  {:>13} {:>15}",
        "", "files/s", "wall s", "spread", "CPU s snd/rcv", "peak MiB snd/rcv"
    );
    for (name, copies) in [("cp -r", &plain), ("rdv", &rdv)] {
        let wall = middle(copies, |copy| copy.receiver.wall_s);
        println!(
            "{name:<30} {:>7.0} {}",
            f64::from(files) / wall,
            figures(copies)
        );
    }
    let ratio =
        middle(&rdv, |copy| copy.receiver.wall_s) / middle(&plain, |copy| copy.receiver.wall_s);
    verdict("rdv / cp -r, time", ratio, Goal::AtMost(5.0));
    Ok(())
}

impl Road {
    fn prepare() -> Result<Self, Failure> {
        let rounds = rounds(5)?;
        let place = scratch::folder()?;
        plain::make_keys(place.path())?;
        fs::create_dir(place.path().join("home"))?;
        Ok(Self {
            rdv: tool::rdv()?,
            place,
            rounds,
        })
    }

    /// Copies `file` once, and checks what arrived if `check` says so.
    fn one_file(&self, way: Way, file: &Path, check: bool) -> Result<Copy, Failure> {
        let out = self.out()?;
        let arrived = out.join("big.bin");
        let copy = match way {
            Way::Plain(carrier, chunk) => self.plain(carrier, chunk, file, &arrived)?,
            Way::Rdv => self.by_rdv(file, &out)?,
        };
        if check && !scratch::same_file(file, &arrived)? {
            return Err(format!("{}: what arrived differs", way.name()).into());
        }
        fs::remove_dir_all(out)?;
        Ok(copy)
    }

    fn send_tree(&self, tree: &Path, check: bool) -> Result<Copy, Failure> {
        let out = self.out()?;
        let copy = self.by_rdv(tree, &out)?;
        if check && !scratch::same_tree(tree, &out.join("tree"))? {
            return Err("rdv: what arrived differs".into());
        }
        fs::remove_dir_all(out)?;
        Ok(copy)
    }

    fn copy_tree(&self, tree: &Path, check: bool) -> Result<Copy, Failure> {
        let out = self.out()?;
        let receiver =
            Running::start(Command::new("cp").arg("-r").arg(tree).arg(&out))?.finish("cp")?;
        if check && !scratch::same_tree(tree, &out.join("tree"))? {
            return Err("cp: what arrived differs".into());
        }
        fs::remove_dir_all(out)?;
        Ok(Copy {
            receiver,
            sender: Used::default(),
            ready_s: 0.0,
        })
    }

    fn plain(
        &self,
        carrier: Carrier,
        chunk: usize,
        file: &Path,
        arrived: &Path,
    ) -> Result<Copy, Failure> {
        let this = std::env::current_exe()?;
        let words = plain::sender_words(carrier, chunk, self.place.path(), file);
        let mut sender = Running::start(Command::new(&this).args(words).stdout(Stdio::piped()))?;
        let port = first_line(&mut sender)?.parse()?;
        let ready_s = sender.started().elapsed().as_secs_f64();
        let words = plain::receiver_words(carrier, chunk, self.place.path(), arrived, port);
        let receiver =
            Running::start(Command::new(&this).args(words))?.finish("the plain receiver")?;
        Ok(Copy {
            receiver,
            sender: sender.finish("the plain sender")?,
            ready_s,
        })
    }

    fn by_rdv(&self, source: &Path, out: &Path) -> Result<Copy, Failure> {
        let home = self.place.path().join("home");
        let words = fs::File::create(home.join("words"))?;
        let mut sender = Running::start(
            tool::command(&self.rdv, &home)
                .arg("send")
                .arg(source)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(words),
        )?;
        let code = first_line(&mut sender)?;
        let ready_s = sender.started().elapsed().as_secs_f64();
        let words = fs::File::create(home.join("words-too"))?;
        let mut receiver = Running::start(
            tool::command(&self.rdv, &home)
                .args(["receive", "--yes", "-o"])
                .arg(out)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(words),
        )?;
        if let Some(mut stdin) = receiver.child().stdin.take() {
            writeln!(stdin, "{code}")?;
        }
        let finished = receiver
            .finish("rdv receive")
            .and_then(|receiver| Ok((receiver, sender.finish("rdv send")?)));
        let (receiver, sender) = finished.map_err(|error| {
            let said = ["words", "words-too"]
                .map(|name| fs::read_to_string(home.join(name)).unwrap_or_default());
            format!(
                "{error}\nsender said:\n{}\nreceiver said:\n{}",
                said[0], said[1]
            )
        })?;
        Ok(Copy {
            receiver,
            sender,
            ready_s,
        })
    }

    /// An empty folder to receive into.
    fn out(&self) -> Result<PathBuf, Failure> {
        let out = self.place.path().join("out");
        fs::create_dir(&out)?;
        Ok(out)
    }
}

/// The first line that a process prints. The pipe stays open, so that the process never meets a closed one.
fn first_line(process: &mut Running) -> Result<String, Failure> {
    let pipe = process.child().stdout.as_mut().ok_or("no pipe")?;
    let mut line = String::new();
    BufReader::with_capacity(1, pipe.take(4096)).read_line(&mut line)?;
    match line.trim() {
        "" => Err("the sender ended without a word".into()),
        word => Ok(word.to_owned()),
    }
}

fn middle(copies: &[Copy], figure: impl Fn(&Copy) -> f64) -> f64 {
    median(&copies.iter().map(figure).collect::<Vec<_>>())
}

fn figures(copies: &[Copy]) -> String {
    let walls: Vec<f64> = copies.iter().map(|copy| copy.receiver.wall_s).collect();
    let (least, most) = spread(&walls);
    format!(
        "{:>7.2} {:>13}  {:>13} {:>15}",
        median(&walls),
        format!("{least:.2}-{most:.2}"),
        pair(copies, 2, |used| used.cpu_s),
        pair(copies, 0, |used| mib(used.peak_bytes)),
    )
}

fn pair(copies: &[Copy], digits: usize, figure: impl Fn(&Used) -> f64) -> String {
    let sender = middle(copies, |copy| figure(&copy.sender));
    let receiver = middle(copies, |copy| figure(&copy.receiver));
    format!("{sender:.digits$}/{receiver:.digits$}")
}

/// What new TCP sockets get.
fn congestion_control() -> String {
    fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").map_or_else(
        |_| "of the system".to_owned(),
        |name| format!("{} (the system's default, for all)", name.trim()),
    )
}
