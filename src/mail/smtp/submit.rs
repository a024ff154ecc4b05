//! Submits a message: MAIL, RCPT, DATA, the message, and what the answers mean.

use std::{mem, time::Duration};

use super::{
    connection::{Connection, Phase},
    wire::{SmtpError, Unfinished},
};
use crate::{
    domain::{
        address::Address,
        replies::{Reply, Stage},
    },
    mail::canonical::has_whole_line_ends,
};

/// From whom and to whom, as the server is told; one recipient, so that each answer has one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where bounces go; none is the null sender `<>`.
    pub from: Option<Address>,
    /// The recipient.
    pub to: Address,
}

/// What became of a message.
#[derive(Debug)]
pub enum SubmitOutcome {
    /// 250 after the final dot: the server has it.
    Accepted(Reply),
    /// 4xx or 5xx: the server does not have it. The connection goes on unless `is_usable` says no.
    Refused {
        /// The server's words, or ours where we know its answer (no SMTPUTF8, over SIZE).
        reply: Reply,
        /// The command that was refused.
        stage: Stage,
    },
    /// It broke before the server can have had the whole message: trying again is safe.
    NotSent(SmtpError),
    /// It broke when the server may have had the whole message: never try again.
    Unknown(SmtpError),
}

/// What became of an envelope.
#[derive(Debug)]
pub enum Begun {
    /// 354: `finish` is to follow.
    Ready,
    /// As in `SubmitOutcome`.
    Refused {
        /// The server's words, or ours.
        reply: Reply,
        /// The command that was refused.
        stage: Stage,
    },
    /// As in `SubmitOutcome`.
    NotSent(SmtpError),
}

impl Connection {
    /// Submits `message` (RFC 5322, CRLF line ends) in two round trips where the server pipelines.
    ///
    /// A dropped future leaves the connection unusable, and the message perhaps sent.
    pub async fn submit(&mut self, envelope: &Envelope, message: &[u8]) -> SubmitOutcome {
        if let Some(refusal) = self.too_large(message) {
            return refusal;
        }
        match self.begin(envelope).await {
            Begun::Ready => self.finish(message).await,
            Begun::Refused { reply, stage } => SubmitOutcome::Refused { reply, stage },
            Begun::NotSent(error) => SubmitOutcome::NotSent(error),
        }
    }

    /// The refusal of a message that is larger than the server said it takes (RFC 1870).
    pub fn too_large(&self, message: &[u8]) -> Option<SubmitOutcome> {
        let limit = self.capabilities.size.filter(|limit| message.len() as u64 > *limit)?;
        let text = format!("5.3.4 the message has {} octets, the server takes {limit}", message.len());
        Some(SubmitOutcome::Refused { reply: Reply::new(552, &text), stage: Stage::Mail })
    }

    /// MAIL, RCPT and DATA. After `Ready` the server waits for the message: `finish`, or drop the connection.
    pub async fn begin(&mut self, envelope: &Envelope) -> Begun {
        if mem::replace(&mut self.phase, Phase::Broken) != Phase::Idle || !self.wire.is_quiet().await {
            return Begun::NotSent(SmtpError::Unusable);
        }
        if let Some(reply) = self.refused_here(envelope) {
            self.phase = Phase::Idle;
            return Begun::Refused { reply, stage: Stage::Rcpt };
        }
        let commands = self.commands(envelope);
        if self.capabilities.pipelining
            && let Err(unfinished) = self.wire.write(commands.group.as_bytes(), self.timeouts.block).await
        {
            return match self.last_words().await {
                Some(reply) => Begun::Refused { reply, stage: Stage::Mail },
                None => Begun::NotSent(unfinished.error),
            };
        }
        self.converse(&commands).await
    }

    /// The message and its final dot, after `begin` said `Ready`.
    pub async fn finish(&mut self, message: &[u8]) -> SubmitOutcome {
        self.end_message(message, "").await
    }

