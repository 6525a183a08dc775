//! Asking host and relay over UDP how the world sees the socket of a conversation. No I/O here: the gatherer sends and receives.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rdv_proto::rendezvous::Mapping;
use rdv_proto::wire::stun::{Class, Stun};
use tokio::time::Instant;

/// When a request goes out again, counted from the first one.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(700),
];
/// When a server counts as silent.
const GIVE_UP: Duration = Duration::from_millis(1500);
/// Servers that one socket asks.
pub(super) const SERVERS_MAX: usize = 4;
/// A server whose answer is this old is asked once more before it counts as silent: how many rounds may fail.
const ROUNDS_FAILED_MAX: u8 = 2;

/// The questions that one socket has to its servers.
#[derive(Debug)]
pub(super) struct Questions {
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    server: SocketAddr,
    /// Random, so that nobody who cannot see our packets can answer in the server's place.
    transaction: [u8; 12],
    state: State,
    /// When the first request of this round was due.
    started: Instant,
    /// Since when there has been no answer, if there is none.
    unanswered_since: Instant,
    /// One round is over.
    settled: bool,
    /// From the first request to the answer, or until it was given up.
    took: Duration,
    /// The last answer.
    answer: Option<Answer>,
    /// Rounds since then that brought none.
    failed: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many requests are out.
    Open {
        sent: usize,
    },
    Answered,
    Silent,
    Refused,
}

/// How a server saw the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) server: SocketAddr,
    pub(super) mapped: SocketAddr,
}

/// How things stand with one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting,
    Answered(SocketAddr),
    Silent,
    /// It answered that it does not answer.
    Refused,
}

impl Questions {
    /// Asks the servers of the family from `now` on.
    pub(super) fn new(now: Instant, servers: &[SocketAddr], ipv4: bool) -> Self {
        let mut asked: Vec<Asked> = Vec::new();
        for server in servers.iter().filter(|server| server.is_ipv4() == ipv4) {
            let known = asked.iter().any(|one| one.server == *server);
            if !known && asked.len() < SERVERS_MAX {
                asked.push(Asked::new(now, *server));
            }
        }
        Self { asked }
    }

    /// Asks all of them anew; what they said stays until they say something else.
    pub(super) fn again(&mut self, now: Instant) {
        for one in &mut self.asked {
            one.restart(now);
        }
    }

    /// The next request that is due.
    pub(super) fn poll_send(&mut self, now: Instant) -> Option<(SocketAddr, Bytes)> {
        self.asked.iter_mut().find_map(|one| {
            let bytes = one.poll_send(now)?;
            Some((one.server, bytes))
        })
    }

    /// When [`poll_send`](Self::poll_send) has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asked.iter().filter_map(Asked::due).min()
    }

    /// Whether the datagram was an answer to one of these questions. What only pretends to be one is not.
    ///
    /// A server that is alone is asked at its other port, too, if it has one: one answer does not tell the mapping class.
    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(message) = Stun::decode(bytes) else {
            return false;
        };
        if message.class == Class::Request {
            return false;
        }
        let Some(one) = self
            .asked
            .iter_mut()
            .find(|one| one.server == from && one.transaction == message.transaction)
        else {
            return false;
        };
        one.settled = true;
        one.took = now.saturating_duration_since(one.started);
        match (message.class, message.xor_mapped()) {
            // Of another family than the socket: no use, whatever it is.
            (Class::Success, Some(mapped)) if mapped.is_ipv4() == from.is_ipv4() => {
                one.state = State::Answered;
                one.failed = 0;
                one.answer = Some(Answer {
                    server: from,
                    mapped,
                });
                let other = message.other_address(from);
                // Another machine is none that we were told to ask.
                let other = other.filter(|other| other.ip() == from.ip());
                if let (Some(other), [_alone]) = (other, self.asked.as_slice()) {
                    self.asked.push(Asked::new(now, other));
                }
            }
            _ => {
                one.state = State::Refused;
                one.lose_answer(now);
            }
        }
        true
    }

    /// Whether every server has answered once or counted as silent.
    pub(super) fn settled(&self) -> bool {
        self.asked.iter().all(|one| one.settled)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether anybody was asked for so long without an answer of any.
    pub(super) fn silent_for(&self, now: Instant, time: Duration) -> bool {
        !self.asked.is_empty()
            && self
                .asked
                .iter()
                .all(|one| one.answer.is_none() && now >= one.unanswered_since + time)
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = Answer> + '_ {
        self.asked.iter().filter_map(|one| one.answer)
    }

    /// Who was asked, how long it took, and what they said.
    pub(super) fn standings(&self) -> impl Iterator<Item = (SocketAddr, Duration, Standing)> + '_ {
        self.asked.iter().map(|one| {
            let standing = match (one.state, one.answer) {
                (State::Refused, _) => Standing::Refused,
                (_, Some(answer)) => Standing::Answered(answer.mapped),
                (State::Silent, None) => Standing::Silent,
                (_, None) => Standing::Waiting,
            };
            (one.server, one.took, standing)
        })
    }
}

