//! Clients that sign on: what each costs while it says nothing, and how many come in a second.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rdv_benches::Failure;
use rdv_benches::report::Goal;
use tokio::task::{JoinSet, LocalSet};

use crate::Stage;
use crate::client::{self, sign_on, sign_on_guest};
use crate::served::Served;
use crate::table::Table;

/// Clients that sign on at a time.
const AT_ONCE: usize = 32;
/// How long the host has to put away what signing on left.
const REST: Duration = Duration::from_secs(5);

/// Runs all of `work` on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Memory of old clients that say nothing.
pub(crate) fn idle(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    block_on(async {
        let count = stage.sizes.idle;
        let (host, people) = Served::host(stage, count).await?;
        let address = host.address;
        let each = cost(&host, count, |number| {
            let people = people.clone();
            async move { sign_on(address, number, people.get(number)).await }
        })
        .await?;
        table.judged(
            format!("memory of each of {count} idle plain clients"),
            each,
            "KiB",
            Goal::AtMost(16.0),
        );
        Ok(())
    })
}

/// The same of guests over TLS.
pub(crate) fn idle_tls(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    block_on(async {
        let count = stage.sizes.idle_tls;
        let (host, _) = Served::host(stage, 1).await?;
        let (address, tls) = (host.address, client::tls()?);
        let each = cost(&host, count, |number| {
            let tls = tls.clone();
            async move { sign_on_guest(address, number, &tls).await }
        })
        .await?;
        table.told(
            format!("memory of each of {count} idle guests over TLS"),
            each,
            "KiB",
        );
        Ok(())
    })
}

/// Sign-ons of old clients: two connections each, all that libpurple asks, and gone.
pub(crate) fn sign_ons(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    block_on(async {
        let (host, people) = Served::host(stage, stage.sizes.idle).await?;
        let address = host.address;
        let rate = rate(&host, stage.sizes.measured, move |number| {
            let people = people.clone();
            async move {
                let client = sign_on(address, number, people.get(number)).await?;
                drop(client);
                Ok(())
            }
        })
        .await?;
        table.judged("sign-ons, plain BUCP", rate, "/s", Goal::AtLeast(800.0));
        Ok(())
    })
}

/// Sign-ons of guests, each with a handshake of its own.
pub(crate) fn guests(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    block_on(async {
        let (host, _) = Served::host(stage, 1).await?;
        let (address, tls) = (host.address, client::tls()?);
        let rate = rate(&host, stage.sizes.measured, move |number| {
            let tls = tls.clone();
            async move {
                let client = sign_on_guest(address, number, &tls).await?;
                drop(client);
                Ok(())
            }
        })
        .await?;
        table.judged(
            "sign-ons, guests over TLS",
            rate,
            "/s",
            Goal::AtLeast(250.0),
        );
        Ok(())
    })
}

/// Signs `count` clients on, a few at a time.
pub(crate) async fn gather<C, F>(count: usize, come: impl Fn(usize) -> F) -> Result<Vec<C>, Failure>
where
    C: 'static,
    F: Future<Output = Result<C, Failure>> + 'static,
{
    let mut coming = JoinSet::new();
    let mut there = Vec::with_capacity(count);
    for number in 0..count {
        if coming.len() == AT_ONCE
            && let Some(came) = coming.join_next().await
        {
            there.push(came??);
        }
        coming.spawn_local(come(number));
    }
    while let Some(came) = coming.join_next().await {
        there.push(came??);
    }
    Ok(there)
}

/// KiB that the host holds more for each of so many clients.
async fn cost<C, F>(host: &Served, count: usize, come: impl Fn(usize) -> F) -> Result<f64, Failure>
where
    C: 'static,
    F: Future<Output = Result<C, Failure>> + 'static,
{
    let before = host.holding()?;
    let clients = gather(count, come).await?;
    tokio::time::sleep(REST).await;
    let after = host.holding()?;
    println!(
        "  {count} clients: {} MiB, then {} MiB; {} descriptors",
        before.resident >> 20,
        after.resident >> 20,
        after.descriptors
    );
    drop(clients);
    let gone = host
        .settled(before.descriptors, Duration::from_secs(30))
        .await?;
    println!(
        "  all gone: {} MiB, {} descriptors",
        gone.resident >> 20,
        gone.descriptors
    );
    let more = after.resident.saturating_sub(before.resident);
    Ok(more as f64 / 1024.0 / count as f64)
}

/// How many of `visit` are done in a second, a few at a time.
async fn rate<F>(
    host: &Served,
    measured: Duration,
    visit: impl Fn(usize) -> F + 'static,
) -> Result<f64, Failure>
where
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let (next, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0_u32)));
    let failure = Rc::new(RefCell::new(None));
    let visit = Rc::new(visit);
    let mut visitors = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, done, failure) = (next.clone(), done.clone(), failure.clone());
        let visit = visit.clone();
        visitors.spawn_local(async move {
            loop {
                let number = next.replace(next.get() + 1);
                match visit(number).await {
                    Ok(()) => done.set(done.get() + 1),
                    Err(error) => {
                        failure.replace(Some(error));
                        return;
                    }
                }
            }
        });
    }
    // The first ones find everything cold.
    tokio::time::sleep(measured / 10).await;
    let (before, used, began) = (done.get(), host.holding()?.cpu, Instant::now());
    tokio::time::sleep(measured).await;
    let elapsed = began.elapsed().as_secs_f64();
    let used = host.holding()?.cpu.saturating_sub(used).as_secs_f64();
    if let Some(error) = failure.take() {
        return Err(error);
    }
    let count = f64::from(done.get() - before);
    println!(
        "  the host used {:.0} % of a core, {:.2} ms for each",
        100.0 * used / elapsed,
        1000.0 * used / count.max(1.0)
    );
    Ok(count / elapsed)
}
