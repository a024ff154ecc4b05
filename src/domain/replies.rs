//! What mail servers answer, and what an answer means (rules 5.3, 5.4 and 8.2).
//!
//! A permanent answer is not always about the address: only `Hard` may suppress anybody.

use std::{fmt, ops::RangeInclusive};

use super::words::words;

words! {
    /// What an answer means for the recipient, the provider group or the campaign (rules 5.4).
    ReplyClass {
        /// The address does not exist: suppress it.
        Hard = "hard",
        /// The mailbox is full: counts as soft.
        Full = "full",
        /// A passing trouble, or one that says nothing about the address for good: count it.
        Soft = "soft",
        /// The provider refuses this sender: pause its group, never suppress the address.
        Block = "block",
        /// Authentication, sender or protocol trouble: stop the campaign and alert.
        Config = "config",
        /// The message itself is refused: stop the campaign and alert.
        Content = "content",
        /// Too much, too fast: suspend or slow the provider group.
        Throttle = "throttle",
        /// The address cannot be reached from here (SMTPUTF8): mark it, no retry.
        Unusable = "unusable",
        /// A permanent refusal that says nothing: counts as soft.
        Unknown = "unknown",
    }
}

words! {
    /// The command that an SMTP reply answered.
    Stage {
        /// Banner, EHLO or STARTTLS.
        Connect = "connect",
        /// AUTH.
        Auth = "auth",
        /// MAIL FROM.
        Mail = "mail",
        /// RCPT TO.
        Rcpt = "rcpt",
        /// DATA.
        Data = "data",
        /// The dot that ends the message.
        Final = "final",
    }
}

/// An SMTP reply (RFC 5321 section 4.2), its lines joined.
///
/// The text may repeat the recipient's address: it is for the store, never for a log, so
/// `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// Class, subject and detail of RFC 3463, when the server gives them (RFC 2034).
    pub enhanced: Option<(u8, u16, u16)>,
    /// What follows, without the codes; lines are joined by a space.
    pub text: String,
}

impl Reply {
    /// A reply from its code and what follows; an enhanced code is read off the front of `text`.
    pub fn new(code: u16, text: &str) -> Reply {
        let (enhanced, text) = split_enhanced(text);
        Reply { code, enhanced, text: text.to_owned() }
    }

    /// The codes without the words, fit for a log: `550 5.1.1`.
    pub fn codes(&self) -> String {
        match self.enhanced {
            Some((class, subject, detail)) => format!("{:03} {class}.{subject}.{detail}", self.code),
            None => format!("{:03}", self.code),
        }
    }

    /// The whole reply on one line, as a store keeps it: `550 5.1.1 user unknown`.
    pub fn line(&self) -> String {
        let mut line = self.codes();
        if !self.text.is_empty() {
            line.reserve_exact(1 + self.text.len());
            line.push(' ');
            line.push_str(&self.text);
        }
        line
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx: the same submission may succeed later.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: the same submission will fail again.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// As [`Reply::line`].
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.codes())
    }
}

/// Splits a leading enhanced status code (`5.1.1 text`) off a reply's text.
pub fn split_enhanced(text: &str) -> (Option<(u8, u16, u16)>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    match parse_status(&text[..end]) {
        Some(status) if text[end..].is_empty() || text[end..].starts_with(char::is_whitespace) => {
            (Some(status), text[end..].trim_start())
        }
        _ => (None, text),
    }
}

/// Reads `class.subject.detail` of RFC 3463: class 2, 4 or 5, the others at most three digits.
fn parse_status(word: &str) -> Option<(u8, u16, u16)> {
    let mut parts = word.split('.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    let number_ok = |n: &str| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    if parts.next().is_some() || !matches!(class, "2" | "4" | "5") || !number_ok(subject) || !number_ok(detail) {
        return None;
    }
    Some((class.parse().ok()?, subject.parse().ok()?, detail.parse().ok()?))
}

