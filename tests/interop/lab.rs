//! Alice, Bob and a host on one switch: `rdv host` with its relay on port 5190, an account for each, and a wall that decides who can
//! reach whom.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rdv_tests::netns::{ALICE, BOB, HOST, Namespaces};
use rdv_tests::post::Post;
use rdv_tests::process::{ERR, Person, Run};
use rdv_tests::purple::{Purple, PurpleUser};
use rdv_tests::wall::{Incoming, Seen, Wall};

/// Where everybody signs on, and where the relay is: libpurple knows relays on this port only.
pub(crate) const PORT: u16 = 5190;

/// Who can reach whom. Alice is the one who proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Road {
    /// Both can be reached: Bob connects to Alice.
    Direct,
    /// Alice cannot be reached: Alice connects to Bob.
    Redirect,
    /// Neither can be reached: both connect to the relay.
    Relay,
}

/// The machine of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Alice,
    Bob,
}

impl Side {
    fn namespace(self) -> &'static str {
        match self {
            Self::Alice => "a",
            Self::Bob => "b",
        }
    }

    pub(crate) fn account(self) -> &'static str {
        match self {
            Self::Alice => "alicelab",
            Self::Bob => "boblab",
        }
    }

    fn number(self) -> &'static str {
        match self {
            Self::Alice => "100001",
            Self::Bob => "100002",
        }
    }
}

impl Road {
    /// `path` in the JSON of `rdv`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Redirect => "redirect",
            Self::Relay => "relay",
        }
    }
}

pub(crate) struct Lab {
    purple: &'static Purple,
    net: Namespaces,
    keeper: Person,
    _host: Run,
    post: Option<Post>,
    /// In front of Alice.
    pub(crate) alices_wall: Wall,
    /// In front of Bob.
    pub(crate) bobs_wall: Wall,
}

impl Lab {
    /// A host and two machines. None, with a loud word, where that cannot be had.
    pub(crate) fn new(road: Road) -> Option<Self> {
        let (to_alice, to_bob) = match road {
            Road::Direct => (Incoming::Open, Incoming::Open),
            Road::Redirect => (Incoming::Refused, Incoming::Open),
            Road::Relay => (Incoming::Refused, Incoming::Refused),
        };
        Self::with_walls(to_alice, to_bob)
    }

    pub(crate) fn with_walls(to_alice: Incoming, to_bob: Incoming) -> Option<Self> {
        Self::build(to_alice, to_bob, false)
    }

    /// Nobody is in anybody's way, and the host has a mail server: it lets people make accounts and proves their addresses.
    pub(crate) fn with_mail() -> Option<Self> {
        Self::build(Incoming::Open, Incoming::Open, true)
    }

    fn build(to_alice: Incoming, to_bob: Incoming, mail: bool) -> Option<Self> {
        let net = Namespaces::with_a_host_among_them()?;
        let purple = Purple::ready()?;
        let alices_wall = Wall::new(net.name("a"), BOB, to_alice);
        let bobs_wall = Wall::new(net.name("b"), ALICE, to_bob);
        let keeper = person().in_namespace(net.name("h"));
        let listen = address().to_string();
        let database = database(&keeper);
        let mut args = vec!["host", "-v", "--listen", &listen, "--db", &database];
        let post = mail.then(|| net.inside("h", Post::open));
        let config = keeper.path("host.toml");
        if let Some(post) = &post {
            let text = format!(
                "[mail]\nsmtp = \"smtp://{}\"\nfrom = \"host@lab.example\"\n[admin]\nregistration = \"open\"\n",
                post.address()
            );
            std::fs::write(&config, text).expect("room on the disk");
            args.extend(["--config", self::text(&config)]);
        }
        let mut host = keeper.run(args);
        host.line_with(ERR, "Fingerprint");
        Some(Self {
            purple,
            net,
            keeper,
            _host: host,
            post,
            alices_wall,
            bobs_wall,
        })
    }

    /// Makes an account on the running host; `(password, password for old clients)`.
    fn add_account(&self, name: &str) -> (String, String) {
        self.add_account_with(name, &[])
    }

    fn add_account_with(&self, name: &str, more: &[&str]) -> (String, String) {
        let database = database(&self.keeper);
        let args = [
            "host", "user", "add", name, "--legacy", "--json", "--db", &database,
        ];
        let args = args.iter().chain(more);
        let told = self.keeper.run(args).finish().expect_code(0);
        let told = told.events().pop().expect("JSON on standard output");
        let text = |key: &str| told[key].as_str().expect("a string").to_owned();
        (text("password"), text("legacy_password"))
    }

    /// Somebody with an account of their own who uses libpurple.
    pub(crate) fn purple(&self, side: Side) -> PurpleUser {
        self.purple_named(side, side.account())
    }

