//! Processes under measurement.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the memory of a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a process used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// From start to end, in seconds.
    pub wall_s: f64,
    /// User and system time of all threads, in seconds; 0 where the system does not tell.
    pub cpu_s: f64,
    /// Largest resident set seen, in bytes; 0 where the system does not tell.
    pub peak_bytes: u64,
}

/// A process that runs. Dropped before its end, it is killed.
pub struct Running {
    child: Child,
    start: Instant,
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    observer: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts `command`; time counts from here.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let start = Instant::now();
        let child = command.spawn()?;
        let (peak, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let observer = {
            let (pid, peak, over) = (child.id(), Arc::clone(&peak), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if let Some(bytes) = system::peak_bytes(pid) {
                        peak.fetch_max(bytes, Ordering::Relaxed);
                    }
                    std::thread::park_timeout(LOOK_EVERY);
                }
            })
        };
        Ok(Self {
            child,
            start,
            peak,
            over,
            observer: Some(observer),
        })
    }

    /// The process itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// When it was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.start
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If it cannot be waited for, or the process failed.
    pub fn finish(mut self, what: &str) -> io::Result<Used> {
        let cpu_s = system::wait_and_read_cpu(self.child.id());
        let status: ExitStatus = self.child.wait()?;
        let wall_s = self.start.elapsed().as_secs_f64();
        self.stop_looking();
        if !status.success() {
            return Err(io::Error::other(format!("{what} failed: {status}")));
        }
        Ok(Used {
            wall_s,
            cpu_s: cpu_s.unwrap_or(0.0),
            peak_bytes: self.peak.load(Ordering::Relaxed),
        })
    }

    fn stop_looking(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(observer) = self.observer.take() {
            observer.thread().unpark();
            let _ = observer.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_looking();
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    /// Ticks per second in `/proc`, the same on all of Linux' architectures that Rust knows.
    const TICKS_PER_S: f64 = 100.0;

    /// VmHWM of a process that lives.
    pub(super) fn peak_bytes(pid: u32) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// Waits until the process has ended and leaves it to be reaped: until then its times can be read.
    pub(super) fn wait_and_read_cpu(pid: u32) -> Option<f64> {
        let id = Pid::from_raw(i32::try_from(pid).ok()?)?;
        waitid(
            WaitId::Pid(id),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        )
        .ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; fields are counted behind it. Field 14 is utime, 15 stime.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11);
        let user: f64 = times.next()?.parse().ok()?;
        let system: f64 = times.next()?.parse().ok()?;
        Some((user + system) / TICKS_PER_S)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn peak_bytes(_pid: u32) -> Option<u64> {
        None
    }

    pub(super) fn wait_and_read_cpu(_pid: u32) -> Option<f64> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_cpu_time_and_memory() -> io::Result<()> {
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let used = Running::start(Command::new("sh").arg("-c").arg(work))?.finish("sh")?;
        assert!(
            used.cpu_s > 0.0 && used.cpu_s <= used.wall_s * 1.5 + 0.1,
            "{used:?}"
        );
        assert!(used.peak_bytes > 100_000, "{used:?}");
        Ok(())
    }

    #[test]
    fn failure_is_an_error() -> io::Result<()> {
        assert!(
            Running::start(&mut Command::new("false"))?
                .finish("false")
                .is_err()
        );
        Ok(())
    }
}
