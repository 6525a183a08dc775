//! Where mail goes, and as whom.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

/// Settings of an [`SmtpMailer`](super::SmtpMailer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailConfig {
    /// The server that takes mail: `smtps://[USER@]HOST[:465]` (TLS from the first byte) or `smtp://[USER@]HOST[:587]`
    /// (STARTTLS, which must be there unless the server is on this machine and no `ca_file` is given). In USER, `%40` is an at sign.
    pub smtp: String,
    /// Holds the password of USER, for its owner alone.
    pub password_file: Option<PathBuf>,
    /// From whom the mail is: `name@example.org`.
    pub from: String,
    /// A page of the operator's for the code, which stands for `{code}` in it or goes behind it. None: the mail tells what
    /// to type.
    pub confirm_url: Option<String>,
    /// Speak to a server on another machine without TLS, too.
    pub plain: bool,
    /// Certificates (PEM) that are trusted beside those that everybody trusts.
    pub ca_file: Option<PathBuf>,
    /// From the connection to the server's last word.
    pub timeout: Duration,
    /// Connections to the server at a time.
    pub at_once: usize,
    /// Mails on their way, those included that wait for a connection.
    pub queue: usize,
    /// A mail that the server does not take now (a 4yz reply, as greylists give) is sent again after these.
    pub again_after: Vec<Duration>,
    /// Mails that wait for that.
    pub deferred: usize,
}

impl Default for MailConfig {
    /// Everything but where and as whom.
    fn default() -> Self {
        Self {
            smtp: String::new(),
            password_file: None,
            from: String::new(),
            confirm_url: None,
            plain: false,
            ca_file: None,
            timeout: Duration::from_secs(30),
            at_once: 4,
            queue: 64,
            again_after: [1, 5, 15, 30].map(|m| Duration::from_secs(m * 60)).to_vec(),
            deferred: 256,
        }
    }
}

/// What is wrong with the settings of mail.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MailConfigError {
    /// The server.
    #[error(
        "{url:?} does not name a mail server: write smtps://[USER@]HOST[:PORT] or smtp://[USER@]HOST[:PORT]"
    )]
    Url {
        /// As it was written, without what may be a password.
        url: String,
    },
    /// A password stands where others see it.
    #[error("the password of the mail server belongs into a file of its own: set password_file")]
    PasswordInUrl,
    /// A user without a password, or the other way round.
    #[error("the mail server wants a user and a password file, or neither")]
    Credentials,
    /// A password would go over the network for everybody to read.
    #[error("a password is not sent without TLS: write smtps://, or leave plain away")]
    PlainPassword,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read the password.
    #[error("others may read the password in {path}: chmod 600 it")]
    PasswordExposed {
        /// Where.
        path: PathBuf,
    },
    /// Not one line of text.
    #[error("{path} does not hold a password: one line of text")]
    Password {
        /// Where.
        path: PathBuf,
    },
    /// Not a certificate.
    #[error("{path} holds no certificate (PEM)")]
    Certificate {
        /// Where.
        path: PathBuf,
    },
    /// The sender.
    #[error("{from:?} is no address that mail can be from: write name@example.org")]
    From {
        /// As it was written.
        from: String,
    },
    /// The page for the code.
    #[error("{url:?} is no page: write https://… with {{code}} where the code belongs")]
    ConfirmUrl {
        /// As it was written.
        url: String,
    },
    /// TLS cannot be set up for such a name.
    #[error("TLS cannot be spoken with {host:?}")]
    Tls {
        /// Of the server.
        host: String,
    },
    /// A count or a time is zero.
    #[error("timeout, at_once and queue of mail must be more than zero")]
    Zero,
}

/// How the server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS, or nothing at all is said.
    StartTls,
    /// None.
    Plain,
}

/// The server, as its URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) security: Security,
}

impl Server {
    pub(super) fn of(config: &MailConfig) -> Result<Self, MailConfigError> {
        let url = config.smtp.as_str();
        let wrong = || MailConfigError::Url {
            url: without_password(url),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(MailConfigError::PasswordInUrl),
            Some((user, place)) => (Some(unescape(user).ok_or_else(wrong)?), place),
            None => (None, rest),
        };
        let (host, port) = host_and_port(place).ok_or_else(wrong)?;
        // Who names certificates wants TLS.
        let is_on_this_machine = is_loopback(host) && config.ca_file.is_none();
        let security = match tls {
            true => Security::Tls,
            false if config.plain || is_on_this_machine => Security::Plain,
            false => Security::StartTls,
        };
        if user.is_some() && security == Security::Plain && !is_loopback(host) {
            return Err(MailConfigError::PlainPassword);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 465 } else { 587 }),
            user,
            security,
        })
    }
}

