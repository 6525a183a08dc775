//! A host that is killed with two hundred users on, who are ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rdv::ScreenName;
use rdv::oscar::{Account, AccountSettings, Password, Standing};
use rdv::trust::HostTrust;
use rdv_host::accounts::{self, Accounts};
use rdv_host::{Host, HostConfig, Limit, Metrics};
use rdv_proto::pace::Pace;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// All of them.
const CLIENTS: usize = 200;
/// Accounts, each signed on as often as the others.
const ACCOUNTS: usize = 8;
/// Clients that lost their host spread over four seconds; so many of them, at least, are used.
const SPREAD_S: f64 = 3.0;
/// Sign-ons that may go on at once, however quick the machine is.
const AT_ONCE: usize = 64;
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a normal password";

struct Running {
    address: SocketAddr,
    metrics: Metrics,
    task: JoinHandle<()>,
}

/// A host at that place, once whoever was there before is gone.
async fn start(listen: SocketAddr, accounts: &Accounts, at_once: usize) -> Running {
    let config = || {
        let mut config = HostConfig {
            listen: vec![listen],
            accounts: Some(accounts.clone()),
            ..HostConfig::default()
        };
        // All of them come from one address, as they never do.
        config.limits.connections = Pace::new(1_000, Duration::from_secs(1));
        config.limits.unsigned_per_address = at_once;
        config.limits.unsigned = at_once;
        config.limits.sign_ons_per_account = 100;
        config
    };
    let host = loop {
        match Host::bind(config()).await {
            Ok(host) => break host,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    Running {
        address: host.local_addrs()[0],
        metrics: host.metrics(),
        task: tokio::spawn(host.run(std::future::pending())),
    }
}

async fn sign_on(host: SocketAddr, name: String) -> Account {
    let name = ScreenName::new(name).unwrap();
    let password = Password::new(PASSWORD);
    let settings = AccountSettings::new(host.to_string(), HostTrust::AcceptAny, name, password);
    Account::connect(settings.limit(PATIENCE)).await.unwrap()
}

/// Waits until all stand like this; how long that took.
async fn all(users: &[Account], standing: Standing) -> Duration {
    let began = Instant::now();
    for user in users {
        let mut now = user.standing();
        let waiting = now.wait_for(|now| *now == standing);
        timeout(PATIENCE, waiting).await.unwrap().unwrap();
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_are_back_within_ten_seconds_of_the_return_of_their_host_one_after_the_other()
 {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("host.db").display());
    let accounts = Accounts::open(&database).await.unwrap();
    for number in 0..ACCOUNTS {
        let password = Some(accounts::Password::new(PASSWORD));
        let name = format!("user{number}");
        accounts.create(&name, password, false).await.unwrap();
    }
    let host = start((Ipv4Addr::LOCALHOST, 0).into(), &accounts, AT_ONCE).await;

    let began = Instant::now();
    let (mut coming, mut users) = (JoinSet::new(), Vec::new());
    for number in 0..CLIENTS {
        if coming.len() == 8 {
            users.extend(coming.join_next().await);
        }
        coming.spawn(sign_on(host.address, format!("user{}", number % ACCOUNTS)));
    }
    while let Some(user) = coming.join_next().await {
        users.push(user);
    }
    let users: Vec<Account> = users.into_iter().map(Result::unwrap).collect();

    // What their passwords cost this machine; it does not check them any faster later on.
    let work = began.elapsed();
    let per_s = CLIENTS as f64 / work.as_secs_f64();
    let waiting = (CLIENTS as f64 - per_s * SPREAD_S).max(0.0) as usize;

    // Without a word.
    host.task.abort();
    host.task.await.unwrap_err();
    all(&users, Standing::ComingBack).await;
    let host = start(host.address, &accounts, waiting.max(AT_ONCE)).await;
    let took = all(&users, Standing::SignedOn).await;
    let most = Duration::from_secs(10) + work;
    assert!(took <= most, "{took:?} after {work:?}");
    for limit in [
        Limit::Unsigned,
        Limit::UnsignedPerAddress,
        Limit::Connections,
    ] {
        assert_eq!(host.metrics.refusals(limit), 0, "{limit:?}");
    }
    host.task.abort();
}
