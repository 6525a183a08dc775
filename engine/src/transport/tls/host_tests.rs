//! A host with the right key, with another one, and with none.

use rustls::{ServerConfig, crypto::ring, version::TLS12};
use tokio::{
    io::{DuplexStream, duplex},
    join,
};

use super::*;

const ADDRESS: &str = "Box.example:5190";
const DEADLINE: Duration = Duration::from_secs(10);

fn server(identity: &Identity) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.clone()], identity.key.clone_key())
        .unwrap()
}

async fn visit(
    config: ServerConfig,
    trust: &HostTrust,
) -> Result<HostStream<DuplexStream>, HostTlsError> {
    let (ours, theirs) = duplex(64 * 1024);
    let (visited, _) = join!(
        connect_host(ours, ADDRESS, trust, DEADLINE),
        TlsAcceptor::from(Arc::new(config)).accept(theirs)
    );
    visited
}

fn file() -> (tempfile::TempDir, KnownHosts) {
    let folder = tempfile::tempdir().unwrap();
    let hosts = KnownHosts::new(folder.path().join("known_hosts"));
    (folder, hosts)
}

#[tokio::test]
async fn a_host_is_known_from_the_second_visit_on() {
    let (_folder, hosts) = file();
    let identity = Identity::generate().unwrap();
    let trust = HostTrust::FirstUse(hosts.clone());

    let first = visit(server(&identity), &trust).await.unwrap();
    assert!(matches!(first.status, HostKeyStatus::FirstUse));
    assert!(first.key.matches(&identity.key_hash));
    let kept = hosts.lookup(ADDRESS).unwrap().unwrap();
    assert_eq!(kept.fingerprint, first.key);
    let second = visit(server(&identity), &trust).await.unwrap();
    assert!(matches!(second.status, HostKeyStatus::Known));
}

#[tokio::test]
async fn s_07_a_changed_key_is_refused_with_both_fingerprints_and_the_line() {
    let (_folder, hosts) = file();
    let old = Fingerprint::of(&[1; 32]);
    hosts.remember("other:1", old).unwrap();
    hosts.remember(ADDRESS, old).unwrap();
    let identity = Identity::generate().unwrap();
    let new = Fingerprint::of(&identity.key_hash);

    let trust = HostTrust::FirstUse(hosts.clone());
    let error = visit(server(&identity), &trust).await.unwrap_err();
    let HostTlsError::Key(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        error,
        HostKeyError::Changed {
            address: ADDRESS.to_owned(),
            known: old,
            presented: new,
            file: hosts.path().to_owned(),
            line: 2,
        }
    );
    let said = error.to_string();
    for part in [
        old.to_string(),
        new.to_string(),
        hosts.path().display().to_string(),
        "line 2".to_owned(),
    ] {
        assert!(said.contains(&part), "{said}");
    }
    let kept = hosts.lookup(ADDRESS).unwrap().unwrap();
    assert_eq!(kept.fingerprint, old, "the file is as it was");
}

#[tokio::test]
async fn a_pinned_key_is_the_only_one_taken() {
    let identity = Identity::generate().unwrap();
    let right = HostTrust::Pinned(Fingerprint::of(&identity.key_hash));
    let visited = visit(server(&identity), &right).await.unwrap();
    assert!(matches!(visited.status, HostKeyStatus::Known));

    let pinned = Fingerprint::of(&[1; 32]);
    let wrong = HostTrust::Pinned(pinned);
    let error = visit(server(&identity), &wrong).await.unwrap_err();
    assert!(matches!(
        error,
        HostTlsError::Key(HostKeyError::NotPinned { pinned: p, presented, .. })
            if p == pinned && presented.matches(&identity.key_hash)
    ));
}

#[tokio::test]
async fn an_embedded_host_may_have_any_key() {
    let identity = Identity::generate().unwrap();
    let visited = visit(server(&identity), &HostTrust::AcceptAny).await;
    let visited = visited.unwrap();
    assert!(matches!(visited.status, HostKeyStatus::Unchecked));
    assert!(visited.key.matches(&identity.key_hash));
}

