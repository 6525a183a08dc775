//! Hosts of both kinds that say what a test tells them to, on loopback.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::icbm::UserInfo;
use rdv_proto::wire::signon::{
    Challenge, HostOnline, LoginReply, RateReply, ServiceReply, UserList, Versions, tlv,
};
use rdv_proto::wire::snac::{ErrorCode, Foodgroup, Snac, SnacError};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::frames::{FrameReader, FrameWriter};
use super::link::Stream;

/// The challenge of [`Scripted::challenge`].
pub(super) const KEY: &[u8] = b"1234567890";

/// A listener and, for TLS, a certificate of its own.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Door {
    pub(super) async fn secure() -> Self {
        let made = rcgen::generate_simple_self_signed(["host.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self {
            tls: Some(TlsAcceptor::from(Arc::new(config))),
            ..Self::plain().await
        }
    }

    pub(super) async fn plain() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            listener,
            tls: None,
        }
    }

    pub(super) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// The next connection; none if the client did not come through TLS.
    pub(super) async fn open(&self) -> Option<Scripted> {
        let (stream, _) = self.listener.accept().await.unwrap();
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(tls.accept(stream).await.ok()?),
            None => Box::new(stream),
        };
        let (reader, writer) = split(stream);
        let mut host = Scripted {
            reader: FrameReader::new(reader),
            writer: FrameWriter::new(writer, 0),
        };
        // Hosts greet without waiting.
        host.frame(Channel::SIGN_ON, Bytes::from_static(&[0, 0, 0, 1]))
            .await;
        Some(host)
    }
}

/// The host's end of one connection.
pub(super) struct Scripted {
    reader: FrameReader<ReadHalf<Box<dyn Stream>>>,
    writer: FrameWriter<WriteHalf<Box<dyn Stream>>>,
}

impl Scripted {
    pub(super) async fn hear(&mut self) -> Option<Frame> {
        self.reader.next().await.ok()
    }

    /// The next SNAC, which must be that one.
    pub(super) async fn expect(&mut self, foodgroup: Foodgroup, subgroup: u16) -> Snac {
        let frame = self.hear().await.expect("the client is there");
        assert_eq!(frame.channel, Channel::DATA, "{frame:?}");
        let snac = Snac::decode(frame.data).unwrap();
        assert_eq!((snac.foodgroup, snac.subgroup), (foodgroup, subgroup));
        snac
    }

    /// The client's greeting.
    pub(super) async fn greeting(&mut self) -> TlvList {
        let frame = self.hear().await.expect("the client is there");
        assert_eq!(frame.channel, Channel::SIGN_ON);
        rdv_proto::wire::signon::Hello::decode(&frame.data)
            .unwrap()
            .tlvs
    }

    pub(super) async fn frame(&mut self, channel: Channel, data: Bytes) {
        self.writer.queue(channel, data);
        self.drain().await;
    }

    pub(super) async fn say(&mut self, foodgroup: Foodgroup, subgroup: u16, id: u32, body: Bytes) {
        self.writer
            .queue_snac(&Snac::new(foodgroup, subgroup, id, body));
        self.drain().await;
    }

    async fn drain(&mut self) {
        // A client that is gone hears nothing; the test sees it elsewhere.
        let _ = self.writer.drain().await;
    }

    /// Hears greeting and question, and answers with [`KEY`].
    pub(super) async fn challenge(&mut self, tlvs: TlvList) -> Snac {
        assert!(self.greeting().await.0.is_empty());
        let asked = self.expect(Foodgroup::BUCP, 0x06).await;
        let key = Bytes::from_static(KEY);
        let body = Challenge { key, tlvs }.encode();
        self.say(Foodgroup::BUCP, 0x07, asked.request_id, body)
            .await;
        asked
    }

    pub(super) async fn login_reply(&mut self, tlvs: TlvList) {
        self.say(Foodgroup::BUCP, 0x03, 1, LoginReply { tlvs }.encode())
            .await;
    }

    /// The whole sign-on as a host of our kind does it. Gives the login.
    pub(super) async fn take_account(&mut self, name: &'static str) -> Snac {
        self.challenge(TlvList::new().with(tlv::NORMAL_SIGN_ON, vec![1]))
            .await;
        let login = self.expect(Foodgroup::BUCP, 0x02).await;
        self.login_reply(TlvList::new().with(tlv::SCREEN_NAME, name))
            .await;
        self.say(Foodgroup::OSERVICE, 0x03, 0, Bytes::new()).await;
        for (foodgroup, subgroup) in [(1, 0x17), (1, 6), (1, 8), (1, 0x0E), (1, 4), (2, 4), (4, 2)]
        {
            self.expect(Foodgroup(foodgroup), subgroup).await;
        }
        self.expect(Foodgroup::OSERVICE, 0x02).await;
        let rates = RateReply::default().encode();
        self.say(Foodgroup::OSERVICE, 0x07, 3, rates).await;
        self.say(Foodgroup::OSERVICE, 0x0F, 5, own_info(name)).await;
        let relay = TlvList::new()
            .with(tlv::ADDRESS, "192.0.2.9:5190")
            .with(tlv::COOKIE, "ticket");
        let relay = ServiceReply { tlvs: relay }.encode();
        self.say(Foodgroup::OSERVICE, 0x05, 6, relay).await;
        login
    }

