//! A scripted old client: signs on by BUCP and goes to BOS as libpurple does, in its order; sends and reads messages.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rdv_proto::wire::flap::{Channel, Frame};
use rdv_proto::wire::icbm::{self, ClientError, MessageToClient, MessageToHost, UserInfo};
use rdv_proto::wire::rendezvous::{Cookie, Message};
use rdv_proto::wire::service::{DIRECT_IM, SEND_FILE, short_capability};
use rdv_proto::wire::signon::{
    Challenge, ChallengeRequest, ClientOnline, DigestKind, FeedbagList, Hello, HostOnline,
    IcbmParameters, LocateInfo, Login, LoginErrorCode, LoginReply, RateReply, RateSubscription,
    Tool, UserList, Versions, digest, tlv,
};
use rdv_proto::wire::snac::{Foodgroup, Snac, SnacError};
use rdv_proto::wire::text::ScreenName;
use rdv_proto::wire::tlv::TlvList;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use uuid::Uuid;

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How somebody signs on.
#[derive(Clone, Debug)]
pub struct Manners {
    /// TLV 0x004A: none is sent where there is none.
    pub sessions: Option<u8>,
    /// Which digest.
    pub digest: DigestKind,
    /// Capabilities, as 0x0002/0x0004 announces them; none are announced where it is empty.
    pub capabilities: Vec<Uuid>,
    /// Address that the connections come from.
    pub from: Option<IpAddr>,
}

impl Default for Manners {
    /// As libpurple with the settings that it comes with.
    fn default() -> Self {
        Self {
            sessions: Some(1),
            digest: DigestKind::New,
            capabilities: vec![short_capability(0), SEND_FILE, DIRECT_IM],
            from: None,
        }
    }
}

/// One connection of an old client to a host.
pub struct OldClient {
    stream: TcpStream,
    buffer: BytesMut,
    sequence: u16,
    next_id: u32,
    name: String,
    /// What came while something else was waited for.
    early: Vec<Snac>,
}

/// Where a login sends a client, and what opens the door there.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// `host:port`.
    pub address: String,
    /// 256 bytes.
    pub cookie: Bytes,
    /// TLV 0x0001 of the reply.
    pub name: Bytes,
}

#[expect(
    clippy::missing_panics_doc,
    reason = "a host that does something else fails the test"
)]
impl OldClient {
    /// Signs on and becomes ready, as libpurple does.
    ///
    /// # Errors
    /// What the host says at either connection.
    pub async fn sign_on(
        host: SocketAddr,
        name: &str,
        password: &str,
        manners: &Manners,
    ) -> Result<Self, LoginErrorCode> {
        let ticket = Self::login(host, name, password, manners).await?;
        let bos = ticket.address.parse().expect("an IP address and a port");
        let mut client = Self::bos(bos, name, &ticket.cookie, manners).await?;
        client.set_up(manners).await;
        Ok(client)
    }

    /// The login connection: challenge, digest, and where to go on.
    ///
    /// # Errors
    /// What the host says.
    pub async fn login(
        host: SocketAddr,
        name: &str,
        password: &str,
        manners: &Manners,
    ) -> Result<Ticket, LoginErrorCode> {
        let mut client = Self::connect(host, manners.from).await;
        client.greet(Hello::new()).await;
        let key = client.challenge(name).await;
        let answer = digest(manners.digest, &key, password.as_bytes());
        client.answer(name, answer, manners).await
    }