/// What a refusal means (rules 5.4, table 8.2). Meaningful for 4xx and 5xx only; anything else is `Unknown`.
///
/// The reply's first digit alone tells permanent from transient, the enhanced code's subject and
/// detail tell what it is about, and the text decides where these say nothing: no enhanced code,
/// an "other" code (`X.Y.0`), and the whole class 7, in which providers disagree with IANA.
pub fn classify(reply: &Reply, stage: Stage) -> ReplyClass {
    if !reply.is_transient() && !reply.is_permanent() {
        return ReplyClass::Unknown;
    }
    let text = searchable(&reply.text);
    let status = reply.enhanced.map(|(_, subject, detail)| (subject, detail));
    // `5.0.0` says nothing; the real code may stand in the text (Exim, and forwarding gateways).
    let status = match status {
        None | Some((0, 0)) => embedded_status(&reply.text).or(status),
        known => known,
    };
    let class =
        if reply.is_permanent() { permanent(reply.code, status, &text, stage) } else { transient(status, &text) };
    match (class, stage) {
        // Before RCPT nothing was said about the recipient: what is unknown there is our own sender.
        (ReplyClass::Hard | ReplyClass::Unusable, Stage::Connect | Stage::Auth | Stage::Mail) => ReplyClass::Config,
        (ReplyClass::Unknown | ReplyClass::Block, Stage::Auth) => ReplyClass::Config,
        (class, _) => class,
    }
}

fn permanent(code: u16, status: Option<(u16, u16)>, text: &str, stage: Stage) -> ReplyClass {
    if let Some((subject, detail)) = status {
        if let Some(exception) = exception((subject, detail), text) {
            return exception;
        }
        if let Some(&(_, _, class)) = PERMANENT.iter().find(|(s, d, _)| *s == subject && d.contains(&detail)) {
            return class;
        }
        if (detail == 0 || subject == 7)
            && let Some(class) = by_text(text)
        {
            // A permanent "too fast" is a refusal of the sender; nothing is retried.
            return if class == ReplyClass::Throttle { ReplyClass::Block } else { class };
        }
        return match subject {
            2..=4 => ReplyClass::Soft,
            5 => ReplyClass::Config,
            6 => ReplyClass::Content,
            7 => ReplyClass::Block,
            _ => by_text(text).unwrap_or(ReplyClass::Unknown),
        };
    }
    match by_text(text) {
        Some(ReplyClass::Throttle) => ReplyClass::Block,
        Some(class) => class,
        None => match (code, stage) {
            (500..=504 | 530..=538 | 555, _) => ReplyClass::Config,
            (556, _) => ReplyClass::Hard,              // RFC 7504: the domain takes no mail
            (552, Stage::Mail) => ReplyClass::Content, // RFC 1870: the declared SIZE is too much
            (554, Stage::Connect) => ReplyClass::Block,
            _ => ReplyClass::Unknown,
        },
    }
}

fn transient(status: Option<(u16, u16)>, text: &str) -> ReplyClass {
    let class = match status {
        Some((2, 2)) => ReplyClass::Full,
        Some((7, detail)) => by_text(text).unwrap_or(match detail {
            20..=27 | 29..=32 | 40 => ReplyClass::Config,
            28 | 500..=699 => ReplyClass::Throttle,
            _ => ReplyClass::Soft,
        }),
        // A mailbox that gets too much says nothing about who sends; a system that does (`4.3.2`, `4.4.5`) may.
        Some((subject, detail)) if detail != 0 => match by_text(text) {
            Some(ReplyClass::Throttle) if subject > 2 => ReplyClass::Throttle,
            _ => ReplyClass::Soft,
        },
        _ => by_text(text).unwrap_or(ReplyClass::Soft),
    };
    match class {
        // Never a verdict on the address or the message: it may be answered otherwise in an hour.
        ReplyClass::Hard | ReplyClass::Content => ReplyClass::Soft,
        class => class,
    }
}

