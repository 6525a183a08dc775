//! Whole handshakes between two ends, and what a host in the middle can try.

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::wire::{
    rendezvous::{Cookie, NakCode, SequenceNumber},
    security::{SecurityBlock, item},
    service,
    text::ScreenName,
};

const KEY_P: [u8; 32] = [0xb1; 32];
const KEY_A: [u8; 32] = [0xb2; 32];
const EXPORTER: [u8; 32] = [0x42; 32];

fn context() -> Context {
    Context {
        proposer: ScreenName::new("Guest Abcdefghij").unwrap(),
        answerer: ScreenName::new("7").unwrap(),
        cookie: Cookie([1, 2, 3, 4, 5, 6, 7, 8]),
        service: service::NATIVE,
    }
}

fn code(words: [&str; 3]) -> Secret {
    Secret::Code(CodeWords::new(words).unwrap())
}

fn right_code() -> Secret {
    code(["otter", "lamp", "verse"])
}

fn randomness(seed: u8) -> Randomness {
    Randomness {
        pake: [seed; 64],
        ephemeral: [seed; 32],
        nonce: [seed; 16],
    }
}

fn sequence(number: u16) -> SequenceNumber {
    SequenceNumber::new(number).unwrap()
}

fn terms(block: &[u8]) -> Terms<'_> {
    Terms {
        request_secure: true,
        min: Some(1),
        max: Some(1),
        block,
    }
}

/// One handshake; the host may change P1 and C2 on the way.
struct Run {
    context_p: Context,
    context_a: Context,
    secret_p: Secret,
    secret_a: Secret,
}

impl Run {
    fn new(secret: Secret) -> Self {
        Self {
            context_p: context(),
            context_a: context(),
            secret_p: secret.clone(),
            secret_a: secret,
        }
    }

    fn through(
        self,
        host_p1: impl FnOnce(&mut Message),
        host_c2: impl FnOnce(&mut Message),
    ) -> Result<(Session, Session), HandshakeError> {
        let (proposing, block) =
            Proposing::start(self.context_p, self.secret_p, KEY_P, randomness(1));
        let p1 = Message::new(block);
        let mut p1_came = p1.clone();
        host_p1(&mut p1_came);

        let answering = Answering::start(
            self.context_a,
            self.secret_a,
            KEY_A,
            randomness(2),
            p1_came.terms(),
        )?;
        assert_eq!(answering.peer_key_hash(), KEY_P);
        let sealed = answering.seal(sequence(2), b"candidates");
        let (block, answerer) = answering.finish(p1_came.terms(), Some(1), Some(1), Some(sealed));
        let mut c2 = Message::new(block);
        host_c2(&mut c2);
        let proposer = proposing.finish(p1.terms(), c2.terms())?;

        let block = SecurityBlock::decode(c2.block.into()).unwrap();
        let opened = proposer.open(sequence(2), &block.sealed().unwrap())?;
        assert_eq!(opened, b"candidates");
        Ok((proposer, answerer))
    }

    fn untouched(self) -> Result<(Session, Session), HandshakeError> {
        self.through(|_| {}, |_| {})
    }
}

#[derive(Clone)]
struct Message {
    request_secure: bool,
    min: Option<u16>,
    max: Option<u16>,
    block: Vec<u8>,
}

impl Message {
    fn new(block: SecurityBlock) -> Self {
        Self {
            request_secure: true,
            min: Some(1),
            max: Some(1),
            block: block.encode().to_vec(),
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            request_secure: self.request_secure,
            min: self.min,
            max: self.max,
            block: &self.block,
        }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut SecurityBlock)) {
        let mut block = SecurityBlock::decode(self.block.clone().into()).unwrap();
        edit(&mut block);
        self.block = block.encode().to_vec();
    }

    fn set(&mut self, item: u16, value: impl Into<Bytes>) {
        self.edit(|block| {
            let tlv = block.items.0.iter_mut().find(|tlv| tlv.tag == item);
            tlv.unwrap().value = value.into();
        });
    }

    fn remove(&mut self, item: u16) {
        self.edit(|block| {
            block.items.remove_all(item);
        });
    }
}

