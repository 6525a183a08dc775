//! Connections that come and go: whether the host is afterwards as it was before.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rdv_benches::Failure;
use rdv_benches::report::Goal;

use crate::Stage;
use crate::client::connect;
use crate::presence::block_on;
use crate::served::Served;
use crate::table::Table;

/// How often a handful of connections is opened.
const TICK: Duration = Duration::from_millis(10);
/// How long the host may take to be rid of them.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the allocator may keep, in MiB.
const KEPT_MIB: f64 = 2.0;

/// Connects and closes for a minute.
pub(crate) fn run(stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    block_on(async {
        let sizes = &stage.sizes;
        let (host, _) = Served::host(stage, 1).await?;
        let start = host.holding()?.descriptors;
        // What a host needs once, it needs for the first ones.
        flood(&host, sizes.churn_per_s, sizes.churn / 30).await?;
        let before = host.settled(start, PATIENCE).await?;
        let rate = flood(&host, sizes.churn_per_s, sizes.churn).await?;
        let at_end = host.holding()?;
        let after = host.settled(start, PATIENCE).await?;
        println!(
            "  descriptors {start} at the start, {} at once at the end, {} then; memory {} KiB before, {} KiB at once, {} KiB then; {:.1} s of a core",
            at_end.descriptors,
            after.descriptors,
            before.resident >> 10,
            at_end.resident >> 10,
            after.resident >> 10,
            after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        );
        table.judged(
            format!("connect-and-close for {} s", sizes.churn.as_secs()),
            rate,
            "/s",
            Goal::AtLeast(f64::from(sizes.churn_per_s) * 0.99),
        );
        let more = |now: usize, then: usize| now as f64 - then as f64;
        table.judged(
            "descriptors left afterwards",
            more(after.descriptors, start),
            "",
            Goal::AtMost(0.0),
        );
        let more = (after.resident as f64 - before.resident as f64) / f64::from(1 << 20);
        table.judged(
            "memory left afterwards",
            more,
            "MiB",
            Goal::AtMost(KEPT_MIB),
        );
        Ok(())
    })
}

/// So many connections a second for so long; how many a second were opened and closed.
async fn flood(host: &Served, per_s: u32, long: Duration) -> Result<f64, Failure> {
    let done = Rc::new(Cell::new(0_u32));
    let (began, address) = (Instant::now(), host.address);
    let mut ticks = tokio::time::interval(TICK);
    let mut opened = 0_usize;
    let whole = long.as_secs_f64() * f64::from(per_s);
    while opened < whole as usize {
        ticks.tick().await;
        let due = began.elapsed().min(long).as_secs_f64() * f64::from(per_s);
        while opened < due as usize {
            opened += 1;
            let (done, number) = (done.clone(), opened);
            tokio::task::spawn_local(async move {
                if connect(address, number).await.is_ok() {
                    done.set(done.get() + 1);
                }
            });
        }
    }
    let took = began.elapsed().max(long);
    let end = Instant::now() + PATIENCE;
    while (done.get() as usize) < opened && Instant::now() < end {
        ticks.tick().await;
    }
    Ok(f64::from(done.get()) / took.as_secs_f64())
}
