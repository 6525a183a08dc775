//! Moves without a loss: nothing is repeated, nothing waits.

use super::super::Outgoing;
use super::two::{End, Happened, Two};
use crate::wire::link::Control;

#[test]
fn a_move_repeats_nothing() {
    for at in 0..20 {
        let mut two = Two::new(12);
        for step in 0..60 {
            if step == at {
                two.add(End::A);
                two.join(End::B);
            }
            two.turn(step);
        }
        for end in [End::A, End::B] {
            assert_eq!((two.read(end).len(), two.streamed(end)), (12, 12));
        }
        let resumes = two.happened().iter().any(|happened| {
            matches!(
                happened,
                Happened::Says {
                    frame: Outgoing::Control(Control::Resume(_)),
                    ..
                }
            )
        });
        assert!(!resumes, "{:#?}", two.happened());
        two.finish(|| "a move".into());
    }
}
