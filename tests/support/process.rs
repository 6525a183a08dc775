//! `rdv` as a child process: what it says, how it ends, how much memory it took.
//!
//! Every wait is for an event (bytes on a stream, the exit); deadlines only end a hang. Children die with their handle.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions};
use serde_json::Value;
use tempfile::TempDir;

/// Ends a hang; nothing that works takes nearly as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// For what is big, on a machine that is slow.
pub const LONG: Duration = Duration::from_secs(600);

/// Somebody with a home folder of their own who can run `rdv`: nothing of this machine's user is seen or changed.
pub struct Person {
    bin: PathBuf,
    home: TempDir,
    namespace: Option<String>,
    env: Vec<(OsString, OsString)>,
}

impl Person {
    /// A person with an empty home and the binary at `bin`.
    #[must_use]
    pub fn new(bin: impl Into<PathBuf>) -> Self {
        let home = tempfile::Builder::new()
            .prefix("rdv-home-")
            .tempdir()
            .expect("temporary folder");
        Self {
            bin: bin.into(),
            home,
            namespace: None,
            env: Vec::new(),
        }
    }

    /// The same person in a network namespace.
    #[must_use]
    pub fn in_namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The home folder, which is the working folder, too.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path in the home folder.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs `rdv` with pipes and nothing on standard input.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.run_with_input(args, "")
    }

    /// Runs `rdv` with pipes and `input` on standard input.
    pub fn run_with_input<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Run {
        let args: Vec<OsString> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        let (program, args) = self.command_line(args);
        let mut command = Command::new(program);
        command
            .args(&args)
            .env_clear()
            .envs(self.environment())
            .current_dir(self.home());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("rdv starts");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A child that ended already does not read; its exit tells.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let streams: Vec<Box<dyn Read + Send>> = vec![
            Box::new(child.stdout.take().expect("standard output is a pipe")),
            Box::new(child.stderr.take().expect("standard error is a pipe")),
        ];
        Run::new(child, streams, None, format!("rdv {args:?}"))
    }

    /// Runs `rdv` as systemd does that owns its socket: as descriptor 3, which the environment tells of by this name.
    pub fn run_with_socket<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        socket: std::net::TcpListener,
        name: &str,
    ) -> Run {
        const SCRIPT: &str =
            "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 0</dev/null";
        let args: Vec<OsString> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(SCRIPT)
            .arg(&self.bin)
            .args(&args)
            .env_clear()
            .envs(self.environment())
            .env("LISTEN_FDNAMES", name)
            .current_dir(self.home())
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("rdv starts");
        let streams: Vec<Box<dyn Read + Send>> = vec![
            Box::new(child.stdout.take().expect("standard output is a pipe")),
            Box::new(child.stderr.take().expect("standard error is a pipe")),
        ];
        Run::new(child, streams, None, format!("rdv {args:?} with a socket"))
    }

    /// Runs `rdv` on a pseudo-terminal of its own, where all three streams are one: [`OUT`].
    pub fn run_on_terminal<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let args: Vec<OsString> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        let (pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
        // Wide, so that nothing that a test looks for is broken over two lines.
        pty.resize(pty_process::Size::new(40, 240)).expect("a size");
        let (program, args) = self.command_line(args);
        let child = pty_process::blocking::Command::new(program)
            .args(&args)
            .env_clear()
            .envs(self.environment())
            .env("TERM", "xterm")
            .current_dir(self.home())
            .spawn(pts)
            .expect("rdv starts");
        let master = File::from(std::os::fd::OwnedFd::from(pty));
        let reader = master.try_clone().expect("a second handle");
        Run::new(
            child,
            vec![Box::new(reader)],
            Some(master),
            format!("rdv {args:?} on a terminal"),
        )
    }

    fn command_line(&self, args: Vec<OsString>) -> (OsString, Vec<OsString>) {
        match &self.namespace {
            None => (self.bin.clone().into(), args),
            Some(name) => {
                let mut all: Vec<OsString> = vec![
                    "netns".into(),
                    "exec".into(),
                    name.into(),
                    self.bin.clone().into(),
                ];
                all.extend(args);
                ("ip".into(), all)
            }
        }
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut env: Vec<(OsString, OsString)> = vec![
            ("HOME".into(), self.home().into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("RUST_BACKTRACE".into(), "1".into()),
        ];
        for (name, folder) in [
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_STATE_HOME", ".local/state"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_CACHE_HOME", ".cache"),
            ("XDG_RUNTIME_DIR", ".run"),
        ] {
            env.push((name.into(), self.path(folder).into()));
        }
        for kept in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
            env.extend(std::env::var_os(kept).map(|value| (kept.into(), value)));
        }
        env.extend(self.env.iter().cloned());
        env
    }
}