/// Enhanced codes (subject, details) that mean one thing under a 5xx (rules 5.4; RFC 3463, 7372, 7504, 7505).
const PERMANENT: &[(u16, RangeInclusive<u16>, ReplyClass)] = &[
    (1, 1..=3, ReplyClass::Hard),
    (1, 6..=6, ReplyClass::Hard),
    (1, 7..=8, ReplyClass::Config),
    (1, 10..=10, ReplyClass::Hard),
    (2, 1..=1, ReplyClass::Hard),
    (2, 2..=2, ReplyClass::Full),
    (2, 3..=3, ReplyClass::Content),
    (3, 4..=4, ReplyClass::Content),
    (6, 7..=7, ReplyClass::Unusable),
    (6, 9..=9, ReplyClass::Unusable),
    (7, 13..=13, ReplyClass::Hard),
    (7, 20..=27, ReplyClass::Config),
    (7, 29..=32, ReplyClass::Config),
    (7, 40..=40, ReplyClass::Config),
    (7, 57..=64, ReplyClass::Config),
    (7, 509..=509, ReplyClass::Config),
    (7, 515..=515, ReplyClass::Config),
];

/// Where a provider's text overrules what the code says elsewhere.
const EXCEPTIONS: &[((u16, u16), &str, ReplyClass)] = &[
    // Microsoft 365 for an unknown user.
    ((4, 1), "recipient address rejected: access denied", ReplyClass::Hard),
    ((4, 1), "recipient addresses rejected", ReplyClass::Hard),
    // Outlook.com for an unknown user.
    ((5, 0), "mailbox unavailable", ReplyClass::Hard),
    // Gmail, for a mailbox that exists and receives too much.
    ((2, 1), "receiving mail", ReplyClass::Soft),
];

/// What texts mean, the first that occurs deciding. Lower case, a space at either end of the text.
const TEXTS: &[(ReplyClass, &[&str])] = &[
    (ReplyClass::Block, &["(s3140)", "(s3150)"]),
    // Gmail names the SPF or DKIM domain that is too fast: that is no fault of either.
    (ReplyClass::Throttle, &["[tss", "(s775)", "s775)", "unusual rate of"]),
    (ReplyClass::Soft, &["greylist", "graylist", "grey-list", "gray-list", "grey list"]),
    (
        ReplyClass::Config,
        &[
            "sender address rejected",
            "sender rejected",
            "sender verify failed",
            "sender domain",
            "sender's domain",
            "domain of sender",
            "sender does not exist",
            "unknown sender",
            "invalid sender",
            " spf ",
            " dkim ",
            " dmarc ",
            "unauthenticated",
            "authentication required",
            "required authentication",
            "authentication checks",
            "authentication failed",
            "relay access denied",
            "relaying denied",
            "relay denied",
            "unable to relay",
            "not permitted to relay",
            "relay not permitted",
            "we do not relay",
            "must issue a starttls",
            "reverse dns",
            "reverse hostname",
            " ptr ",
        ],
    ),
    (
        ReplyClass::Hard,
        &[
            "user unknown",
            "unknown user",
            "no such user",
            "user not found",
            "user does not exist",
            "does not exist",
            "doesn't exist",
            "no such recipient",
            "unknown recipient",
            "recipient unknown",
            "recipient not found",
            "invalid recipient",
            "no such mailbox",
            "unknown mailbox",
            "mailbox not found",
            "mailbox unknown",
            "invalid mailbox",
            "not a valid mailbox",
            "mailbox disabled",
            "mailbox is disabled",
            "mailbox is inactive",
            "no mailbox here",
            "no such address",
            "unknown address",
            "address unknown",
            "unknown local part",
            "unknown local-part",
            "unrouteable address",
            "unroutable address",
            "account disabled",
            "account is disabled",
            "account has been disabled",
            "account has been deactivated",
            "user disabled",
            "user is disabled",
            "doesn't have a ",
            "doesn't have an account",
            "utilisateur inconnu",
            "adresse inconnue",
            "destinataire inconnu",
            "destinataire invalide",
            "n'existe pas",
        ],
    ),
    (
        ReplyClass::Full,
        &[
            "mailbox full",
            "mailbox is full",
            "inbox is full",
            "over quota",
            "overquota",
            "quota exceeded",
            "exceeded quota",
            "exceeds quota",
            "out of storage",
            "storage quota",
            "storage allocation",
            "insufficient mailbox storage",
            "boîte pleine",
        ],
    ),
    (
        ReplyClass::Content,
        &[
            "message size exceeds",
            "message too large",
            "message is too large",
            "message too big",
            "message is too big",
            "message file too big",
            "maximum message size",
            "message size limit",
            "exceeds size limit",
        ],
    ),
    (
        ReplyClass::Throttle,
        &[
            "rate limit",
            "rate-limit",
            "ratelimit",
            "unusual rate",
            "excessive volume",
            "too many connections",
            "too many concurrent",
            "too many messages",
            "too many emails",
            "too much mail",
            "unexpected volume",
            "throttl",
            "too fast",
            "sending too",
            "quota of messages",
        ],
    ),
    (
        ReplyClass::Block,
        &[
            "block list",
            "blocklist",
            "block-list",
            "blacklist",
            "black list",
            "blocked",
            "spam",
            "rbl",
            "dnsbl",
            "reputation",
            "unsolicited",
            "banned",
            "policy",
            "abuse",
        ],
    ),
];