/// The password, which is one line of a file that its owner alone may read.
pub(super) fn password(path: &Path) -> Result<Zeroizing<String>, MailConfigError> {
    let in_file = |source| MailConfigError::File {
        path: path.to_owned(),
        source,
    };
    let text = Zeroizing::new(fs::read_to_string(path).map_err(in_file)?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(path).map_err(in_file)?.permissions().mode() & 0o077 != 0 {
            let path = path.to_owned();
            return Err(MailConfigError::PasswordExposed { path });
        }
    }
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.chars().any(char::is_control) {
        let path = path.to_owned();
        return Err(MailConfigError::Password { path });
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Puts a code into the operator's URL.
pub(super) fn page_for(url: &str, code: &str) -> String {
    match url.contains("{code}") {
        true => url.replace("{code}", code),
        false => format!("{url}{code}"),
    }
}

pub(super) fn check_page(url: &str) -> Result<(), MailConfigError> {
    let is_page = url.starts_with("https://") || url.starts_with("http://");
    let is_clean = url.bytes().all(|byte| byte.is_ascii_graphic());
    match is_page && is_clean && url.len() <= 512 {
        true => Ok(()),
        false => Err(MailConfigError::ConfirmUrl {
            url: url.to_owned(),
        }),
    }
}

fn host_and_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                port.strip_prefix(':')
                    .or(Some("").filter(|_| port.is_empty()))?,
            )
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_name) {
        return None;
    }
    let port = match port {
        "" => None,
        port => Some(port.parse().ok().filter(|&port| port != 0)?),
    };
    Some((host, port))
}

fn is_loopback(host: &str) -> bool {
    let is_address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || is_address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// `%40` and the like (RFC 3986, 2.1).
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

/// For error messages: what stands before the last at sign may hold a password.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
        (None, Some((_, place))) => format!("…@{place}"),
        (_, None) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(smtp: &str, plain: bool) -> Result<Server, MailConfigError> {
        Server::of(&MailConfig {
            smtp: smtp.to_owned(),
            plain,
            ..MailConfig::default()
        })
    }

    #[test]
    fn a_url_names_server_port_user_and_how_it_is_spoken_to() {
        for (url, host, port, user, security) in [
            (
                "smtps://mail.example.org",
                "mail.example.org",
                465,
                None,
                Security::Tls,
            ),
            (
                "SMTPS://rdv@mail.example.org:4650/",
                "mail.example.org",
                4650,
                Some("rdv"),
                Security::Tls,
            ),
            (
                "smtp://mail.example.org",
                "mail.example.org",
                587,
                None,
                Security::StartTls,
            ),
            (
                "smtp://me%40example.org@192.0.2.1:25",
                "192.0.2.1",
                25,
                Some("me@example.org"),
                Security::StartTls,
            ),
            (
                "smtp://localhost:25",
                "localhost",
                25,
                None,
                Security::Plain,
            ),
            (
                "smtp://rdv@127.0.0.1",
                "127.0.0.1",
                587,
                Some("rdv"),
                Security::Plain,
            ),
            ("smtp://[::1]:2525", "::1", 2525, None, Security::Plain),
            (
                "smtps://[2001:db8::1]",
                "2001:db8::1",
                465,
                None,
                Security::Tls,
            ),
        ] {
            let server = server(url, false).unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port), "{url}");
            assert_eq!(
                (server.user.as_deref(), server.security),
                (user, security),
                "{url}"
            );
        }
        let plain = server("smtp://mail.example.org", true).unwrap();
        assert_eq!(plain.security, Security::Plain);
    }

    #[test]
    fn what_names_no_server_is_said_without_a_password() {
        for url in [
            "",
            "mail.example.org",
            "http://mail.example.org",
            "smtp://",
            "smtp://a b",
            "smtp://host:0",
            "smtp://host:65536",
            "smtp://host:",
            "smtp://[::1",
            "smtp://[x]",
            "smtp://%zz@host",
            "smtp://%0a@host",
            "smtp://[::1]25",
        ] {
            let refused = server(url, false);
            // A colon without a port is none, as everywhere.
            if url == "smtp://host:" {
                assert!(refused.is_ok());
                continue;
            }
            assert!(
                matches!(refused, Err(MailConfigError::Url { .. })),
                "{url}: {refused:?}"
            );
        }
        let refused = server("smtp://me:secret@host", false).unwrap_err();
        assert!(matches!(refused, MailConfigError::PasswordInUrl));
        let refused = server("smtpx://me:secret@host", false).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    }

    #[test]
    fn a_password_is_not_sent_over_the_network_without_tls() {
        let refused = server("smtp://me@mail.example.org", true).unwrap_err();
        assert!(matches!(refused, MailConfigError::PlainPassword));
    }

    #[cfg(unix)]
    #[test]
    fn the_password_is_one_line_of_a_file_that_nobody_else_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("correct horse\n", 0o600);
        assert_eq!(*password(&path).unwrap(), "correct horse");
        write("correct horse\n", 0o640);
        assert!(matches!(
            password(&path),
            Err(MailConfigError::PasswordExposed { .. })
        ));
        for text in ["", "\n", "two\nlines\n"] {
            write(text, 0o600);
            assert!(
                matches!(password(&path), Err(MailConfigError::Password { .. })),
                "{text:?}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(password(&path), Err(MailConfigError::File { .. })));
    }

    #[test]
    fn the_code_goes_where_the_operator_wants_it() {
        assert_eq!(
            page_for("https://a.example/c?x={code}&y", "K"),
            "https://a.example/c?x=K&y"
        );
        assert_eq!(
            page_for("https://a.example/c/", "K"),
            "https://a.example/c/K"
        );
        for url in [
            "",
            "ftp://a.example/",
            "https://a example/",
            "https://a.example/\r\nBcc: x",
        ] {
            assert!(check_page(url).is_err(), "{url:?}");
        }
        assert!(check_page("https://a.example/{code}").is_ok());
    }
}