    /// Ends one message and begins the next in one round trip, where the server pipelines (RFC 2920).
    ///
    /// Each answer is its own: what becomes of `next` says nothing about `message`, nor the reverse.
    pub async fn finish_and_begin(&mut self, message: &[u8], next: &Envelope) -> (SubmitOutcome, Begun) {
        if !self.capabilities.pipelining || self.refused_here(next).is_some() {
            let outcome = self.finish(message).await;
            return (outcome, self.begin(next).await);
        }
        let commands = self.commands(next);
        let outcome = self.end_message(message, &commands.group).await;
        if mem::replace(&mut self.phase, Phase::Broken) != Phase::Idle {
            return (outcome, Begun::NotSent(SmtpError::Unusable));
        }
        (outcome, self.converse(&commands).await)
    }

    /// What we can answer in the server's stead (RFC 6531 section 3.2; rules H-2, B27).
    fn refused_here(&self, envelope: &Envelope) -> Option<Reply> {
        let missing = envelope.needs_smtputf8() && !self.capabilities.smtputf8;
        missing.then(|| Reply::new(553, "5.6.7 the address needs SMTPUTF8, which the mail server does not offer"))
    }

    fn commands(&mut self, envelope: &Envelope) -> Commands {
        let from = envelope.from.as_ref().map_or("", Address::as_str);
        let parameters = match (envelope.needs_smtputf8(), self.capabilities.eight_bit_mime) {
            (false, _) => "",
            (true, false) => " SMTPUTF8",
            (true, true) => " BODY=8BITMIME SMTPUTF8",
        };
        let to = envelope.to.as_str();
        let mut group = String::with_capacity(64 + parameters.len() + from.len() + to.len());
        if mem::take(&mut self.reset_first) {
            group.push_str("RSET\r\n");
        }
        let reset = group.len();
        ["MAIL FROM:<", from, ">", parameters, "\r\n"].into_iter().for_each(|part| group.push_str(part));
        let mail = group.len();
        ["RCPT TO:<", to, ">\r\n"].into_iter().for_each(|part| group.push_str(part));
        let rcpt = group.len();
        group.push_str(DATA);
        Commands { group, reset, mail, rcpt }
    }

    /// The replies to an envelope, each command sent before its reply is read unless the group is out already.
    async fn converse(&mut self, commands: &Commands) -> Begun {
        let mut refusal = None;
        match self.ask_envelope(commands, &mut refusal).await {
            Ok(phase) => self.phase = phase,
            // What was refused stays refused, however the rest broke off.
            Err(error) if refusal.is_none() => return Begun::NotSent(error),
            Err(_) => {}
        }
        match refusal {
            Some((stage, reply)) => {
                self.reset_first = true;
                Begun::Refused { reply, stage }
            }
            None => Begun::Ready,
        }
    }

    async fn ask_envelope(
        &mut self,
        commands: &Commands,
        refusal: &mut Option<(Stage, Reply)>,
    ) -> Result<Phase, SmtpError> {
        let limit = self.timeouts.command;
        if !commands.reset().is_empty() {
            let reply = self.ask(commands.reset(), "RSET", limit).await?;
            if !reply.is_positive() {
                return Err(SmtpError::Unexpected { command: "RSET", code: reply.code });
            }
        }
        for (command, name, stage) in [(commands.mail(), "MAIL", Stage::Mail), (commands.rcpt(), "RCPT", Stage::Rcpt)] {
            let reply = self.ask(command, name, limit).await?;
            match reply.code {
                200..=299 => continue,
                400..=599 => {}
                code => return Err(SmtpError::Unexpected { command: name, code }),
            }
            let closing = reply.code == 421;
            refusal.get_or_insert((stage, reply));
            if closing {
                return Ok(Phase::Broken);
            }
            if !self.capabilities.pipelining {
                return Ok(Phase::Idle);
            }
        }
        let reply = self.ask(DATA, "DATA", self.timeouts.data).await?;
        match (reply.code, refusal.as_ref().map(|(stage, _)| *stage)) {
            (354, None) => Ok(Phase::Ready),
            (354, Some(Stage::Rcpt)) => self.end_nothing().await,
            // MAIL was refused and yet a message is awaited: we do not agree on where we are.
            (354, Some(_)) => Ok(Phase::Broken),
            (code @ 400..=599, _) => {
                refusal.get_or_insert((Stage::Data, reply));
                Ok(if code == 421 { Phase::Broken } else { Phase::Idle })
            }
            (code, _) => Err(SmtpError::Unexpected { command: "DATA", code }),
        }
    }

