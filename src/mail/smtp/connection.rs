//! Opens and closes a connection: banner, EHLO, STARTTLS, AUTH, QUIT.

use std::{fmt, io, net::IpAddr, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    auth,
    server::{Security, Server},
    tls::RootsError,
    wire::{SmtpError, Stream, Wire},
};
use crate::domain::replies::{Reply, Stage};

/// How long to wait for what. The defaults are the minima of RFC 5321 section 4.5.3.2, but for `connect`.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For TCP, and again for the TLS handshake.
    pub connect: Duration,
    /// For the banner and the reply to any command.
    pub command: Duration,
    /// For the reply to DATA.
    pub data: Duration,
    /// For each piece of what we write to be taken.
    pub block: Duration,
    /// For the reply to the final dot.
    pub end: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(30),
            command: Duration::from_secs(300),
            data: Duration::from_secs(120),
            block: Duration::from_secs(180),
            end: Duration::from_secs(600),
        }
    }
}

impl Timeouts {
    /// The same for everything.
    pub fn all(limit: Duration) -> Timeouts {
        Timeouts { connect: limit, command: limit, data: limit, block: limit, end: limit }
    }
}

/// What a server said it can do (its EHLO lines).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: the largest message it takes, in octets, if it says.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// AUTH PLAIN (RFC 4616).
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
}

/// Why no connection came about. No message was involved: trying again is safe.
///
/// The text holds the codes of a refusal, not its words, which may repeat the user name: `refusal` has them.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or nobody answers there.
    #[error("cannot connect to {server}: {error}")]
    Tcp {
        /// `host:port`.
        server: String,
        /// What the system says.
        error: io::Error,
    },
    /// TCP took too long.
    #[error("cannot connect to {0}: no answer in time")]
    Timeout(String),
    /// The TLS handshake failed; the certificate may be at fault.
    #[error("TLS with {server} failed: {error} (OUINON_SMTP_CA_FILE names the certificate of a private authority)")]
    Tls {
        /// `host:port`.
        server: String,
        /// What rustls says.
        error: io::Error,
    },
    /// Certificates or TLS settings could not be loaded.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// A password is to be sent over the network and the server offers no STARTTLS.
    #[error("{0} offers no STARTTLS: the password was not sent; use smtps:// or a server with TLS")]
    TlsNotOffered(String),
    /// More came with the answer to STARTTLS than belongs to it: somebody injects replies (CVE-2021-38371 and kin).
    #[error("{0} sent plain text behind its answer to STARTTLS; somebody may be in between")]
    Injection(String),
    /// A password is configured and the server offers neither AUTH PLAIN nor AUTH LOGIN.
    #[error("{0} offers neither AUTH PLAIN nor AUTH LOGIN, but a user and password are configured")]
    AuthNotOffered(String),
    /// The server refused; at `Stage::Auth` it refused user or password.
    #[error("{server} refused at {stage}: {codes}", codes = .reply.codes())]
    Refused {
        /// `host:port`.
        server: String,
        /// Where.
        stage: Stage,
        /// Its words.
        reply: Reply,
    },
    /// The conversation broke.
    #[error("{server}: {error}")]
    Broken {
        /// `host:port`.
        server: String,
        /// How.
        error: SmtpError,
    },
}

impl ConnectError {
    /// Where and with what words the server refused, for `classify`.
    pub fn refusal(&self) -> Option<(Stage, &Reply)> {
        match self {
            ConnectError::Refused { stage, reply, .. } => Some((*stage, reply)),
            _ => None,
        }
    }

    /// Trying again without a change of configuration, here or there, is in vain.
    pub fn is_permanent(&self) -> bool {
        match self {
            ConnectError::Refused { reply, .. } => reply.is_permanent(),
            ConnectError::Roots(_) | ConnectError::TlsNotOffered(_) | ConnectError::AuthNotOffered(_) => true,
            ConnectError::Tls { error, .. } => error.kind() == io::ErrorKind::InvalidData,
            _ => false,
        }
    }
}