fn assert_bound(p: &Session, a: &Session) {
    let (from_p, from_a) = (
        p.bind_ours(BindCarrier::Tcp, 0, &EXPORTER),
        a.bind_ours(BindCarrier::Tcp, 0, &EXPORTER),
    );
    assert!(a.bind_matches(BindCarrier::Tcp, 0, &EXPORTER, &from_p));
    assert!(p.bind_matches(BindCarrier::Tcp, 0, &EXPORTER, &from_a));
}

#[test]
fn both_ends_agree_with_the_same_words_and_without_any() {
    for secret in [right_code(), Secret::None] {
        let (p, a) = Run::new(secret).untouched().unwrap();
        assert_eq!((p.role(), a.role()), (Role::Proposer, Role::Answerer));
        assert_eq!((p.own_key_hash(), p.peer_key_hash()), (KEY_P, KEY_A));
        assert_eq!((a.own_key_hash(), a.peer_key_hash()), (KEY_A, KEY_P));
        for session in [&p, &a] {
            assert!(session.speaks(BindCarrier::Tcp) && session.speaks(BindCarrier::Quic));
        }
        assert_eq!(p.probe_key(), a.probe_key());
        assert_eq!(p.th0(), a.th0());
        assert_bound(&p, &a);
    }
}

#[test]
fn s_04_another_word_ends_the_handshake_at_the_proposer() {
    let mut run = Run::new(right_code());
    run.secret_a = code(["otter", "lamp", "versa"]);
    let error = run.untouched().unwrap_err();
    assert_eq!(error, HandshakeError::WrongConfirmation);
    assert_eq!(error.nak(), NakCode::SECURITY_MISMATCH);
}

#[test]
fn s_03_a_proposal_stripped_of_security_is_refused() {
    let run = || Run::new(right_code());
    let strip_tag = |message: &mut Message| message.request_secure = false;
    let strip_block = |message: &mut Message| message.block.clear();
    for (error, wanted) in [
        (run().through(strip_tag, |_| {}), HandshakeError::NotSecure),
        (run().through(|_| {}, strip_tag), HandshakeError::NotSecure),
        (run().through(strip_block, |_| {}), HandshakeError::NoBlock),
        (run().through(|_| {}, strip_block), HandshakeError::NoBlock),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error, wanted);
        assert_eq!(error.nak(), NakCode::SECURITY_MISMATCH);
    }
}

#[test]
fn s_02_whatever_the_host_changes_the_confirmation_shows_it() {
    let changes: [fn(&mut Message); 7] = [
        |message| message.min = None,
        |message| message.max = Some(2),
        |message| message.min = Some(0),
        |message| message.set(item::KEY, vec![9; 32]),
        |message| message.set(item::NONCE, vec![9; 16]),
        |message| message.edit(|block| block.flags = 1),
        |message| message.edit(|block| block.items.push(0x99, vec![1])),
    ];
    for secret in [right_code(), Secret::None] {
        for (index, change) in changes.into_iter().enumerate() {
            let in_c2 = Run::new(secret.clone()).through(|_| {}, change);
            assert_eq!(
                in_c2.unwrap_err(),
                HandshakeError::WrongConfirmation,
                "change {index} to C2"
            );
            if index == 3 {
                continue; // P1's key is checked by `through` itself
            }
            let in_p1 = Run::new(secret.clone()).through(change, |_| {});
            assert_eq!(
                in_p1.unwrap_err(),
                HandshakeError::WrongConfirmation,
                "change {index} to P1"
            );
        }
    }
}

#[test]
fn s_34_both_ends_must_see_the_same_rendezvous() {
    let changes: [fn(&mut Context); 4] = [
        |context| context.proposer = ScreenName::new("guestzzzzzzzzzz").unwrap(),
        |context| context.answerer = ScreenName::new("8").unwrap(),
        |context| context.cookie.0[7] ^= 1,
        |context| context.service = Uuid::nil(),
    ];
    for change in changes {
        let mut run = Run::new(right_code());
        change(&mut run.context_a);
        assert_eq!(
            run.untouched().unwrap_err(),
            HandshakeError::WrongConfirmation
        );
    }
    let mut run = Run::new(right_code());
    run.context_a.proposer = ScreenName::new("guestABCDEFGHIJ").unwrap();
    run.untouched().expect("names count in normal form");
}

