//! Foodgroup 0x0007 over real sockets: owners administer their accounts, with a store and a mailer that fail on demand.

mod codes;
mod connection;
mod faults;
mod fields;
mod logs;
mod mails;
mod passwords;
mod registration;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use rdv_host::HostConfig;
use rdv_proto::pace::Pace;
use rdv_proto::session::RateClass;
use rdv_proto::wire::admin::{
    AdminErrorCode, ChangeRequest, ConfirmReply, ConfirmRequest, DeleteReply, DeleteRequest,
    InfoQuery, InfoReply, ReplyBlock, subgroup, tag,
};
use rdv_proto::wire::flap::Channel;
use rdv_proto::wire::signon::{
    ClientOnline, Hello, HostOnline, LoginErrorCode, ServiceReply, ServiceRequest, Tool, Versions,
    tlv,
};
use rdv_proto::wire::snac::{Foodgroup, Snac};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::OldClient;
use tokio::net::TcpStream;

use super::accounts::Town;
use super::client::Client;
use faults::{FaultyStore, TestMailer};

/// A host whose store and mailer do as the test wants.
struct Hall {
    town: Town,
    store: Arc<FaultyStore>,
    mailer: Arc<TestMailer>,
}

impl Hall {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let (store, mailer) = (
            Arc::new(FaultyStore::default()),
            Arc::new(TestMailer::new()),
        );
        let (used, carrier) = (Arc::clone(&store), Arc::clone(&mailer));
        let town = Town::with(|config| {
            used.stands_before(config.accounts.clone().unwrap());
            config.admin_store = Some(used);
            config.mailer = Some(carrier);
            config.admin.error_url = "http://host.example/help".to_owned();
            config.limits.rates_old.general = RateClass::GENERAL;
            config.limits.connections = Pace::new(10_000, std::time::Duration::from_secs(1));
            config.limits.unsigned_per_address = 1_000;
            change(config);
        })
        .await;
        Self {
            town,
            store,
            mailer,
        }
    }

    /// Makes an account, signs on, and opens an ADMIN connection.
    async fn owner(&self, name: &str) -> Owner {
        let password = self.town.account(name).await;
        let mut bos = self.town.sign_on(name, &password).await;
        let admin = AdminClient::open(&mut bos).await;
        Owner {
            bos,
            admin,
            password,
        }
    }
}

/// Somebody who administers an account.
struct Owner {
    bos: OldClient,
    admin: AdminClient,
    /// For old clients.
    password: String,
}

impl Deref for Owner {
    type Target = AdminClient;

    fn deref(&self) -> &AdminClient {
        &self.admin
    }
}

impl DerefMut for Owner {
    fn deref_mut(&mut self) -> &mut AdminClient {
        &mut self.admin
    }
}

impl Owner {
    /// Changes the password of old clients.
    async fn passwd(&mut self, new: &str) -> ReplyBlock {
        let old = self.password.clone();
        self.change_password(new.as_bytes(), old.as_bytes()).await
    }
}

/// The ADMIN connection of a client.
struct AdminClient {
    client: Client,
}

impl AdminClient {
    /// Asks for the service, goes there, and becomes ready, as libpurple does.
    async fn open(bos: &mut OldClient) -> Self {
        let reply = ask_for_admin(bos).await;
        let host: SocketAddr = reply.address().unwrap().parse().unwrap();
        let mut admin = Self::enter(host, reply.cookie().unwrap()).await.unwrap();
        admin.set_up().await;
        admin
    }

    /// Shows a cookie over plain TCP, up to the host's list of foodgroups.
    async fn enter(host: SocketAddr, cookie: &[u8]) -> Result<Self, LoginErrorCode> {
        Self::enter_over(
            Client::over(TcpStream::connect(host).await.unwrap()),
            cookie,
        )
        .await
    }

    /// Shows a cookie on a connection.
    async fn enter_over(mut client: Client, cookie: &[u8]) -> Result<Self, LoginErrorCode> {
        let mut hello = Hello::new();
        hello.tlvs.push(tlv::COOKIE, cookie.to_vec());
        client.send(Channel::SIGN_ON, hello.encode()).await;
        let greeting = client.frame().await.unwrap();
        assert_eq!(greeting.channel, Channel::SIGN_ON);
        let frame = client.frame().await.expect("a word of the host");
        if frame.channel == Channel::SIGN_OFF {
            let tlvs = TlvList::decode_rest(frame.data).unwrap();
            return Err(LoginErrorCode(tlvs.u16(tlv::ERROR_CODE).unwrap()));
        }
        let snac = Snac::decode(frame.data).unwrap();
        assert!(snac.is(Foodgroup::OSERVICE, 0x03), "{snac:?}");
        let offered = HostOnline::decode(&snac.body).unwrap().foodgroups;
        assert_eq!(offered, [Foodgroup::OSERVICE, Foodgroup::ADMIN], "A-04");
        Ok(Self { client })
    }

