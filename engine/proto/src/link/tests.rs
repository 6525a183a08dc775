//! Two machines over lanes that die: each byte once, in order, and always to the end.

mod hostile;
mod planned;
mod two;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use self::two::{Death, End, Two};

/// Bytes of each direction in the small enumerations.
const BYTES: u64 = 5;

#[test]
fn every_move_and_every_death_at_every_step() {
    // A lane more at one step, a death at another one, which either end learns first, with or without what was on its way.
    let mut runs = 0;
    let deaths = [
        Death::Drained,
        Death::Cut,
        Death::Deaf(End::A),
        Death::Deaf(End::B),
    ];
    for added in 0..24 {
        for first in [End::A, End::B] {
            for late in [0, 2, 9] {
                for dies in 0..28 {
                    for death in deaths {
                        for lane in [0, 1] {
                            let mut two = Two::new(BYTES);
                            for step in 0..40 {
                                if step == added {
                                    two.add(first);
                                }
                                if step == added + late {
                                    two.join(first.other());
                                }
                                if step == dies {
                                    two.kill(lane, death);
                                }
                                two.turn(step);
                            }
                            two.finish(|| {
                                format!("{added} {first:?} {late} {dies} {death:?} {lane}")
                            });
                            runs += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(runs, 24 * 2 * 3 * 28 * 4 * 2);
}

#[test]
fn two_moves_one_after_the_other_and_a_death() {
    for first in 0..16 {
        for second in first..first + 8 {
            for dies in first..second + 8 {
                for lane in 0..3 {
                    for order in [[End::A, End::B], [End::B, End::A], [End::A, End::A]] {
                        let mut two = Two::new(BYTES);
                        for step in 0..40 {
                            if step == first {
                                two.add(order[0]);
                            }
                            if step == second {
                                // The other end may learn of the second lane before the first.
                                two.add(order[1]);
                                two.join_last(order[1].other());
                            }
                            if step == second + 2 {
                                two.join(order[0].other());
                            }
                            if step == dies {
                                two.kill(lane, Death::Cut);
                            }
                            two.turn(step);
                        }
                        two.finish(|| format!("{first} {second} {dies} {lane} {order:?}"));
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_each_byte_comes_once_and_in_order(script in prop::collection::vec(any::<u16>(), 0..400)) {
        let mut two = Two::new(60);
        for (step, word) in script.iter().enumerate() {
            two.happen(*word);
            if word % 3 == 0 {
                two.turn(step);
            }
        }
        two.finish(|| "a script".into());
    }
}

#[test]
fn a_lane_that_says_nothing_is_silent_and_then_lost() {
    let start = Instant::now();
    let mut machine = super::LinkMachine::new();
    machine.add(start, super::LaneId(1), Some(1));
    let health = |machine: &super::LinkMachine| machine.lanes().next().map(|(_, health)| health);
    let early = start + Duration::from_millis(1499);
    assert!(machine.handle_timeout(early).is_empty());
    assert_eq!(health(&machine), Some(super::LaneHealth::Good));
    assert!(
        machine
            .handle_timeout(start + Duration::from_millis(1500))
            .is_empty()
    );
    assert_eq!(health(&machine), Some(super::LaneHealth::Silent));
    assert!(
        machine
            .handle_timeout(start + Duration::from_millis(14_999))
            .is_empty()
    );
    let gone = machine.handle_timeout(start + Duration::from_secs(15));
    assert_eq!((gone, machine.is_bare()), (vec![super::LaneId(1)], true));
}

#[test]
fn patience_grows_with_the_round_trip() {
    use crate::wire::link::Control;
    let start = Instant::now();
    let id = super::LaneId(1);
    let mut machine = super::LinkMachine::new();
    machine.add(start, id, None);
    let ping = std::iter::from_fn(|| machine.next_frame(start, id)).find_map(|frame| match frame {
        super::Outgoing::Control(Control::Ping(number)) => Some(number),
        _ => None,
    });
    let back = start + Duration::from_millis(800);
    machine
        .control(back, id, &Control::Pong(ping.unwrap()))
        .unwrap();
    assert_eq!(machine.round_trip(id), Some(Duration::from_millis(800)));
    machine.handle_timeout(back + Duration::from_millis(3199));
    assert_eq!(machine.lanes().next().unwrap().1, super::LaneHealth::Good);
    machine.handle_timeout(back + Duration::from_millis(3200));
    assert_eq!(machine.lanes().next().unwrap().1, super::LaneHealth::Silent);
}
