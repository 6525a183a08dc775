//! Network namespaces: two machines on one switch, or one machine without a network. Needs root and `ip`.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Set where nothing may be skipped.
const SKIP_NOTHING: &str = "RDV_TESTS_SKIP_NOTHING";

/// Of `h` in [`Namespaces::with_a_host_among_them`].
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Of `a` there.
pub const ALICE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
/// Of `b` there.
pub const BOB: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);

/// Some namespaces; gone when dropped.
pub struct Namespaces {
    prefix: String,
    names: Vec<String>,
}

impl Namespaces {
    /// Two namespaces, `10.77.0.1/24` and `10.77.0.2/24`, joined by a bridge in a third. None, with a loud word, where that cannot
    /// be done.
    ///
    /// # Panics
    /// Instead of skipping where `RDV_TESTS_SKIP_NOTHING` is set.
    #[must_use]
    pub fn on_one_bridge() -> Option<Self> {
        Self::bridged(&[("a", 1), ("b", 2)])
    }

    /// Three namespaces joined by a bridge in a fourth: `h`, `a` and `b`, whose addresses are [`HOST`], [`ALICE`] and [`BOB`], in
    /// a network of 24 bits.
    ///
    /// # Panics
    /// As [`Namespaces::on_one_bridge`].
    #[must_use]
    pub fn with_a_host_among_them() -> Option<Self> {
        Self::bridged(&[("h", 1), ("a", 11), ("b", 12)])
    }

    fn bridged(sides: &[(&str, u8)]) -> Option<Self> {
        let mut all = Self::new()?;
        let switch = all.add("s");
        ip(&[
            "-n",
            &switch,
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ]);
        ip(&["-n", &switch, "link", "set", "br0", "up"]);
        for (side, number) in sides {
            let name = all.add(side);
            let port = format!("p{side}");
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &name,
            ]);
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
            ip(&[
                "-n",
                &name,
                "address",
                "add",
                &format!("10.77.0.{number}/24"),
                "dev",
                "eth0",
            ]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
        }
        Some(all)
    }

    /// Two namespaces `a` and `b` on wires of their own to a third, `h`, which passes nothing on: `10.78.1.2` and `10.78.2.2`. Both
    /// reach it at `203.0.113.5`.
    ///
    /// # Panics
    /// As [`Namespaces::on_one_bridge`].
    #[must_use]
    pub fn with_only_a_host_between() -> Option<Self> {
        let mut all = Self::new()?;
        let host = all.add("h");
        for (side, net) in [("a", 1), ("b", 2)] {
            let name = all.add(side);
            let port = format!("p{side}");
            ip(&[
                "-n", &host, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns",
                &name,
            ]);
            ip(&[
                "-n",
                &host,
                "address",
                "add",
                &format!("10.78.{net}.1/24"),
                "dev",
                &port,
            ]);
            ip(&["-n", &host, "link", "set", &port, "up"]);
            ip(&[
                "-n",
                &name,
                "address",
                "add",
                &format!("10.78.{net}.2/24"),
                "dev",
                "eth0",
            ]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            ip(&[
                "-n",
                &name,
                "route",
                "add",
                "default",
                "via",
                &format!("10.78.{net}.1"),
            ]);
        }
        ip(&["-n", &host, "address", "add", "203.0.113.5/32", "dev", "lo"]);
        ip(&[
            "netns",
            "exec",
            &host,
            "sh",
            "-c",
            "echo 0 > /proc/sys/net/ipv4/ip_forward",
        ]);
        Some(all)
    }

    /// One namespace in which only the loopback interface is up.
    ///
    /// # Panics
    /// As [`Namespaces::on_one_bridge`].
    #[must_use]
    pub fn loopback_only() -> Option<Self> {
        let mut all = Self::new()?;
        all.add("l");
        Some(all)
    }

    /// The name of one: `a`, `b` or `l`.
    #[must_use]
    pub fn name(&self, side: &str) -> String {
        format!("{}{side}", self.prefix)
    }

    /// Runs `work` on a thread that stands in that namespace; threads that it starts stand there, too.
    ///
    /// # Panics
    /// If `work` does.
    pub fn inside<T: Send>(&self, side: &str, work: impl FnOnce() -> T + Send) -> T {
        let place = Path::new("/run/netns").join(self.name(side));
        let place = File::open(place).expect("a namespace");
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may go there");
                work()
            });
            match inside.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!(
            "rdv{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let probe = format!("{prefix}p");
        match try_ip(&["netns", "add", &probe]).and_then(|()| try_ip(&["netns", "delete", &probe]))
        {
            Ok(()) => Some(Self {
                prefix,
                names: Vec::new(),
            }),
            Err(reason) => {
                skip(&format!(
                    "no network namespaces ({reason}); they need root and iproute2"
                ));
                None
            }
        }
    }

    fn add(&mut self, side: &str) -> String {
        let name = self.name(side);
        ip(&["netns", "add", &name]);
        self.names.push(name.clone());
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        name
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = try_ip(&["netns", "delete", name]);
        }
    }
}

/// Says why a test does not run, past the capture of the test's output: who runs the tests shall see it although they pass.
///
/// # Panics
/// Where nothing may be skipped.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os(SKIP_NOTHING).is_none(),
        "nothing may be skipped here: {reason}"
    );
    let test = std::thread::current();
    let line = format!("SKIPPED {}: {reason}\n", test.name().unwrap_or_default());
    // There may be nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

#[track_caller]
fn ip(args: &[&str]) {
    if let Err(reason) = try_ip(args) {
        panic!("ip {args:?}: {reason}");
    }
}

fn try_ip(args: &[&str]) -> Result<(), String> {
    let done = Command::new("ip")
        .args(args)
        .output()
        .map_err(|error| error.to_string())?;
    if done.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
    }
}