    /// Versions and 0x0001/0x0002, as measured.
    async fn set_up(&mut self) {
        let pairs = vec![(Foodgroup::ADMIN, 1), (Foodgroup::OSERVICE, 3)];
        let versions = Versions { pairs }.encode();
        self.client.snac(Foodgroup::OSERVICE, 0x17, versions).await;
        self.client.expect(Foodgroup::OSERVICE, 0x18).await;
        let tool = |foodgroup, tool, version| Tool {
            foodgroup,
            version,
            tool,
            tool_version: 0x0629,
        };
        let tools = vec![
            tool(Foodgroup::ADMIN, 0x0010, 1),
            tool(Foodgroup::OSERVICE, 0x0110, 3),
        ];
        let online = ClientOnline { tools }.encode();
        self.client.snac(Foodgroup::OSERVICE, 0x02, online).await;
    }

    /// Sends a request and reads its answer, which has its number.
    async fn ask(&mut self, subgroup: u16, body: Bytes) -> Snac {
        let id = self.client.snac(Foodgroup::ADMIN, subgroup, body).await;
        let snac = self.client.expect_any(Foodgroup::ADMIN).await;
        assert_eq!(snac.request_id, id);
        snac
    }

    async fn query(&mut self, tags: &[u16]) -> InfoReply {
        let snac = self
            .ask(subgroup::INFO_QUERY, InfoQuery::of(tags).encode())
            .await;
        assert_eq!(snac.subgroup, subgroup::INFO_REPLY);
        checked(InfoReply::decode(&snac.body).unwrap())
    }

    /// Asks for one field.
    async fn get(&mut self, tag: u16) -> ReplyBlock {
        let reply = self.query(&[tag]).await;
        assert_eq!(reply.blocks.len(), 1);
        reply.blocks.into_iter().next().unwrap()
    }

    /// What a field holds.
    async fn value(&mut self, tag: u16) -> Bytes {
        let block = self.get(tag).await;
        assert_eq!(block.tlvs.0.len(), 1, "A-05: {block:?}");
        block.tlvs.first(tag).unwrap().clone()
    }

    async fn change(&mut self, request: ChangeRequest) -> ReplyBlock {
        let snac = self
            .ask(subgroup::INFO_CHANGE_REQUEST, request.encode())
            .await;
        assert_eq!(snac.subgroup, subgroup::INFO_CHANGE_REPLY);
        let reply = checked(InfoReply::decode(&snac.body).unwrap());
        assert_eq!(reply.blocks.len(), 1);
        reply.blocks.into_iter().next().unwrap()
    }

    async fn set(&mut self, tag: u16, value: &[u8]) -> ReplyBlock {
        self.change(ChangeRequest::field(tag, value.to_vec())).await
    }

    async fn change_password(&mut self, new: &[u8], old: &[u8]) -> ReplyBlock {
        self.change(ChangeRequest::password(new, old)).await
    }

    async fn confirm(&mut self) -> ConfirmReply {
        self.confirm_by(ConfirmRequest {
            tlvs: TlvList::new(),
        })
        .await
    }

    async fn confirm_with(&mut self, code: &str) -> ConfirmReply {
        let code = code.as_bytes().to_vec();
        self.confirm_by(ConfirmRequest::with_code(code)).await
    }

    async fn confirm_by(&mut self, request: ConfirmRequest) -> ConfirmReply {
        let snac = self
            .ask(subgroup::ACCT_CONFIRM_REQUEST, request.encode())
            .await;
        assert_eq!(snac.subgroup, subgroup::ACCT_CONFIRM_REPLY);
        let reply = ConfirmReply::decode(&snac.body).unwrap();
        assert!(reply.tlvs.contains(tag::ERROR_URL), "{reply:?}");
        reply
    }

    async fn delete(&mut self, request: DeleteRequest) -> DeleteReply {
        let snac = self
            .ask(subgroup::ACCT_DELETE_REQUEST, request.encode())
            .await;
        assert_eq!(snac.subgroup, subgroup::ACCT_DELETE_REPLY);
        let reply = DeleteReply::decode(&snac.body).unwrap();
        assert!(
            reply.tlvs.0.is_empty() || reply.tlvs.contains(tag::ERROR_URL),
            "{reply:?}"
        );
        reply
    }
}

/// Asks on BOS where ADMIN is.
async fn ask_for_admin(bos: &mut OldClient) -> ServiceReply {
    let request = ServiceRequest {
        foodgroup: Foodgroup::ADMIN,
        tlvs: TlvList::new(),
    };
    let reply = bos
        .ask(Foodgroup::OSERVICE, 0x04, request.encode(), 0x05)
        .await;
    let reply = ServiceReply::decode(&reply.body).unwrap();
    assert_eq!(reply.foodgroup(), Some(Foodgroup::ADMIN));
    reply
}

/// every error has its field empty, its code, and a URL that may be empty.
fn checked(reply: InfoReply) -> InfoReply {
    for block in &reply.blocks {
        if let Some(code) = block.error_code() {
            assert_eq!(block.tlvs.0.len(), 3, "{code:?}");
            assert!(block.tlvs.0[0].value.is_empty());
            assert_eq!(block.tlvs.first(tag::ERROR_CODE).map(Bytes::len), Some(2));
            assert!(block.tlvs.contains(tag::ERROR_URL), "{code:?}");
        }
    }
    reply
}

/// Why a field was not told or changed.
fn code(block: &ReplyBlock) -> Option<AdminErrorCode> {
    block.error_code()
}
