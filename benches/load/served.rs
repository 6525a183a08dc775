//! The host or relay under load: a process of its own, with its limits raised, and what it uses.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rdv_benches::{Failure, tool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::Stage;
use crate::accounts::{self, People};

/// Limits that thousands of clients from one machine meet, raised (ruling G-13); all others stay.
const RAISED: &str = r#"
[limits]
connections = "1000000/1s"
unsigned_per_address = 100000
unsigned = 100000
guests_per_address = 100000
cookies = 100000
attempts = "1000000/1s"

[limits.rates_old]
icbm = { window = 20, max = 6000, clear = 0, alert = 0, limit = 0, disconnect = 0 }
"#;

/// Takes all the descriptors that the system allows this process.
pub(crate) fn raise_descriptors() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )?;
    Ok(())
}

/// A process that serves. Dropped, it is killed.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    /// Resident, in bytes.
    pub(crate) resident: u64,
    pub(crate) descriptors: usize,
    /// Processor time so far, user and system.
    pub(crate) cpu: Duration,
}

impl Served {
    /// `rdv host` with so many accounts and its limits raised.
    pub(crate) async fn host(stage: &Stage, count: usize) -> Result<(Self, People), Failure> {
        let folder = rdv_benches::scratch::folder()?;
        let people = accounts::settle(folder.path(), count).await?;
        let config = folder.path().join("host.toml");
        fs::write(&config, RAISED)?;
        let [state, config] = [folder.path(), &config].map(|path| path.display().to_string());
        let words = [
            "host",
            "--listen",
            "127.0.0.1:0",
            "--state",
            &state,
            "--config",
            &config,
        ];
        let words = words.map(str::to_owned);
        let started = Self::start(&stage.rdv, folder, &words, "Host on ")?;
        Ok((started, people))
    }

    /// `rdv relay` for everybody, with the limits that it comes with.
    pub(crate) fn relay(stage: &Stage) -> Result<Self, Failure> {
        let folder = rdv_benches::scratch::folder()?;
        let words = ["relay", "--open", "--listen", "127.0.0.1:0"].map(str::to_owned);
        Self::start(&stage.rdv, folder, &words, "Relay on ")
    }

    /// Any program that says where it listens behind `prefix`.
    pub(crate) fn start(
        program: &Path,
        folder: TempDir,
        words: &[String],
        prefix: &str,
    ) -> Result<Self, Failure> {
        let mut child = tool::command(program, folder.path())
            .args(words)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no output")?).lines();
        let mut served = Self {
            child,
            address: (Ipv4Addr::UNSPECIFIED, 0).into(),
            _folder: folder,
        };
        for line in &mut lines {
            if let Some(address) = line?.strip_prefix(prefix) {
                served.address = address.trim().parse()?;
                break;
            }
        }
        // Nobody is to wait until its words are read.
        std::thread::spawn(move || lines.for_each(drop));
        match served.address.port() {
            0 => Err("the process under load did not start".into()),
            _ => Ok(served),
        }
    }

    /// What it holds now.
    pub(crate) fn holding(&self) -> Result<Holding, Failure> {
        /// Ticks per second in `/proc`.
        const TICKS_PER_S: u64 = 100;
        let folder = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
        let kib: u64 = kib.ok_or("no VmRSS")?.trim().parse()?;
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
        let mut times = fields.split_whitespace().skip(11);
        let mut ticks = 0;
        for _ in 0..2 {
            ticks += times.next().ok_or("no times")?.parse::<u64>()?;
        }
        Ok(Holding {
            resident: kib * 1024,
            descriptors: fs::read_dir(format!("{folder}/fd"))?.count(),
            cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_S),
        })
    }

    /// Waits until it holds at most so many descriptors, at most so long; what it holds then.
    pub(crate) async fn settled(
        &self,
        descriptors: usize,
        patience: Duration,
    ) -> Result<Holding, Failure> {
        let end = Instant::now() + patience;
        loop {
            let holding = self.holding()?;
            if holding.descriptors <= descriptors || Instant::now() >= end {
                return Ok(holding);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
