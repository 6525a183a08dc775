//! What must not be seen on the wire: anything but the relay where only the relay may carry (S-11), anything at all before a yes (S-09).

use rdv_tests::process::LONG;

use crate::world::{Plan, World, file_of};

/// Counts on a node what goes out to the public server and to everybody else.
const WATCH: &str = "table inet watch {
    counter infrastructure { }
    counter others { }
    chain out {
        type filter hook output priority 0; policy accept;
        oifname lo accept
        meta l4proto != { tcp, udp } accept
        ip daddr { 11.11.0.1, 11.11.0.2 } counter name infrastructure accept
        counter name others
    }
}";

#[test]
fn s_11_where_only_the_relay_may_carry_nobody_else_gets_a_packet() {
    for sides in [["A=open+6o", "B=open+6o"], ["A=eim+upnp", "B=lan-a"]] {
        let Some(world) = World::new(&sides) else {
            return;
        };
        for node in ["a", "b"] {
            world.lab.nft(node, WATCH);
        }
        let file = file_of(3);
        let plan = Plan::new("a", "b", &file).flags(&["--relay", "only"]);
        let done = world.begin(&plan).finish();
        done.expect_path("relay");
        for node in ["a", "b"] {
            let counter = |name| world.lab.counter(node, "inet watch", name);
            assert!(counter("infrastructure") > 0, "the counters count");
            assert_eq!(counter("others"), 0, "{node} in {sides:?}");
        }
        // With the relay as a second choice, it is otherwise.
        world.begin(&Plan::new("a", "b", &file)).finish();
        assert!(world.lab.counter("a", "inet watch", "others") > 0);
    }
}

#[test]
fn s_09_before_the_yes_no_packet_goes_between_the_two() {
    let Some(world) = World::new(&["A=open", "B=open"]) else {
        return;
    };
    // In the core, where all that leaves a side comes by.
    world.lab.nft(
        "inet",
        "table inet core {
            counter between { }
            chain road {
                type filter hook forward priority 0; policy accept;
                ip saddr 11.11.1.0/24 ip daddr 11.11.2.0/24 counter name between
                ip saddr 11.11.2.0/24 ip daddr 11.11.1.0/24 counter name between
            }
        }",
    );
    let between = || world.lab.counter("inet", "inet core", "between");
    let (alice, bob) = (world.user("a", "alice"), world.user("b", "bob"));
    let file = file_of(3);
    let mut bobs = bob
        .run_on_terminal(["receive", "--listen", "--count", "1", "-o", "in"])
        .patient(LONG);
    bobs.expect("waiting for files");
    let alices = alice.run([
        "send",
        "--json",
        "--to",
        "bob",
        file.to_str().expect("a path of ours"),
    ]);
    bobs.expect("Connect? [y/N]");
    assert_eq!(between(), 0);
    bobs.type_line("y");
    bobs.expect("Accept? [y/N]");
    assert!(between() > 0, "the counter counts");
    bobs.type_line("y");
    bobs.finish().expect_code(0);
    assert_eq!(alices.finish().expect_code(0).result()["path"], "direct");
}
