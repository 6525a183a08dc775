//! `linksim`: a point-to-point link between two network namespaces with a given delay,
//! loss, bandwidth and queue, for kernels that have no netem.
//!
//! Each namespace gets a TUN device; this program reads whole IP packets from one and
//! writes them to the other when they are due. Packets of one direction never overtake
//! each other unless `--reorder` says so.
//!
//!   linksim --ns wana,wanb --delay 25 --loss 1 --rate 100m --queue 50 [--for SECONDS]
//!
//! It creates the namespaces when they are missing, prints `ready` once the link is up,
//! and on SIGINT or SIGTERM prints what each direction did and removes what it made.
use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::os::fd::RawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const USAGE: &str = "linksim [options]
  --ns A,B          namespaces (default wana,wanb)
  --addr A,B        IPv4 addresses of the two ends (default 10.77.0.1,10.77.0.2)
  --addr6 A,B       IPv6 addresses (default fd77::1,fd77::2)
  --dev NAME        device name in each namespace (default lk0)
  --mtu N           default 1500
  --delay MS[,MS]   one-way delay, per direction when two are given (default 0)
  --jitter MS       delay is spread evenly over +-MS, order kept (default 0)
  --loss PCT[,PCT]  random loss of each packet, in percent (default 0)
  --reorder PCT     this share of packets skips the delay (default 0)
  --rate BITS[,BITS]  bandwidth, with k, m or g (default unlimited)
  --queue MS        longest wait in the bottleneck queue before tail drop (default 100)
  --seed N          of the random numbers (default 1)
  --for SECONDS     stop by itself (default: until a signal)";

static STOP: AtomicBool = AtomicBool::new(false);
extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::SeqCst);
}

/// SplitMix64: small, and the same sequence for the same seed.
struct Rng(u64);
impl Rng {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

struct Shape {
    delay_ns: u64,
    jitter_ns: u64,
    loss: f64,
    reorder: f64,
    rate: f64, // bits per second, 0 = unlimited
    queue_ns: u64,
}

/// One direction of the link.
struct Pipe {
    from: RawFd,
    to: RawFd,
    shape: Shape,
    rng: Rng,
    link_free: u64,
    last_due: u64,
    waiting: VecDeque<(u64, Vec<u8>)>,
    pkts: u64,
    bytes: u64,
    lost: u64,
    tail: u64,
    write_err: u64,
    peak_queue_ns: u64,
    late_ns: u64,
}

impl Pipe {
    fn new(from: RawFd, to: RawFd, shape: Shape, seed: u64) -> Pipe {
        Pipe {
            from,
            to,
            shape,
            rng: Rng(seed),
            link_free: 0,
            last_due: 0,
            waiting: VecDeque::new(),
            pkts: 0,
            bytes: 0,
            lost: 0,
            tail: 0,
            write_err: 0,
            peak_queue_ns: 0,
            late_ns: 0,
        }
    }

    /// Decides the fate of a packet that arrived at `now`.
    fn offer(&mut self, p: Vec<u8>, now: u64, pool: &mut Vec<Vec<u8>>) {
        if self.shape.loss > 0.0 && self.rng.unit() < self.shape.loss {
            self.lost += 1;
            pool.push(p);
            return;
        }
        let mut at = now;
        if self.shape.rate > 0.0 {
            let start = self.link_free.max(now);
            if start - now > self.shape.queue_ns {
                self.tail += 1;
                pool.push(p);
                return;
            }
            self.peak_queue_ns = self.peak_queue_ns.max(start - now);
            at = start + (p.len() as f64 * 8e9 / self.shape.rate) as u64;
            self.link_free = at;
        }
        if self.shape.reorder > 0.0 && self.rng.unit() < self.shape.reorder {
            // Overtakes whatever is still waiting.
            let i = self.waiting.partition_point(|(d, _)| *d <= at);
            self.waiting.insert(i, (at, p));
            return;
        }
        let mut due = at + self.shape.delay_ns;
        if self.shape.jitter_ns > 0 {
            let j = (self.rng.unit() * 2.0 - 1.0) * self.shape.jitter_ns as f64;
            due = (due as i64 + j as i64).max(at as i64) as u64;
        }
        due = due.max(self.last_due);
        self.last_due = due;
        self.waiting.push_back((due, p));
    }

