//! Port mapping against gateways that live on addresses of the loopback interface.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::*;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const OWN: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OUTER: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 1);
const UDP: u8 = 17;
const TCP: u8 = 6;

/// What a gateway can do.
#[derive(Debug, Clone, Copy)]
struct Manner {
    pcp: bool,
    natpmp: bool,
    outer: Ipv4Addr,
    /// Seconds that it grants at the most.
    lease: u32,
}

const MODERN: Manner = Manner {
    pcp: true,
    natpmp: true,
    outer: OUTER,
    lease: 7200,
};

/// By protocol and inner port: outer port and how often it was granted.
type Table = Arc<Mutex<BTreeMap<(u8, u16), (u16, u32)>>>;

struct Gateway {
    address: Ipv4Addr,
    table: Table,
    _task: JoinSet<()>,
}

impl Gateway {
    /// Each test has an address of its own, since the port is fixed.
    async fn start(last: u8, manner: Manner) -> Self {
        let address = Ipv4Addr::new(127, 43, 51, last);
        let socket = UdpSocket::bind((address, crab_nat::GATEWAY_PORT))
            .await
            .unwrap();
        let table = Table::default();
        let mut task = JoinSet::new();
        let kept = Arc::clone(&table);
        task.spawn(async move {
            let mut buffer = [0; 1100];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                if let Some(answer) = answer(&buffer[..length], manner, &kept) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self {
            address,
            table,
            _task: task,
        }
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            own: OWN,
            gateway: Some(self.address),
            udp: NonZeroU16::new(5000),
            tcp: NonZeroU16::new(5000),
        }
    }

    fn mapped(&self) -> Vec<(u8, u16)> {
        self.table.lock().unwrap().keys().copied().collect()
    }

    fn granted(&self, protocol: u8) -> u32 {
        let table = self.table.lock().unwrap();
        table.get(&(protocol, 5000)).map_or(0, |(_, times)| *times)
    }

    /// Waits until nothing is mapped any more.
    async fn empty(&self) {
        let emptied = async {
            while !self.mapped().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, emptied).await.expect("released");
    }
}

/// The outer port is another one than the inner.
fn map(table: &Table, protocol: u8, inner: u16, lease: u32) -> u16 {
    let mut table = table.lock().unwrap();
    if lease == 0 {
        table.remove(&(protocol, inner));
        return 0;
    }
    let (outer, times) = table.entry((protocol, inner)).or_insert((inner + 1000, 0));
    *times += 1;
    *outer
}

fn answer(request: &[u8], manner: Manner, table: &Table) -> Option<Vec<u8>> {
    let u16_at = |at: usize| {
        Some(u16::from_be_bytes([
            *request.get(at)?,
            *request.get(at + 1)?,
        ]))
    };
    let u32_at = |at: usize| Some(u32::from(u16_at(at)?) << 16 | u32::from(u16_at(at + 2)?));
    let epoch = 1000_u32.to_be_bytes();
    match request {
        [2, 1, ..] if manner.pcp => {
            let lease = u32_at(4)?.min(manner.lease);
            let (nonce, protocol, inner) = (request.get(24..36)?, *request.get(36)?, u16_at(40)?);
            let outer = map(table, protocol, inner, lease);
            let mut answer = vec![2, 0x81, 0, 0];
            answer.extend(lease.to_be_bytes());
            answer.extend(epoch);
            answer.extend([0; 12]);
            answer.extend(nonce);
            answer.extend([protocol, 0, 0, 0]);
            answer.extend(inner.to_be_bytes());
            answer.extend(outer.to_be_bytes());
            answer.extend(manner.outer.to_ipv6_mapped().octets());
            Some(answer)
        }
        // RFC 6886 3.5: unsupported version.
        [2, ..] if manner.natpmp => {
            let mut answer = vec![0, 128, 0, 1];
            answer.extend(epoch);
            Some(answer)
        }
        [0, 0] if manner.natpmp => {
            let mut answer = vec![0, 128, 0, 0];
            answer.extend(epoch);
            answer.extend(manner.outer.octets());
            Some(answer)
        }
        [0, kind @ (1 | 2), ..] if manner.natpmp => {
            let protocol = if *kind == 1 { UDP } else { TCP };
            let (inner, lease) = (u16_at(4)?, u32_at(8)?.min(manner.lease));
            let outer = map(table, protocol, inner, lease);
            let mut answer = vec![0, 128 + kind, 0, 0];
            answer.extend(epoch);
            answer.extend(inner.to_be_bytes());
            answer.extend(outer.to_be_bytes());
            answer.extend(lease.to_be_bytes());
            Some(answer)
        }
        _ => None,
    }
}

/// How it stands once it is as it should be.
async fn until(mapping: &mut PortMap, as_it_should_be: impl Fn(&Mapped) -> bool) -> Mapped {
    let wait = async {
        loop {
            let state = mapping.state();
            if as_it_should_be(&state) {
                return state;
            }
            mapping.changed().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("a state in time")
}

fn outside(port: u16) -> Option<SocketAddrV4> {
    Some(SocketAddrV4::new(OUTER, port))
}

fn result(state: &Mapped, source: GatherSource) -> GatherResult {
    let line = state.lines.iter().find(|line| line.source == source);
    line.unwrap().result.clone()
}

#[tokio::test]
async fn a_gateway_with_pcp_maps_both_ports_and_gets_them_back() {
    let gateway = Gateway::start(1, MODERN).await;
    let mut mapping = PortMap::start(gateway.wanted());
    let state = until(&mut mapping, |state| state.done).await;
    assert_eq!((state.udp, state.tcp), (outside(6000), outside(6000)));
    assert_eq!(gateway.mapped(), [(TCP, 5000), (UDP, 5000)]);
    let GatherResult::Found(found) = result(&state, GatherSource::Pcp) else {
        panic!("{state:?}");
    };
    assert_eq!(found.len(), 2);
    mapping.close().await;
    assert_eq!(gateway.mapped(), []);
}

#[tokio::test]
async fn a_gateway_that_is_too_old_for_pcp_maps_by_natpmp() {
    let old = Manner {
        pcp: false,
        ..MODERN
    };
    let gateway = Gateway::start(2, old).await;
    let mut mapping = PortMap::start(gateway.wanted());
    let state = until(&mut mapping, |state| state.done).await;
    assert_eq!((state.udp, state.tcp), (outside(6000), outside(6000)));
    let found = result(&state, GatherSource::NatPmp);
    assert!(matches!(found, GatherResult::Found(found) if found.len() == 2));
    let failed = result(&state, GatherSource::Pcp);
    assert!(matches!(failed, GatherResult::Failed(_)));
    mapping.close().await;
    assert_eq!(gateway.mapped(), []);
}

#[tokio::test]
async fn a_holder_that_is_dropped_leaves_nothing_behind() {
    let gateway = Gateway::start(3, MODERN).await;
    let mut mapping = PortMap::start(gateway.wanted());
    until(&mut mapping, |state| state.udp.is_some()).await;
    drop(mapping);
    gateway.empty().await;
}

#[tokio::test]
async fn a_holder_that_is_gone_before_the_answer_leaves_nothing_behind() {
    let gateway = Gateway::start(4, MODERN).await;
    let mut mapping = PortMap::start(gateway.wanted());
    // The questions are out, the answers are not here yet.
    until(&mut mapping, |state| !state.lines.is_empty()).await;
    assert_eq!(mapping.state().udp, None);
    mapping.close().await;
    assert_eq!(gateway.mapped(), []);
}

#[tokio::test]
async fn an_outer_address_that_is_none_is_no_use_and_given_back() {
    for (last, outer) in [(5, [10, 9, 8, 7]), (6, [100, 64, 0, 9])] {
        let double = Manner {
            outer: outer.into(),
            ..MODERN
        };
        let gateway = Gateway::start(last, double).await;
        let mut mapping = PortMap::start(gateway.wanted());
        let refused = |state: &Mapped| {
            state.done && matches!(result(state, GatherSource::Pcp), GatherResult::Failed(_))
        };
        let state = until(&mut mapping, refused).await;
        assert_eq!((state.udp, state.tcp), (None, None));
        gateway.empty().await;
    }
}

#[tokio::test]
async fn a_router_that_the_world_sees_at_another_address_has_one_in_front_of_it() {
    let gateway = Gateway::start(7, MODERN).await;
    let mut mapping = PortMap::start(gateway.wanted());
    mapping.seen_as(Some(OUTER));
    until(&mut mapping, |state| state.done && state.udp.is_some()).await;
    mapping.seen_as(Some(Ipv4Addr::new(11, 0, 0, 2)));
    until(&mut mapping, |state| state.udp.is_none()).await;
    gateway.empty().await;
}

#[tokio::test]
async fn leases_are_renewed_at_half_of_their_time() {
    let gateway = Gateway::start(
        8,
        Manner {
            lease: 60,
            ..MODERN
        },
    )
    .await;
    let mut mapping = PortMap::start(gateway.wanted());
    until(&mut mapping, |state| state.done && state.udp.is_some()).await;
    assert_eq!((gateway.granted(UDP), gateway.granted(TCP)), (1, 1));
    // The task is asleep until then.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(29)).await;
    tokio::time::resume();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.granted(UDP), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    let renewed = async {
        while gateway.granted(UDP) < 2 || gateway.granted(TCP) < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("renewed");
    mapping.close().await;
}

#[tokio::test]
async fn a_gateway_that_says_nothing_is_given_up_in_a_second_or_two() {
    let deaf = Manner {
        pcp: false,
        natpmp: false,
        ..MODERN
    };
    let gateway = Gateway::start(9, deaf).await;
    let begun = Instant::now();
    let mut mapping = PortMap::start(gateway.wanted());
    until(&mut mapping, |state| state.control_done).await;
    assert!(begun.elapsed() < Duration::from_millis(900));
    let state = until(&mut mapping, |state| state.done).await;
    assert_eq!((state.udp, state.tcp), (None, None));
    assert!(begun.elapsed() < Duration::from_millis(2500));
    mapping.close().await;
}

#[tokio::test]
async fn a_holder_that_closes_does_not_wait_for_a_search() {
    let nobody = Wanted {
        gateway: Some(Ipv4Addr::new(127, 43, 51, 200)),
        own: OWN,
        udp: NonZeroU16::new(5000),
        tcp: None,
    };
    let mut mapping = PortMap::start(nobody);
    // Refused at once, while the search goes on.
    until(&mut mapping, |state| state.control_done).await;
    assert!(!mapping.state().done);
    let begun = Instant::now();
    mapping.close().await;
    assert!(begun.elapsed() < Duration::from_millis(500));
}

#[test]
fn the_world_reaches_public_addresses_only() {
    let outside = ["11.0.0.1", "100.63.0.1", "100.128.0.1", "223.1.2.3"];
    let inside = [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "169.254.0.1",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
    ];
    for ip in outside {
        assert!(is_outside(ip.parse().unwrap()), "{ip}");
    }
    for ip in inside {
        assert!(!is_outside(ip.parse().unwrap()), "{ip}");
    }
}

#[cfg(feature = "upnp")]
mod upnp {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const WAN: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

    /// A router with nothing but UPnP.
    struct Igd {
        address: Ipv4Addr,
        /// What it was told to do, as `action protocol port lease`.
        done: Arc<Mutex<Vec<String>>>,
        _tasks: JoinSet<()>,
    }

    impl Igd {
        /// `permanent_only`: it knows no leases.
        async fn start(last: u8, permanent_only: bool) -> Self {
            let address = Ipv4Addr::new(127, 43, 52, last);
            let ssdp = UdpSocket::bind((address, 1900)).await.unwrap();
            let http = TcpListener::bind((address, 0)).await.unwrap();
            let location = format!("http://{}/root.xml", http.local_addr().unwrap());
            let done = Arc::default();
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                let mut buffer = [0; 2048];
                loop {
                    let (_, from) = ssdp.recv_from(&mut buffer).await.unwrap();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nST: {WAN}\r\nLOCATION: {location}\r\n\r\n");
                    ssdp.send_to(answer.as_bytes(), from).await.unwrap();
                }
            });
            let log = Arc::clone(&done);
            tasks.spawn(async move {
                loop {
                    let (stream, _) = http.accept().await.unwrap();
                    tokio::spawn(serve(stream, Arc::clone(&log), permanent_only));
                }
            });
            Self {
                address,
                done,
                _tasks: tasks,
            }
        }

        fn wanted(&self) -> Wanted {
            Wanted {
                own: OWN,
                gateway: Some(self.address),
                udp: NonZeroU16::new(5000),
                tcp: NonZeroU16::new(5000),
            }
        }

        fn done(&self) -> Vec<String> {
            self.done.lock().unwrap().clone()
        }
    }

    async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<String>>>, permanent_only: bool) {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        let whole = |request: &[u8]| {
            let text = String::from_utf8_lossy(request).to_ascii_lowercase();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            (body.len() >= length).then_some(())
        };
        while whole(&request).is_none() {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => request.extend(&buffer[..read]),
            }
        }
        let request = String::from_utf8(request).unwrap();
        let (status, body) = respond(&request, &log, permanent_only);
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    fn respond(
        request: &str,
        log: &Mutex<Vec<String>>,
        permanent_only: bool,
    ) -> (&'static str, String) {
        let field = |name: &str| {
            let (_, rest) = request.split_once(&format!("<{name}>")).unwrap_or_default();
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        if request.starts_with("GET /root.xml") {
            let device = |kind: &str, inner: &str| {
                format!(
                    "<device><deviceType>urn:schemas-upnp-org:device:{kind}:1</deviceType>{inner}</device>"
                )
            };
            let service = format!(
                "<serviceList><service><serviceType>{WAN}</serviceType><serviceId>wan</serviceId>\
                 <controlURL>/control</controlURL><eventSubURL>/event</eventSubURL><SCPDURL>/scpd.xml</SCPDURL></service></serviceList>"
            );
            let connection = device("WANConnectionDevice", &service);
            let wan = device(
                "WANDevice",
                &format!("<deviceList>{connection}</deviceList>"),
            );
            let root = device(
                "InternetGatewayDevice",
                &format!("<deviceList>{wan}</deviceList>"),
            );
            return (
                "200 OK",
                format!("<?xml version=\"1.0\"?><root>{root}</root>"),
            );
        }
        if request.starts_with("GET /scpd.xml") {
            let action = |name: &str, arguments: &[&str]| {
                let arguments: String = arguments
                    .iter()
                    .map(|name| {
                        format!("<argument><name>{name}</name><direction>in</direction></argument>")
                    })
                    .collect();
                format!(
                    "<action><name>{name}</name><argumentList>{arguments}</argumentList></action>"
                )
            };
            let add = action(
                "AddPortMapping",
                &[
                    "NewRemoteHost",
                    "NewExternalPort",
                    "NewProtocol",
                    "NewInternalPort",
                    "NewInternalClient",
                    "NewEnabled",
                    "NewPortMappingDescription",
                    "NewLeaseDuration",
                ],
            );
            let delete = action(
                "DeletePortMapping",
                &["NewRemoteHost", "NewExternalPort", "NewProtocol"],
            );
            let actions = format!("<actionList>{add}{delete}</actionList>");
            return (
                "200 OK",
                format!("<?xml version=\"1.0\"?><scpd>{actions}</scpd>"),
            );
        }
        let soap = |inner: String| {
            format!(
                "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{inner}</s:Body></s:Envelope>"
            )
        };
        let response = |action: &str, inner: &str| {
            soap(format!(
                "<u:{action}Response xmlns:u=\"{WAN}\">{inner}</u:{action}Response>"
            ))
        };
        if request.contains("#GetExternalIPAddress") {
            let ip = format!("<NewExternalIPAddress>{OUTER}</NewExternalIPAddress>");
            return ("200 OK", response("GetExternalIPAddress", &ip));
        }
        let (protocol, port) = (field("NewProtocol"), field("NewExternalPort"));
        if request.contains("#AddPortMapping") {
            let lease = field("NewLeaseDuration");
            log.lock()
                .unwrap()
                .push(format!("add {protocol} {port} {lease}"));
            if permanent_only && lease != "0" {
                let error = "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>725</errorCode><errorDescription>OnlyPermanentLeasesSupported</errorDescription></UPnPError></detail></s:Fault>";
                return ("500 Internal Server Error", soap(error.to_owned()));
            }
            return ("200 OK", response("AddPortMapping", ""));
        }
        if request.contains("#DeletePortMapping") {
            log.lock()
                .unwrap()
                .push(format!("delete {protocol} {port}"));
            return ("200 OK", response("DeletePortMapping", ""));
        }
        ("404 Not Found", String::new())
    }

    #[tokio::test]
    async fn a_router_that_speaks_upnp_alone_maps_both_ports_and_gets_them_back() {
        let router = Igd::start(1, false).await;
        let mut mapping = PortMap::start(router.wanted());
        let state = until(&mut mapping, |state| state.done).await;
        assert_eq!(
            (state.udp, state.tcp),
            (outside(5000), outside(5000)),
            "{state:?}"
        );
        mapping.close().await;
        assert_eq!(
            router.done(),
            [
                "add UDP 5000 3600",
                "add TCP 5000 3600",
                "delete UDP 5000",
                "delete TCP 5000"
            ]
        );
    }

    #[tokio::test]
    async fn a_lease_for_ever_is_not_taken() {
        let router = Igd::start(2, true).await;
        let mut mapping = PortMap::start(router.wanted());
        let state = until(&mut mapping, |state| state.done).await;
        assert_eq!((state.udp, state.tcp), (None, None));
        mapping.close().await;
        assert_eq!(router.done(), ["add UDP 5000 3600", "add TCP 5000 3600"]);
    }
}
