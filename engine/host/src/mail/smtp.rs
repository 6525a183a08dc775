//! Mail by SMTP, to the one server that the operator names.
//!
//! A mail is sent while its client waits, so that a refusal is told at once. What the server does not take *now* (a 4yz reply,
//! as greylists give) is kept and sent again; the client is told that it is on its way. Both are bounded.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lettre::Message;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::lookup_host;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::config::{MailConfig, MailConfigError, Security, Server, check_page, password};
use super::{Confirmation, MailError, Mailer, Sending, letter};

/// For the last words, when the mail is handed over already.
const FAREWELL: Duration = Duration::from_secs(2);
/// Ways to prove who we are, the usual first.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// Sends mail by SMTP. Clones share their connections and what waits.
#[derive(Clone)]
pub struct SmtpMailer {
    inner: Arc<Inner>,
}

struct Inner {
    server: Server,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    hello: ClientId,
    from: Mailbox,
    confirm_url: Option<String>,
    timeout: Duration,
    again_after: Vec<Duration>,
    /// Connections.
    at_once: Semaphore,
    /// Mails that clients wait for.
    queue: Arc<Semaphore>,
    /// Mails that wait for another try.
    deferred: Arc<Semaphore>,
}

/// Why a mail did not leave now.
enum Failure {
    /// Another try may help.
    NotNow(u16),
    Final(MailError),
}

impl SmtpMailer {
    /// Reads the settings and the files that they name; nothing is connected to.
    ///
    /// # Errors
    /// [`MailConfigError`].
    pub fn new(config: &MailConfig) -> Result<Self, MailConfigError> {
        let server = Server::of(config)?;
        if config.timeout.is_zero() || config.at_once == 0 || config.queue == 0 {
            return Err(MailConfigError::Zero);
        }
        let from: Mailbox = config.from.parse().map_err(|_| MailConfigError::From {
            from: config.from.clone(),
        })?;
        if let Some(page) = &config.confirm_url {
            check_page(page)?;
        }
        let credentials = match (&server.user, &config.password_file) {
            (Some(user), Some(path)) => {
                let password = password(path)?;
                Some(Credentials::new(user.clone(), password.as_str().to_owned()))
            }
            (None, None) => None,
            _ => return Err(MailConfigError::Credentials),
        };
        let tls = match server.security {
            Security::Plain => None,
            Security::Tls | Security::StartTls => Some(tls_for(&server.host, config)?),
        };
        let most = |count: usize| count.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            inner: Arc::new(Inner {
                hello: ClientId::Domain(from.email.domain().to_owned()),
                server,
                tls,
                credentials,
                from,
                confirm_url: config.confirm_url.clone(),
                timeout: config.timeout,
                again_after: config.again_after.clone(),
                at_once: Semaphore::new(most(config.at_once)),
                queue: Arc::new(Semaphore::new(most(config.queue))),
                deferred: Arc::new(Semaphore::new(most(config.deferred))),
            }),
        })
    }
}

impl Mailer for SmtpMailer {
    fn confirm(&self, confirmation: Confirmation) -> Sending<'_> {
        Box::pin(async move {
            let inner = &self.inner;
            let message = letter::write(&confirmation, &inner.from, inner.confirm_url.as_deref())?;
            let queue = Arc::clone(&inner.queue);
            let _place = queue.try_acquire_owned().map_err(|_| MailError::Busy)?;
            match inner.send(&message).await {
                Ok(()) => Ok(()),
                Err(Failure::Final(error)) => {
                    warn!(%error, "a mail did not leave");
                    Err(error)
                }
                Err(Failure::NotNow(reply)) => {
                    if inner.again_after.is_empty() {
                        return Err(MailError::Refused { reply: Some(reply) });
                    }
                    let deferred = Arc::clone(&inner.deferred);
                    let place = deferred.try_acquire_owned().map_err(|_| MailError::Busy)?;
                    debug!(reply, "a mail is sent again later");
                    let mailer = Arc::downgrade(inner);
                    tokio::spawn(send_again(mailer, message, confirmation.life, place));
                    Ok(())
                }
            }
        })
    }
}

/// Sends a mail again until it leaves, is refused for good, or its code is not good any more.
async fn send_again(
    mailer: Weak<Inner>,
    message: Message,
    life: Duration,
    _place: OwnedSemaphorePermit,
) {
    let began = Instant::now();
    for number in 0.. {
        let Some(pause) = after(&mailer, number) else {
            return warn!("a mail was put off too often");
        };
        if began.elapsed().saturating_add(pause) >= life {
            return warn!("a mail was put off for too long");
        }
        sleep(pause).await;
        let Some(inner) = mailer.upgrade() else {
            return;
        };
        match inner.send(&message).await {
            Ok(()) => return debug!(number, "a mail left later"),
            Err(Failure::NotNow(reply)) => debug!(reply, "a mail was put off again"),
            // The server was there before, and may be again.
            Err(Failure::Final(MailError::Unreachable | MailError::Unresolved)) => {
                debug!("the mail server cannot be reached");
            }
            Err(Failure::Final(error)) => return warn!(%error, "a mail did not leave"),
        }
    }
}

/// The pause in front of the try of that number; none: it was the last one, or there is no mailer any more.
fn after(mailer: &Weak<Inner>, number: usize) -> Option<Duration> {
    mailer.upgrade()?.again_after.get(number).copied()
}

impl Inner {
    async fn send(&self, message: &Message) -> Result<(), Failure> {
        let deliver = async {
            let unreachable = |_| Failure::Final(MailError::Unreachable);
            let _place = self.at_once.acquire().await.map_err(unreachable)?;
            self.deliver(message).await
        };
        match timeout(self.timeout, deliver).await {
            Ok(sent) => sent,
            Err(_) => Err(Failure::Final(MailError::Unreachable)),
        }
    }

