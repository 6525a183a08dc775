//! Sequence numbers of the proposals of one conversation.

use super::limits::SEQUENCE_MAX;

/// What both sides have numbered so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    sent: u16,
    received: u16,
}

/// What the number of an arriving proposal says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Later than everything so far. Gaps are fine (T-03).
    Newer,
    /// The same number as our own latest one: glare (T-04).
    Glare,
    /// New from this peer, but older than what we have sent since.
    Crossed,
    /// Not later than what this peer sent before: a repetition or a straggler. Dropped (T-03).
    Stale,
    /// Past the limit: the conversation is cancelled (T-03).
    TooMany,
}

impl Numbers {
    /// The number of our next proposal: one more than any sent or received. `None` past the limit.
    pub(super) fn next(&mut self) -> Option<u16> {
        let next = self.sent.max(self.received).checked_add(1)?;
        if next > SEQUENCE_MAX {
            return None;
        }
        self.sent = next;
        Some(next)
    }

    /// Judges and notes the number of a proposal that arrived.
    pub(super) fn receive(&mut self, number: u16) -> Arrival {
        if number <= self.received {
            return Arrival::Stale;
        }
        if number > SEQUENCE_MAX {
            return Arrival::TooMany;
        }
        self.received = number;
        match number.cmp(&self.sent) {
            std::cmp::Ordering::Greater => Arrival::Newer,
            std::cmp::Ordering::Equal => Arrival::Glare,
            std::cmp::Ordering::Less => Arrival::Crossed,
        }
    }

    /// The highest so far, of either side.
    pub(super) fn highest(&self) -> u16 {
        self.sent.max(self.received)
    }

    /// Whether the latest proposal of all is the peer's.
    pub(super) fn last_is_theirs(&self) -> bool {
        self.received > self.sent
    }

    /// Whether nobody has proposed anything yet.
    pub(super) fn none_yet(&self) -> bool {
        self.sent == 0 && self.received == 0
    }

    /// Whether the peer has proposed nothing yet.
    pub(super) fn nothing_received(&self) -> bool {
        self.received == 0
    }
}

/// Who wins when both sides sent the same number: odd ones belong to the initiator, even ones to
/// the responder (T-04).
pub(super) fn initiator_wins(number: u16) -> bool {
    number % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_06_the_first_number_is_one() {
        assert_eq!(Numbers::default().next(), Some(1));
    }

    #[test]
    fn r_07_the_next_number_follows_the_highest_of_either_side() {
        let mut numbers = Numbers::default();
        numbers.next();
        assert_eq!(numbers.receive(5), Arrival::Newer);
        assert_eq!(numbers.next(), Some(6));
    }

    #[test]
    fn t_03_repetitions_and_stragglers_are_stale_and_gaps_are_not() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.receive(1), Arrival::Newer);
        assert_eq!(numbers.receive(9), Arrival::Newer, "a gap");
        assert_eq!(numbers.receive(9), Arrival::Stale);
        assert_eq!(numbers.receive(4), Arrival::Stale);
        assert_eq!(numbers.receive(SEQUENCE_MAX + 1), Arrival::TooMany);
        assert_eq!(numbers.receive(SEQUENCE_MAX), Arrival::Newer);
        assert_eq!(numbers.next(), None, "past the limit");
    }

    #[test]
    fn equal_numbers_are_glare_and_lower_new_ones_have_crossed() {
        let mut numbers = Numbers {
            sent: 5,
            received: 2,
        };
        assert_eq!(numbers.receive(4), Arrival::Crossed);
        assert_eq!(numbers.receive(5), Arrival::Glare);
        assert_eq!(numbers.next(), Some(6), "one more for both after glare");
    }

    #[test]
    fn t_04_odd_numbers_belong_to_the_initiator() {
        assert!(initiator_wins(3));
        assert!(!initiator_wins(2));
    }
}