    /// Reads what has come in, at most `most` packets. True when there may be more.
    fn read(&mut self, now: u64, most: usize, mtu: usize, pool: &mut Vec<Vec<u8>>) -> bool {
        for _ in 0..most {
            let mut b = pool.pop().unwrap_or_default();
            b.resize(mtu, 0);
            let n = unsafe { libc::read(self.from, b.as_mut_ptr().cast(), b.len()) };
            if n <= 0 {
                pool.push(b);
                return false;
            }
            b.truncate(n as usize);
            self.offer(b, now, pool);
        }
        true
    }

    fn deliver(&mut self, now: u64, pool: &mut Vec<Vec<u8>>) {
        while let Some((due, _)) = self.waiting.front() {
            if *due > now {
                break;
            }
            let (due, b) = self.waiting.pop_front().unwrap();
            self.late_ns = self.late_ns.max(now - due);
            let n = unsafe { libc::write(self.to, b.as_ptr().cast(), b.len()) };
            if n == b.len() as isize {
                self.pkts += 1;
                self.bytes += n as u64;
            } else {
                self.write_err += 1;
            }
            pool.push(b);
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.waiting.front().map(|(d, _)| *d)
    }
}

fn sh(cmd: &str) -> bool {
    let mut it = cmd.split_whitespace();
    Command::new(it.next().unwrap())
        .args(it)
        .stderr(std::process::Stdio::null())
        .status()
        .map(|s| s.success())
        .unwrap_or(false)
}

fn must(cmd: &str) {
    if !sh(cmd) {
        eprintln!("failed: {cmd}");
        std::process::exit(1);
    }
}

fn enter(path: &str) {
    let c = CString::new(path).unwrap();
    unsafe {
        let fd = libc::open(c.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 || libc::setns(fd, libc::CLONE_NEWNET) != 0 {
            panic!("setns {path}: {}", std::io::Error::last_os_error());
        }
        libc::close(fd);
    }
}

/// Opens a TUN device inside the namespace and leaves this process in its own again.
fn tun(ns: &str, dev: &str) -> RawFd {
    let home = format!("/proc/self/fd/{}", unsafe {
        libc::open(
            c"/proc/self/ns/net".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    });
    enter(&format!("/var/run/netns/{ns}"));
    #[repr(C)]
    struct IfReq {
        name: [u8; 16],
        flags: libc::c_short,
        pad: [u8; 22],
    }
    let mut r = IfReq {
        name: [0; 16],
        flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short,
        pad: [0; 22],
    };
    r.name[..dev.len()].copy_from_slice(dev.as_bytes());
    let fd = unsafe {
        let fd = libc::open(
            c"/dev/net/tun".as_ptr(),
            libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC,
        );
        if fd < 0 || libc::ioctl(fd, libc::TUNSETIFF as _, &mut r) != 0 {
            panic!("tun in {ns}: {}", std::io::Error::last_os_error());
        }
        fd
    };
    enter(&home);
    fd
}

fn two(v: &str) -> (String, String) {
    match v.split_once(',') {
        Some((a, b)) => (a.into(), b.into()),
        None => (v.into(), v.into()),
    }
}

fn bits(v: &str) -> f64 {
    let v = v.to_ascii_lowercase();
    let (d, m) = match v.as_bytes().last() {
        Some(b'k') => (&v[..v.len() - 1], 1e3),
        Some(b'm') => (&v[..v.len() - 1], 1e6),
        Some(b'g') => (&v[..v.len() - 1], 1e9),
        _ => (&v[..], 1.0),
    };
    d.parse::<f64>().expect("rate") * m
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "-h" || a == "--help") || args.len() % 2 != 0 {
        println!("{USAGE}");
        std::process::exit(2);
    }
    let o: HashMap<String, String> = args
        .chunks(2)
        .map(|p| (p[0].trim_start_matches("--").to_string(), p[1].clone()))
        .collect();
    let get = |k: &str, d: &str| o.get(k).cloned().unwrap_or_else(|| d.to_string());
    let num = |s: String| s.parse::<f64>().expect("number");

    let (na, nb) = two(&get("ns", "wana,wanb"));
    let (aa, ab) = two(&get("addr", "10.77.0.1,10.77.0.2"));
    let (a6, b6) = two(&get("addr6", "fd77::1,fd77::2"));
    let dev = get("dev", "lk0");
    let mtu: usize = get("mtu", "1500").parse().unwrap();
    let (da, db) = two(&get("delay", "0"));
    let (la, lb) = two(&get("loss", "0"));
    let (ra, rb) = two(&get("rate", "0"));
    let shape = |d: String, l: String, r: String| Shape {
        delay_ns: (num(d) * 1e6) as u64,
        jitter_ns: (num(get("jitter", "0")) * 1e6) as u64,
        loss: num(l) / 100.0,
        reorder: num(get("reorder", "0")) / 100.0,
        rate: bits(&r),
        queue_ns: (num(get("queue", "100")) * 1e6) as u64,
    };
    let seed: u64 = get("seed", "1").parse().unwrap();
    let run_for = num(get("for", "0"));

    unsafe {
        libc::signal(libc::SIGINT, on_signal as *const () as libc::sighandler_t);
        libc::signal(libc::SIGTERM, on_signal as *const () as libc::sighandler_t);
        libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
        // Ahead of the programs under test, or a busy machine shows up as extra delay.
        let p: libc::sched_param = libc::sched_param { sched_priority: 10 };
        libc::sched_setscheduler(0, libc::SCHED_RR, &p);
    }
    let mut made = Vec::new();
    for n in [&na, &nb] {
        if !std::path::Path::new(&format!("/var/run/netns/{n}")).exists() {
            must(&format!("ip netns add {n}"));
            made.push(n.clone());
        }
        must(&format!("ip -n {n} link set lo up"));
    }
    let fa = tun(&na, &dev);
    let fb = tun(&nb, &dev);
    for (n, mine, peer, six) in [(&na, &aa, &ab, &a6), (&nb, &ab, &aa, &b6)] {
        must(&format!("ip -n {n} addr add {mine} peer {peer} dev {dev}"));
        sh(&format!("ip -n {n} addr add {six}/64 dev {dev} nodad"));
        must(&format!(
            "ip -n {n} link set {dev} mtu {mtu} txqueuelen 2000 up"
        ));
    }
    println!("ready");

    let mut pipes = [
        Pipe::new(fa, fb, shape(da, la, ra), seed),
        Pipe::new(fb, fa, shape(db, lb, rb), seed ^ 0x5555_aaaa),
    ];
    let t0 = Instant::now();
    let clock = || t0.elapsed().as_nanos() as u64;
    let mut pool: Vec<Vec<u8>> = Vec::new();
    while !STOP.load(Ordering::Relaxed) {
        let mut more = false;
        for p in &mut pipes {
            more |= p.read(clock(), 64, mtu + 64, &mut pool);
            p.deliver(clock(), &mut pool);
        }
        if pool.len() > 4096 {
            pool.truncate(4096);
        }
        let now = clock();
        if run_for > 0.0 && now as f64 > run_for * 1e9 {
            break;
        }
        if more {
            continue;
        }
        let wait = pipes
            .iter()
            .filter_map(|p| p.next_due())
            .min()
            .map(|d| d.saturating_sub(now))
            .unwrap_or(200_000_000)
            .min(200_000_000);
        let ts = libc::timespec {
            tv_sec: (wait / 1_000_000_000) as _,
            tv_nsec: (wait % 1_000_000_000) as _,
        };
        let mut fds = [fa, fb].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        unsafe { libc::ppoll(fds.as_mut_ptr(), 2, &ts, std::ptr::null()) };
    }
    let secs = t0.elapsed().as_secs_f64();
    for (p, name) in pipes
        .iter()
        .zip([format!("{na}->{nb}"), format!("{nb}->{na}")])
    {
        println!(
            "{name} packets {} bytes {} lost {} tail_dropped {} write_errors {} peak_queue_ms {:.1} latest_ms {:.2} mean_mbit {:.1}",
            p.pkts, p.bytes, p.lost, p.tail, p.write_err, p.peak_queue_ns as f64 / 1e6, p.late_ns as f64 / 1e6,
            p.bytes as f64 * 8.0 / secs / 1e6
        );
    }
    unsafe {
        libc::close(fa);
        libc::close(fb);
    }
    for n in made {
        sh(&format!("ip netns del {n}"));
    }
}
