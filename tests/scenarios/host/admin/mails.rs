//! Mail to a server that takes it, and to all the others.

use std::time::{Duration, Instant};

use rdv_host::mail::{Confirmation, MailConfig, MailError, Mailer as _, SmtpMailer};
use rdv_tests::smtp::{Manners, SmtpServer, Tls};

/// Settings for a server.
pub(super) fn settings(server: &SmtpServer) -> MailConfig {
    MailConfig {
        smtp: format!("smtp://{}", server.address()),
        from: "host@chat.example".to_owned(),
        timeout: Duration::from_secs(10),
        ..MailConfig::default()
    }
}

fn confirmation() -> Confirmation {
    Confirmation {
        to: "alice@example.org".to_owned(),
        name: "Alice".parse().unwrap(),
        code: "008J4-CT4AN-K7F24S-NAXWS-QFEZW".parse().unwrap(),
        life: Duration::from_secs(7200),
    }
}

async fn send(config: &MailConfig) -> Result<(), MailError> {
    let mailer = SmtpMailer::new(config).unwrap();
    mailer.confirm(confirmation()).await
}

#[tokio::test]
async fn a_mail_arrives_with_its_code() {
    let mut server = SmtpServer::start(Manners::default()).await;
    send(&settings(&server)).await.unwrap();
    let mail = server.next().await;
    assert_eq!(mail.code(), confirmation().code.expose());
    assert_eq!(
        (mail.from.as_str(), &mail.to[..]),
        ("host@chat.example", &["alice@example.org".to_owned()][..])
    );
    assert!(!mail.tls && mail.user.is_none());
    assert!(mail.text.contains("\nTo: alice@example.org\n"));
    assert!(mail.text.contains("\nMessage-ID: <") && mail.text.contains("\nDate: "));
}

#[tokio::test]
async fn what_the_server_refuses_is_told_at_once() {
    for (reply, expected) in [
        (
            "550 5.1.1 no such user",
            MailError::Refused { reply: Some(550) },
        ),
        (
            "554 5.7.1 we do not like you",
            MailError::Refused { reply: Some(554) },
        ),
        ("550 5.1.2 no such domain", MailError::Unresolved),
        ("556 5.1.10 null MX", MailError::Unresolved),
    ] {
        let mut server = SmtpServer::start(Manners {
            recipients: vec![reply],
            ..Manners::default()
        })
        .await;
        assert_eq!(send(&settings(&server)).await, Err(expected), "{reply}");
        assert!(server.is_empty());
    }
}

#[tokio::test]
async fn what_is_put_off_is_sent_again() {
    let mut server = SmtpServer::start(Manners {
        recipients: vec!["451 4.7.1 greylisted", "450 4.2.0 not yet"],
        ..Manners::default()
    })
    .await;
    let config = MailConfig {
        again_after: vec![Duration::from_millis(1); 3],
        ..settings(&server)
    };
    let mailer = SmtpMailer::new(&config).unwrap();
    mailer.confirm(confirmation()).await.unwrap();
    assert_eq!(server.next().await.to, ["alice@example.org"]);
    let tries = server.commands();
    let tries = tries.iter().filter(|command| command.starts_with("RCPT"));
    assert_eq!(tries.count(), 3);
}

#[tokio::test]
async fn what_is_put_off_for_too_long_or_by_too_many_is_given_up() {
    let put_off = || async {
        SmtpServer::start(Manners {
            recipients: vec!["451 4.7.1 greylisted"; 9],
            ..Manners::default()
        })
        .await
    };
    let server = put_off().await;
    // Nothing waits for another try.
    let config = MailConfig {
        again_after: Vec::new(),
        ..settings(&server)
    };
    assert_eq!(
        send(&config).await,
        Err(MailError::Refused { reply: Some(451) })
    );
    // One may wait.
    let config = MailConfig {
        deferred: 1,
        ..settings(&server)
    };
    let mailer = SmtpMailer::new(&config).unwrap();
    assert_eq!(mailer.confirm(confirmation()).await, Ok(()));
    assert_eq!(mailer.confirm(confirmation()).await, Err(MailError::Busy));
}

