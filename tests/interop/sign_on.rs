//! libpurple signs on to our host and sees who is there.

use crate::lab::{Lab, Road, Side, purple_receiver};

#[test]
fn libpurple_signs_on_and_sees_the_other_come_and_go() {
    let Some(lab) = Lab::new(Road::Direct) else {
        return;
    };
    let (alice, bob) = (lab.purple(Side::Alice), lab.purple(Side::Bob));
    std::fs::write(alice.path("file"), "never sent").expect("room on the disk");
    let bobs = purple_receiver(&bob, &[]);
    let file = alice.path("file");
    let mut alices = alice.run(["--send", "Bob Lab", crate::lab::text(&file)]);
    alices.event("signed-on");
    let seen = alices.event("buddy-online");
    assert_eq!(seen["who"], "Bob Lab", "as Alice writes it");
    assert_eq!(seen["can_receive_file"], true, "capabilities are passed on");
    bobs.kill();
    alices.event("buddy-offline");
}