    /// The second connection of an old host: each step only when it is its turn, as open-oscar-server does it.
    pub(super) async fn take_old_session(&mut self, name: &'static str) -> Vec<(u16, u16)> {
        const OFFERED: [u16; 13] = [
            0x18, 0x10, 0x03, 0x13, 0x04, 0x15, 0x02, 0x01, 0x09, 0x0A, 0x06, 0x08, 0x0B,
        ];
        let foodgroups = OFFERED.map(Foodgroup).to_vec();
        let online = HostOnline { foodgroups }.encode();
        self.say(Foodgroup::OSERVICE, 0x03, 0x8000_0000, online)
            .await;
        let versions = self.expect(Foodgroup::OSERVICE, 0x17).await;
        let pairs = Versions::decode(&versions.body).unwrap();
        assert!(
            pairs
                .pairs
                .iter()
                .all(|(group, _)| OFFERED.contains(&group.0))
        );
        // It echoes what the client said.
        self.say(
            Foodgroup::OSERVICE,
            0x18,
            versions.request_id,
            versions.body,
        )
        .await;
        let rates = self.expect(Foodgroup::OSERVICE, 0x06).await;
        self.say(Foodgroup::OSERVICE, 0x07, rates.request_id, old_rates())
            .await;
        let mut heard = Vec::new();
        loop {
            let frame = self.hear().await.expect("the client is there");
            let snac = Snac::decode(frame.data).unwrap();
            heard.push((snac.foodgroup.0, snac.subgroup));
            let (id, empty) = (snac.request_id, Bytes::new());
            match (snac.foodgroup.0, snac.subgroup) {
                (1, 0x0E) => {
                    self.say(Foodgroup::OSERVICE, 0x0F, id, own_info(name))
                        .await
                }
                (0x13, 2) => self.say(Foodgroup::FEEDBAG, 3, id, empty).await,
                (0x13, 4) => {
                    let list = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0]);
                    self.say(Foodgroup::FEEDBAG, 6, id, list).await;
                }
                (1, 2) => return heard,
                _ => {}
            }
        }
    }

    /// Refuses a request.
    pub(super) async fn refuse(&mut self, request: &Snac, code: ErrorCode) {
        let body = SnacError::new(code).encode();
        self.say(request.foodgroup, 1, request.request_id, body)
            .await;
    }
}

fn own_info(name: &str) -> Bytes {
    let own = UserInfo {
        name: ScreenName::new(name).unwrap(),
        warning: 0,
        tlvs: TlvList::new().with_u32(rdv_proto::wire::icbm::user_tlv::EXTERNAL_IP, 0xCB00_7105),
    };
    UserList { users: vec![own] }.encode()
}

/// The five classes of open-oscar-server, which writes the time of day where milliseconds belong.
fn old_rates() -> Bytes {
    const CLASSES: [[u32; 6]; 5] = [
        [80, 2500, 2000, 1500, 800, 6000],
        [80, 3000, 2000, 1500, 1000, 6000],
        [20, 5100, 5000, 4000, 3000, 6000],
        [20, 5500, 5300, 4200, 3000, 8000],
        [10, 5500, 5300, 4200, 3000, 8000],
    ];
    let mut out = BytesMut::new();
    out.put_u16(5);
    for (id, [window, clear, alert, limit, disconnect, max]) in (1..).zip(CLASSES) {
        out.put_u16(id);
        for level in [window, clear, alert, limit, disconnect, max, max] {
            out.put_u32(level);
        }
        out.put_u32(1_742_000_000);
        out.put_u8(0);
    }
    for id in 1..=5_u16 {
        out.put_u16(id);
        let members: &[(u16, u16)] = match id {
            1 => &[(1, 2), (4, 0x0B)],
            3 => &[(4, 6), (2, 5)],
            _ => &[],
        };
        out.put_u16(u16::try_from(members.len()).unwrap());
        for (foodgroup, subgroup) in members {
            out.put_u16(*foodgroup);
            out.put_u16(*subgroup);
        }
    }
    out.freeze()
}