#[test]
fn key_exchanges_that_no_honest_side_sends_are_refused() {
    let run = || Run::new(right_code());
    let pake = |value: Vec<u8>| move |message: &mut Message| message.set(item::PAKE_MSG, value);
    let (_, p1) = Proposing::start(context(), right_code(), KEY_P, randomness(1));
    let ours = p1.pake_msg().unwrap();

    let mut reflected = ours.to_vec();
    assert_eq!(
        run().through(|_| {}, pake(reflected.clone())).unwrap_err(),
        HandshakeError::Reflected
    );
    reflected[0] = b'B';
    assert_eq!(
        run().through(|_| {}, pake(reflected)).unwrap_err(),
        HandshakeError::Reflected
    );
    let mut neutral = vec![b'A'; 33];
    neutral[1..].fill(0);
    neutral[1] = 1;
    assert_eq!(
        run().through(pake(neutral), |_| {}).unwrap_err(),
        HandshakeError::BadPoint
    );
    let short = run().through(pake(vec![b'A'; 32]), |_| {}).unwrap_err();
    assert_eq!(short, HandshakeError::MissingItem(item::PAKE_MSG));
    assert_eq!(short.nak(), NakCode::BUSTED_PARAMETERS);
    let zero_key = |message: &mut Message| message.set(item::EPHEMERAL, vec![0; 32]);
    assert_eq!(
        Run::new(Secret::None)
            .through(zero_key, |_| {})
            .unwrap_err(),
        HandshakeError::BadPoint
    );
}

#[test]
fn blocks_that_do_not_fit_are_named() {
    let run = || Run::new(right_code());
    let error = |change: fn(&mut Message)| {
        let in_p1 = run().through(change, |_| {}).unwrap_err();
        let in_c2 = run().through(|_| {}, change).unwrap_err();
        assert_eq!(in_p1, in_c2);
        in_p1
    };
    let newer = error(|message| message.block[4] = 2);
    assert_eq!(newer, HandshakeError::UnsupportedVersion(2));
    assert_eq!(newer.nak(), NakCode::VERSION_MISMATCH);
    let pake = error(|message| message.set(item::PAKE_ID, vec![7]));
    assert_eq!(pake, HandshakeError::UnsupportedPake(7));
    let alpn = error(|message| message.set(item::ALPN, b"\x05rdv/9".to_vec()));
    assert_eq!(alpn, HandshakeError::NoCommonAlpn);
    let garbage = error(|message| message.block[0] = b'X');
    assert!(matches!(garbage, HandshakeError::Malformed(_)));
    assert_eq!(garbage.nak(), NakCode::BUSTED_PARAMETERS);
    let keyless = error(|message| message.remove(item::KEY));
    assert_eq!(keyless, HandshakeError::MissingItem(item::KEY));

    let unproved = |message: &mut Message| message.remove(item::CONFIRM);
    assert_eq!(
        run().through(|_| {}, unproved).unwrap_err(),
        HandshakeError::MissingItem(item::CONFIRM)
    );

    let mut mixed = run();
    mixed.secret_a = Secret::None;
    assert_eq!(mixed.untouched().unwrap_err(), HandshakeError::WrongMode);
    let mut mixed = Run::new(Secret::None);
    mixed.secret_a = right_code();
    assert_eq!(mixed.untouched().unwrap_err(), HandshakeError::WrongMode);
}

#[test]
fn s_05_sealed_bytes_open_only_in_their_own_message() {
    for secret in [right_code(), Secret::None] {
        let (p, a) = Run::new(secret.clone()).untouched().unwrap();
        let sealed = p.seal(sequence(3), b"192.168.1.4");
        assert!(!sealed.windows(4).any(|bytes| bytes == b"192."));
        assert_eq!(a.open(sequence(3), &sealed).unwrap(), b"192.168.1.4");

        let bad = Err(HandshakeError::BadSeal);
        assert_eq!(a.open(sequence(4), &sealed), bad, "another message");
        assert_eq!(p.open(sequence(3), &sealed), bad, "sent back to us");
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert_eq!(a.open(sequence(3), &changed), bad);
        }
        assert_eq!(a.open(sequence(3), &[]), bad);

        let mut elsewhere = Run::new(secret);
        elsewhere.context_p.cookie = Cookie([9; 8]);
        elsewhere.context_a.cookie = Cookie([9; 8]);
        let (_, other) = elsewhere.untouched().unwrap();
        assert_eq!(other.open(sequence(3), &sealed), bad, "another rendezvous");
    }
}

