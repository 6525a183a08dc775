//! The ports at which a process can be reached.

use std::collections::BTreeSet;
use std::fs;

/// The TCP ports at which a process listens.
#[must_use]
pub fn listening(pid: u32) -> BTreeSet<u16> {
    open(pid, "tcp", "0A")
}

/// The UDP ports that a process has.
#[must_use]
pub fn datagrams(pid: u32) -> BTreeSet<u16> {
    open(pid, "udp", "07")
}

/// Ports of a process's sockets in that state, as `/proc` shows it, in the process's own network namespace.
fn open(pid: u32, protocol: &str, state: &str) -> BTreeSet<u16> {
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let target = fs::read_link(entry.path())
            .unwrap_or_default()
            .display()
            .to_string();
        if let Some(inode) = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            sockets.insert(inode.to_owned());
        }
    }
    let mut ports = BTreeSet::new();
    for family in ["", "6"] {
        let table =
            fs::read_to_string(format!("/proc/{pid}/net/{protocol}{family}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, seen, _, _, _, _, _, inode, ..] = columns[..] else {
                continue;
            };
            let port = local
                .rsplit(':')
                .next()
                .and_then(|port| u16::from_str_radix(port, 16).ok());
            if seen == state && sockets.contains(inode) {
                ports.extend(port);
            }
        }
    }
    ports
}
