//! Two hundred clients of one host that goes and comes back, in virtual time and with chance that is the same each time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::time::timeout;

use super::*;

const CLIENTS: usize = 200;
/// How long a sign-on takes.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// A host as its clients see it.
#[derive(Debug, Default)]
struct Host {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_up: bool,
    /// Those that are signed on.
    lines: Vec<Arc<Line>>,
    /// Handshakes that go on, and the most there were.
    shaking: usize,
    most: usize,
    /// When sign-ons began at the host that is there.
    begun: Vec<Instant>,
}

/// One connection.
#[derive(Debug)]
struct Line {
    name: ScreenName,
    gone: watch::Sender<bool>,
    return_within: Mutex<Option<Duration>>,
}

/// A client's end of it.
#[derive(Debug)]
struct End(Arc<Line>);

/// The way back of one client.
struct Back {
    name: ScreenName,
    host: Arc<Host>,
    chance: AtomicU64,
}

impl Host {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn join(&self, name: &ScreenName) -> End {
        let line = Arc::new(Line {
            name: name.clone(),
            gone: watch::Sender::new(false),
            return_within: Mutex::default(),
        });
        self.lock().lines.push(line.clone());
        End(line)
    }

    /// All connections end.
    fn go(&self, return_within: Option<Duration>) {
        let mut state = self.lock();
        state.is_up = false;
        for line in state.lines.drain(..) {
            *line.return_within.lock().unwrap() = return_within;
            line.gone.send_replace(true);
        }
    }

    fn come_back(&self) {
        self.lock().is_up = true;
    }

    async fn sign_on(&self, name: &ScreenName) -> Result<End, OscarError> {
        {
            let mut state = self.lock();
            if !state.is_up {
                return Err(OscarError::Closed(None));
            }
            state.begun.push(Instant::now());
            state.shaking += 1;
            state.most = state.most.max(state.shaking);
        }
        sleep(HANDSHAKE).await;
        self.lock().shaking -= 1;
        Ok(self.join(name))
    }
}

impl Signaling for End {
    fn local_name(&self) -> ScreenName {
        self.0.name.clone()
    }

    fn send(&self, _: ScreenName, _: Bytes, _: bool) -> BoxFuture<'_, Result<(), SignalingError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn recv(&self) -> BoxFuture<'_, Result<Incoming, SignalingError>> {
        Box::pin(async {
            let mut gone = self.0.gone.subscribe();
            gone.wait_for(|gone| *gone).await.unwrap();
            Err(SignalingError::Closed)
        })
    }
}

impl Connection for End {
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn dismissed(&self) -> Option<OscarError> {
        None
    }

    fn return_within(&self) -> Option<Duration> {
        *self.0.return_within.lock().unwrap()
    }

    fn make_sure(&self) {}
}

impl Return for Back {
    type Connection = End;

    fn dial(&mut self) -> BoxFuture<'_, Result<End, OscarError>> {
        Box::pin(self.host.sign_on(&self.name))
    }

    fn is_final(&self, _: &OscarError) -> bool {
        false
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn spread(&self) -> Option<Duration> {
        Some(Duration::from_secs(4))
    }

    fn longest_pause(&self, _: Duration) -> Duration {
        Duration::from_secs(8)
    }

    fn random(&self) -> u16 {
        let next = |seed: u64| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let before = self
            .chance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seed| {
                Some(next(seed))
            });
        (before.unwrap() >> 40) as u16
    }
}

/// A host with all of its clients on.
fn host() -> (Arc<Host>, Vec<Keeper<End>>) {
    let host = Arc::new(Host::default());
    host.come_back();
    let keepers = (0..CLIENTS).map(|number| {
        let name = ScreenName::new(format!("client{number}")).unwrap();
        let back = Back {
            name: name.clone(),
            host: host.clone(),
            chance: AtomicU64::new((number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        };
        Keeper::new(host.join(&name), back)
    });
    let keepers = keepers.collect();
    (host, keepers)
}

/// Waits until all are signed on again; how long that took.
async fn all_back(keepers: &[Keeper<End>]) -> Duration {
    let began = Instant::now();
    for keeper in keepers {
        let mut standing = keeper.standing();
        let back = standing.wait_for(|standing| *standing == Standing::SignedOn);
        timeout(Duration::from_secs(600), back)
            .await
            .unwrap()
            .unwrap();
    }
    began.elapsed()
}

/// All have seen that the host is gone.
async fn all_lost(keepers: &[Keeper<End>]) {
    for keeper in keepers {
        let mut standing = keeper.standing();
        let lost = standing.wait_for(|standing| *standing == Standing::ComingBack);
        lost.await.unwrap();
    }
}

/// The most sign-ons that began within one second.
fn busiest_second(begun: &[Instant]) -> usize {
    let within = |from: &Instant| {
        let second = *from..*from + Duration::from_secs(1);
        begun.iter().filter(|at| second.contains(at)).count()
    };
    begun.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_killed_has_its_clients_back_within_ten_seconds_and_never_many_at_once() {
    for (away_s, most) in [(0, 16), (2, 32), (30, 24), (120, 24)] {
        let (host, keepers) = host();
        host.go(None);
        all_lost(&keepers).await;
        sleep(Duration::from_secs(away_s)).await;
        host.come_back();
        let took = all_back(&keepers).await;
        let state = host.lock();
        assert!(took <= Duration::from_secs(10), "{away_s} s away: {took:?}");
        assert_eq!(state.begun.len(), CLIENTS, "each signs on once");
        assert!(
            state.most <= most,
            "{away_s} s away: {} at once",
            state.most
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_when_it_wants_to_see_its_clients_again_sees_them_spread_over_that_time() {
    let (host, keepers) = host();
    host.go(Some(Duration::from_secs(20)));
    all_lost(&keepers).await;
    host.come_back();
    let took = all_back(&keepers).await;
    let state = host.lock();
    assert!(took <= Duration::from_secs(21), "{took:?}");
    assert!(
        took > Duration::from_secs(15),
        "they used the time: {took:?}"
    );
    let busiest = busiest_second(&state.begun);
    assert!(busiest <= 25, "{busiest} in one second, of 200 in 20");
    assert!(state.most <= 8, "{} at once", state.most);
}

#[tokio::test(start_paused = true)]
async fn however_long_a_host_says_that_it_is_away_it_is_looked_after() {
    let (host, keepers) = host();
    host.go(Some(Duration::from_secs(65_535)));
    all_lost(&keepers).await;
    host.come_back();
    assert!(all_back(&keepers).await <= AWAY_MAX + HANDSHAKE);
}

#[test]
fn pauses_are_between_half_of_the_plain_one_and_all_of_it() {
    let plain = Duration::from_secs(8);
    assert_eq!(pause(plain, 0), plain / 2);
    assert_eq!(pause(plain, 0x8000), Duration::from_secs(6));
    assert!(pause(plain, u16::MAX) < plain);
    assert_eq!(part(plain, 0), Duration::ZERO);
}
