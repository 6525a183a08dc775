//! `--config`, and `rdv host check-config`.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use rdv_tests::process::{ERR, Ended, Person};

use crate::desk::{address_in, person};

fn check(owner: &Person, text: &str) -> Ended {
    fs::write(owner.path("host.toml"), text).expect("a file");
    owner.run(["host", "check-config", "host.toml"]).finish()
}

/// What is in order, with everything that there is a section for.
const GOOD: &str = r#"
[host]
listen = ["127.0.0.1:0", "[::1]:0"]
public = "192.0.2.1"
state = "state"
numbers = "1-99"
sign_off_spread = "3s"
sign_off_each = "10ms"
relay_time = "1min"

[relay]
addresses = ["relay.example:443"]
public = "relay.example:443"

[accounts]
db = "sqlite:accounts.db"

[mail]
smtp = "smtp://rdv@mail.example"
password_file = "password"
from = "host@example.org"

[admin]
error_url = "https://example.org/errors"
delete = true
registration = "open"
frozen = ["format", "email"]
reserved_names = ["root"]

[limits]
connections = "60/3s"
sign_on = "30s"
queue_bytes = "2MiB"
rate_icbm = { window = 20, max = 6000, clear = 500, alert = 400, limit = 250, disconnect = 100 }

[limits.relay]
pair_bytes = "1GiB"

[limits.proposals]
first = "10/20s"

[limits.rates_old]
general = { window = 80, max = 6000, clear = 2500, alert = 2000, limit = 1500, disconnect = 800 }

[metrics]
listen = "127.0.0.1:0"

[log]
json = true
level = "info"
"#;

#[test]
fn a_file_with_every_section_is_in_order_and_nothing_is_made() {
    let owner = person();
    fs::write(owner.path("password"), "secret\n").expect("a file");
    fs::set_permissions(owner.path("password"), fs::Permissions::from_mode(0o600)).expect("a mode");
    let ended = check(&owner, GOOD).expect_code(0);
    assert!(ended.err.contains("in order"), "{}", ended.err);
    assert!(!owner.path("accounts.db").exists());
    assert!(!owner.path("state/host-key.pem").exists());
}

#[test]
fn every_mistake_is_told_at_once_with_file_line_key_and_what_is_allowed() {
    let owner = person();
    let text = r#"
[host]
listen = "5190"
tls_cert = "missing.pem"
tls_key = "missing.key"
lissten = "[::]:5190"

[limits]
connections = 60
sign_ons_per_account = 300

[mail]
smtp = "http://mail.example"
from = "host@example.org"

[admin]
registration = "sometimes"

[metrics]
listen = "0.0.0.0:9190"

[accounts]
db = "mysql:accounts"

[odd]
"#;
    let ended = check(&owner, text).expect_code(2);
    for told in [
        "host.toml",
        "line 3: host.listen must be an address and a port",
        "line 6: host.\"lissten\" is unknown; known in [host]: listen, public",
        "line 9: limits.connections must be so many at once",
        "line 10: limits.sign_ons_per_account must be a whole number from 1 to 255",
        "line 17: admin.registration: \"closed\" and \"open\" are allowed",
        "line 25: \"odd\" is unknown; known at the top: host, relay",
        "host.tls_cert: cannot read",
        "mail: \"http://mail.example\" does not name a mail server",
        "metrics.listen: metrics on 0.0.0.0:9190 could be read by others",
        "accounts.db: ",
    ] {
        assert!(ended.err.contains(told), "{told:?} in {}", ended.err);
    }
}

#[test]
fn a_host_does_not_start_with_a_key_that_it_does_not_know() {
    let owner = person();
    fs::write(
        owner.path("host.toml"),
        "[host]\nlisten = \"127.0.0.1:0\"\nmusuem = true\n",
    )
    .expect("a file");
    let ended = owner
        .run(["host", "--config", "host.toml"])
        .finish()
        .expect_code(2);
    assert!(
        ended.err.contains("line 3: host.\"musuem\" is unknown"),
        "{}",
        ended.err
    );
    let ended = owner.run(["host", "check-config"]).finish().expect_code(2);
    assert!(ended.err.contains("RDV_HOST_CONFIG"), "{}", ended.err);
}