    /// The same with an ICQ number.
    pub(crate) fn icq(&self, side: Side) -> PurpleUser {
        self.purple_named(side, side.number())
    }

    fn purple_named(&self, side: Side, name: &str) -> PurpleUser {
        let (_, password) = self.add_account(name);
        self.purple_as(side, name, &password)
    }

    /// Somebody who types this name and password into libpurple.
    pub(crate) fn purple_as(&self, side: Side, name: &str, password: &str) -> PurpleUser {
        let namespace = self.net.name(side.namespace());
        PurpleUser::new(self.purple, namespace, address(), name, password)
    }

    /// Somebody with an account of their own who uses `rdv` and has logged in.
    pub(crate) fn rdv(&self, side: Side) -> Person {
        let (password, _) = self.add_account(side.account());
        self.logged_in(side, &password)
    }

    /// The owner of an account, who uses `rdv` and has logged in, and the password for old clients.
    pub(crate) fn owner(&self, side: Side) -> (Person, String) {
        let (password, legacy) = self.add_account(side.account());
        (self.logged_in(side, &password), legacy)
    }

    /// As [`Lab::owner`], with a mail address that nobody has proven.
    pub(crate) fn unproven(&self, side: Side, email: &str) -> (Person, String) {
        let more = ["--email", email, "--unconfirmed"];
        let (password, legacy) = self.add_account_with(side.account(), &more);
        (self.logged_in(side, &password), legacy)
    }

    /// The mail server of the host.
    pub(crate) fn post(&mut self) -> &mut Post {
        self.post.as_mut().expect("a lab with mail")
    }

    fn logged_in(&self, side: Side, password: &str) -> Person {
        let person = person().in_namespace(self.net.name(side.namespace()));
        std::fs::write(person.path("password"), password).expect("room on the disk");
        let host = address().to_string();
        person
            .run([
                "account",
                "login",
                side.account(),
                "--host",
                &host,
                "--password-file",
                "password",
            ])
            .finish()
            .expect_code(0);
        person
    }

    /// Runs `work`, our side as a library, on the machine of somebody with an account of their own, whose password it is told.
    pub(crate) fn inside<T: Send>(
        &self,
        side: Side,
        work: impl AsyncFnOnce(&str) -> T + Send,
    ) -> T {
        let (password, _) = self.add_account(side.account());
        self.net.inside(side.namespace(), move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().expect("a runtime");
            runtime.block_on(work(&password))
        })
    }

    /// Fails unless that many connections took that road and no other, and carried at least `bytes`.
    #[track_caller]
    pub(crate) fn assert_road(&self, road: Road, connections: u64, bytes: u64) {
        let seen = self.alices_wall.seen();
        let Seen {
            accepted,
            opened,
            with_peer,
            with_others,
        } = seen;
        let (expected, carried) = match road {
            Road::Direct => ((connections, 0), with_peer),
            Road::Redirect => ((0, connections), with_peer),
            Road::Relay => ((0, 0), with_others),
        };
        assert!(
            (accepted, opened) == expected && carried >= bytes,
            "{connections} times {road:?} with {bytes} bytes, but Alice saw {seen:?}"
        );
    }
}

/// Starts `rdv receive --listen` into `in`, and waits until it is signed on. It takes plain transfers from that peer.
pub(crate) fn rdv_receiver(owner: &Person, from: &str, more: &[&str]) -> Run {
    let mut args = vec![
        "receive",
        "--listen",
        "--from",
        from,
        "--yes",
        "--allow-plain",
        "--json",
        "-o",
        "in",
    ];
    args.extend(more);
    let mut run = owner.run(args).patient(rdv_tests::process::LONG);
    run.event("listening");
    run
}

/// Starts `purple-peer` so that it takes `count` files into `in`, and waits until others see it online.
pub(crate) fn purple_receiver(user: &PurpleUser, more: &[&str]) -> Run {
    let folder = user.path("in");
    let mut args = vec!["--recv", text(&folder), "--timeout", "150"];
    args.extend(more);
    let mut run = user.run(args).patient(rdv_tests::process::LONG);
    run.event("seen-online");
    run
}

pub(crate) fn address() -> SocketAddr {
    SocketAddr::from((HOST, PORT))
}

fn person() -> Person {
    Person::new(env!("CARGO_BIN_EXE_rdv"))
}

fn database(keeper: &Person) -> String {
    format!("sqlite:{}", text(&keeper.path("host.db")))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// The path of what should have arrived.
pub(crate) fn arrived(folder: PathBuf, sent: &Path) -> PathBuf {
    folder.join(sent.file_name().expect("a file"))
}
