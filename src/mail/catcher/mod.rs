//! A small SMTP server that keeps what it is sent: for the demonstration, and for tests of our client.
//!
//! It listens on the loopback only, delivers nothing anywhere, and keeps a bounded number of
//! messages in memory. A script may make it answer as bad servers do.

mod session;
mod store;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

pub use store::{Caught, Mailbag};

/// A running catcher. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Catcher {
    address: SocketAddr,
    mailbag: Mailbag,
    accepting: JoinHandle<()>,
}

/// How a catcher behaves. The default is a well-behaved server that offers everything but TLS and AUTH.
#[derive(Clone)]
pub struct Settings {
    /// EHLO keywords: PIPELINING.
    pub pipelining: bool,
    /// EHLO keywords: SMTPUTF8.
    pub smtputf8: bool,
    /// Knows EHLO; a server of the last century knows HELO only.
    pub ehlo: bool,
    /// Largest message, announced as SIZE and enforced.
    pub max_message: usize,
    /// Messages kept; the oldest go first.
    pub keep_messages: usize,
    /// Octets kept; the oldest messages go first.
    pub keep_bytes: usize,
    /// Connections at a time; more are answered 421.
    pub connections: usize,
    /// Silence after which a client is answered 421.
    pub idle: Duration,
    /// Certificate and key, if TLS is to be had.
    pub tls: Option<Tls>,
    /// User and password, demanded before MAIL.
    pub auth: Option<Auth>,
    /// What to answer, if not as usual.
    pub script: Option<Script>,
    /// Told of each message as it is kept, before the client is.
    pub on_message: Option<OnMessage>,
}

/// TLS of a catcher.
#[derive(Clone)]
pub struct Tls {
    /// Certificate, key and versions.
    pub config: Arc<ServerConfig>,
    /// From the first byte, instead of STARTTLS.
    pub implicit: bool,
}

/// Who may log in, and how.
#[derive(Clone)]
pub struct Auth {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// The EHLO line: `PLAIN LOGIN`, `LOGIN` ….
    pub mechanisms: &'static str,
}

/// Decides what to do at an event.
pub type Script = Arc<dyn Fn(&Event) -> Action + Send + Sync>;
/// Is told of each message.
pub type OnMessage = Arc<dyn Fn(&Arc<Caught>) + Send + Sync>;

/// Something a client did.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The connection's number, from 1.
    pub connection: usize,
    /// What it did.
    pub what: What<'a>,
}

/// What a client did.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// It connected; the banner is due.
    Connect,
    /// A command line, without its end.
    Command(&'a str),
    /// So many octets of a message have come so far; only `Usual` and `Close` have a meaning.
    Data(usize),
    /// The final dot came. A message that is answered positively, cut off or left without answer
    /// is kept, for a server may have done so.
    Message {
        /// Envelope sender.
        from: &'a str,
        /// Envelope recipients.
        to: &'a [String],
    },
}

/// What the catcher does about it.
#[derive(Debug, Clone)]
pub enum Action {
    /// As a good server.
    Usual,
    /// This reply, line ends included; whether it accepts is in its first digit.
    Reply(String),
    /// The reply in pieces, each sent by itself with a pause before it.
    Pieces(Vec<String>, Duration),
    /// As a good server, after a pause.
    Slow(Duration),
    /// This reply, then the end of the connection.
    ReplyAndClose(String),
    /// The end of the connection.
    Close,
    /// No answer, ever, on an open connection.
    Silent,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            pipelining: true,
            smtputf8: true,
            ehlo: true,
            max_message: 10 << 20,
            keep_messages: 10_000,
            keep_bytes: 64 << 20,
            connections: 200,
            idle: Duration::from_secs(300),
            tls: None,
            auth: None,
            script: None,
            on_message: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings(tls: {}, auth: {})", self.tls.is_some(), self.auth.is_some())
    }
}

impl Catcher {
    /// Listens on `address`, which must be on the loopback; port 0 takes a free one.
    pub async fn start(address: SocketAddr, settings: Settings) -> io::Result<Catcher> {
        if !address.ip().is_loopback() {
            let why = "the catcher takes mail from anybody and listens on the loopback only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mailbag = Mailbag::new(settings.keep_messages, settings.keep_bytes);
        let accepting = tokio::spawn(accept(listener, Arc::new(settings), mailbag.clone()));
        Ok(Catcher { address, mailbag, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to send to it.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// What it caught; shared, and readable after the catcher is gone.
    pub fn mailbag(&self) -> &Mailbag {
        &self.mailbag
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, settings: Arc<Settings>, mailbag: Mailbag) {
    let places = Arc::new(Semaphore::new(settings.connections));
    // Dropped with this task, and the sessions with it.
    let mut sessions = JoinSet::new();
    let mut number = 0;
    loop {
        while sessions.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let some be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        number += 1;
        let place = places.clone().try_acquire_owned().ok();
        let (settings, mailbag) = (settings.clone(), mailbag.clone());
        // Without it replies wait for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        sessions.spawn(async move {
            // A client that goes away in the middle is no news.
            let _ = session::run(stream, number, place.is_some(), &settings, &mailbag).await;
            drop(place);
        });
    }
}
