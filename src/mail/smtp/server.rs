//! The mail server to submit to, as its URL says.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, pki_types::CertificateDer};
use secrecy::SecretString;

use super::tls;

/// A submission server: where it is, how its TLS is opened, who we are to it.
///
/// Cheap to clone; clones share TLS settings and session tickets.
#[derive(Clone)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello: String,
    extra_roots: Vec<CertificateDer<'static>>,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// How a connection becomes private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte (RFC 8314 section 3.3).
    Implicit,
    /// STARTTLS or nothing: a password is to be protected.
    StartTls,
    /// STARTTLS when the server offers it.
    Opportunistic,
}

#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// Why a text names no mail server. Never repeats the text: a password may stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// Neither `smtp://` nor `smtps://`.
    #[error("the mail server's URL starts with smtp:// or smtps://")]
    Scheme,
    /// Nothing between the scheme and the port.
    #[error("the mail server's URL names no host: write smtp://HOST:PORT")]
    NoHost,
    /// No IP address and no name of letters, digits, hyphens and dots.
    #[error("the host in the mail server's URL is neither a name nor an address ([…] around IPv6)")]
    Host,
    /// No number from 1 to 65535.
    #[error("the port in the mail server's URL is not a number from 1 to 65535")]
    Port,
    /// A path, query or fragment.
    #[error(
        "nothing may follow the port in the mail server's URL \
         (a / ? or # in the user or password is written %2F, %3F or %23)"
    )]
    Tail,
    /// A user without password or the reverse.
    #[error("the mail server's URL needs both user and password, as in smtp://user:password@host, or neither")]
    Credentials,
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are no UTF-8.
    #[error("the user or password in the mail server's URL is not percent-encoded (write % as %25)")]
    Encoding,
    /// CR, LF or NUL in user or password.
    #[error("the user or password in the mail server's URL holds a control character")]
    Control,
}

impl Server {
    /// Reads `smtps://…` (implicit TLS, port 465) or `smtp://…` (port 587 with a password, else 25).
    ///
    /// User and password are percent-decoded. STARTTLS is demanded with a password unless the host
    /// is the loopback; else it is used when offered.
    pub fn parse(url: &str) -> Result<Server, ServerUrlError> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").ok_or(ServerUrlError::Scheme)?;
        let implicit = match scheme.to_ascii_lowercase().as_str() {
            "smtps" => true,
            "smtp" => false,
            _ => return Err(ServerUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (userinfo, authority) = match rest.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, rest),
        };
        if authority.contains(['/', '?', '#']) {
            return Err(ServerUrlError::Tail);
        }
        let credentials = userinfo.map(parse_credentials).transpose()?;
        let default_port = match (implicit, &credentials) {
            (true, _) => 465,
            (false, Some(_)) => 587,
            (false, None) => 25,
        };
        let (host, port) = parse_authority(authority, default_port)?;
        let security = match (implicit, &credentials) {
            (true, _) => Security::Implicit,
            (false, Some(_)) if !is_loopback(&host) => Security::StartTls,
            (false, _) => Security::Opportunistic,
        };
        Ok(Server {
            host,
            port,
            security,
            credentials,
            hello: lettre::transport::smtp::extension::ClientId::default().to_string(),
            extra_roots: Vec::new(),
            tls: Arc::default(),
        })
    }

    /// The same server, also trusting the certificates in `pem` (a private authority).
    pub fn trusting(mut self, pem: &[u8]) -> Result<Server, tls::RootsError> {
        self.extra_roots.extend(tls::roots_from_pem(pem)?);
        self.tls = Arc::default();
        Ok(self)
    }

    /// The same server, greeted with `name` instead of this machine's name (RFC 5321 section 4.1.1.1).
    ///
    /// Whatever is no domain name or address literal is left out of the name.
    pub fn greeted_as(mut self, name: &str) -> Server {
        self.hello = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-.:[]".contains(*c)).collect();
        self
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user we log in as, if any.
    pub fn user(&self) -> Option<&str> {
        self.credentials.as_ref().map(|c| c.user.as_str())
    }

    /// Without TLS nothing is said to it; else TLS is used when offered.
    pub fn demands_tls(&self) -> bool {
        self.security != Security::Opportunistic
    }

    /// The host is this machine, so nothing leaves it on the way there.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// TLS settings, loaded at first use.
    pub(super) fn tls_config(&self) -> Result<Arc<ClientConfig>, tls::RootsError> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        // Traffic to this machine does not leave it: what its own certificate says adds nothing,
        // and local servers often have one made at installation that no authority signed.
        let verified = self.security != Security::Opportunistic || !self.is_loopback();
        let config = tls::client_config(&self.extra_roots, verified)?;
        Ok(self.tls.get_or_init(|| config).clone())
    }
}

/// `host:port`, for messages to the operator.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Debug output shows neither user nor password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self}, {:?}, password: {})", self.security, self.credentials.is_some())
    }
}

