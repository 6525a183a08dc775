//! Who can reach whom between two machines on one switch, and who really did: a packet filter in the namespace of one of them.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The filter in one namespace, between the machine there ("we") and one peer. What goes to others, such as the host, is only counted.
#[derive(Debug)]
pub struct Wall {
    namespace: String,
    peer: Ipv4Addr,
}

/// What becomes of connections that the peer opens to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// They come through.
    Open,
    /// They are answered with RST.
    Refused,
    /// Nobody answers.
    Dropped,
}

/// What went through the wall so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Connections that the peer opened and we accepted.
    pub accepted: u64,
    /// Connections that we opened and the peer accepted.
    pub opened: u64,
    /// Bytes of TCP between the two, headers counted.
    pub with_peer: u64,
    /// Bytes of TCP between us and all others.
    pub with_others: u64,
}

impl Wall {
    /// Puts the filter up.
    ///
    /// # Panics
    /// If `nft` or the kernel cannot do it.
    #[must_use]
    pub fn new(namespace: impl Into<String>, peer: Ipv4Addr, incoming: Incoming) -> Self {
        let wall = Self {
            namespace: namespace.into(),
            peer,
        };
        let verdict = match incoming {
            Incoming::Open => "accept",
            Incoming::Refused => "reject with tcp reset",
            Incoming::Dropped => "drop",
        };
        wall.nft(&format!(
            "table inet wall {{
                counter accepted {{ }}
                counter opened {{ }}
                counter with_peer {{ }}
                counter with_others {{ }}
                chain in {{
                    type filter hook input priority 0; policy accept;
                    iifname lo accept
                    meta l4proto tcp ip saddr {peer} counter name with_peer
                    meta l4proto tcp ip saddr != {peer} counter name with_others
                    ip saddr {peer} tcp flags & (syn | ack) == syn | ack counter name opened
                    ip saddr {peer} tcp flags & (syn | ack) == syn {verdict}
                }}
                chain out {{
                    type filter hook output priority 0; policy accept;
                    oifname lo accept
                    meta l4proto tcp ip daddr {peer} counter name with_peer
                    meta l4proto tcp ip daddr != {peer} counter name with_others
                    ip daddr {peer} tcp flags & (syn | ack) == syn | ack counter name accepted
                }}
            }}"
        ));
        wall
    }

    /// From now on, `bytes` more bytes may come from the peer; what is above that is lost on the way, silently, until
    /// [`Wall::lift`].
    pub fn stall_after(&self, bytes: u64) {
        self.nft(&format!(
            "table inet stall {{
                chain in {{
                    type filter hook input priority 10; policy accept;
                    meta l4proto tcp ip saddr {} quota over {bytes} bytes drop
                }}
            }}",
            self.peer
        ));
    }

    /// Ends [`Wall::stall_after`].
    pub fn lift(&self) {
        self.nft("delete table inet stall");
    }

    /// What went through so far.
    ///
    /// # Panics
    /// If `nft` does not answer as it should.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let told = self.run(&["-j", "list", "counters", "table", "inet", "wall"], "");
        let told: Value = serde_json::from_slice(&told).expect("JSON of nft");
        let count = |name: &str, what: &str| {
            told["nftables"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| &entry["counter"])
                .find(|counter| counter["name"] == name)
                .and_then(|counter| counter[what].as_u64())
                .unwrap_or_else(|| panic!("a counter {name} in {told}"))
        };
        Seen {
            accepted: count("accepted", "packets"),
            opened: count("opened", "packets"),
            with_peer: count("with_peer", "bytes"),
            with_others: count("with_others", "bytes"),
        }
    }

    fn nft(&self, rules: &str) {
        self.run(&["-f", "-"], rules);
    }

    fn run(&self, args: &[&str], input: &str) -> Vec<u8> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "nft"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip starts");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // One that ended already tells by its exit.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let done = child.wait_with_output().expect("nft ends");
        assert!(
            done.status.success(),
            "nft {args:?}: {}\n{input}",
            String::from_utf8_lossy(&done.stderr)
        );
        done.stdout
    }
}