impl Asked {
    fn new(now: Instant, server: SocketAddr) -> Self {
        Self {
            server,
            transaction: crate::random::bytes(),
            state: State::Open { sent: 0 },
            started: now,
            unanswered_since: now,
            settled: false,
            took: Duration::ZERO,
            answer: None,
            failed: 0,
        }
    }

    fn restart(&mut self, now: Instant) {
        self.transaction = crate::random::bytes();
        self.state = State::Open { sent: 0 };
        self.started = now;
    }

    fn lose_answer(&mut self, now: Instant) {
        if self.answer.take().is_some() {
            self.unanswered_since = now;
        }
    }

    fn due(&self) -> Option<Instant> {
        let State::Open { sent } = self.state else {
            return None;
        };
        Some(match sent.checked_sub(1) {
            None => self.started,
            Some(index) => self.started + AGAIN.get(index).copied().unwrap_or(GIVE_UP),
        })
    }

    fn poll_send(&mut self, now: Instant) -> Option<Bytes> {
        let State::Open { sent } = self.state else {
            return None;
        };
        if self.due()? > now {
            return None;
        }
        if sent > AGAIN.len() {
            self.state = State::Silent;
            self.settled = true;
            self.took = GIVE_UP;
            self.failed = self.failed.saturating_add(1);
            if self.failed >= ROUNDS_FAILED_MAX {
                self.lose_answer(now);
            }
            return None;
        }
        self.state = State::Open { sent: sent + 1 };
        Some(Stun::request(self.transaction).encode())
    }
}