/// Index of standard output, and of the terminal.
pub const OUT: usize = 0;
/// Index of standard error.
pub const ERR: usize = 1;

enum News {
    Bytes(usize, Vec<u8>),
    Closed,
    Exited(Instant),
}

/// A running `rdv`.
pub struct Run {
    child: Child,
    what: String,
    terminal: Option<File>,
    news: Receiver<News>,
    said: [Vec<u8>; 2],
    /// How much of the terminal's output an earlier `expect` has taken.
    taken: usize,
    open_streams: usize,
    exited: Option<Instant>,
    reaped: bool,
    peak_rss_kib: Arc<AtomicU64>,
    patience: Duration,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output, or all that the terminal showed.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// When it ended.
    pub at: Instant,
    /// The most memory that it had in RAM, as far as it was seen while it spoke.
    pub peak_rss_kib: u64,
}

impl Run {
    fn new(
        child: Child,
        streams: Vec<Box<dyn Read + Send>>,
        terminal: Option<File>,
        what: String,
    ) -> Self {
        let (tell, news) = channel();
        let peak = Arc::new(AtomicU64::new(0));
        let pid = child.id();
        let open_streams = streams.len();
        for (index, stream) in streams.into_iter().enumerate() {
            let (tell, peak) = (tell.clone(), Arc::clone(&peak));
            thread::spawn(move || listen(index, stream, pid, &tell, &peak));
        }
        thread::spawn(move || {
            // The child is left a zombie, so its number stays its own until the handle reaps it.
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::waitid(
                    WaitId::Pid(pid),
                    WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
                );
            }
            let _ = tell.send(News::Exited(Instant::now()));
        });
        Self {
            child,
            what,
            terminal,
            news,
            said: [Vec::new(), Vec::new()],
            taken: 0,
            open_streams,
            exited: None,
            reaped: false,
            peak_rss_kib: peak,
            patience: PATIENCE,
        }
    }

    /// Waits longer than usual, for what is big.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. One that has ended already does not mind.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// What a person does who has had enough.
    pub fn ctrl_c(&mut self) {
        match &mut self.terminal {
            Some(terminal) => terminal
                .write_all(b"\x03")
                .expect("the terminal takes keys"),
            None => self.signal(Signal::INT),
        }
    }

    /// Types a line and the Enter key.
    pub fn type_line(&mut self, line: &str) {
        let terminal = self.terminal.as_mut().expect("a run on a terminal");
        terminal
            .write_all(format!("{line}\r").as_bytes())
            .expect("the terminal takes keys");
    }

    /// The first line on standard output: the code, of a sender whose output is a pipe.
    pub fn code(&mut self) -> String {
        self.wait("a line on standard output", |run| {
            let text = String::from_utf8_lossy(&run.said[OUT]).into_owned();
            text.split_once('\n').map(|(line, _)| line.to_owned())
        })
    }

    /// The first JSON object of that `event` on standard output.
    pub fn event(&mut self, name: &str) -> Value {
        self.wait(name, |run| {
            events(&run.said[OUT])
                .into_iter()
                .find(|event| event["event"] == name)
        })
    }

    /// The first JSON object of that `event` for which `fits` holds.
    pub fn event_with(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait(name, |run| {
            events(&run.said[OUT])
                .into_iter()
                .find(|event| event["event"] == name && fits(event))
        })
    }

    /// The first JSON object for which `fits` holds, or the result if none did before.
    pub fn event_or_result(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait("an event", |run| {
            events(&run.said[OUT])
                .into_iter()
                .find(|event| fits(event) || event["event"] == "result")
        })
    }

    /// The first whole line on that stream that has `text` in it.
    pub fn line_with(&mut self, stream: usize, text: &str) -> String {
        self.wait(text, |run| {
            let said = String::from_utf8_lossy(&run.said[stream]).into_owned();
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            whole
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
    }

    /// Waits until the terminal shows `text` after what was expected before, and returns all up to its end.
    pub fn expect(&mut self, text: &str) -> String {
        let (seen, taken) = self.wait(text, |run| {
            let fresh = &run.said[OUT][run.taken..];
            let at = fresh
                .windows(text.len())
                .position(|window| window == text.as_bytes())?;
            let seen = String::from_utf8_lossy(&fresh[..at + text.len()]).into_owned();
            Some((seen, run.taken + at + text.len()))
        });
        self.taken = taken;
        seen
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Ended {
        let at = self.wait("the end", |run| {
            run.exited.filter(|_| run.open_streams == 0)
        });
        let status = self.child.wait().expect("a child of ours");
        self.reaped = true;
        let ended = Ended {
            code: status.code(),
            signal: status.signal(),
            out: String::from_utf8_lossy(&self.said[OUT]).into_owned(),
            err: String::from_utf8_lossy(&self.said[ERR]).into_owned(),
            at,
            peak_rss_kib: self.peak_rss_kib.load(Ordering::Relaxed),
        };
        if self.terminal.is_none() {
            for text in [&ended.out, &ended.err] {
                assert_nothing_raw(text);
            }
        }
        ended
    }

    /// Ends it the hard way and waits until it is gone.
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.finish()
    }

    fn wait<T>(&mut self, what: &str, mut probe: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok(News::Bytes(stream, bytes)) => self.said[stream].extend_from_slice(&bytes),
                Ok(News::Closed) => self.open_streams -= 1,
                Ok(News::Exited(at)) => self.exited = Some(at),
                Err(RecvTimeoutError::Timeout) => self.give_up(what, "in time"),
                Err(RecvTimeoutError::Disconnected) => self.give_up(what, "before its end"),
            }
        }
    }

    fn give_up(&self, what: &str, when: &str) -> ! {
        panic!(
            "{}: no {what:?} {when} (ended: {})\n--- standard output\n{}\n--- standard error\n{}\n---",
            self.what,
            self.exited.is_some(),
            String::from_utf8_lossy(&self.said[OUT]),
            String::from_utf8_lossy(&self.said[ERR]),
        );
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() && !self.reaped {
            // What it said that nobody waited for; its end closes the streams.
            while let Ok(news) = self.news.recv_timeout(Duration::from_millis(100)) {
                if let News::Bytes(stream, bytes) = news {
                    self.said[stream].extend_from_slice(&bytes);
                }
            }
            eprintln!(
                "{}\n--- standard output\n{}\n--- standard error\n{}\n---",
                self.what,
                String::from_utf8_lossy(&self.said[OUT]),
                String::from_utf8_lossy(&self.said[ERR]),
            );
        }
    }
}

