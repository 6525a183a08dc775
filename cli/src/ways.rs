//! Which ways connections may take, as the user chose them.

use std::net::{IpAddr, UdpSocket};

use rdv::transport::Route;
use rdv::{Builder, SocksProxy};

use crate::args::{Through, Ways};
use crate::exit::{Exit, Failure};

/// Names and passwords of a proxy travel behind one length byte (RFC 1929 §2).
const FIELD_MAX: usize = 255;

/// Tells an engine what was chosen.
pub(crate) fn apply(mut builder: Builder, ways: &Ways) -> Result<Builder, Failure> {
    builder = builder
        .udp(!ways.no_udp)
        .port_mapping(!ways.no_port_mapping);
    if let Some(address) = ways.bind {
        builder = builder.bind(own(address)?);
    }
    if let Some(ports) = &ways.port {
        builder = builder.ports(ports.0.clone());
    }
    if let Some(external) = ways.external {
        builder = builder.external(external.ip, external.port);
    }
    if let Some(proxy) = proxy(&ways.through)? {
        builder = builder.socks(proxy);
    }
    Ok(builder)
}

/// The way to hosts: as to the other side.
pub(crate) fn route(ways: &Ways) -> Result<Route, Failure> {
    let bind = ways.bind.map(own).transpose()?;
    Ok(Route::default()
        .with_bind(bind)
        .with_socks(proxy(&ways.through)?))
}

/// The proxy, if one was named.
pub(crate) fn proxy(through: &Through) -> Result<Option<SocksProxy>, Failure> {
    let parsed = through.proxy.as_ref().map(|url| parse(&url.0));
    parsed.transpose().map_err(|why| {
        // The text is not repeated: a password may be in it.
        Failure::new(
            Exit::USAGE,
            format!("the proxy is not of the form socks5://[USER:PASS@]HOST:PORT: {why}"),
        )
    })
}

/// The address, if it is one of this machine.
pub(crate) fn own(address: IpAddr) -> Result<IpAddr, Failure> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(address),
        Err(error) => Err(Failure::new(
            Exit::USAGE,
            format!("--bind {address}: cannot be used as an address of this machine ({error})"),
        )),
    }
}

fn parse(url: &str) -> Result<SocksProxy, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    if !["socks5", "socks5h"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err("SOCKS5 is the only kind that is known");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, address) = match rest.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, rest),
    };
    let (host, port) = address.rsplit_once(':').ok_or("no port")?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !bracketed) || host.contains(['/', '?', '#']) {
        return Err("no host");
    }
    if port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Err("no port from 1 to 65535");
    }
    let proxy = SocksProxy::new(address);
    let Some(user) = user else {
        return Ok(proxy);
    };
    let (name, password) = user.split_once(':').ok_or("a name without a password")?;
    match (decoded(name), decoded(password)) {
        (Some(name), Some(password))
            if (1..=FIELD_MAX).contains(&name.len())
                && (1..=FIELD_MAX).contains(&password.len()) =>
        {
            Ok(proxy.with_user(name, password))
        }
        _ => Err("the name or the password is empty, too long or badly escaped"),
    }
}

/// `%40` is `@`, as in every URL.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(16 * high + low).ok()?);
            }
            plain => out.push(plain),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_with_and_without_a_user() {
        for (url, address, user) in [
            ("socks5://192.0.2.7:1080", "192.0.2.7:1080", None),
            ("SOCKS5H://proxy.example:9050/", "proxy.example:9050", None),
            ("socks5://[2001:db8::7]:1080", "[2001:db8::7]:1080", None),
            (
                "socks5://me:p%40ss:word@proxy.example:1080",
                "proxy.example:1080",
                Some(("me", "p@ss:word")),
            ),
        ] {
            let proxy = parse(url).unwrap();
            assert_eq!(proxy.address, address, "{url}");
            let told = proxy
                .user
                .as_ref()
                .map(|(name, pass)| (&name[..], &pass[..]));
            assert_eq!(told, user, "{url}");
        }
    }

    #[test]
    fn s_26_what_is_no_proxy_is_refused_without_being_repeated() {
        for url in [
            "",
            "192.0.2.7:1080",
            "http://me:secret@192.0.2.7:1080",
            "socks5://me:secret@192.0.2.7",
            "socks5://me:secret@:1080",
            "socks5://me:secret@2001:db8::7:1080",
            "socks5://me:secret@192.0.2.7:0",
            "socks5://secret@192.0.2.7:1080",
            "socks5://me:secret%4@192.0.2.7:1080",
            "socks5://me:secret%ff@192.0.2.7:1080",
            "socks5://:secret@192.0.2.7:1080",
        ] {
            let through = Through {
                proxy: Some(url.to_owned().into()),
            };
            let failure = proxy(&through).unwrap_err();
            assert_eq!(failure.exit, Exit::USAGE, "{url}");
            assert!(!failure.sentence.contains("secret"), "{}", failure.sentence);
        }
    }

    #[test]
    fn an_address_of_somebody_else_cannot_be_bound() {
        assert!(own([127, 0, 0, 1].into()).is_ok());
        let failure = own([192, 0, 2, 77].into()).unwrap_err();
        assert_eq!(failure.exit, Exit::USAGE);
    }
}