fn by_text(text: &str) -> Option<ReplyClass> {
    TEXTS.iter().find(|(_, phrases)| phrases.iter().any(|p| text.contains(p))).map(|(class, _)| *class)
}

fn exception(status: (u16, u16), text: &str) -> Option<ReplyClass> {
    EXCEPTIONS.iter().find(|(of, phrase, _)| *of == status && text.contains(phrase)).map(|(_, _, class)| *class)
}

/// Lower case, single spaces, without the words that quote an address (it may spell anything:
/// `<spam@example.net>: user unknown`) and with the punctuation around words removed where a
/// phrase asks for a whole word.
fn searchable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for word in text.split_whitespace().filter(|w| !w.contains('@')) {
        out.push(' ');
        out.push_str(&word.to_lowercase());
    }
    // `SPF:` and `(DMARC)` are the words spf and dmarc.
    for name in ["spf", "dkim", "dmarc", "ptr"] {
        let whole = |w: &str| w.trim_matches(|c: char| !c.is_alphanumeric()) == name;
        if out.split([' ', '-', '/', '=']).any(whole) {
            out.push(' ');
            out.push_str(name);
        }
    }
    out.push(' ');
    out
}

/// The first enhanced status code of a refusal inside a text, without its class.
fn embedded_status(text: &str) -> Option<(u16, u16)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        // `2.1.1` is the version of some software.
        .filter(|word| !word.starts_with('2'))
        .filter_map(|word| parse_status(word.trim_end_matches('.')))
        .map(|(_, subject, detail)| (subject, detail))
        .find(|status| *status != (0, 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `550-5.1.1 text` as a server would have said it.
    fn reply(line: &str) -> Reply {
        let (code, text) = line.split_at(3);
        Reply::new(code.parse().unwrap(), text.trim_start_matches([' ', '-']))
    }

    #[test]
    fn the_bounce_table_of_the_rules() {
        for (id, stage, line, class) in [
            ("B01", Stage::Rcpt, "550 5.1.1 user unknown", "hard"),
            ("B05", Stage::Rcpt, "556 5.1.10 Recipient address has null MX", "hard"),
            ("B09", Stage::Rcpt, "552 5.2.2 mailbox full", "full"),
            ("B10", Stage::Rcpt, "452 4.2.2 The email account that you tried to reach is over quota", "full"),
            ("B11", Stage::Rcpt, "550 5.2.1 disabled", "hard"),
            ("B12", Stage::Rcpt, "450 4.2.1 The user you are trying to contact is receiving mail too quickly", "soft"),
            (
                "B13",
                Stage::Mail,
                "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. part of their network is on our block list (S3150)",
                "block",
            ),
            (
                "B14",
                Stage::Final,
                "550 5.7.515 Access denied, sending domain example.org does not meet the required authentication level",
                "config",
            ),
            (
                "B15",
                Stage::Final,
                "550 5.7.26 This mail has been blocked because the sender is unauthenticated",
                "config",
            ),
            ("B16", Stage::Rcpt, "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "hard"),
            ("B17", Stage::Final, "554 5.7.9 Message not accepted for policy reasons", "block"),
            (
                "B18",
                Stage::Connect,
                "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
                "throttle",
            ),
            (
                "B19",
                Stage::Mail,
                "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)",
                "throttle",
            ),
            ("B20", Stage::Final, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail", "throttle"),
            ("B21", Stage::Rcpt, "550 user unknown", "hard"),
            ("B22", Stage::Final, "550 This looks like spam", "block"),
            ("B23", Stage::Rcpt, "550", "unknown"),
            ("B27", Stage::Rcpt, "553 5.6.7 Address needs SMTPUTF8", "unusable"),
            ("B32", Stage::Mail, "552 5.3.4 Message size exceeds fixed limit", "content"),
            ("B33", Stage::Rcpt, "550 5.0.0 smtp; 550 5.1.1 said the next host", "hard"),
            ("B34", Stage::Rcpt, "550 5.0.0 Delivery was not possible, sorry", "unknown"),
        ] {
            assert_eq!(classify(&reply(line), stage).as_str(), class, "{id}: {line}");
        }
    }

    #[test]
    fn what_else_servers_say() {
        for (stage, line, class) in [
            // Every other row of the classes of section 5.4.
            (Stage::Rcpt, "550 5.1.2 Host unknown", "hard"),
            (Stage::Rcpt, "553 5.1.3 Bad destination mailbox address syntax", "hard"),
            (Stage::Rcpt, "551 5.1.6 Moved, no forwarding address", "hard"),
            (Stage::Rcpt, "525 5.7.13 User account disabled", "hard"),
            (Stage::Rcpt, "550 5.2.0 Something happened to the mailbox", "soft"),
            (Stage::Final, "554 5.3.0 Other mail system problem", "soft"),
            (Stage::Rcpt, "550 5.4.4 Unable to route", "soft"),
            (Stage::Rcpt, "550 5.4.7 Delivery time expired", "soft"),
            (Stage::Rcpt, "450 4.4.7 Delivery time expired", "soft"),
            (Stage::Rcpt, "550 5.4.1 No answer from host", "soft"),
            (Stage::Rcpt, "550 5.4.1 All recipient addresses rejected : Access denied", "hard"),
            (Stage::Mail, "553 5.1.8 Sender address rejected: Domain not found", "config"),
            (Stage::Mail, "501 5.1.7 Bad sender address syntax", "config"),
            (Stage::Data, "503 5.5.1 Bad sequence of commands", "config"),
            (Stage::Rcpt, "550 5.2.3 Message length exceeds the limit of the recipient", "content"),
            (Stage::Final, "554 5.6.0 Message content rejected", "content"),
            (
                Stage::Final,
                "550 5.7.1 [192.0.2.1 12] Our system has detected that this message is likely unsolicited mail",
                "block",
            ),
            (Stage::Final, "550 5.7.28 Our system has detected an unusual rate of unsolicited mail", "block"),
            // Class 7: the text decides.
            (Stage::Rcpt, "550 5.7.1 <a@example.net>: Recipient address rejected: User unknown", "hard"),
            (Stage::Rcpt, "554 5.7.1 <a@example.net>: Relay access denied", "config"),
            (Stage::Final, "550 5.7.1 Unauthenticated email is not accepted due to domain's DMARC policy", "config"),
            (Stage::Final, "550 5.7.1 SPF: check failed", "config"),
            (Stage::Final, "421 4.7.27 This mail is rate limited because SPF did not pass", "config"),
            (Stage::Final, "421 4.7.30 Your mail did not pass", "config"),
            (Stage::Rcpt, "451 4.7.1 Greylisting in action, please come back later", "soft"),
            (Stage::Rcpt, "450 4.7.1 Client host blocked using zen.example.org", "block"),
            (Stage::Connect, "451 4.7.500 Server busy. Please try again later", "throttle"),
            (Stage::Auth, "535 5.7.8 Authentication credentials invalid", "config"),
            (Stage::Auth, "535 nope", "config"),
            (Stage::Auth, "454 4.7.0 Temporary authentication failure", "soft"),
            (
                Stage::Final,
                "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your SPF domain [news.example 35]. \
                 To protect our users from spam, mail sent from your domain has been temporarily rate limited.",
                "throttle",
            ),
            (
                Stage::Final,
                "550 5.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your DKIM domain [news.example 35]",
                "block",
            ),
            (Stage::Mail, "421 4.7.1 Messages to icloud.com deferred due to excessive volume", "throttle"),
            (Stage::Mail, "550 5.7.1 The sender's domain does not exist", "config"),
            // Whoever says that it is too much means it, whatever else the number says …
            (Stage::Mail, "421 4.3.2 Too many connections", "throttle"),
            (Stage::Mail, "421 4.4.5 Too many messages, slow down", "throttle"),
            (Stage::Rcpt, "451 4.3.2 Please try again later", "soft"),
            // … unless it is about the mailbox.
            (Stage::Rcpt, "450 4.2.1 The mailbox gets too many messages", "soft"),
            // No enhanced code.
            (Stage::Rcpt, "550 rejected by Some Server 2.1.1", "unknown"),
            (Stage::Rcpt, "550 user disabled", "hard"),
            (Stage::Final, "552 Requested mail action aborted: exceeded storage allocation", "full"),
            (Stage::Rcpt, "450 mailbox unavailable", "soft"),
            (Stage::Rcpt, "450 user unknown", "soft"),
            (Stage::Connect, "421 too many connections from your address", "throttle"),
            (Stage::Connect, "421 closing", "soft"),
            (Stage::Connect, "554 no service", "block"),
            (Stage::Rcpt, "552 over quota", "full"),
            (Stage::Mail, "552 no", "content"),
            (Stage::Final, "552 no", "unknown"),
            (Stage::Final, "554 message too large", "content"),
            (Stage::Rcpt, "550 Requested action not taken", "unknown"),
            (Stage::Rcpt, "550 5.5.0 Requested action not taken: mailbox unavailable", "hard"),
            (Stage::Rcpt, "550 5.2.1 The user is receiving mail at a rate that prevents additional messages", "soft"),
            (Stage::Rcpt, "530 Authentication required", "config"),
            // An address may spell anything.
            (Stage::Rcpt, "550 <spam@example.net>: no such user here", "hard"),
            (Stage::Rcpt, "550 <user-unknown@example.net> blocked", "block"),
            // A transient answer never condemns an address, whatever its number.
            (Stage::Rcpt, "450 4.1.1 unverified address: user unknown", "soft"),
            (Stage::Rcpt, "450 5.1.1 user unknown", "soft"),
            // Before RCPT the recipient is not known to the server.
            (Stage::Mail, "550 5.1.1 user unknown", "config"),
            // No refusal at all.
            (Stage::Final, "250 2.0.0 queued", "unknown"),
        ] {
            assert_eq!(classify(&reply(line), stage).as_str(), class, "{line} at {stage}");
        }
    }

    #[test]
    fn an_enhanced_code_is_read_only_at_the_front() {
        assert_eq!(reply("550 5.1.1 gone").enhanced, Some((5, 1, 1)));
        assert_eq!(reply("550 5.1.1 gone").text, "gone");
        assert_eq!(reply("550 5.1.1").to_string(), "550 5.1.1");
        for line in [
            "550 gone 5.1.1",
            "550 5.1 gone",
            "550 5.1.1.1 gone",
            "550 3.1.1 gone",
            "550 5.1234.1 gone",
            "550 5.1.1: gone",
        ] {
            assert_eq!(reply(line).enhanced, None, "{line}");
        }
    }

    #[test]
    fn a_reply_shows_no_text_in_a_log() {
        assert_eq!(format!("{:?}", reply("550 5.1.1 <a@example.net> unknown")), "Reply(550 5.1.1)");
    }

    proptest! {
        /// Whatever a server says, only a 5xx about a known recipient may be hard.
        #[test]
        fn nothing_panics_and_only_a_permanent_answer_condemns(
            code in 0u16..1000, text in ".{0,60}", stage in 0usize..Stage::ALL.len(),
        ) {
            let stage = Stage::ALL[stage];
            let class = classify(&Reply::new(code, &text), stage);
            if class == ReplyClass::Hard {
                prop_assert!((500..600).contains(&code) && matches!(stage, Stage::Rcpt | Stage::Data | Stage::Final));
            }
        }
    }
}