    /// Sends `command` unless it went out with its group, and reads its reply.
    async fn ask(&mut self, command: &str, name: &'static str, limit: Duration) -> Result<Reply, SmtpError> {
        if !self.capabilities.pipelining
            && let Err(unfinished) = self.wire.write(command.as_bytes(), self.timeouts.block).await
        {
            return self.last_words().await.ok_or(unfinished.error);
        }
        // Nobody reads the words of an envelope that is taken.
        Ok(self.wire.read(limit, name, REFUSAL).await?.into())
    }

    /// DATA was accepted without a recipient: a lone dot ends it, and its answer is a refusal (RFC 2920 section 3.1).
    async fn end_nothing(&mut self) -> Result<Phase, SmtpError> {
        self.wire.write(b".\r\n", self.timeouts.block).await.map_err(|unfinished| unfinished.error)?;
        let lines = self.wire.read_lines(self.timeouts.end, "the final dot").await?;
        Ok(if lines.code == 421 { Phase::Broken } else { Phase::Idle })
    }

    /// Writes the message, its final dot and `next`, and reads the answer to the dot.
    async fn end_message(&mut self, message: &[u8], next: &str) -> SubmitOutcome {
        if mem::replace(&mut self.phase, Phase::Broken) != Phase::Ready {
            return SubmitOutcome::NotSent(SmtpError::Unusable);
        }
        let mut stuffed = Vec::new();
        let lines = if goes_as_it_is(message) {
            message
        } else {
            stuff_dots(message, &mut stuffed);
            &stuffed
        };
        let end = lines.len() + DOT.len();
        match self.write_through(lines, next).await {
            // The dot never left: whatever the server says now is a refusal.
            Err(unfinished) if unfinished.taken < end => match self.last_words().await {
                Some(reply) => SubmitOutcome::Refused { reply, stage: Stage::Final },
                None => SubmitOutcome::NotSent(unfinished.error),
            },
            // The dot may have arrived; only its answer can tell, and nothing else may follow.
            Err(_) => self.read_final().await.0,
            Ok(()) => {
                let (outcome, phase) = self.read_final().await;
                self.phase = phase;
                outcome
            }
        }
    }

    async fn write_through(&mut self, lines: &[u8], next: &str) -> Result<(), Unfinished> {
        let limit = self.timeouts.block;
        // One write where it can be. TLS takes bytes before it sends them, so there the dot gets a
        // write of its own: a failure before its end then proves that it did not leave.
        if !self.is_encrypted() {
            return self.wire.write_all(&mut [lines, DOT, next.as_bytes()], limit).await;
        }
        self.wire.write_all(&mut [lines, DOT], limit).await?;
        let rest = self.wire.write(next.as_bytes(), limit).await;
        rest.map_err(|unfinished| Unfinished { taken: lines.len() + DOT.len() + unfinished.taken, ..unfinished })
    }

    async fn read_final(&mut self) -> (SubmitOutcome, Phase) {
        let reply: Reply = match self.wire.read_lines(self.timeouts.end, "the final dot").await {
            Ok(lines) => lines.into(),
            Err(error) => return (SubmitOutcome::Unknown(error), Phase::Broken),
        };
        match reply.code {
            250 => (SubmitOutcome::Accepted(reply), Phase::Idle),
            421 => (SubmitOutcome::Refused { reply, stage: Stage::Final }, Phase::Broken),
            400..=599 => (SubmitOutcome::Refused { reply, stage: Stage::Final }, Phase::Idle),
            code => {
                let error = SmtpError::Unexpected { command: "the final dot", code };
                (SubmitOutcome::Unknown(error), Phase::Broken)
            }
        }
    }

    /// A server that stops reading may have said why before it hung up.
    async fn last_words(&mut self) -> Option<Reply> {
        let limit = self.timeouts.command.min(Duration::from_secs(1));
        let reply: Reply = self.wire.read_lines(limit, "").await.ok()?.into();
        (reply.is_transient() || reply.is_permanent()).then_some(reply)
    }
}

