//! The task against a scripted host over an in-memory stream, in virtual time.

use rdv_proto::wire::icbm::{MessageToClient, MessageToHost, UserInfo, subgroup, tlv};
use rdv_proto::wire::rendezvous::{Message, NakCode, SequenceNumber};
use rdv_proto::wire::service::NATIVE;
use rdv_proto::wire::signal::Signal;
use rdv_proto::wire::snac::{ErrorCode, SnacError};
use rdv_proto::wire::tlv::TlvList;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

use super::*;

/// Tag of a sign-off.
const SIGN_OFF_REASON: u16 = 0x0009;
const COOKIE: Cookie = Cookie(*b"TRYST001");

fn name(text: &str) -> ScreenName {
    ScreenName::new(text).unwrap()
}

fn proposal() -> Message {
    Message::propose(COOKIE, NATIVE, SequenceNumber::new(1).unwrap())
}

fn outgoing(to: &str) -> Outgoing {
    Outgoing::new(name(to), &Signal::Rendezvous(proposal()).encode(), false).unwrap()
}

fn message_to_client() -> Snac {
    let sender = UserInfo {
        name: name("bob"),
        warning: 0,
        tlvs: TlvList::new(),
    };
    let tlvs = TlvList::new().with(tlv::RENDEZVOUS, proposal().encode());
    let channel = rdv_proto::wire::icbm::Channel::RENDEZVOUS;
    let message = MessageToClient {
        cookie: COOKIE,
        channel,
        sender,
        tlvs,
    };
    Snac::new(
        Foodgroup::ICBM,
        subgroup::MESSAGE_TO_CLIENT,
        0x8000_0000,
        message.encode(),
    )
}

type OurSession = Session<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

/// Both ends of a session.
struct Both {
    commands: mpsc::Sender<Command>,
    arrived: mpsc::Receiver<Incoming>,
    leaving: watch::Sender<bool>,
    presence: Arc<Presence>,
    ending: Arc<OnceLock<Ending>>,
    task: JoinHandle<()>,
    host_reader: FrameReader<ReadHalf<DuplexStream>>,
    host_writer: FrameWriter<WriteHalf<DuplexStream>>,
}

impl Both {
    /// `road` bytes fit between the two ends in each direction.
    fn new(road: usize) -> Self {
        Self::with(road, |session| session)
    }

    fn with(road: usize, change: impl FnOnce(OurSession) -> OurSession) -> Self {
        let (ours, theirs) = tokio::io::duplex(road);
        let (commands, to_do) = mpsc::channel(64);
        let (incoming, arrived) = mpsc::channel(4);
        let (leaving, left) = watch::channel(false);
        let (presence, ending) = (Arc::new(Presence::new()), Arc::new(OnceLock::new()));
        let (reader, writer) = tokio::io::split(ours);
        let queues = Queues {
            commands: to_do,
            incoming,
            leaving: left,
            presence: presence.clone(),
            ending: ending.clone(),
        };
        let pace = Pace::unannounced(Instant::now().into_std());
        let (reader, writer) = (FrameReader::new(reader), FrameWriter::new(writer, 0));
        let session = Session::new(reader, writer, queues, pace, vec![]);
        let task = tokio::spawn(change(session).run());
        let (host_reader, host_writer) = tokio::io::split(theirs);
        let (host_reader, host_writer) = (
            FrameReader::new(host_reader),
            FrameWriter::new(host_writer, 0),
        );
        Self {
            commands,
            arrived,
            leaving,
            presence,
            ending,
            task,
            host_reader,
            host_writer,
        }
    }

    async fn send(&self, to: &str) {
        assert!(
            self.commands
                .send(Command::Send(outgoing(to)))
                .await
                .is_ok()
        );
    }

    async fn host_says(&mut self, snac: &Snac) {
        self.host_writer.queue_snac(snac);
        self.host_writer.drain().await.unwrap();
    }

    async fn host_hears(&mut self) -> Frame {
        self.host_reader.next().await.unwrap()
    }