impl Ended {
    /// Fails unless it ended with that code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "exit {:?}, signal {:?}, expected {code}\n--- standard output\n{}\n--- standard error\n{}\n---",
            self.code,
            self.signal,
            self.out,
            self.err,
        );
        self
    }

    /// All JSON objects on standard output, in their order.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        events(self.out.as_bytes())
    }

    /// The last JSON object, which is the result.
    #[must_use]
    pub fn result(&self) -> Value {
        let last = self.events().pop().expect("JSON on standard output");
        assert_eq!(last["event"], "result", "the last object is the result");
        last
    }
}

fn listen(
    index: usize,
    mut stream: Box<dyn Read + Send>,
    pid: u32,
    tell: &Sender<News>,
    peak: &AtomicU64,
) {
    let mut buffer = vec![0; 64 * 1024];
    // The end of a terminal whose last user is gone is an error, of a pipe it is zero bytes.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        peak.fetch_max(peak_rss_kib(pid).unwrap_or(0), Ordering::Relaxed);
        if tell
            .send(News::Bytes(index, buffer[..read].to_vec()))
            .is_err()
        {
            return;
        }
    }
    let _ = tell.send(News::Closed);
}

/// `VmHWM`: the most that the process ever had in RAM.
fn peak_rss_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn events(out: &[u8]) -> Vec<Value> {
    let end = out
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |end| end + 1);
    out[..end]
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// Fails if the text could move a cursor, colour a screen or turn letters around (S-24).
#[track_caller]
pub fn assert_nothing_raw(text: &str) {
    let raw = text
        .chars()
        .find(|&c| (c.is_control() && c != '\n') || is_invisible_control(c));
    assert!(raw.is_none(), "{raw:?} came out raw in {text:?}");
}

/// Bidirectional and zero-width controls, line separators, tags.
fn is_invisible_control(c: char) -> bool {
    matches!(c,
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{061C}' | '\u{FEFF}'
        | '\u{E0000}'..='\u{E007F}')
}
