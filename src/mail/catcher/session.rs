//! One client of the catcher, who may be anybody and send anything.

use std::{future::pending, io, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{Action, Auth, Event, Mailbag, Settings, What};

/// Longest command line; RFC 4954 asks for 12288 with AUTH.
const MAX_LINE: usize = 12_288;
const MAX_RECIPIENTS: usize = 100;
/// Bad commands after which nobody goes on listening.
const MAX_ERRORS: usize = 20;

/// Serves a client to its end.
pub(super) async fn run(
    stream: impl Duplex + 'static,
    connection: usize,
    welcome: bool,
    settings: &Settings,
    mailbag: &Mailbag,
) -> io::Result<()> {
    let implicit = settings.tls.as_ref().filter(|tls| tls.implicit);
    let stream: Box<dyn Duplex> = match implicit {
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.config.clone()).accept(stream);
            Box::new(timeout(settings.idle, handshake).await??)
        }
        None => Box::new(stream),
    };
    let encrypted = implicit.is_some();
    let mut session = Session {
        stream,
        settings,
        mailbag,
        connection,
        encrypted,
        logged_in: false,
        errors: 0,
        incoming: Vec::new(),
        outgoing: Vec::new(),
        transaction: Transaction::default(),
    };
    match session.converse(welcome).await {
        // An end of ours or of the client's; what was still to be said is said.
        Ok(()) | Err(End::Closed) => session.flush().await.or(Ok(())),
        Err(End::Io(error)) => Err(error),
    }
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

struct Session<'a> {
    stream: Box<dyn Duplex>,
    settings: &'a Settings,
    mailbag: &'a Mailbag,
    connection: usize,
    encrypted: bool,
    logged_in: bool,
    errors: usize,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    transaction: Transaction,
}

#[derive(Default)]
struct Transaction {
    from: Option<String>,
    to: Vec<String>,
}

/// Why a session is over.
enum End {
    Closed,
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
}