#[test]
fn flags_count_more_than_the_environment_and_that_more_than_the_file() {
    let owner = person();
    let folder = owner.path("etc");
    fs::create_dir(&folder).expect("a folder");
    fs::write(
        folder.join("host.toml"),
        "[host]\nlisten = \"127.0.0.2:0\"\nstate = \"kept\"\n",
    )
    .expect("a file");
    let config = folder.join("host.toml");
    let listens = |owner: &Person, more: &[&str]| {
        let mut run = owner.run(["host"].iter().chain(more));
        let address = address_in(&run.line_with(ERR, "Host on"));
        run.line_with(ERR, "Accounts:");
        address.ip().to_string()
    };
    let owner = owner.with_env("RDV_HOST_CONFIG", &config);
    assert_eq!(listens(&owner, &[]), "127.0.0.2");
    assert!(
        folder.join("kept/host.db").exists(),
        "paths are meant from where the file is"
    );
    assert_eq!(listens(&owner, &["--listen", "127.0.0.4:0"]), "127.0.0.4");
    let owner = owner.with_env("RDV_HOST_LISTEN", "127.0.0.3:0");
    assert_eq!(listens(&owner, &[]), "127.0.0.3");
    assert_eq!(listens(&owner, &["--listen", "127.0.0.4:0"]), "127.0.0.4");
    // The accounts are where the host has them.
    let added = owner.run(["host", "user", "add", "alice"]).finish();
    added.expect_code(0);
    let listed = owner.run([
        "host",
        "user",
        "list",
        "--json",
        "--state",
        text(&folder.join("kept")),
    ]);
    assert!(listed.finish().expect_code(0).out.contains("alice"));
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("a path of ours")
}

#[test]
fn a_limit_of_the_file_is_the_limit() {
    let owner = person();
    let text = "[host]\nlisten = \"127.0.0.1:0\"\n[limits]\nunsigned_per_address = 1\n";
    fs::write(owner.path("host.toml"), text).expect("a file");
    let mut run = owner.run(["host", "--config", "host.toml"]);
    let address = address_in(&run.line_with(ERR, "Host on"));
    run.line_with(ERR, "Accounts:");
    let mut first = TcpStream::connect(address).expect("the host");
    let mut greeting = [0; 2];
    first.read_exact(&mut greeting).expect("a greeting");
    let mut second = TcpStream::connect(address).expect("the host");
    // One connection too many is hung up on; there is nobody yet to say anything to.
    assert!(!matches!(second.read(&mut greeting), Ok(1..)));
}

#[test]
fn a_relay_serves_those_whose_key_it_has() {
    let owner = person();
    let shown = owner.run(["host", "relay-key"]).finish().expect_code(0);
    let key = shown.out.trim();
    assert_eq!(key.len(), 64);
    assert_eq!(
        owner.run(["host", "relay-key"]).finish().out.trim(),
        key,
        "it is kept"
    );
    fs::write(owner.path("relay.key"), &shown.out).expect("a file");
    let refused = owner
        .run(["relay", "--key", "relay.key"])
        .finish()
        .expect_code(8);
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
    fs::set_permissions(owner.path("relay.key"), fs::Permissions::from_mode(0o600))
        .expect("a mode");
    fs::write(
        owner.path("relay.toml"),
        "[relay]\nlisten = \"127.0.0.1:0\"\nkey = \"relay.key\"\n",
    )
    .expect("a file");
    let mut run = owner.run(["relay", "--config", "relay.toml"]);
    run.line_with(ERR, "Relay on");
    let nobody = owner
        .run(["relay", "--listen", "127.0.0.1:0"])
        .finish()
        .expect_code(2);
    assert!(nobody.err.contains("--open"), "{}", nobody.err);
}