impl Envelope {
    /// A local part is not ASCII; domains are A-labels already (rules H-2).
    fn needs_smtputf8(&self) -> bool {
        !self.to.as_str().is_ascii() || self.from.as_ref().is_some_and(|from| !from.as_str().is_ascii())
    }
}

const DATA: &str = "DATA\r\n";
/// The least code of a refusal.
const REFUSAL: u16 = 400;
/// Ends a message.
const DOT: &[u8] = b".\r\n";

/// Those of an envelope, one behind the other, and where each ends.
struct Commands {
    group: String,
    reset: usize,
    mail: usize,
    rcpt: usize,
}

impl Commands {
    /// RSET, where one is due; else empty.
    fn reset(&self) -> &str {
        &self.group[..self.reset]
    }

    fn mail(&self) -> &str {
        &self.group[self.reset..self.mail]
    }

    fn rcpt(&self) -> &str {
        &self.group[self.mail..self.rcpt]
    }
}

/// Whether [`stuff_dots`] would change nothing, as with nearly every message: it is sent without a copy then.
fn goes_as_it_is(message: &[u8]) -> bool {
    message.first().is_some_and(|first| *first != b'.')
        && message.ends_with(b"\r\n")
        && has_whole_line_ends(message, Some(b'.'))
}

/// Doubles the dot that begins a line (RFC 5321 section 4.5.2) and ends the last line.
///
/// A CR or LF by itself becomes a line end: servers disagree on what it is, and one that takes
/// `LF . LF` for the end of the message would take what follows for commands.
fn stuff_dots(message: &[u8], out: &mut Vec<u8>) {
    out.reserve(message.len() + 8);
    if message.first() == Some(&b'.') {
        out.push(b'.');
    }
    let mut copied = 0;
    for at in memchr::memchr2_iter(b'\r', b'\n', message) {
        let next = message.get(at + 1);
        let stuffed = next == Some(&b'.');
        match message[at] {
            b'\r' if next == Some(&b'\n') => continue,
            b'\n' if at > 0 && message[at - 1] == b'\r' => {
                if !stuffed {
                    continue;
                }
                out.extend_from_slice(&message[copied..=at]);
            }
            _ => {
                out.extend_from_slice(&message[copied..at]);
                out.extend_from_slice(b"\r\n");
            }
        }
        copied = at + 1;
        if stuffed {
            out.push(b'.');
        }
    }
    out.extend_from_slice(&message[copied..]);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stuffed(message: &str) -> String {
        let mut out = Vec::new();
        stuff_dots(message.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_dot_at_the_start_of_a_line_is_doubled() {
        assert_eq!(stuffed(".\r\n.a\r\nb.\r\n..\r\n"), "..\r\n..a\r\nb.\r\n...\r\n");
        assert_eq!(stuffed("a"), "a\r\n");
        assert_eq!(stuffed(""), "\r\n");
    }

    #[test]
    fn no_bare_line_end_leaves() {
        assert_eq!(stuffed("a\n.\nb\r.\rc\r\n"), "a\r\n..\r\nb\r\n..\r\nc\r\n");
        assert_eq!(stuffed("a\r\r\n\n\r"), "a\r\n\r\n\r\n\r\n");
    }

    proptest! {
        /// What the server unstuffs is the message with its line ends mended, and nothing ends it early.
        #[test]
        fn stuffing_round_trips(message in "[a.\r\n]{0,60}") {
            let out = stuffed(&message);
            prop_assert_eq!(goes_as_it_is(message.as_bytes()), out == message);
            prop_assert!(out.ends_with("\r\n"));
            let mut unstuffed = Vec::new();
            for line in out.strip_suffix("\r\n").unwrap().split("\r\n") {
                prop_assert!(!line.contains(['\r', '\n']) && line != ".", "{:?}", out);
                unstuffed.push(line.strip_prefix('.').unwrap_or(line));
            }
            let mended = message.replace("\r\n", "\n").replace('\r', "\n");
            let mended = mended.strip_suffix('\n').unwrap_or(&mended);
            prop_assert_eq!(unstuffed.join("\n"), mended);
        }
    }
}
