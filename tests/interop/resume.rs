//! libpurple goes on where a transfer broke, if our side asks it to.

use rdv_tests::files::{sha256, write_random};
use rdv_tests::process::LONG;

use crate::lab::{Lab, Road, Side, rdv_receiver, text};

/// A file, and how much of it gets through before the break.
struct Broken {
    bytes: u64,
    before: u64,
    /// So much at least is not sent a second time.
    kept: u64,
}

#[derive(Debug, Clone, Copy)]
enum Dies {
    /// The sender's process.
    Libpurple,
    /// Ours, without a chance to do anything.
    Rdv,
}

fn libpurple_goes_on_after(dies: Dies, broken: &Broken) {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.rdv(Side::Bob));
    let file = alice.path("broken.bin");
    write_random(&file, "broken", broken.bytes);
    let send = ["--send", Side::Bob.account(), text(&file)];
    let listen = || rdv_receiver(&bob, Side::Alice.account(), &["--if-exists", "resume"]);

    lab.bobs_wall.stall_after(broken.before);
    let mut receiver = listen();
    let sender = alice.run(send).patient(LONG);
    receiver.event_with("progress", |told| {
        told["bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > broken.before / 10 * 9)
    });
    match dies {
        Dies::Libpurple => {
            sender.kill();
            lab.bobs_wall.lift();
            receiver.event_with("transfer", |told| told["ok"] == false);
        }
        Dies::Rdv => {
            receiver.kill();
            lab.bobs_wall.lift();
            sender.finish().expect_code(1);
            receiver = listen();
        }
    }
    assert!(
        !bob.path("in/broken.bin").exists(),
        "not before it is whole"
    );

    let before = lab.bobs_wall.seen().with_peer;
    alice.run(send).patient(LONG).finish().expect_code(0);
    receiver.event_with("transfer", |told| told["ok"] == true);
    assert_eq!(sha256(&bob.path("in/broken.bin")), sha256(&file));
    let again = lab.bobs_wall.seen().with_peer - before;
    assert!(
        again < broken.bytes - broken.kept,
        "{again} bytes went over the wire for the rest"
    );
}

#[test]
fn libpurple_resumes_what_broke_when_it_died() {
    let broken = Broken {
        bytes: (48 << 20) + 1,
        before: 16 << 20,
        kept: 8 << 20,
    };
    libpurple_goes_on_after(Dies::Libpurple, &broken);
}

#[test]
fn libpurple_resumes_what_broke_when_rdv_was_killed() {
    // What is on the disk for sure is noted each 64 MiB.
    let broken = Broken {
        bytes: (200 << 20) + 1,
        before: 160 << 20,
        kept: 60 << 20,
    };
    libpurple_goes_on_after(Dies::Rdv, &broken);
}
