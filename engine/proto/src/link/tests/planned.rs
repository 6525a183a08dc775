//! Moves without a loss: nothing is repeated, nothing waits.

use super::two::{End, Two};

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
        assert!(!two.said().iter().any(|said| said.contains("Resume")));
        two.finish("a move");
    }
}