/// An open, greeted and, where asked, encrypted and authenticated connection.
pub struct Connection {
    pub(super) wire: Wire,
    pub(super) capabilities: Capabilities,
    pub(super) timeouts: Timeouts,
    pub(super) phase: Phase,
    /// A refused transaction is still open at the server: RSET goes before the next MAIL.
    pub(super) reset_first: bool,
}

/// Where a conversation stands. `Broken` while an exchange is under way, so that a dropped
/// future leaves it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// The server said 354 and waits for the message.
    Ready,
    Broken,
}

impl Connection {
    /// Connects, greets, starts TLS and logs in as `server` says.
    pub async fn open(server: &Server, timeouts: Timeouts) -> Result<Connection, ConnectError> {
        let tcp = connect(server, timeouts.connect).await?;
        let mut opening = Opening { server, timeouts, wire: Wire::new(Stream::Plain(tcp)) };
        if server.security == Security::Implicit {
            opening = opening.encrypt().await?;
        }
        opening.banner().await?;
        let mut capabilities = opening.hello().await?;
        if server.security != Security::Implicit {
            if capabilities.starttls {
                opening = opening.starttls().await?;
                capabilities = opening.hello().await?;
            } else if server.security == Security::StartTls {
                return Err(ConnectError::TlsNotOffered(server.to_string()));
            }
        }
        if server.credentials.is_some() {
            opening.log_in(&capabilities).await?;
        }
        Ok(Connection { wire: opening.wire, capabilities, timeouts, phase: Phase::Idle, reset_first: false })
    }

    /// Another message may be submitted. Once false, for ever: drop it and open another.
    pub fn is_usable(&self) -> bool {
        self.phase != Phase::Broken
    }

    /// Usable, and the server has not left or spoken unasked since: worth asking before an idle
    /// connection is used again. Waits for nothing; false is for ever.
    pub async fn is_live(&mut self) -> bool {
        if self.phase == Phase::Idle && !self.wire.is_quiet().await {
            self.phase = Phase::Broken;
        }
        self.is_usable()
    }

    /// What the server said it can do, after TLS.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// TLS is in use.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.wire.stream, Stream::Tls(_))
    }

    /// Takes leave (QUIT), waiting at most five seconds for the answer. Dropping is fine as well.
    pub async fn quit(mut self) {
        if self.phase != Phase::Idle {
            return;
        }
        let limit = self.timeouts.command.min(Duration::from_secs(5));
        if self.wire.write(b"QUIT\r\n", limit).await.is_ok() {
            let _ = self.wire.read_lines(limit, "QUIT").await;
            let _ = timeout(limit, self.wire.stream.shutdown()).await;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({:?}, encrypted: {})", self.phase, self.is_encrypted())
    }
}

async fn connect(server: &Server, limit: Duration) -> Result<TcpStream, ConnectError> {
    let failed = |error| ConnectError::Tcp { server: server.to_string(), error };
    let connecting = TcpStream::connect((server.host.as_str(), server.port));
    let tcp = match timeout(limit, connecting).await {
        Ok(tcp) => tcp.map_err(failed)?,
        Err(_) => return Err(ConnectError::Timeout(server.to_string())),
    };
    // Without it the end of a message waits 40 ms for the peer's delayed ACK.
    tcp.set_nodelay(true).map_err(failed)?;
    Ok(tcp)
}

/// A connection on its way to being open.
struct Opening<'a> {
    server: &'a Server,
    timeouts: Timeouts,
    wire: Wire,
}

impl<'a> Opening<'a> {
    async fn banner(&mut self) -> Result<(), ConnectError> {
        let lines = self.read("the connection").await?;
        match lines.code {
            220 => Ok(()),
            _ => Err(self.refused(Stage::Connect, lines.into())),
        }
    }

    /// EHLO, or HELO for a server that does not know it.
    async fn hello(&mut self) -> Result<Capabilities, ConnectError> {
        let lines = self.command(&format!("EHLO {}\r\n", self.server.hello), "EHLO").await?;
        match lines.code {
            250 => return Ok(parse_capabilities(&lines.texts)),
            500..=504 | 550 => {}
            _ => return Err(self.refused(Stage::Connect, lines.into())),
        }
        let lines = self.command(&format!("HELO {}\r\n", self.server.hello), "HELO").await?;
        match lines.code {
            250 => Ok(Capabilities::default()),
            _ => Err(self.refused(Stage::Connect, lines.into())),
        }
    }