    async fn host_hears_snac(&mut self) -> Snac {
        let frame = self.host_hears().await;
        assert_eq!(frame.channel, Channel::DATA);
        Snac::decode(frame.data).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways() {
    let mut both = Both::new(64 * 1024);
    both.send("7").await;
    let sent = both.host_hears_snac().await;
    let message = MessageToHost::decode(&sent.body).unwrap();
    assert_eq!(
        (sent.subgroup, message.recipient),
        (subgroup::MESSAGE_TO_HOST, name("7"))
    );

    both.host_says(&message_to_client()).await;
    let body = Signal::Rendezvous(proposal()).encode();
    assert_eq!(
        both.arrived.recv().await,
        Some(Incoming::Message {
            from: name("bob"),
            body
        })
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_host_names_the_message_that_failed() {
    let mut both = Both::new(64 * 1024);
    both.send("7").await;
    both.send("8").await;
    let first = both.host_hears_snac().await;
    let second = both.host_hears_snac().await;
    assert_ne!(first.request_id, second.request_id);
    let refusal = |id| {
        let body = SnacError::new(ErrorCode::NOT_LOGGED_ON).encode();
        Snac::new(Foodgroup::ICBM, snac::ERROR, id, body)
    };
    both.host_says(&refusal(0x1234_5678)).await;
    both.host_says(&refusal(second.request_id)).await;
    both.host_says(&refusal(second.request_id)).await;
    both.host_says(&refusal(first.request_id)).await;
    for to in ["8", "7"] {
        let expected = Incoming::Undelivered {
            to: name(to),
            cookie: COOKIE,
            code: 4,
        };
        assert_eq!(both.arrived.recv().await, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_keep_to_the_rate_and_to_their_order() {
    let mut both = Both::new(64 * 1024);
    let began = Instant::now();
    for to in ["1", "2", "3", "4", "5"] {
        both.send(to).await;
    }
    let mut pace = Pace::unannounced(began.into_std());
    for to in ["1", "2", "3", "4", "5"] {
        let sent = both.host_hears_snac().await;
        assert_eq!(
            MessageToHost::decode(&sent.body).unwrap().recipient,
            name(to)
        );
        let waiting = pace.delay(pace::MESSAGE, false, Instant::now().into_std());
        assert!(waiting.is_zero(), "{to} came {waiting:?} too early");
        pace.sent(pace::MESSAGE, Instant::now().into_std());
    }
    assert!(
        began.elapsed() >= Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn last_words_hurry_and_are_followed_by_a_sign_off() {
    let mut both = Both::new(64 * 1024);
    let began = Instant::now();
    for to in ["1", "2", "3", "4", "5", "6", "7"] {
        both.send(to).await;
    }
    both.leaving.send_replace(true);
    let (done, closed) = oneshot::channel();
    assert!(both.commands.send(Command::Close(done)).await.is_ok());
    for _ in 0..7 {
        assert_eq!(both.host_hears().await.channel, Channel::DATA);
    }
    assert_eq!(both.host_hears().await.channel, Channel::SIGN_OFF);
    assert!(matches!(
        both.host_reader.next().await,
        Err(ReadError::Closed(None))
    ));
    // The host has taken all of it, and closes.
    both.host_writer.shutdown().await.unwrap();
    let _ = closed.await;
    both.task.await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(both.arrived.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn last_words_that_the_rate_holds_back_do_not_hold_back_the_end() {
    let mut both = Both::new(64 * 1024);
    for _ in 0..20 {
        both.send("7").await;
    }
    let began = Instant::now();
    both.leaving.send_replace(true);
    while both.host_hears().await.channel != Channel::SIGN_OFF {}
    both.task.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), LAST_WORDS.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_signs_off() {
    let mut both = Both::new(64 * 1024);
    both.send("7").await;
    drop((both.commands, both.leaving));
    assert_eq!(
        both.host_reader.next().await.unwrap().channel,
        Channel::DATA
    );
    assert_eq!(
        both.host_reader.next().await.unwrap().channel,
        Channel::SIGN_OFF
    );
    both.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_kept_alive_while_the_host_lives() {
    let mut both = Both::new(64 * 1024);
    let began = Instant::now();
    for minute in 1..=10 {
        for _ in 0..2 {
            assert_eq!(both.host_hears().await.channel, Channel::KEEP_ALIVE);
        }
        assert_eq!(began.elapsed().as_secs(), minute * 60);
        both.host_writer.queue(Channel::KEEP_ALIVE, Bytes::new());
        both.host_writer.drain().await.unwrap();
    }
    assert!(!both.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_nothing_is_given_up() {
    let mut both = Both::new(64 * 1024);
    let began = Instant::now();
    assert_eq!(both.arrived.recv().await, None);
    assert_eq!(began.elapsed().as_secs(), SILENCE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_reads_nothing_is_given_up_and_senders_wait_meanwhile() {
    // One keep-alive fills the road. The time until there is something to write again does not count.
    let both = Both::new(6);
    tokio::time::sleep(KEEP_ALIVE * 2 - Duration::from_secs(1)).await;
    let began = Instant::now();
    while both
        .commands
        .send(Command::Send(outgoing("7")))
        .await
        .is_ok()
    {}
    assert_eq!(began.elapsed().as_secs(), STALLED.as_secs());
    both.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_waits_in_the_network_until_the_application_reads() {
    let mut both = Both::new(1024);
    let mut taken = 0;
    let flood = async {
        for _ in 0..1000 {
            both.host_writer.queue_snac(&message_to_client());
            both.host_writer.drain().await.unwrap();
            taken += 1;
        }
    };
    let stuck = tokio::time::timeout(Duration::from_secs(600), flood).await;
    assert!(stuck.is_err());
    // The queue, what waits for room in it, and what fits on the road and into one read.
    assert!(taken < 200, "{taken} messages were taken");
    assert!(
        !both.task.is_finished(),
        "the host is not given up while we are the slow side"
    );
    for _ in 0..taken {
        assert!(both.arrived.recv().await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_can_still_be_received() {
    let mut both = Both::new(64 * 1024);
    for _ in 0..8 {
        both.host_writer.queue_snac(&message_to_client());
    }
    both.host_writer.queue(Channel::SIGN_OFF, Bytes::new());
    both.host_writer.drain().await.unwrap();
    for _ in 0..8 {
        assert!(both.arrived.recv().await.is_some());
    }
    assert_eq!(both.arrived.recv().await, None);
    assert!(both.commands.is_closed());
}

#[tokio::test(start_paused = true)]
async fn garbage_ends_the_connection_and_odd_snacs_do_not() {
    let mut both = Both::new(64 * 1024);
    both.host_says(&Snac::new(Foodgroup(0x7777), 1, 0, Bytes::new()))
        .await;
    both.host_says(&Snac::new(
        Foodgroup::ICBM,
        subgroup::MESSAGE_TO_CLIENT,
        0,
        &b"cut"[..],
    ))
    .await;
    both.host_says(&Snac::new(
        Foodgroup::ICBM,
        subgroup::HOST_ACK,
        0,
        &b"ack"[..],
    ))
    .await;
    both.host_says(&message_to_client()).await;
    assert!(both.arrived.recv().await.is_some());
    both.host_writer
        .queue(Channel::DATA, Bytes::from_static(b"short"));
    both.host_writer.drain().await.unwrap();
    assert_eq!(both.arrived.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_relay_is_asked_for_and_told_to_whom_asked() {
    let mut both = Both::new(64 * 1024);
    for known in [true, false] {
        let (answer, answered) = oneshot::channel();
        let cookie = Cookie(*b"TRYST01\0");
        let request = ServiceRequest::for_relay(cookie, ["gone.example:5190"]);
        let question = Command::Relay(request.clone(), answer);
        assert!(both.commands.send(question).await.is_ok());
        let asked = both.host_hears_snac().await;
        assert_eq!(asked.body, request.encode());
        let reply = TlvList::new()
            .with_u16(0x000D, 0x044A)
            .with(0x0005, "relay.example:5190");
        let mut body = bytes::BytesMut::new();
        reply.encode_rest(&mut body);
        let no = SnacError::new(ErrorCode::SERVICE_NOT_DEFINED).encode();
        let (sub, body) = if known {
            (0x05, body.freeze())
        } else {
            (0x01, no)
        };
        both.host_says(&Snac::new(Foodgroup::OSERVICE, sub, asked.request_id, body))
            .await;
        let address = answered.await.unwrap().map(|relay| relay.address);
        assert_eq!(address.as_deref(), known.then_some("relay.example:5190"));
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_go_out_as_client_errors() {
    let mut both = Both::new(64 * 1024);
    let signal = Signal::client_error(COOKIE, NakCode::DENIED).encode();
    let refusal = Outgoing::new(name("bob"), &signal, false).unwrap();
    assert!(both.commands.send(Command::Send(refusal)).await.is_ok());
    assert_eq!(
        both.host_hears_snac().await.subgroup,
        subgroup::CLIENT_ERROR
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_silent_by_nature_is_asked_something() {
    let mut both = Both::with(64 * 1024, |session| session.asking_if_silent(true));
    let began = Instant::now();
    assert_eq!(both.host_hears().await.channel, Channel::KEEP_ALIVE);
    let asked = both.host_hears_snac().await;
    assert!(asked.is(Foodgroup::OSERVICE, oservice::OWN_INFO_QUERY));
    assert_eq!(began.elapsed(), ASK_IF_SILENT);
    // Answers keep it alive for ever, silence does not.
    for _ in 0..10 {
        let answer = Snac::new(Foodgroup::OSERVICE, oservice::OWN_INFO, 1, Bytes::new());
        both.host_says(&answer).await;
        assert_eq!(both.host_hears().await.channel, Channel::KEEP_ALIVE);
        both.host_hears_snac().await;
    }
    both.task.await.unwrap();
    assert!(began.elapsed() > 4 * SILENCE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn questions_about_people_keep_to_the_rate_of_messages() {
    let mut both = Both::new(64 * 1024);
    let mut answers = Vec::new();
    for to in ["1", "2", "3", "4"] {
        let (answer, answered) = oneshot::channel();
        let command = Command::Find(name(to), answer);
        assert!(both.commands.send(command).await.is_ok());
        answers.push(answered);
    }
    let began = Instant::now();
    for _ in 0..3 {
        both.host_hears_snac().await;
    }
    assert!(began.elapsed() < Duration::from_millis(100));
    // Whoever has given up is not asked for.
    drop(answers.pop());
    both.send("5").await;
    let next = both.host_hears_snac().await;
    assert_eq!(next.foodgroup, Foodgroup::ICBM);
    assert!(began.elapsed() > Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn why_the_host_ends_it_is_kept() {
    for (reason, expected) in [
        (1, Some(Ending::SignedOnElsewhere)),
        (2, Some(Ending::AccountDeleted)),
        (9, None),
    ] {
        let mut both = Both::new(64 * 1024);
        let mut data = bytes::BytesMut::new();
        let tlvs = TlvList::new().with_u16(SIGN_OFF_REASON, reason);
        tlvs.encode_rest(&mut data);
        both.host_writer.queue(Channel::SIGN_OFF, data.freeze());
        both.host_writer.drain().await.unwrap();
        both.task.await.unwrap();
        assert_eq!(both.ending.get().copied(), expected);
        assert_eq!(both.presence.capabilities(&name("bob")), None);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_host_wants_to_see_us_again_is_kept() {
    let mut both = Both::new(64 * 1024);
    let mut data = bytes::BytesMut::new();
    let tlvs = TlvList::new().with_u16(rdv_proto::wire::signon::tlv::RETURN_WITHIN, 30);
    tlvs.encode_rest(&mut data);
    both.host_writer.queue(Channel::SIGN_OFF, data.freeze());
    both.host_writer.drain().await.unwrap();
    both.task.await.unwrap();
    let away = Ending::Away(Duration::from_secs(30));
    assert_eq!(both.ending.get().copied(), Some(away));
}
