//! What many old clients leave behind in a host: nothing.
//!
//! Limits are those of every host. They bear this crowd because it comes from many addresses.

use std::fs;
use std::time::Instant;

use rdv_host::accounts::Accounts;
use rdv_tests::crowd::{ADDRESSES, Crowd};
use rdv_tests::process::PATIENCE;

use crate::desk::{HostRun, person, text};

/// Sessions at a time.
const SESSIONS: u16 = 200;
/// Sign-ons and sign-offs between two looks at the memory.
const CYCLES: usize = 1_000;
/// Clients that come and go at a time.
const AT_ONCE: usize = 8;
/// What memory may grow by between two looks: 65 bytes for each of a thousand visits, 330 for each of two hundred conversations.
const GROWTH_KIB: i64 = 64;
/// Looks before growth is a leak: what an allocator sets aside grows now and then, a leak does every time.
const LOOKS: usize = 6;

/// Memory of a process that is its own, in KiB: without files and code that are mapped.
fn memory_kib(pid: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .expect("a number of KiB")
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a process")
        .count()
}

/// Does the same again and again until memory stays where it was.
fn assert_flat(pid: u32, what: &str, mut again: impl FnMut()) {
    let mut seen = vec![memory_kib(pid)];
    for _ in 0..LOOKS {
        again();
        let now = memory_kib(pid);
        let growth = now - seen.last().expect("one at least");
        seen.push(now);
        if growth <= GROWTH_KIB {
            return;
        }
    }
    panic!("{what}: memory grows each time, KiB: {seen:?}");
}

#[test]
fn s_35_a_host_keeps_nothing_of_a_thousand_visits_and_of_two_hundred_conversations() {
    // One heap: how an allocator deals threads out among many is not what is measured here.
    let owner = person().with_env("MALLOC_ARENA_MAX", "1");
    let url = format!("sqlite:{}", text(&owner.path("host.db")));
    let host = HostRun::start_at(owner, "127.0.0.1:0", &["--db", &url]);
    let pid = host.pid();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let crowd = runtime.block_on(async {
        let accounts = Accounts::open(&url).await.expect("the host's database");
        Crowd::settle(&accounts, host.address, SESSIONS).await
    });

    // Everybody and every address was there once, all tables are as long as they get.
    runtime.block_on(crowd.come_and_go(ADDRESSES, AT_ONCE));
    let open = descriptors(pid);
    assert_flat(pid, "visits", || {
        runtime.block_on(crowd.come_and_go(CYCLES, AT_ONCE));
    });

    runtime.block_on(crowd.converse());
    assert_flat(pid, "conversations", || {
        runtime.block_on(crowd.converse());
    });

    let deadline = Instant::now() + PATIENCE;
    while descriptors(pid) > open {
        assert!(Instant::now() < deadline, "{} open", descriptors(pid));
        std::thread::yield_now();
    }
    let said = host.stop().err;
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
}