/// What the answers tell of the translator on the way: nothing of its filter, which is found out by trying. `own` knows our own
/// addresses. [`Mapping::Unknown`] without answers: whether the way is blocked cannot be told from here.
pub(super) fn classify(answers: &[Answer], own: impl Fn(SocketAddr) -> bool) -> Mapping {
    // A server on our side of the translator sees our own address and knows nothing of it, if another one sees another.
    let (near, far): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| own(answer.mapped));
    match far.as_slice() {
        [] if near.is_empty() => Mapping::Unknown,
        [] => Mapping::Open,
        // One question more would be needed.
        [_] => Mapping::Unknown,
        [first, rest @ ..] if rest.iter().all(|other| other.mapped == first.mapped) => {
            Mapping::Independent
        }
        _ => Mapping::Dependent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "198.51.100.1:5190";
    const OTHER: &str = "198.51.100.1:5191";
    const MAPPED: &str = "203.0.113.5:40000";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn questions(now: Instant, servers: &[&str]) -> Questions {
        let servers: Vec<SocketAddr> = servers.iter().map(|one| at(one)).collect();
        Questions::new(now, &servers, true)
    }

    /// The requests that are due now.
    fn requests(questions: &mut Questions, now: Instant) -> Vec<(SocketAddr, Stun)> {
        std::iter::from_fn(|| questions.poll_send(now))
            .map(|(to, bytes)| (to, Stun::decode(&bytes).unwrap()))
            .collect()
    }

    fn answer(request: &Stun, mapped: &str) -> Stun {
        Stun::new(Class::Success, request.transaction).with_xor_mapped(at(mapped))
    }

    fn hear(questions: &mut Questions, now: Instant, from: &str, message: &Stun) -> bool {
        questions.datagram(now, at(from), &message.encode())
    }

    #[tokio::test]
    async fn a_silent_server_is_asked_four_times_in_a_second_and_a_half() {
        let start = Instant::now();
        let mut questions = questions(start, &[SERVER]);
        let mut sent = Vec::new();
        while let Some(due) = questions.due() {
            for (_, request) in requests(&mut questions, due) {
                sent.push(((due - start).as_millis(), request.transaction));
            }
        }
        let times: Vec<u128> = sent.iter().map(|(time, _)| *time).collect();
        assert_eq!(times, [0, 100, 300, 700]);
        assert!(sent.iter().all(|(_, id)| *id == sent[0].1));
        assert!(questions.settled());
        let (_, took, standing) = questions.standings().next().unwrap();
        assert_eq!((took, standing), (GIVE_UP, Standing::Silent));
        assert!(questions.silent_for(start + GIVE_UP, GIVE_UP));
    }

    #[tokio::test]
    async fn only_the_server_that_was_asked_can_answer_and_only_what_it_was_asked() {
        let now = Instant::now();
        let mut questions = questions(now, &[SERVER]);
        let (_, request) = requests(&mut questions, now).remove(0);
        assert!(request.encode().len() >= 64);
        let right = answer(&request, MAPPED);
        assert!(!hear(&mut questions, now, "198.51.100.9:5190", &right));
        assert!(!hear(&mut questions, now, OTHER, &right));
        let mut wrong = right.clone();
        wrong.transaction = [7; 12];
        assert!(!hear(&mut questions, now, SERVER, &wrong));
        assert!(!hear(&mut questions, now, SERVER, &request));
        assert!(!questions.datagram(now, at(SERVER), b"\x01\x01garbage"));
        assert_eq!(questions.answers().count(), 0);
        assert!(hear(&mut questions, now, SERVER, &right));
        assert_eq!(questions.answers().next().unwrap().mapped, at(MAPPED));
        assert!(questions.settled());
        assert_eq!(questions.due(), None);
    }

    #[tokio::test]
    async fn a_server_of_the_other_family_or_doubled_is_not_asked_and_an_error_is_an_end() {
        let now = Instant::now();
        let mut questions = questions(now, &[SERVER, "[2001:db8::1]:5190", SERVER]);
        let sent = requests(&mut questions, now);
        assert_eq!(sent.len(), 1);
        let refusal = Stun::new(Class::Error, sent[0].1.transaction);
        assert!(hear(&mut questions, now, SERVER, &refusal));
        assert!(questions.settled());
        let (_, _, standing) = questions.standings().next().unwrap();
        assert_eq!(standing, Standing::Refused);
    }

    #[tokio::test]
    async fn a_server_that_is_alone_is_asked_at_its_other_port_too() {
        let now = Instant::now();
        let mut questions = questions(now, &[SERVER]);
        let (_, request) = requests(&mut questions, now).remove(0);
        let told = answer(&request, MAPPED).with_other_address(at(OTHER));
        assert!(hear(&mut questions, now, SERVER, &told));
        let more = requests(&mut questions, now);
        assert_eq!(more[0].0, at(OTHER));
        // That one names the first again; nobody else is asked.
        let back = answer(&more[0].1, MAPPED).with_other_address(at(SERVER));
        assert!(hear(&mut questions, now, OTHER, &back));
        assert!(requests(&mut questions, now).is_empty());
        assert_eq!(questions.answers().count(), 2);
    }

    #[tokio::test]
    async fn a_server_cannot_send_us_to_a_stranger() {
        let now = Instant::now();
        let mut questions = questions(now, &[SERVER]);
        let (_, request) = requests(&mut questions, now).remove(0);
        let told = answer(&request, MAPPED).with_other_address(at("192.0.2.66:5190"));
        assert!(hear(&mut questions, now, SERVER, &told));
        assert!(requests(&mut questions, now).is_empty());
    }

    #[tokio::test]
    async fn what_was_said_stays_until_something_else_is_said_or_two_rounds_are_silent() {
        let start = Instant::now();
        let mut questions = questions(start, &[SERVER]);
        let (_, first) = requests(&mut questions, start).remove(0);
        assert!(hear(&mut questions, start, SERVER, &answer(&first, MAPPED)));
        let mut now = start;
        for round in 0..2 {
            assert_eq!(questions.answers().count(), 1, "round {round}");
            questions.again(now);
            assert!(questions.settled());
            let (_, request) = requests(&mut questions, now).remove(0);
            assert_ne!(request.transaction, first.transaction);
            // What answers the last round comes too late.
            assert!(!hear(&mut questions, now, SERVER, &answer(&first, MAPPED)));
            while let Some(due) = questions.due() {
                now = due;
                requests(&mut questions, due);
            }
        }
        assert_eq!(questions.answers().count(), 0);
        assert!(!questions.silent_for(now, UDP_LATER));
        assert!(questions.silent_for(now + UDP_LATER, UDP_LATER));
    }

    const UDP_LATER: Duration = Duration::from_millis(1);

    #[test]
    fn two_answers_tell_what_the_translator_does_and_one_does_not() {
        let own = |seen: SocketAddr| seen == at("192.168.1.4:5000");
        let classify = |seen: &[&str]| {
            let answers: Vec<Answer> = seen
                .iter()
                .map(|mapped| Answer {
                    server: at(SERVER),
                    mapped: at(mapped),
                })
                .collect();
            super::classify(&answers, own)
        };
        assert_eq!(classify(&[]), Mapping::Unknown);
        assert_eq!(classify(&[MAPPED]), Mapping::Unknown);
        assert_eq!(classify(&[MAPPED, MAPPED]), Mapping::Independent);
        assert_eq!(classify(&[MAPPED, "203.0.113.5:40001"]), Mapping::Dependent);
        assert_eq!(classify(&["192.168.1.4:5000"]), Mapping::Open);
        // The host is in our own network: only the relay outside counts.
        assert_eq!(classify(&["192.168.1.4:5000", MAPPED]), Mapping::Unknown);
    }
}
