//! The host under load: this program again, as an embedder of the library, with the limits that one machine with thousands of
//! clients meets raised in its settings (ruling G-13), and all others as they come.

use std::path::Path;
use std::time::Duration;

use rdv_benches::Failure;
use rdv_host::accounts::Accounts;
use rdv_host::{Host, HostConfig, IdentitySource, Limits};
use rdv_proto::pace::Pace;
use rdv_proto::session::{RateClass, RateTable};

/// The word by which this program knows that it is the host.
pub(crate) const ROLE: &str = "--host";

/// Is the host, if the command line says so; never ends then.
pub(crate) fn play_role() -> Result<bool, Failure> {
    if std::env::args().nth(1).is_none_or(|word| word != ROLE) {
        return Ok(false);
    }
    let folder = std::env::args().nth(2).ok_or("no folder")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let free = |class: RateClass| RateClass {
            clear: 0,
            alert: 0,
            limit: 0,
            disconnect: 0,
            ..class
        };
        let any = Pace::new(1_000_000, Duration::from_secs(1));
        let limits = Limits {
            connections: any,
            unsigned_per_address: 100_000,
            unsigned: 100_000,
            guests_per_address: 100_000,
            cookies: 100_000,
            attempts: any,
            rates_old: RateTable {
                icbm: free(RateClass::ICBM_LEGACY),
                ..RateTable::OLD
            },
            ..Limits::default()
        };
        let database = Path::new(&folder).join("host.db");
        let accounts = Accounts::open(&format!("sqlite:{}", database.display())).await?;
        let host = Host::bind(HostConfig {
            identity: IdentitySource::Kept(folder.into()),
            accounts: Some(accounts),
            limits,
            ..HostConfig::default()
        })
        .await?;
        eprintln!("Host on {}", host.local_addrs()[0]);
        host.run(std::future::pending()).await;
        Ok(true)
    })
}