    async fn starttls(mut self) -> Result<Opening<'a>, ConnectError> {
        let lines = self.command("STARTTLS\r\n", "STARTTLS").await?;
        if lines.code != 220 {
            return Err(self.refused(Stage::Connect, lines.into()));
        }
        // What stands behind the 220 was not protected and would be read as if it had been.
        if !self.wire.replies.is_empty() {
            return Err(ConnectError::Injection(self.server.to_string()));
        }
        self.encrypt().await
    }

    /// The TLS handshake; the wire starts anew behind it.
    async fn encrypt(self) -> Result<Opening<'a>, ConnectError> {
        let Opening { server, timeouts, wire } = self;
        let Stream::Plain(tcp) = wire.stream else {
            return Err(ConnectError::Broken { server: server.to_string(), error: SmtpError::Unusable });
        };
        let failed = |error| ConnectError::Tls { server: server.to_string(), error };
        let name = match server.host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(server.host.clone()).map_err(|e| failed(io::Error::other(e)))?,
        };
        let config = server.tls_config()?;
        let handshake = TlsConnector::from(Arc::clone(&config)).connect(name, tcp);
        match timeout(timeouts.connect, handshake).await {
            Ok(Ok(stream)) => Ok(Opening { server, timeouts, wire: Wire::new(Stream::Tls(Box::new(stream))) }),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn log_in(&mut self, capabilities: &Capabilities) -> Result<(), ConnectError> {
        let Some(credentials) = &self.server.credentials else { return Ok(()) };
        let script = if capabilities.auth_plain {
            auth::plain(credentials)
        } else if capabilities.auth_login {
            auth::login(credentials)
        } else {
            return Err(ConnectError::AuthNotOffered(self.server.to_string()));
        };
        for line in script {
            let lines = self.command(&line, "AUTH").await?;
            match lines.code {
                235 => return Ok(()),
                334 => {}
                _ => return Err(self.refused(Stage::Auth, lines.into())),
            }
        }
        Err(self.broken(SmtpError::Unexpected { command: "AUTH", code: 334 }))
    }

    async fn command(&mut self, line: &str, name: &'static str) -> Result<super::reply::Lines, ConnectError> {
        if let Err(unfinished) = self.wire.write(line.as_bytes(), self.timeouts.block).await {
            return Err(self.broken(unfinished.error));
        }
        self.read(name).await
    }

    async fn read(&mut self, answer_to: &'static str) -> Result<super::reply::Lines, ConnectError> {
        let read = self.wire.read_lines(self.timeouts.command, answer_to).await;
        read.map_err(|error| self.broken(error))
    }

    fn refused(&self, stage: Stage, reply: Reply) -> ConnectError {
        ConnectError::Refused { server: self.server.to_string(), stage, reply }
    }

    fn broken(&self, error: SmtpError) -> ConnectError {
        ConnectError::Broken { server: self.server.to_string(), error }
    }
}

fn parse_capabilities(lines: &[String]) -> Capabilities {
    let mut found = Capabilities::default();
    // The first line greets.
    for line in lines.iter().skip(1) {
        let line = line.to_ascii_uppercase();
        // Some servers write AUTH=PLAIN for clients of the last century.
        let mut words = line.split([' ', '=']).filter(|w| !w.is_empty());
        match words.next() {
            Some("PIPELINING") => found.pipelining = true,
            Some("SIZE") => found.size = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0),
            Some("8BITMIME") => found.eight_bit_mime = true,
            Some("SMTPUTF8") => found.smtputf8 = true,
            Some("STARTTLS") => found.starttls = true,
            Some("AUTH") => {
                for mechanism in words {
                    found.auth_plain |= mechanism == "PLAIN";
                    found.auth_login |= mechanism == "LOGIN";
                }
            }
            _ => {}
        }
    }
    found
}