#[tokio::test]
async fn a_server_that_is_dead_hangs_up_or_says_nothing_is_not_there() {
    let gone = SmtpServer::start(Manners::default()).await.address();
    let config = MailConfig {
        smtp: format!("smtp://{gone}"),
        from: "host@chat.example".to_owned(),
        ..MailConfig::default()
    };
    assert_eq!(send(&config).await, Err(MailError::Unreachable));
    for verb in ["", "EHLO", "MAIL", "RCPT", "DATA"] {
        let mut server = SmtpServer::start(Manners {
            hangs_up_at: Some(verb),
            ..Manners::default()
        })
        .await;
        assert_eq!(
            send(&settings(&server)).await,
            Err(MailError::Unreachable),
            "{verb}"
        );
        assert!(server.is_empty());
    }
    let server = SmtpServer::start(Manners {
        is_silent: true,
        ..Manners::default()
    })
    .await;
    let config = MailConfig {
        timeout: Duration::from_millis(100),
        ..settings(&server)
    };
    let began = Instant::now();
    assert_eq!(send(&config).await, Err(MailError::Unreachable));
    assert!(began.elapsed() >= config.timeout);
}

#[tokio::test]
async fn a_server_whose_name_is_not_known_is_said() {
    let config = MailConfig {
        smtp: "smtp://mail.invalid".to_owned(),
        plain: true,
        from: "host@chat.example".to_owned(),
        ..MailConfig::default()
    };
    assert_eq!(send(&config).await, Err(MailError::Unresolved));
}

#[tokio::test]
async fn mails_that_are_too_many_at_a_time_are_refused() {
    let server = SmtpServer::start(Manners {
        is_silent: true,
        ..Manners::default()
    })
    .await;
    let config = MailConfig {
        queue: 1,
        ..settings(&server)
    };
    let mailer = SmtpMailer::new(&config).unwrap();
    let first = mailer.confirm(confirmation());
    let second = mailer.confirm(confirmation());
    tokio::pin!(first);
    tokio::select! {
        biased;
        _ = &mut first => panic!("the server says nothing"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(second.await, Err(MailError::Busy));
}

#[tokio::test]
async fn tls_is_spoken_at_once_or_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    only_ours(&password);
    for (tls, scheme) in [(Tls::AtOnce, "smtps"), (Tls::StartTls, "smtp")] {
        let mut server = SmtpServer::start(Manners {
            tls,
            login: Some(("rdv", "correct horse")),
            ..Manners::default()
        })
        .await;
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, server.certificate()).unwrap();
        let config = MailConfig {
            smtp: format!("{scheme}://rdv@{}", server.address()),
            password_file: Some(password.clone()),
            ca_file: Some(ca),
            ..settings(&server)
        };
        send(&config).await.unwrap();
        let mail = server.next().await;
        assert!(mail.tls, "{scheme}");
        assert_eq!(mail.user.as_deref(), Some("rdv"));
        // Who does not trust the certificate does not send.
        let other = SmtpServer::start(Manners::default()).await;
        std::fs::write(folder.path().join("ca.pem"), other.certificate()).unwrap();
        assert_eq!(send(&config).await, Err(MailError::Unreachable), "{scheme}");
        assert!(server.is_empty());
    }
}

#[tokio::test]
async fn where_tls_is_wanted_nothing_is_said_without() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(Manners::default()).await;
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, server.certificate()).unwrap();
    let config = MailConfig {
        ca_file: Some(ca),
        ..settings(&server)
    };
    assert_eq!(send(&config).await, Err(MailError::Refused { reply: None }));
    assert!(server.is_empty());
    let said = server.commands();
    assert!(!said.iter().any(|line| line.contains('@')), "{said:?}");
}

#[tokio::test]
async fn a_wrong_password_is_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong horse\n").unwrap();
    only_ours(&password);
    let server = SmtpServer::start(Manners {
        login: Some(("rdv", "correct horse")),
        ..Manners::default()
    })
    .await;
    let config = MailConfig {
        smtp: format!("smtp://rdv@{}", server.address()),
        password_file: Some(password),
        ..settings(&server)
    };
    assert_eq!(
        send(&config).await,
        Err(MailError::Refused { reply: Some(535) })
    );
}

#[cfg(unix)]
fn only_ours(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn only_ours(_path: &std::path::Path) {}