impl Session<'_> {
    async fn converse(&mut self, welcome: bool) -> Result<(), End> {
        if !welcome {
            return self.close("421 4.3.2 too many connections\r\n").await;
        }
        self.answer(What::Connect, "220 catcher.localhost ESMTP keeps everything\r\n").await?;
        loop {
            let line = match self.read_line().await? {
                Some(line) => line,
                None => {
                    self.complain("500 5.5.2 line too long\r\n").await?;
                    continue;
                }
            };
            let Ok(line) = String::from_utf8(line) else {
                self.complain("500 5.5.2 not UTF-8\r\n").await?;
                continue;
            };
            self.obey(&line).await?;
        }
    }

    async fn obey(&mut self, line: &str) -> Result<(), End> {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let what = What::Command(line);
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" if self.settings.ehlo => {
                self.transaction = Transaction::default();
                let greeting = self.ehlo();
                self.answer(what, &greeting).await.map(drop)
            }
            "HELO" => {
                self.transaction = Transaction::default();
                self.answer(what, "250 catcher.localhost\r\n").await.map(drop)
            }
            "STARTTLS" => self.starttls(what).await,
            "AUTH" => self.auth(what, argument).await,
            "MAIL" => self.mail(what, argument).await,
            "RCPT" => self.rcpt(what, argument).await,
            "DATA" => self.data(what).await,
            "RSET" => {
                self.transaction = Transaction::default();
                self.answer(what, "250 2.0.0 forgotten\r\n").await.map(drop)
            }
            "NOOP" => self.answer(what, "250 2.0.0 still here\r\n").await.map(drop),
            "VRFY" => self.answer(what, "252 2.5.2 send and see\r\n").await.map(drop),
            "QUIT" => {
                self.answer(what, "221 2.0.0 goodbye\r\n").await?;
                Err(End::Closed)
            }
            _ => self.complain("500 5.5.1 what?\r\n").await,
        }
    }

    fn ehlo(&self) -> String {
        let mut lines = vec!["catcher.localhost".to_owned()];
        if self.settings.pipelining {
            lines.push("PIPELINING".to_owned());
        }
        lines.push(format!("SIZE {}", self.settings.max_message));
        if self.settings.tls.as_ref().is_some_and(|tls| !tls.implicit) && !self.encrypted {
            lines.push("STARTTLS".to_owned());
        }
        if let Some(auth) = &self.settings.auth {
            lines.push(format!("AUTH {}", auth.mechanisms));
        }
        if self.settings.smtputf8 {
            lines.push("SMTPUTF8".to_owned());
        }
        lines.push("ENHANCEDSTATUSCODES".to_owned());
        let last = "250 8BITMIME\r\n".to_owned();
        lines.iter().map(|line| format!("250-{line}\r\n")).chain([last]).collect()
    }

    async fn starttls(&mut self, what: What<'_>) -> Result<(), End> {
        let Some(tls) = self.settings.tls.clone().filter(|tls| !tls.implicit && !self.encrypted) else {
            return self.complain("502 5.5.1 no STARTTLS here\r\n").await;
        };
        if !self.answer(what, "220 2.0.0 go ahead\r\n").await? {
            return Ok(());
        }
        self.flush().await?;
        // What came in the clear behind the command is nobody's (CVE-2011-0411).
        self.incoming.clear();
        self.transaction = Transaction::default();
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let handshake = TlsAcceptor::from(tls.config).accept(plain);
        let stream = timeout(self.settings.idle, handshake).await.map_err(|_| End::Closed)??;
        self.stream = Box::new(stream);
        self.encrypted = true;
        Ok(())
    }

    async fn auth(&mut self, what: What<'_>, argument: &str) -> Result<(), End> {
        let Some(auth) = &self.settings.auth else {
            return self.complain("502 5.5.1 no AUTH here\r\n").await;
        };
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let mechanism = mechanism.to_ascii_uppercase();
        let said = match mechanism.as_str() {
            _ if !auth.mechanisms.split(' ').any(|m| m == mechanism) => None,
            "PLAIN" => {
                let response = if initial.is_empty() { self.challenge("334 \r\n").await? } else { initial.to_owned() };
                decode(&response).and_then(|text| {
                    let mut parts = text.splitn(3, '\0').skip(1);
                    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
                })
            }
            "LOGIN" => {
                let user = self.challenge("334 VXNlcm5hbWU6\r\n").await?;
                let password = self.challenge("334 UGFzc3dvcmQ6\r\n").await?;
                decode(&user).zip(decode(&password))
            }
            _ => None,
        };
        self.logged_in = said.is_some_and(|(user, password)| {
            let Auth { user: known, password: secret, .. } = auth;
            user == *known && password == *secret
        });
        let reply = if self.logged_in { "235 2.7.0 welcome\r\n" } else { "535 5.7.8 who are you?\r\n" };
        self.answer(what, reply).await.map(drop)
    }

    async fn challenge(&mut self, text: &str) -> Result<String, End> {
        self.outgoing.extend_from_slice(text.as_bytes());
        let line = self.read_line().await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    async fn mail(&mut self, what: What<'_>, argument: &str) -> Result<(), End> {
        if self.settings.auth.is_some() && !self.logged_in {
            return self.complain("530 5.7.0 authentication required\r\n").await;
        }
        if self.transaction.from.is_some() {
            return self.complain("503 5.5.1 one message at a time\r\n").await;
        }
        let Some((from, parameters)) = path(argument, "FROM:") else {
            return self.complain("501 5.5.4 MAIL FROM:<address>\r\n").await;
        };
        for parameter in parameters.split_ascii_whitespace().map(str::to_ascii_uppercase) {
            let reply = match parameter.split_once('=').unwrap_or((&parameter, "")) {
                ("SIZE", size) if size.parse::<usize>().is_ok_and(|n| n <= self.settings.max_message) => continue,
                ("SIZE", _) => "552 5.3.4 too big\r\n",
                ("BODY", "7BIT" | "8BITMIME") => continue,
                ("SMTPUTF8", "") if self.settings.smtputf8 => continue,
                _ => "555 5.5.4 unknown parameter\r\n",
            };
            return self.complain(reply).await;
        }
        if self.answer(what, "250 2.1.0 sender ok\r\n").await? {
            self.transaction.from = Some(from);
        }
        Ok(())
    }

    async fn rcpt(&mut self, what: What<'_>, argument: &str) -> Result<(), End> {
        if self.transaction.from.is_none() {
            return self.complain("503 5.5.1 MAIL first\r\n").await;
        }
        if self.transaction.to.len() == MAX_RECIPIENTS {
            return self.complain("452 4.5.3 too many recipients\r\n").await;
        }
        let Some((to, _)) = path(argument, "TO:").filter(|(to, _)| !to.is_empty()) else {
            return self.complain("501 5.5.4 RCPT TO:<address>\r\n").await;
        };
        if self.answer(what, "250 2.1.5 recipient ok\r\n").await? {
            self.transaction.to.push(to);
        }
        Ok(())
    }

    async fn data(&mut self, what: What<'_>) -> Result<(), End> {
        if self.transaction.to.is_empty() {
            // A script may accept it all the same, as some servers do.
            if !self.answer(what, "554 5.5.1 no valid recipients\r\n").await? {
                return Ok(());
            }
        } else if !self.answer(what, "354 end with a dot on a line by itself\r\n").await? {
            return Ok(());
        }
        let message = self.read_message().await?;
        let Transaction { from, to } = std::mem::take(&mut self.transaction);
        let from = from.unwrap_or_default();
        let Some(bytes) = message else {
            return self.complain("552 5.3.4 too big\r\n").await;
        };
        if to.is_empty() {
            return self.complain("554 5.5.1 no valid recipients\r\n").await;
        }
        let action = self.scripted(What::Message { from: &from, to: &to });
        let refused = match &action {
            Action::Reply(reply) | Action::ReplyAndClose(reply) => !accepts(reply),
            Action::Pieces(pieces, _) => !accepts(&pieces.concat()),
            _ => false,
        };
        let number = if refused {
            0
        } else {
            let caught = self.mailbag.keep(from, to, bytes);
            if let Some(told) = &self.settings.on_message {
                told(&caught);
            }
            caught.number
        };
        self.act(action, &format!("250 2.0.0 kept as number {number}\r\n")).await.map(drop)
    }

    /// The message up to its final dot, unstuffed; none if it was too big.
    async fn read_message(&mut self) -> Result<Option<Vec<u8>>, End> {
        self.flush().await?;
        let mut raw: Vec<u8> = b"\r\n".to_vec();
        let mut too_big = false;
        let mut searched = 0;
        loop {
            raw.append(&mut self.incoming);
            if let Some(at) = memchr::memmem::find(&raw[searched..], b"\r\n.\r\n").map(|at| searched + at) {
                self.incoming = raw.split_off(at + 5);
                raw.truncate(at + 2);
                return Ok((!too_big).then(|| unstuff(&raw[2..])));
            }
            if raw.len() > self.settings.max_message + 1024 {
                too_big = true;
                raw.drain(..raw.len() - 4);
            }
            searched = raw.len().saturating_sub(4);
            if let Action::Close = self.scripted(What::Data(raw.len() - 2)) {
                return Err(End::Closed);
            }
            self.fill().await?;
        }
    }

    /// A line without its end; none if it was too long. Answers what was asked before it waits.
    async fn read_line(&mut self) -> Result<Option<Vec<u8>>, End> {
        let mut too_long = false;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.incoming) {
                let mut line: Vec<u8> = self.incoming.drain(..=end).collect();
                line.pop();
                line.pop_if(|b| *b == b'\r');
                return Ok((!too_long && line.len() <= MAX_LINE).then_some(line));
            }
            if self.incoming.len() > MAX_LINE {
                too_long = true;
                self.incoming.clear();
            }
            self.flush().await?;
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), End> {
        self.incoming.reserve(8192);
        match timeout(self.settings.idle, self.stream.read_buf(&mut self.incoming)).await {
            Ok(Ok(0)) => Err(End::Closed),
            Ok(read) => read.map(drop).map_err(End::Io),
            Err(_) => self.close("421 4.4.2 you are silent\r\n").await,
        }
    }

    /// Answers as the script says, or with `usual`; true if the answer accepts.
    async fn answer(&mut self, what: What<'_>, usual: &str) -> Result<bool, End> {
        let action = self.scripted(what);
        self.act(action, usual).await
    }

    fn scripted(&self, what: What) -> Action {
        match &self.settings.script {
            Some(script) => script(&Event { connection: self.connection, what }),
            None => Action::Usual,
        }
    }

    async fn act(&mut self, action: Action, usual: &str) -> Result<bool, End> {
        match action {
            Action::Usual => self.outgoing.extend_from_slice(usual.as_bytes()),
            Action::Slow(pause) => {
                self.flush().await?;
                sleep(pause).await;
                self.outgoing.extend_from_slice(usual.as_bytes());
            }
            Action::Reply(reply) => {
                self.outgoing.extend_from_slice(reply.as_bytes());
                return Ok(accepts(&reply));
            }
            Action::Pieces(pieces, pause) => {
                for piece in &pieces {
                    self.flush().await?;
                    sleep(pause).await;
                    self.outgoing.extend_from_slice(piece.as_bytes());
                }
                self.flush().await?;
                return Ok(accepts(&pieces.concat()));
            }
            Action::ReplyAndClose(reply) => {
                self.outgoing.extend_from_slice(reply.as_bytes());
                return Err(End::Closed);
            }
            Action::Close => return Err(End::Closed),
            Action::Silent => {
                self.flush().await?;
                pending::<()>().await;
            }
        }
        Ok(accepts(usual))
    }

    /// An answer to nonsense, which ends the conversation when there is too much of it.
    async fn complain(&mut self, reply: &str) -> Result<(), End> {
        self.errors += 1;
        if self.errors > MAX_ERRORS {
            return self.close("421 4.7.0 too many errors\r\n").await;
        }
        self.outgoing.extend_from_slice(reply.as_bytes());
        Ok(())
    }

    async fn close(&mut self, reply: &str) -> Result<(), End> {
        self.outgoing.extend_from_slice(reply.as_bytes());
        Err(End::Closed)
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let writing = async {
            self.stream.write_all(&self.outgoing).await?;
            self.stream.flush().await
        };
        let limit = self.settings.idle.min(Duration::from_secs(60));
        timeout(limit, writing).await.map_err(|_| End::Closed)??;
        self.outgoing.clear();
        Ok(())
    }
}