#[tokio::test]
async fn a_host_that_does_not_hold_the_key_is_not_remembered() {
    let (_folder, hosts) = file();
    let [claimed, held] = [(); 2].map(|()| Identity::generate().unwrap());
    let key = ring::sign::any_supported_type(&held.key).unwrap();
    let mut config = server(&held);
    config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(
        rustls::sign::CertifiedKey::new(vec![claimed.cert], key),
    ));
    let trust = HostTrust::FirstUse(hosts.clone());
    let error = visit(config, &trust).await.unwrap_err();
    assert!(matches!(error, HostTlsError::Tls(_)), "{error:?}");
    assert_eq!(hosts.lookup(ADDRESS).unwrap(), None);
}

#[tokio::test]
async fn a_host_with_old_tls_or_without_any_is_refused() {
    let identity = Identity::generate().unwrap();
    let old = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert], identity.key)
        .unwrap();
    let error = visit(old, &HostTrust::AcceptAny).await.unwrap_err();
    assert!(matches!(error, HostTlsError::Tls(_)), "{error:?}");

    let (ours, mut theirs) = duplex(64 * 1024);
    theirs
        .write_all(&[0x2a, 1, 0, 1, 0, 4, 0, 0, 0, 1])
        .await
        .unwrap();
    let error = connect_host(ours, ADDRESS, &HostTrust::AcceptAny, DEADLINE).await;
    assert!(matches!(error, Err(HostTlsError::Tls(_))), "{error:?}");
}

#[tokio::test]
async fn a_broken_file_of_known_hosts_stops_before_anything_is_sent() {
    let (_folder, hosts) = file();
    std::fs::write(hosts.path(), "box.example:5190 AAAA\n").unwrap();
    let (ours, mut theirs) = duplex(64 * 1024);
    let trust = HostTrust::FirstUse(hosts);
    let error = connect_host(ours, ADDRESS, &trust, DEADLINE).await;
    assert!(
        matches!(error, Err(HostTlsError::KnownHosts(_))),
        "{error:?}"
    );
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).await.unwrap();
    assert_eq!(sent, b"");
}

#[tokio::test]
async fn a_key_that_cannot_be_kept_is_said_but_does_not_stop() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let hosts = KnownHosts::new(folder.path().join("file/known_hosts"));
    let identity = Identity::generate().unwrap();
    let visited = visit(server(&identity), &HostTrust::FirstUse(hosts)).await;
    // A path through a file cannot even be looked up.
    assert!(
        matches!(visited, Err(HostTlsError::KnownHosts(_))),
        "{visited:?}"
    );

    let folder = tempfile::tempdir().unwrap();
    let hosts = KnownHosts::new(folder.path().join("known_hosts"));
    std::fs::create_dir(folder.path().join("known_hosts.lock")).unwrap();
    let visited = visit(server(&identity), &HostTrust::FirstUse(hosts)).await;
    let status = visited.unwrap().status;
    assert!(matches!(status, HostKeyStatus::NotKept(_)), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn s_29_a_silent_host_ends_by_the_deadline() {
    let (ours, _silent) = duplex(64 * 1024);
    let start = tokio::time::Instant::now();
    let error = connect_host(ours, ADDRESS, &HostTrust::AcceptAny, DEADLINE).await;
    assert!(matches!(error, Err(HostTlsError::TimedOut)), "{error:?}");
    assert_eq!(start.elapsed(), DEADLINE);
}

#[test]
fn only_names_go_into_sni() {
    for (address, name) in [
        ("box.example:5190", "box.example"),
        ("192.0.2.7:5190", "192.0.2.7"),
        ("[2001:db8::1]:5190", "2001:db8::1"),
        ("under_score!:1", "rdv.invalid"),
    ] {
        assert_eq!(name_of(address).to_str(), name, "{address}");
    }
}
