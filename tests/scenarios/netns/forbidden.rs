//! Addresses that a peer may name but nobody may be sent to (S-10).

use std::net::{IpAddr, SocketAddr};

use rdv_proto::wire::rendezvous::{Cookie, Message, MessageKind, SequenceNumber};
use rdv_proto::wire::service::{FileSetKind, SEND_FILE, SendFileData};
use rdv_proto::wire::tlv::TlvList;
use rdv_tests::old_client::{Manners, OldClient};

use crate::world::{Plan, World, file_of};

/// Named by the peer, whatever they are.
const FORBIDDEN: [&str; 18] = [
    "0.0.0.0:5000",
    "10.0.0.5:5000",
    "100.64.9.9:5000",
    "127.0.0.1:5000",
    "127.0.0.1:443",
    "169.254.1.1:5000",
    "172.16.3.4:5000",
    "192.168.99.5:5000",
    "224.0.0.251:5353",
    "239.255.255.250:1900",
    "240.0.0.1:5000",
    "255.255.255.255:5000",
    "11.11.9.9:22",
    "11.11.9.9:25",
    "11.11.9.9:6379",
    "11.11.9.9:11211",
    "11.11.9.9:53",
    "11.11.9.9:80",
];

/// Counts what leaves the node for anybody but host, relay and peer.
const WATCH: &str = "table inet watch {
    counter others { }
    chain out {
        type filter hook output priority 0; policy accept;
        meta l4proto != { tcp, udp } accept
        ip daddr { 11.11.0.1, 11.11.0.2, 11.11.1.1 } accept
        counter name others
    }
}";

#[test]
fn s_10_forbidden_addresses_in_a_proposal_cause_no_packet() {
    // A host lets one address sign on ten times a minute.
    for addresses in FORBIDDEN.chunks(8) {
        // Long enough for each address to get its turn before one has won.
        let Some(world) = World::new(&["A=open,delay=20", "B=open,delay=20"]) else {
            return;
        };
        world.lab.nft("b", WATCH);
        let others = || world.lab.counter("b", "inet watch", "others");
        let file = file_of(1);
        let name = |address| {
            let plan = Plan {
                sender: &["--external", address],
                receiver: &["--no-port-mapping"],
                ..Plan::new("a", "b", &file)
            };
            world.begin(&plan).finish().expect_path("direct");
        };
        for address in addresses {
            name(address);
            assert_eq!(others(), 0, "after a proposal with {address}");
        }
        // One that may be tried is tried.
        name("11.11.9.9:5000");
        assert!(others() > 0, "the counter counts");
    }
}

/// An old client's proposal, which names the addresses and ports of a list and one of them as its own.
fn proposal(number: u8, addresses: &[&str]) -> Message {
    let addresses: Vec<SocketAddr> = addresses
        .iter()
        .map(|address| address.parse().expect("an address and a port"))
        .collect();
    let own = addresses[0];
    let IpAddr::V4(own_address) = own.ip() else {
        panic!("old clients know IPv4 alone")
    };
    let data = SendFileData::new(FileSetKind::ONE_FILE, 1, 9, "old.txt");
    Message::propose(
        Cookie([b'0' + number; 8]),
        SEND_FILE,
        SequenceNumber::new(1).expect("1"),
    )
    .with_direct(own_address, own_address, own.port())
    .with_addr_list(&addresses)
    .with_host_check()
    .with_send_file(&data.expect("good data"), 9)
}

#[test]
fn s_10_forbidden_addresses_of_an_old_client_cause_no_packet() {
    let Some(world) = World::new(&["A=open", "B=open"]) else {
        return;
    };
    world.lab.nft("b", WATCH);
    let others = || world.lab.counter("b", "inet watch", "others");
    let bob = world.user("b", "bob");
    let (_, password) = world.account("oldie");
    let host = world.host.parse().expect("an address and a port");
    let mut bobs = bob.run([
        "receive",
        "--listen",
        "--from",
        "oldie",
        "--yes",
        "--allow-plain",
        "--json",
        "--relay",
        "never",
        "--no-port-mapping",
        "-o",
        "in",
    ]);
    bobs.event("listening");
    // One that may be tried is tried.
    let proposals = [
        &FORBIDDEN[..6],
        &FORBIDDEN[6..12],
        &FORBIDDEN[12..],
        &["11.11.9.9:5000"],
    ];
    for (number, addresses) in (0..).zip(proposals) {
        world.lab.inside("a", || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut old = OldClient::sign_on(host, "oldie", &password, &Manners::default())
                    .await
                    .expect("signed on");
                let proposal = proposal(number, addresses);
                old.rendezvous("bob", &proposal, TlvList::new()).await;
                // When all addresses have been tried, Bob wants to be dialled, or gives up.
                loop {
                    let (_, answer) = old.expect_rendezvous().await;
                    if answer.kind != MessageKind::ACCEPT {
                        break;
                    }
                }
            });
        });
        assert_eq!(others() > 0, number == 3, "after {addresses:?}");
    }
}