fn parse_credentials(userinfo: &str) -> Result<Credentials, ServerUrlError> {
    let (user, password) = userinfo.split_once(':').ok_or(ServerUrlError::Credentials)?;
    if user.is_empty() || password.is_empty() {
        return Err(ServerUrlError::Credentials);
    }
    let (user, password) = (percent_decode(user)?, percent_decode(password)?);
    if [&user, &password].iter().any(|text| text.contains(['\r', '\n', '\0'])) {
        return Err(ServerUrlError::Control);
    }
    Ok(Credentials { user, password: SecretString::from(password) })
}

fn percent_decode(text: &str) -> Result<String, ServerUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digit = |i: usize| tail.get(i).and_then(|b| (*b as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(ServerUrlError::Encoding) };
        bytes.push((high * 16 + low) as u8);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| ServerUrlError::Encoding)
}

fn parse_authority(authority: &str, default_port: u16) -> Result<(String, u16), ServerUrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, tail) = bracketed.split_once(']').ok_or(ServerUrlError::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| ServerUrlError::Host)?;
            match tail.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if tail.is_empty() => (host, None),
                None => return Err(ServerUrlError::Host),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(ServerUrlError::NoHost);
    }
    let name_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.parse::<IpAddr>().is_err() && !host.chars().all(name_ok) {
        return Err(ServerUrlError::Host);
    }
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|p| *p != 0).ok_or(ServerUrlError::Port)?
        }
        Some(_) => return Err(ServerUrlError::Port),
        None => default_port,
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_url_says_everything() {
        let server = Server::parse("smtp://Mail.Example.org").unwrap();
        assert_eq!((server.host(), server.port(), server.security), ("mail.example.org", 25, Security::Opportunistic));
        let server = Server::parse("smtp://u%40x:p%3A%25@mail.example.org").unwrap();
        assert_eq!((server.port(), server.security, server.user()), (587, Security::StartTls, Some("u@x")));
        assert_eq!(server.credentials.unwrap().password.expose_secret(), "p:%");
        let server = Server::parse("smtps://u:p@mail.example.org/").unwrap();
        assert_eq!((server.port(), server.security), (465, Security::Implicit));
        let server = Server::parse("smtp://[::1]:2525").unwrap();
        assert_eq!((server.host(), server.to_string().as_str()), ("::1", "[::1]:2525"));
        // An @ or : that was not encoded still finds its place.
        let server = Server::parse("smtp://u@x:p@q:r@127.0.0.1:25").unwrap();
        assert_eq!(server.credentials.as_ref().unwrap().password.expose_secret(), "p@q:r");
        assert_eq!(server.security, Security::Opportunistic, "a password may stay on this machine");
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "a.localhost"]
        {
            assert!(Server::parse(&format!("smtp://{host}")).unwrap().is_loopback(), "{host}");
        }
        for host in ["localhost.example.org", "10.0.0.1", "[::2]", "notlocalhost", "127.0.0.1.example.org"] {
            assert!(!Server::parse(&format!("smtp://{host}")).unwrap().is_loopback(), "{host}");
        }
    }

    #[test]
    fn errors_name_the_trouble_and_never_the_password() {
        for (url, error) in [
            ("http://mail.example.org", ServerUrlError::Scheme),
            ("mail.example.org:25", ServerUrlError::Scheme),
            ("smtp://", ServerUrlError::NoHost),
            ("smtp://:25", ServerUrlError::NoHost),
            ("smtp://u:hunter2@", ServerUrlError::NoHost),
            ("smtp://ma il", ServerUrlError::Host),
            ("smtp://[::1", ServerUrlError::Host),
            ("smtp://mail:0", ServerUrlError::Port),
            ("smtp://mail:+25", ServerUrlError::Port),
            ("smtp://mail:", ServerUrlError::Port),
            ("smtp://mail:65536", ServerUrlError::Port),
            ("smtp://mail/path", ServerUrlError::Tail),
            ("smtp://mail?tls=no", ServerUrlError::Tail),
            ("smtp://user@mail", ServerUrlError::Credentials),
            ("smtp://:hunter2@mail", ServerUrlError::Credentials),
            ("smtp://user:@mail", ServerUrlError::Credentials),
            ("smtp://user:hunter2%zz@mail", ServerUrlError::Encoding),
            ("smtp://user:hunter2%ff@mail", ServerUrlError::Encoding),
            ("smtp://user:hunter2%00@mail", ServerUrlError::Control),
        ] {
            assert_eq!(Server::parse(url).map(|_| ()), Err(error), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        let shown = format!("{0:?} {0}", Server::parse("smtp://bob:hunter2@mail.example.org").unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("bob"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "(smtps?://)?[ -~é]{0,40}") {
            let _ = Server::parse(&url);
        }
    }
}