    /// A connection on which nothing was said yet.
    pub async fn connect(host: SocketAddr, from: Option<IpAddr>) -> Self {
        let stream = match from {
            None => TcpStream::connect(host).await,
            Some(address) => {
                let socket = match address {
                    IpAddr::V4(_) => TcpSocket::new_v4(),
                    IpAddr::V6(_) => TcpSocket::new_v6(),
                }
                .expect("a socket");
                socket
                    .bind(SocketAddr::new(address, 0))
                    .expect("an address");
                socket.connect(host).await
            }
        }
        .expect("the host listens");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            buffer: BytesMut::new(),
            sequence: 1,
            next_id: 1,
            name: String::new(),
            early: Vec::new(),
        }
    }

    /// Both greetings.
    pub async fn greet(&mut self, hello: Hello) {
        self.send(Channel::SIGN_ON, hello.encode()).await;
        let greeting = self.frame().await.expect("a greeting");
        assert_eq!(greeting.channel, Channel::SIGN_ON);
        assert_eq!(greeting.data[..], [0, 0, 0, 1]);
    }

    /// Asks for the challenge.
    pub async fn challenge(&mut self, name: &str) -> Bytes {
        let tlvs = TlvList::new()
            .with(tlv::SCREEN_NAME, name.as_bytes().to_vec())
            .with(0x004B, Bytes::new())
            .with(0x005A, Bytes::new());
        let request = ChallengeRequest { tlvs }.encode();
        let reply = self.ask(Foodgroup::BUCP, 0x06, request, 0x07).await;
        Challenge::decode(&reply.body).expect("a challenge").key
    }

    /// Answers the challenge; the host says where to go on, and hangs up.
    ///
    /// # Errors
    /// What the host says.
    pub async fn answer(
        &mut self,
        name: &str,
        answer: [u8; 16],
        manners: &Manners,
    ) -> Result<Ticket, LoginErrorCode> {
        let mut tlvs = TlvList::new()
            .with(tlv::SCREEN_NAME, name.as_bytes().to_vec())
            .with(tlv::DIGEST, answer.to_vec());
        if manners.digest == DigestKind::New {
            tlvs.push(tlv::NEW_DIGEST, Bytes::new());
        }
        tlvs = tlvs
            .with(tlv::CLIENT_NAME, &b"Purple/2.14.1"[..])
            .with_u16(0x0016, 0x0109)
            .with_u16(0x0017, 5)
            .with_u16(0x0018, 1)
            .with_u16(0x0019, 0)
            .with_u16(0x001A, 0x0BDC)
            .with_u32(0x0014, 0x0611)
            .with(0x000F, &b"en"[..])
            .with(0x000E, &b"us"[..]);
        if let Some(sessions) = manners.sessions {
            tlvs.push(tlv::MULTIPLE_SESSIONS, vec![sessions]);
        }
        let reply = self
            .ask(Foodgroup::BUCP, 0x02, Login { tlvs }.encode(), 0x03)
            .await;
        let reply = LoginReply::decode(&reply.body).expect("a login reply");
        // SO-09: then a sign-off, and the end.
        let sign_off = self.frame().await.expect("a sign-off");
        assert_eq!(
            (sign_off.channel, sign_off.data.len()),
            (Channel::SIGN_OFF, 0)
        );
        assert_eq!(self.frame().await, None);
        if let Some(code) = reply.error() {
            return Err(code);
        }
        let address = reply.tlvs.text(tlv::ADDRESS).expect("an address");
        Ok(Ticket {
            address: address.to_owned(),
            cookie: reply.tlvs.first(tlv::COOKIE).expect("a cookie").clone(),
            name: reply.tlvs.first(tlv::SCREEN_NAME).expect("a name").clone(),
        })
    }

    /// The BOS connection, up to the host's list of foodgroups.
    ///
    /// # Errors
    /// What the host says in its sign-off.
    pub async fn bos(
        host: SocketAddr,
        name: &str,
        cookie: &[u8],
        manners: &Manners,
    ) -> Result<Self, LoginErrorCode> {
        let mut client = Self::connect(host, manners.from).await;
        let mut hello = Hello::new();
        hello.tlvs.push(tlv::COOKIE, cookie.to_vec());
        client.greet(hello).await;
        client.name = name.to_owned();
        let frame = client.frame().await.expect("a word of the host");
        if frame.channel == Channel::SIGN_OFF {
            let tlvs = TlvList::decode_rest(frame.data).expect("TLVs");
            assert_eq!(client.frame().await, None);
            return Err(LoginErrorCode(tlvs.u16(tlv::ERROR_CODE).expect("a code")));
        }
        let snac = Snac::decode(frame.data).expect("a SNAC");
        assert!(snac.is(Foodgroup::OSERVICE, 0x03), "{snac:?}");
        let offered = HostOnline::decode(&snac.body).expect("a list").foodgroups;
        for needed in [1, 2, 4, 9, 0x13].map(Foodgroup) {
            assert!(offered.contains(&needed), "libpurple needs {needed:?}");
        }
        Ok(client)
    }

    /// Everything from the versions to 0x0001/0x0002, in the order of libpurple.
    pub async fn set_up(&mut self, manners: &Manners) {
        let versions = [(0x13, 4), (9, 1), (4, 1), (3, 1), (2, 1), (1, 3)];
        let pairs = versions.map(|(foodgroup, version)| (Foodgroup(foodgroup), version));
        let versions = Versions {
            pairs: pairs.to_vec(),
        };
        self.ask(Foodgroup::OSERVICE, 0x17, versions.encode(), 0x18)
            .await;
        let rates = self
            .ask(Foodgroup::OSERVICE, 0x06, Bytes::new(), 0x07)
            .await;
        let rates = RateReply::decode(&rates.body).expect("rates");
        let ids = rates.classes.iter().map(|class| class.id).collect();
        self.snac(Foodgroup::OSERVICE, 0x08, RateSubscription { ids }.encode())
            .await;
        // One burst, and what it is answered with.
        let burst = [
            (1, 0x0E),
            (0x13, 2),
            (0x13, 4),
            (2, 2),
            (3, 2),
            (4, 4),
            (9, 2),
        ];
        for (foodgroup, subgroup) in burst {
            self.snac(Foodgroup(foodgroup), subgroup, Bytes::new())
                .await;
        }
        for (foodgroup, subgroup) in [(1, 0x0F), (0x13, 3)] {
            self.expect(Foodgroup(foodgroup), subgroup).await;
        }
        let list = self.expect(Foodgroup::FEEDBAG, 6).await;
        FeedbagList::decode(&list.body).expect("a list");
        for (foodgroup, subgroup) in [(2, 3), (3, 3), (4, 5), (9, 3)] {
            self.expect(Foodgroup(foodgroup), subgroup).await;
        }
        self.snac(Foodgroup::FEEDBAG, 0x07, Bytes::new()).await;
        if !manners.capabilities.is_empty() {
            let info = LocateInfo::of_capabilities(&manners.capabilities);
            self.snac(Foodgroup::LOCATE, 0x04, info.encode()).await;
        }
        let parameters = IcbmParameters {
            channel: 0,
            flags: 0x051B,
            incoming_max: 8_000,
            source_warning_max: 999,
            destination_warning_max: 999,
            interval_min_ms: 0,
            trailing: Bytes::new(),
        };
        self.snac(Foodgroup::ICBM, 0x02, parameters.encode()).await;
        let tools = pairs.map(|(foodgroup, version)| Tool {
            foodgroup,
            version,
            tool: 0x0110,
            tool_version: 0x0629,
        });
        let online = ClientOnline {
            tools: tools.to_vec(),
        };
        self.snac(Foodgroup::OSERVICE, 0x02, online.encode()).await;
        // The answer to the next request says that all before it is done.
        let next = self.snac(Foodgroup::ICBM, 0x04, Bytes::new()).await;
        loop {
            let snac = self.read().await;
            if snac.request_id == next {
                break;
            }
            self.early.push(snac);
        }
    }

    /// The name that it signed on with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a frame.
    pub async fn send(&mut self, channel: Channel, data: Bytes) {
        let frame = Frame {
            channel,
            sequence: self.sequence,
            data,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes).expect("a short frame");
        // The host may have hung up; what it said is still to be read.
        self.stream.write_all(&bytes).await.ok();
    }

    /// Sends bytes.
    pub async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// Sends a SNAC; its request id.
    pub async fn snac(&mut self, foodgroup: Foodgroup, subgroup: u16, body: Bytes) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let snac = Snac::new(foodgroup, subgroup, id, body);
        self.send(Channel::DATA, snac.encode()).await;
        id
    }

    /// Sends a SNAC and reads its answer, which must be the next one.
    pub async fn ask(
        &mut self,
        foodgroup: Foodgroup,
        subgroup: u16,
        body: Bytes,
        answer: u16,
    ) -> Snac {
        let id = self.snac(foodgroup, subgroup, body).await;
        let snac = self.expect(foodgroup, answer).await;
        assert_eq!(snac.request_id, id);
        snac
    }

    /// The next frame; none when the host hung up.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer, 0xFFFF).expect("a good frame") {
                return Some(frame);
            }
            let read = self.stream.read_buf(&mut self.buffer);
            match timeout(PATIENCE, read)
                .await
                .expect("the host says nothing")
            {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// The next SNAC.
    pub async fn next(&mut self) -> Snac {
        match self.early.is_empty() {
            true => self.read().await,
            false => self.early.remove(0),
        }
    }

    /// Keeps a SNAC that came too early for another time.
    pub fn put_back(&mut self, snac: Snac) {
        self.early.push(snac);
    }

    /// The next SNAC, which must be this one.
    pub async fn expect(&mut self, foodgroup: Foodgroup, subgroup: u16) -> Snac {
        let snac = self.next().await;
        assert!(
            snac.is(foodgroup, subgroup),
            "{foodgroup:?}/{subgroup:#x}: {snac:?}"
        );
        snac
    }

    /// The next SNAC, which must be this error.
    pub async fn expect_error(&mut self, foodgroup: Foodgroup, id: u32, code: u16) -> SnacError {
        let snac = self.expect(foodgroup, 0x01).await;
        assert_eq!(snac.request_id, id);
        let error = SnacError::decode(&snac.body).expect("an error");
        assert_eq!(error.code, code);
        error
    }

    /// Waits until the host has done all that was asked; nothing else may come.
    pub async fn expect_nothing(&mut self) {
        let id = self.snac(Foodgroup::ICBM, 0x04, Bytes::new()).await;
        let snac = self.expect(Foodgroup::ICBM, 0x05).await;
        assert_eq!(snac.request_id, id);
    }

    /// Somebody comes, or changes.
    pub async fn expect_arrival(&mut self) -> UserInfo {
        self.expect_user(0x0B).await
    }

    /// Somebody goes; who.
    pub async fn expect_departure(&mut self) -> String {
        self.expect_user(0x0C).await.name.as_str().to_owned()
    }

    /// A message.
    pub async fn expect_message(&mut self) -> MessageToClient {
        let snac = self.expect(Foodgroup::ICBM, 0x07).await;
        assert_eq!(snac.request_id & 0x8000_0000, 0x8000_0000);
        MessageToClient::decode(&snac.body).expect("a message")
    }

    /// A rendezvous message: who sent it, and what is in it.
    pub async fn expect_rendezvous(&mut self) -> (String, Message) {
        let message = self.expect_message().await;
        assert_eq!(message.channel, icbm::Channel::RENDEZVOUS);
        let block = message.tlvs.first(icbm::tlv::RENDEZVOUS).expect("a block");
        let block = Message::decode(block.clone()).expect("a rendezvous message");
        (message.sender.name.as_str().to_owned(), block)
    }

    /// The host signs off and hangs up.
    pub async fn expect_sign_off(&mut self) -> Bytes {
        let frame = self.frame().await.expect("the host hung up without a word");
        assert_eq!(frame.channel, Channel::SIGN_OFF, "{frame:?}");
        assert_eq!(self.frame().await, None);
        frame.data
    }

    /// Watches somebody without putting it on the list.
    pub async fn watch(&mut self, names: &[&str]) {
        self.snac(Foodgroup::BUDDY, 0x04, names_of(names)).await;
    }

    /// Sends a text; its request id. The host acks it.
    pub async fn text(&mut self, to: &str, text: &str) -> u32 {
        let mut fragments = vec![5, 1, 0, 4, 1, 1, 1, 2, 1, 1, 0];
        fragments.push(u8::try_from(text.len() + 4).expect("a short text"));
        fragments.extend([0, 0, 0, 0]);
        fragments.extend(text.as_bytes());
        let tlvs = TlvList::new()
            .with(icbm::tlv::MESSAGE, fragments)
            .with(icbm::tlv::REQUEST_HOST_ACK, Bytes::new())
            .with(icbm::tlv::STORE, Bytes::new());
        self.icbm(to, icbm::Channel::TEXT, Cookie(*b"3855154\0"), tlvs)
            .await
    }

    /// Sends a rendezvous message with these TLVs in front of it; its request id.
    pub async fn rendezvous(&mut self, to: &str, message: &Message, others: TlvList) -> u32 {
        let tlvs = others.with(icbm::tlv::RENDEZVOUS, message.encode());
        self.icbm(to, icbm::Channel::RENDEZVOUS, message.cookie, tlvs)
            .await
    }

    /// Sends any message; its request id.
    pub async fn icbm(
        &mut self,
        to: &str,
        channel: icbm::Channel,
        cookie: Cookie,
        tlvs: TlvList,
    ) -> u32 {
        let message = MessageToHost {
            cookie,
            channel,
            recipient: ScreenName::new(to).expect("a name"),
            tlvs,
        };
        self.snac(Foodgroup::ICBM, 0x06, message.encode()).await
    }

    /// Refuses a message.
    pub async fn refuse(&mut self, error: ClientError) {
        self.snac(Foodgroup::ICBM, 0x0B, error.encode()).await;
    }

    /// Leaves, and waits until the host has seen it.
    pub async fn leave(mut self) {
        self.send(Channel::SIGN_OFF, Bytes::new()).await;
        while self.frame().await.is_some() {}
    }

    async fn expect_user(&mut self, subgroup: u16) -> UserInfo {
        let snac = self.expect(Foodgroup::BUDDY, subgroup).await;
        assert_eq!(snac.request_id & 0x8000_0000, 0x8000_0000);
        let users = UserList::decode(&snac.body).expect("user info").users;
        assert_eq!(users.len(), 1);
        users.into_iter().next().expect("one")
    }

    async fn read(&mut self) -> Snac {
        loop {
            let frame = self.frame().await.expect("the host hung up");
            match frame.channel {
                Channel::KEEP_ALIVE => {}
                Channel::DATA => return Snac::decode(frame.data).expect("a SNAC"),
                _ => panic!("{frame:?}"),
            }
        }
    }
}

impl std::fmt::Debug for OldClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OldClient").field(&self.name).finish()
    }
}

/// Names as foodgroups 0x0003 and 0x0009 have them.
///
/// # Panics
/// If nobody can have one of them.
pub fn names_of(names: &[&str]) -> Bytes {
    let mut out = BytesMut::new();
    for name in names {
        ScreenName::new(*name).expect("a name").encode(&mut out);
    }
    out.freeze()
}