#[test]
fn bind_holds_for_one_connection_one_lane_and_one_direction() {
    for secret in [right_code(), Secret::None] {
        let (p, a) = Run::new(secret.clone()).untouched().unwrap();
        let from_p = p.bind_ours(BindCarrier::Tcp, 0, &EXPORTER);
        assert!(a.bind_matches(BindCarrier::Tcp, 0, &EXPORTER, &from_p));
        assert!(
            !a.bind_matches(BindCarrier::Tcp, 1, &EXPORTER, &from_p),
            "another lane"
        );
        assert!(
            !a.bind_matches(BindCarrier::Quic, 0, &EXPORTER, &from_p),
            "another carrier"
        );
        assert!(
            !a.bind_matches(BindCarrier::Tcp, 0, &[0x43; 32], &from_p),
            "another connection"
        );
        assert!(
            !p.bind_matches(BindCarrier::Tcp, 0, &EXPORTER, &from_p),
            "our own sent back"
        );
        assert!(!a.bind_matches(BindCarrier::Tcp, 0, &EXPORTER, &[0; 32]));

        let mut other = Run::new(secret);
        (other.context_p.service, other.context_a.service) = (Uuid::nil(), Uuid::nil());
        let (_, other) = other.untouched().unwrap();
        assert!(
            !other.bind_matches(BindCarrier::Tcp, 0, &EXPORTER, &from_p),
            "other terms"
        );
    }
}

/// A version of before: it knows nothing of QUIC.
#[test]
fn who_speaks_tcp_alone_gets_no_quic() {
    let (_, mut p1) = Proposing::start(context(), right_code(), KEY_P, randomness(1));
    let list = p1.items.0.iter_mut().find(|tlv| tlv.tag == item::ALPN);
    list.unwrap().value = Bytes::from_static(b"\x09rdv-tcp/1");
    let p1 = p1.encode();
    let answering =
        Answering::start(context(), right_code(), KEY_A, randomness(2), terms(&p1)).unwrap();
    let (_, session) = answering.finish(terms(&p1), Some(1), Some(1), None);
    assert!(session.speaks(BindCarrier::Tcp) && !session.speaks(BindCarrier::Quic));
}

#[test]
fn the_largest_sealed_part_still_fits_the_block() {
    for secret in [right_code(), Secret::None] {
        let (_, p1) = Proposing::start(context(), secret.clone(), KEY_P, randomness(1));
        let p1 = p1.encode();
        let answering =
            Answering::start(context(), secret.clone(), KEY_A, randomness(2), terms(&p1)).unwrap();
        let sealed = answering.seal(sequence(2), &[0; SEALED_PLAINTEXT_MAX]);
        let (block, _) = answering.finish(terms(&p1), Some(1), Some(1), Some(sealed));
        let len = block.encode().len();
        assert!(len <= 1_024, "{len}");
        assert!(secret == Secret::None || len == 1_024, "{len}");
    }
}

#[test]
fn s_26_nothing_secret_is_shown_by_debug() {
    let (proposing, block) = Proposing::start(context(), right_code(), KEY_P, randomness(1));
    let p1 = block.encode();
    let answering =
        Answering::start(context(), right_code(), KEY_A, randomness(2), terms(&p1)).unwrap();
    let shown = format!(
        "{proposing:?} {answering:?} {:?} {:?}",
        randomness(1),
        right_code()
    );
    let (_, session) = answering.finish(terms(&p1), None, None, None);
    let shown = format!("{shown} {session:?}");
    assert_eq!(
        shown,
        "Proposing { .. } Answering { .. } *** Code(***) Session { role: Answerer, quic: true, .. }"
    );
}

