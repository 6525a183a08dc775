use super::*;

fn at(text: &str) -> Ranked {
    (1, text.parse().unwrap())
}

#[test]
fn only_the_host_of_the_number_counts() {
    let mut heard = Heard::default();
    heard.add_host("a", 1234, [at("192.0.2.1:5000")].into_iter());
    heard.add_host("b", 1235, [at("192.0.2.2:5000")].into_iter());
    assert_eq!(heard.hosts_of(1234), 1);
    assert_eq!(
        heard.addresses_of(1234),
        Some(vec!["192.0.2.1:5000".parse().unwrap()])
    );
    assert_eq!(heard.addresses_of(7), None);
}

#[test]
fn one_host_heard_on_two_interfaces_is_one_host_with_all_its_addresses() {
    let mut heard = Heard::default();
    heard.add_host("a", 1234, [at("192.0.2.1:5000")].into_iter());
    heard.add_host(
        "a",
        1234,
        [at("192.0.2.9:5000"), at("192.0.2.1:5000")].into_iter(),
    );
    assert_eq!(heard.hosts_of(1234), 1);
    assert_eq!(heard.addresses_of(1234).map(|all| all.len()), Some(2));
}

#[test]
fn two_hosts_of_one_number_are_told_apart() {
    let mut heard = Heard::default();
    heard.add_host("a", 1234, [at("192.0.2.1:5000")].into_iter());
    heard.add_host("b", 1234, [at("192.0.2.1:5001")].into_iter());
    assert_eq!(heard.hosts_of(1234), 2);
}

#[test]
fn a_flood_of_instances_and_addresses_stays_bounded() {
    let mut heard = Heard::default();
    for instance in 0..2 * INSTANCES_MAX {
        let addresses = (0..=u8::MAX).map(|last| at(&format!("192.0.2.{last}:5000")));
        heard.add_host(&instance.to_string(), 1234, addresses);
    }
    assert_eq!(heard.hosts.len(), INSTANCES_MAX);
    assert!(
        heard
            .hosts
            .values()
            .all(|host| host.addresses.len() == ADDRESSES_MAX)
    );
}

#[test]
fn loopback_counts_only_when_heard_on_loopback() {
    let rank = |text: &str, loopback_road| rank(text.parse().unwrap(), loopback_road);
    assert_eq!(rank("127.0.0.1", false), None);
    assert_eq!(rank("127.0.0.1", true), Some(0));
    assert_eq!(rank("::1", false), None);
    assert_eq!(rank("0.0.0.0", true), None);
    assert_eq!(rank("ff02::1", true), None);
    assert!(rank("192.168.1.2", false) < rank("fe80::1", false));
}

#[test]
fn numbers_are_written_in_one_way_only() {
    assert_eq!(parse_number("7"), Some(7));
    for text in ["07", "+7", "", "-1", "4294967296", "7 "] {
        assert_eq!(parse_number(text), None, "{text:?}");
    }
}

#[test]
fn a_free_number_is_chosen() {
    let all_but_one: BTreeSet<u32> = NUMBERS.filter(|number| *number != 4711).collect();
    assert_eq!(choose_number(&all_but_one).unwrap(), Some(4711));
    assert_eq!(choose_number(&NUMBERS.collect()).unwrap(), None);
}

/// Repeats a look at the network until it shows what is expected. A responder sends a record once a second at most, so
/// that a single short look may miss it.
async fn eventually<T>(mut look: impl AsyncFnMut() -> T, expected: impl Fn(&T) -> bool) {
    for _ in 0..20 {
        if expected(&look().await) {
            return;
        }
    }
    panic!("not seen");
}

/// Both sides in one process; the sockets are those of two.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_number_is_found_on_the_same_machine_until_it_is_withdrawn() {
    // Other tests may run at the same time, and so may the machine's own senders.
    let in_use = numbers_in_use(LISTEN_FIRST).await.unwrap();
    let number = choose_number(&in_use).unwrap().unwrap();

    let announcement = announce(number, 40313).unwrap();
    let found = browse(number, SEARCH_TIME).await.unwrap();
    assert!(
        found.iter().all(|address| address.port() == 40313),
        "{found:?}"
    );
    eventually(
        || browse(number, SEARCH_TIME),
        |found| matches!(found, Ok(all) if all.iter().any(|one| one.ip().is_loopback())),
    )
    .await;
    eventually(
        || numbers_in_use(LISTEN_FIRST),
        |all: &Result<BTreeSet<u32>, _>| all.as_ref().unwrap().contains(&number),
    )
    .await;

    let second = announce(number, 40314).unwrap();
    eventually(
        || browse(number, SEARCH_TIME),
        |found| matches!(found, Err(LanError::Ambiguous { .. })),
    )
    .await;

    drop((announcement, second));
    eventually(
        || browse(number, LISTEN_FIRST),
        |found| matches!(found, Err(LanError::NotFound { .. })),
    )
    .await;
}