fn accepts(reply: &str) -> bool {
    reply.starts_with(['2', '3'])
}

fn decode(base64: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(base64.trim()).ok()?).ok()
}

/// The address in `FROM:<address> PARAMETERS`, and the parameters; `>` may stand in a quoted local part.
fn path<'a>(argument: &'a str, keyword: &str) -> Option<(String, &'a str)> {
    let (word, rest) = argument.split_at_checked(keyword.len())?;
    if !word.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('<')?;
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some((rest[..at].to_owned(), &rest[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Takes the doubled dots off the starts of lines (RFC 5321 section 4.5.2).
fn unstuff(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.strip_prefix(b".").unwrap_or(raw);
    while let Some(at) = memchr::memmem::find(rest, b"\r\n.") {
        out.extend_from_slice(&rest[..at + 2]);
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the catcher answers to `input`, and how many messages it kept.
    fn answers(input: &[u8], settings: &Settings) -> (String, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (client, server) = tokio::io::duplex(1 << 16);
            let mailbag = Mailbag::new(10, 1 << 20);
            let (mut reading, mut writing) = tokio::io::split(client);
            let mut output = Vec::new();
            let (served, ..) = tokio::join!(
                run(server, 1, true, settings, &mailbag),
                async {
                    let _ = writing.write_all(input).await;
                    let _ = writing.shutdown().await;
                },
                reading.read_to_end(&mut output),
            );
            served.ok();
            (String::from_utf8(output).unwrap(), mailbag.count())
        })
    }

    #[test]
    fn dots_are_taken_off_and_the_end_is_found_wherever_it_stands() {
        assert_eq!(unstuff(b"..\r\n...a\r\n.b\r\n"), b".\r\n..a\r\nb\r\n");
        let envelope = "MAIL FROM:<>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n";
        for message in [".\r\n", "a\r\n.\r\n", "\r\n.\r\n", "a\n.\n.\r.\r\n\r\n.\r\n"] {
            let (said, kept) = answers(format!("{envelope}{message}QUIT\r\n").as_bytes(), &Settings::default());
            assert_eq!(kept, 1, "{message:?}");
            assert!(said.ends_with("250 2.0.0 kept as number 1\r\n221 2.0.0 goodbye\r\n"), "{said}");
        }
    }

    #[test]
    fn a_bare_line_feed_smuggles_no_second_message() {
        let smuggled =
            "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nhi\n.\nMAIL FROM:<evil@x.example>\r\n.\r\n";
        assert_eq!(answers(smuggled.as_bytes(), &Settings::default()).1, 1);
    }

    #[test]
    fn order_is_kept() {
        for (commands, reply) in [
            ("RCPT TO:<b@x.example>", "503 "),
            ("DATA", "554 "),
            ("MAIL FROM:<a@x.example>\r\nMAIL FROM:<a@x.example>", "503 "),
            ("MAIL FROM:<a@x.example>\r\nRCPT TO:<>", "501 "),
            ("MAIL FROM:a@x.example", "501 "),
            ("MAIL FROM:<a@x.example> SIZE=99999999999", "552 "),
            ("MAIL FROM:<a@x.example> RET=HDRS", "555 "),
            ("STARTTLS", "502 "),
            ("AUTH PLAIN AAAA", "502 "),
            ("VRFY a", "252 "),
        ] {
            let (said, _) = answers(format!("{commands}\r\n").as_bytes(), &Settings::default());
            assert!(said.trim_end().rsplit("\r\n").next().unwrap().starts_with(reply), "{commands}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            lines in proptest::collection::vec(
                "(EHLO|MAIL FROM:|RCPT TO:|DATA|RSET|AUTH (PLAIN|LOGIN)|STARTTLS|VRFY|[A-Z]{4}) ?<?[ -~é]{0,20}>?|\\.", 0..12,
            ),
        ) {
            let auth = Auth { user: "u".to_owned(), password: "p".to_owned(), mechanisms: "PLAIN LOGIN" };
            for auth in [None, Some(auth)] {
                let settings = Settings { auth, ..Settings::default() };
                let (said, _) = answers(&bytes, &settings);
                prop_assert!(said.starts_with("220 "));
                let (said, _) = answers((lines.join("\r\n") + "\r\n").as_bytes(), &settings);
                // Whatever was said, each line of the answers is a reply.
                prop_assert!(said.lines().all(|line| line.as_bytes()[..3].iter().all(u8::is_ascii_digit)), "{}", said);
            }
        }
    }
}