/// Known answers, worked out apart from this code (Python: `spake2` 0.9, `hashlib`, `hmac`,
/// `cryptography`) from the inputs of this file.
mod known_answers {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn check(secret: Secret, wanted: [&str; 9]) {
        let (proposing, p1) = Proposing::start(context(), secret.clone(), KEY_P, randomness(1));
        let p1 = p1.encode();
        let answering =
            Answering::start(context(), secret, KEY_A, randomness(2), terms(&p1)).unwrap();
        let sealed = answering.seal(sequence(2), b"candidates");
        let (c2, a) = answering.finish(terms(&p1), Some(1), Some(1), Some(sealed));
        let c2 = c2.encode();
        let p = proposing.finish(terms(&p1), terms(&c2)).unwrap();
        let found = [
            hex(&p1),
            hex(&c2),
            hex(p.th0()),
            hex(&SecurityBlock::decode(c2).unwrap().confirm().unwrap()),
            hex(&p.bind_ours(BindCarrier::Tcp, 0, &EXPORTER)),
            hex(&a.bind_ours(BindCarrier::Tcp, 1, &EXPORTER)),
            hex(&p.bind_ours(BindCarrier::Quic, 0, &EXPORTER)),
            hex(&a.probe_key()),
            hex(&p.seal(sequence(3), b"more")),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn code_mode() {
        check(
            right_code(),
            [
                "52445631010000010020b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1\
                 b1b1b1b1b1b1b1b1b1b1000200010100030021410d3fa4219cf8b290396f5ae2\
                 8945e5cdfb6dec621c06c794d8edad07a006711c00050010057264762f310972\
                 64762d7463702f310007001001010101010101010101010101010101",
                "52445631010000010020b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2\
                 b2b2b2b2b2b2b2b2b2b200020001010003002142315bd65fc6de9d935b3b4dcf\
                 26b316f0447ad732931861c5642a2e33e89752fb0004002050fbf64f5e225f6e\
                 f542444d95d8c7986efddc8a871f5e80e7d0ab3f183b61ce0005001005726476\
                 2f31097264762d7463702f310007001002020202020202020202020202020202\
                 0006001a8a8eda74ad07b1d1630be5bbe147bed266109b30cb4a7bb5ce25",
                "cb73d237eef4120835deae11206e27adb7dceac2ccca1bc94f238baf4b03f68b",
                "50fbf64f5e225f6ef542444d95d8c7986efddc8a871f5e80e7d0ab3f183b61ce",
                "a99df3b6f2d41c6476f97ad5ec7e35bf283c0245f06f20d7b607851978d0bfa5",
                "1649d427c069f4ddd6fa2b8bfe251531d7dbc4ce9b4f7c17ed0c8209c3dbfb7e",
                "51a6b0a3e916242859067040ada72c9a67c79dea9345a22ebe2afc308b1c9f8d",
                "cd2cbf44a87694b3d52573a884a9313686c923a54acdb558abdcb28f144f5481",
                "159dcd0e8d5ece3018b66eb5b09f985f54203b85",
            ],
        );
    }

    #[test]
    fn mode_without_code() {
        check(
            Secret::None,
            [
                "52445631010000010020b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1\
                 b1b1b1b1b1b1b1b1b1b100080020a4e09292b651c278b9772c569f5fa9bb13d9\
                 06b46ab68c9df9dc2b4409f8a20900050010057264762f31097264762d746370\
                 2f310007001001010101010101010101010101010101",
                "52445631010000010020b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2\
                 b2b2b2b2b2b2b2b2b2b200080020ce8d3ad1ccb633ec7b70c17814a5c76ecd02\
                 9685050d344745ba05870e587d5900040020cdb339616419804e098d3ce694a2\
                 760073ceacb55168aff461e5857b6f097d5700050010057264762f3109726476\
                 2d7463702f3100070010020202020202020202020202020202020006001a13af\
                 4458c4bd7842a297255c94bb7034e800fcbadac9df36899e",
                "522cb44360dfbbbe2aed8ea49ca24e6f15e157a93cfab1afe92dea3ddb64d5c9",
                "cdb339616419804e098d3ce694a2760073ceacb55168aff461e5857b6f097d57",
                "01a18baf4558c05488d92f91c6285e08f3f3a73031272ae4170136ade7eb3173",
                "3a2f32c02bbea48eacc9038a82329e36ea054d70df3830ca2e5ec229ad9bf8ea",
                "7febd61dcabff552640149f1aab3e0cda5323cf716320f2f0d08888794bb2bf7",
                "16e451d0920dde37d8d2c18ba0e694205c35728f4fcc5abbf1827c594a7c5028",
                "8599078ddd3b8775bc7a3b31950702ee18ec704b",
            ],
        );
    }
}