    async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let server = &self.server;
        let place = (server.host.as_str(), server.port);
        let addresses = lookup_host(place).await;
        let addresses: Vec<_> = addresses.map_or_else(|_| Vec::new(), Iterator::collect);
        if addresses.is_empty() {
            return Err(Failure::Final(MailError::Unresolved));
        }
        let at_once = self.tls.clone();
        let at_once = at_once.filter(|_| server.security == Security::Tls);
        let limit = Some(self.timeout);
        let connected =
            AsyncSmtpConnection::connect_tokio1(&addresses[..], limit, &self.hello, at_once, None);
        let mut connection = connected.await.map_err(|error| failure(&error))?;
        let sent = self.speak(&mut connection, message).await;
        // The mail is the server's or not by now; how it takes leave makes no difference.
        tokio::spawn(async move {
            timeout(FAREWELL, connection.abort()).await.ok();
        });
        sent.map_err(|error| failure(&error))
    }

    async fn speak(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &Message,
    ) -> Result<(), lettre::transport::smtp::Error> {
        if let (Security::StartTls, Some(tls)) = (self.server.security, &self.tls) {
            connection.starttls(tls.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(&MECHANISMS, credentials).await?;
        }
        connection
            .send(message.envelope(), &message.formatted())
            .await?;
        Ok(())
    }
}

impl std::fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpMailer")
            .field("host", &self.inner.server.host)
            .field("port", &self.inner.server.port)
            .field("security", &self.inner.server.security)
            .finish_non_exhaustive()
    }
}

fn tls_for(host: &str, config: &MailConfig) -> Result<TlsParameters, MailConfigError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &config.ca_file {
        let pem = std::fs::read(path).map_err(|source| MailConfigError::File {
            path: path.clone(),
            source,
        })?;
        let certificates = Certificate::from_pem(&pem).ok();
        let holds_any = pem.windows(10).any(|part| part == b"-----BEGIN");
        let certificates = certificates.filter(|_| holds_any);
        let certificates =
            certificates.ok_or_else(|| MailConfigError::Certificate { path: path.clone() })?;
        builder = builder.add_root_certificate(certificates);
    }
    builder.build_rustls().map_err(|_| MailConfigError::Tls {
        host: host.to_owned(),
    })
}

/// What the words of a server, or their absence, come to.
fn failure(error: &lettre::transport::smtp::Error) -> Failure {
    let reply = error.status().map(u16::from);
    match reply {
        Some(reply) if error.is_transient() => Failure::NotNow(reply),
        Some(reply) => Failure::Final(match names_no_domain(&error.to_string()) {
            true => MailError::Unresolved,
            false => MailError::Refused { reply: Some(reply) },
        }),
        // It speaks, but not as we need it: no STARTTLS, or no way to prove who we are.
        None if error.is_client() => Failure::Final(MailError::Refused { reply: None }),
        None => Failure::Final(MailError::Unreachable),
    }
}

/// Whether a refusal is about the domain of the recipient: enhanced codes 5.1.2, 5.1.10 and 5.4.4 (RFC 3463, 3.2 and 3.5;
/// RFC 7505, 4).
fn names_no_domain(said: &str) -> bool {
    let words = said.split(|c: char| c.is_whitespace() || c == ':' || c == ';');
    words
        .into_iter()
        .any(|word| matches!(word, "5.1.2" | "5.1.10" | "5.4.4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MailConfig {
        MailConfig {
            smtp: "smtp://127.0.0.1:1".to_owned(),
            from: "host@chat.example".to_owned(),
            ..MailConfig::default()
        }
    }

    #[test]
    fn wrong_settings_are_said_before_anything_is_sent() {
        assert!(SmtpMailer::new(&config()).is_ok());
        let refused = |change: fn(&mut MailConfig)| {
            let mut config = config();
            change(&mut config);
            SmtpMailer::new(&config).unwrap_err()
        };
        assert!(matches!(
            refused(|c| c.from = "nobody".into()),
            MailConfigError::From { .. }
        ));
        assert!(matches!(
            refused(|c| c.from = "a@b.example\r\nBcc: c@d.example".into()),
            MailConfigError::From { .. }
        ));
        assert!(matches!(
            refused(|c| c.smtp = "x".into()),
            MailConfigError::Url { .. }
        ));
        assert!(matches!(
            refused(|c| c.smtp = "smtp://me@127.0.0.1".into()),
            MailConfigError::Credentials
        ));
        assert!(matches!(
            refused(|c| c.password_file = Some("x".into())),
            MailConfigError::Credentials
        ));
        assert!(matches!(
            refused(|c| c.confirm_url = Some("x".into())),
            MailConfigError::ConfirmUrl { .. }
        ));
        assert!(matches!(refused(|c| c.at_once = 0), MailConfigError::Zero));
        assert!(matches!(
            refused(|c| {
                c.smtp = "smtps://mail.example".into();
                c.ca_file = Some("/nowhere".into());
            }),
            MailConfigError::File { .. }
        ));
    }

    #[test]
    fn a_file_without_a_certificate_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing").unwrap();
        let refused = SmtpMailer::new(&MailConfig {
            smtp: "smtps://mail.example".into(),
            ca_file: Some(path),
            ..config()
        });
        assert!(matches!(refused, Err(MailConfigError::Certificate { .. })));
    }

    #[test]
    fn a_refusal_may_be_about_the_domain() {
        assert!(names_no_domain(
            "permanent error (550): 5.1.2 <a@b>: no such domain"
        ));
        assert!(names_no_domain("permanent error (556): 5.1.10 null MX"));
        assert!(!names_no_domain(
            "permanent error (550): 5.1.1 no such user 5.1.20"
        ));
    }
}
