//! Our client against good and bad servers, over real sockets.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    domain::{
        address::Address,
        replies::{ReplyClass, Stage, classify},
    },
    mail::catcher::{Action, Auth, Catcher, Event, Settings, Tls, What},
    needs,
};

/// Made with `openssl req -x509` and `openssl x509 -req`, valid until 2126; the authority's key was thrown away.
const CA: &[u8] = include_bytes!("../../../tests/data/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../tests/data/tls/server.key");

const MESSAGE: &[u8] = b"From: a@news.example\r\nSubject: hi\r\n\r\n.dotted\r\nbye\r\n";
const SHORT: Duration = Duration::from_millis(300);

fn envelope(to: &str) -> Envelope {
    Envelope { from: Some(Address::parse("bounce@news.example").unwrap()), to: Address::parse(to).unwrap() }
}

fn scripted(script: impl Fn(&Event) -> Action + Send + Sync + 'static) -> Settings {
    Settings { script: Some(Arc::new(script)), ..Settings::default() }
}

/// Does `action` at the command that begins with `verb`.
fn at(verb: &'static str, action: Action) -> Settings {
    scripted(move |event| match event.what {
        What::Command(line) if line.starts_with(verb) => action.clone(),
        _ => Action::Usual,
    })
}

fn at_message(action: Action) -> Settings {
    scripted(move |event| match event.what {
        What::Message { .. } => action.clone(),
        _ => Action::Usual,
    })
}

fn reply(text: &str) -> Action {
    Action::Reply(format!("{text}\r\n"))
}

async fn catcher(settings: Settings) -> Catcher {
    Catcher::start("127.0.0.1:0".parse().unwrap(), settings).await.unwrap()
}

async fn open(catcher: &Catcher) -> Connection {
    let server = Server::parse(&catcher.url()).unwrap();
    Connection::open(&server, Timeouts::all(Duration::from_secs(10))).await.unwrap()
}

/// A connection that loses patience soon.
async fn open_impatient(catcher: &Catcher) -> Connection {
    Connection::open(&Server::parse(&catcher.url()).unwrap(), Timeouts::all(SHORT)).await.unwrap()
}

fn code_and_stage(outcome: SubmitOutcome) -> (u16, Stage) {
    match outcome {
        SubmitOutcome::Accepted(reply) => (reply.code, Stage::Final),
        SubmitOutcome::Refused { reply, stage } => (reply.code, stage),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_arrive_as_they_were_whether_or_not_the_server_pipelines() {
    for pipelining in [true, false] {
        let catcher = catcher(Settings { pipelining, ..Settings::default() }).await;
        let mut connection = open(&catcher).await;
        assert_eq!(connection.capabilities().pipelining, pipelining);
        for number in 1..=3 {
            let outcome = connection.submit(&envelope(&format!("r{number}@x.example")), MESSAGE).await;
            let SubmitOutcome::Accepted(reply) = outcome else { panic!("{outcome:?}") };
            assert_eq!(reply.to_string(), format!("250 2.0.0 kept as number {number}"));
        }
        let null = Envelope { from: None, to: Address::parse("\"a >b\"@x.example").unwrap() };
        assert_eq!(code_and_stage(connection.submit(&null, MESSAGE).await).0, 250);
        connection.quit().await;
        let caught = catcher.mailbag().messages();
        assert_eq!(caught.len(), 4);
        assert_eq!((caught[0].from.as_str(), caught[0].to[0].as_str()), ("bounce@news.example", "r1@x.example"));
        assert_eq!((caught[3].from.as_str(), caught[3].to[0].as_str()), ("", "\"a >b\"@x.example"));
        assert!(caught.iter().all(|caught| caught.bytes == MESSAGE));
    }
}

#[tokio::test]
async fn one_round_trip_ends_a_message_and_begins_the_next() {
    for pipelining in [true, false] {
        let mut settings = scripted(|event| match event.what {
            What::Command(line) if line.contains("bad@") => reply("550 5.1.1 no such user"),
            _ => Action::Usual,
        });
        settings.pipelining = pipelining;
        let catcher = catcher(settings).await;
        let mut connection = open(&catcher).await;
        assert!(matches!(connection.begin(&envelope("r1@x.example")).await, Begun::Ready));
        let (first, begun) = connection.finish_and_begin(MESSAGE, &envelope("r2@x.example")).await;
        assert!(matches!((&first, &begun), (SubmitOutcome::Accepted(_), Begun::Ready)), "{first:?} {begun:?}");
        let (second, begun) = connection.finish_and_begin(MESSAGE, &envelope("bad@x.example")).await;
        assert!(matches!(second, SubmitOutcome::Accepted(_)), "{second:?}");
        assert!(matches!(begun, Begun::Refused { stage: Stage::Rcpt, .. }), "{begun:?}");
        // The refusal of one is nobody else's trouble.
        assert!(matches!(connection.begin(&envelope("r3@x.example")).await, Begun::Ready));
        assert!(matches!(connection.finish(MESSAGE).await, SubmitOutcome::Accepted(_)));
        let to: Vec<String> = catcher.mailbag().messages().iter().map(|m| m.to.join(",")).collect();
        assert_eq!(to, ["r1@x.example", "r2@x.example", "r3@x.example"]);
    }
}

#[tokio::test]
async fn a_refusal_of_the_message_leaves_the_next_envelope_alone() {
    let messages = AtomicUsize::new(0);
    let catcher = catcher(scripted(move |event| match event.what {
        What::Message { .. } if messages.fetch_add(1, Ordering::SeqCst) == 0 => reply("554 5.7.1 spam"),
        _ => Action::Usual,
    }))
    .await;
    let mut connection = open(&catcher).await;
    assert!(matches!(connection.begin(&envelope("r1@x.example")).await, Begun::Ready));
    let (first, begun) = connection.finish_and_begin(MESSAGE, &envelope("r2@x.example")).await;
    assert_eq!(code_and_stage(first), (554, Stage::Final));
    assert!(matches!(begun, Begun::Ready));
    assert!(matches!(connection.finish(MESSAGE).await, SubmitOutcome::Accepted(_)));
    assert_eq!(catcher.mailbag().messages()[0].to, ["r2@x.example"]);
}

#[tokio::test]
async fn a_refusal_costs_no_connection() {
    for pipelining in [true, false] {
        let mut settings = scripted(|event| match event.what {
            What::Command(line) if line.starts_with("RCPT") && line.contains("bad") => reply("550 5.1.1 user unknown"),
            What::Command(line) if line.starts_with("RCPT") && line.contains("later") => reply("450 4.2.1 busy"),
            What::Command(line) if line.starts_with("MAIL") && event.connection > 1 => reply("421 4.3.2 no more"),
            What::Message { to, .. } if to[0].starts_with("spam") => reply("550 5.7.1 spam"),
            _ => Action::Usual,
        });
        settings.pipelining = pipelining;
        let catcher = catcher(settings).await;
        let mut connection = open(&catcher).await;
        for (to, expected) in [
            ("bad1@x.example", (550, Stage::Rcpt)),
            ("ok1@x.example", (250, Stage::Final)),
            ("later@x.example", (450, Stage::Rcpt)),
            ("bad2@x.example", (550, Stage::Rcpt)),
            ("spam@x.example", (550, Stage::Final)),
            ("ok2@x.example", (250, Stage::Final)),
        ] {
            assert_eq!(code_and_stage(connection.submit(&envelope(to), MESSAGE).await), expected, "{to}");
            assert!(connection.is_usable());
        }
        assert_eq!(catcher.mailbag().count(), 2);
    }
}

#[tokio::test]
async fn data_accepted_without_a_recipient_ends_with_a_lone_dot() {
    let catcher = catcher(scripted(|event| match event.what {
        What::Command(line) if line.contains("bad") => reply("550 5.1.1 user unknown"),
        What::Command("DATA") => reply("354 go on, though nobody gets it"),
        _ => Action::Usual,
    }))
    .await;
    let mut connection = open(&catcher).await;
    for _ in 0..2 {
        let outcome = connection.submit(&envelope("bad@x.example"), MESSAGE).await;
        assert_eq!(code_and_stage(outcome), (550, Stage::Rcpt));
        assert!(connection.is_usable());
        assert_eq!(code_and_stage(connection.submit(&envelope("ok@x.example"), MESSAGE).await).0, 250);
    }
    assert_eq!(catcher.mailbag().count(), 2, "nothing empty was sent");
}

#[tokio::test]
async fn data_accepted_without_a_sender_ends_the_connection_and_sends_nothing() {
    let catcher = catcher(scripted(|event| match event.what {
        What::Command(line) if line.starts_with("MAIL") => reply("550 5.7.1 not you"),
        What::Command("DATA") => reply("354 go on"),
        _ => Action::Usual,
    }))
    .await;
    let mut connection = open(&catcher).await;
    let outcome = connection.submit(&envelope("ok@x.example"), MESSAGE).await;
    assert_eq!(code_and_stage(outcome), (550, Stage::Mail));
    assert!(!connection.is_usable());
    assert_eq!(catcher.mailbag().count(), 0);
}

#[tokio::test]
async fn a_421_anywhere_is_a_refusal_and_the_end_of_the_connection() {
    for pipelining in [true, false] {
        for (verb, stage) in [("MAIL", Stage::Mail), ("RCPT", Stage::Rcpt), ("DATA", Stage::Data)] {
            let closing = Action::ReplyAndClose("421 4.3.2 going down\r\n".to_owned());
            let catcher = catcher(Settings { pipelining, ..at(verb, closing) }).await;
            let mut connection = open(&catcher).await;
            let outcome = connection.submit(&envelope("ok@x.example"), MESSAGE).await;
            assert_eq!(code_and_stage(outcome), (421, stage));
            assert!(!connection.is_usable());
            let again = connection.submit(&envelope("ok@x.example"), MESSAGE).await;
            assert!(matches!(again, SubmitOutcome::NotSent(SmtpError::Unusable)), "{again:?}");
            assert_eq!(catcher.mailbag().count(), 0);
        }
    }
    let catcher = catcher(at_message(Action::ReplyAndClose("421 4.3.2 going down\r\n".to_owned()))).await;
    let mut connection = open(&catcher).await;
    assert!(matches!(connection.begin(&envelope("r1@x.example")).await, Begun::Ready));
    let (first, begun) = connection.finish_and_begin(MESSAGE, &envelope("r2@x.example")).await;
    assert_eq!(code_and_stage(first), (421, Stage::Final));
    assert!(matches!(begun, Begun::NotSent(_)), "{begun:?}");
}

#[tokio::test]
async fn replies_in_pieces_are_replies() {
    let pieces = ["25", "0-2.1", ".5 recip", "ient\r", "\n250 2.1.5 o", "k\r\n"].map(str::to_owned).to_vec();
    for pipelining in [true, false] {
        let script = at("RCPT", Action::Pieces(pieces.clone(), Duration::from_millis(5)));
        let catcher = catcher(Settings { pipelining, ..script }).await;
        let mut connection = open(&catcher).await;
        for _ in 0..2 {
            assert_eq!(code_and_stage(connection.submit(&envelope("ok@x.example"), MESSAGE).await).0, 250);
        }
    }
}

#[tokio::test]
async fn before_the_final_dot_trouble_means_not_sent() {
    for pipelining in [true, false] {
        for verb in ["MAIL", "RCPT", "DATA"] {
            for action in [Action::Close, Action::Silent, reply("HTTP/1.1 400 Bad Request"), reply("250-endless")] {
                let shown = format!("{verb} {action:?} pipelining {pipelining}");
                let catcher = catcher(Settings { pipelining, ..at(verb, action) }).await;
                let mut connection = open_impatient(&catcher).await;
                let outcome = connection.submit(&envelope("ok@x.example"), MESSAGE).await;
                assert!(matches!(outcome, SubmitOutcome::NotSent(_)), "{shown}: {outcome:?}");
                assert!(!connection.is_usable(), "{shown}");
                assert_eq!(catcher.mailbag().count(), 0, "{shown}");
            }
        }
    }
}

/// Each octet in time, the whole too late: the deadline is the reply's.
#[tokio::test]
async fn a_trickling_reply_is_late() {
    let pieces = "250 2.1.0 sender ok\r\n".chars().map(String::from).collect();
    let catcher = catcher(at("MAIL", Action::Pieces(pieces, Duration::from_millis(60)))).await;
    let mut connection = open_impatient(&catcher).await;
    let outcome = connection.submit(&envelope("ok@x.example"), MESSAGE).await;
    assert!(matches!(outcome, SubmitOutcome::NotSent(SmtpError::Timeout("MAIL"))), "{outcome:?}");
}

/// A server that says 354 and does not read.
#[tokio::test]
async fn a_message_that_is_not_taken_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1000];
        for reply in ["220 hi\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"] {
            stream.write_all(reply.as_bytes()).await.unwrap();
            let _ = stream.read(&mut buffer).await;
        }
        std::future::pending::<()>().await;
    });
    let server_url = Server::parse(&format!("smtp://{address}")).unwrap();
    let mut connection = Connection::open(&server_url, Timeouts::all(SHORT)).await.unwrap();
    let message = "line of a large message\r\n".repeat(1_000_000);
    let outcome = connection.submit(&envelope("ok@x.example"), message.as_bytes()).await;
    assert!(matches!(outcome, SubmitOutcome::NotSent(SmtpError::Timeout(_))), "{outcome:?}");
    server.abort();
}

#[tokio::test]
async fn a_cut_within_the_message_means_not_sent() {
    let catcher = catcher(scripted(|event| match event.what {
        What::Data(octets) if octets > 100_000 => Action::Close,
        _ => Action::Usual,
    }))
    .await;
    let mut connection = open(&catcher).await;
    // Far more than sockets buffer, so that the cut is felt before the dot is written.
    let message = "line of a large message\r\n".repeat(400_000);
    let outcome = connection.submit(&envelope("ok@x.example"), message.as_bytes()).await;
    assert!(matches!(outcome, SubmitOutcome::NotSent(_)), "{outcome:?}");
    assert!(!connection.is_usable());
    assert_eq!(catcher.mailbag().count(), 0);
}

#[tokio::test]
async fn behind_the_final_dot_a_lost_answer_means_unknown() {
    for action in [Action::Close, Action::Silent, reply("what?"), reply("354 more?"), reply("251 sort of")] {
        let shown = format!("{action:?}");
        let catcher = catcher(at_message(action)).await;
        let mut connection = open_impatient(&catcher).await;
        let outcome = connection.submit(&envelope("ok@x.example"), MESSAGE).await;
        assert!(matches!(outcome, SubmitOutcome::Unknown(_)), "{shown}: {outcome:?}");
        assert!(!connection.is_usable(), "{shown}");
    }
    // The next envelope, on the other hand, surely was not sent.
    let catcher = catcher(at_message(Action::Close)).await;
    let mut connection = open(&catcher).await;
    assert!(matches!(connection.begin(&envelope("r1@x.example")).await, Begun::Ready));
    let (first, begun) = connection.finish_and_begin(MESSAGE, &envelope("r2@x.example")).await;
    assert!(matches!(first, SubmitOutcome::Unknown(_)), "{first:?}");
    assert!(matches!(begun, Begun::NotSent(_)), "{begun:?}");
    assert_eq!(catcher.mailbag().count(), 1, "and in truth it had arrived");
}

#[tokio::test]
async fn a_dropped_submission_never_shifts_replies() {
    let catcher = catcher(at("RCPT", Action::Slow(Duration::from_millis(400)))).await;
    let mut connection = open(&catcher).await;
    let cut_short = tokio::time::timeout(SHORT, async { connection.submit(&envelope("r1@x.example"), MESSAGE).await });
    assert!(cut_short.await.is_err());
    assert!(!connection.is_usable());
    tokio::time::sleep(SHORT).await;
    let outcome = connection.submit(&envelope("r2@x.example"), MESSAGE).await;
    assert!(matches!(outcome, SubmitOutcome::NotSent(SmtpError::Unusable)), "{outcome:?}");
}

#[tokio::test]
async fn an_idle_connection_that_the_server_left_is_noticed() {
    let catcher = catcher(Settings { idle: Duration::from_millis(100), ..Settings::default() }).await;
    let (mut asked, mut connection) = (open(&catcher).await, open(&catcher).await);
    assert!(asked.is_live().await);
    tokio::time::sleep(SHORT).await;
    assert!(!asked.is_live().await && !asked.is_usable());
    let outcome = connection.submit(&envelope("r1@x.example"), MESSAGE).await;
    assert!(matches!(outcome, SubmitOutcome::NotSent(_)), "safe to send on another connection: {outcome:?}");
}

#[tokio::test]
async fn an_old_server_that_knows_helo_only_is_served() {
    let catcher = catcher(Settings { ehlo: false, ..Settings::default() }).await;
    let mut connection = open(&catcher).await;
    assert_eq!(connection.capabilities(), Capabilities::default());
    assert_eq!(code_and_stage(connection.submit(&envelope("ok@x.example"), MESSAGE).await).0, 250);
}

#[tokio::test]
async fn a_server_that_does_not_want_us_says_so() {
    let connect = |action: Action| {
        scripted(move |event| match event.what {
            What::Connect => action.clone(),
            _ => Action::Usual,
        })
    };
    let busy = catcher(connect(Action::ReplyAndClose("421 4.7.0 [TSS04] later\r\n".to_owned()))).await;
    let error = Connection::open(&Server::parse(&busy.url()).unwrap(), Timeouts::default()).await.unwrap_err();
    let ConnectError::Refused { stage, reply, .. } = &error else { panic!("{error}") };
    assert_eq!(classify(reply, *stage), ReplyClass::Throttle);
    assert!(!error.is_permanent());

    let mute = catcher(connect(Action::Silent)).await;
    let error = Connection::open(&Server::parse(&mute.url()).unwrap(), Timeouts::all(SHORT)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Broken { error: SmtpError::Timeout(_), .. }), "{error}");

    let url = mute.url();
    drop(mute);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = Connection::open(&Server::parse(&url).unwrap(), Timeouts::all(SHORT)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tcp { .. }), "{error}");
}

#[tokio::test]
async fn utf8_addresses_go_only_where_they_are_understood() {
    let understands = catcher(Settings::default()).await;
    let mut connection = open(&understands).await;
    assert_eq!(code_and_stage(connection.submit(&envelope("é@bücher.example"), MESSAGE).await).0, 250);
    assert_eq!(understands.mailbag().messages()[0].to, ["é@xn--bcher-kva.example"]);

    let does_not = catcher(Settings { smtputf8: false, ..Settings::default() }).await;
    let mut connection = open(&does_not).await;
    let outcome = connection.submit(&envelope("é@bücher.example"), MESSAGE).await;
    let SubmitOutcome::Refused { reply, stage } = outcome else { panic!("{outcome:?}") };
    assert_eq!((reply.enhanced, classify(&reply, stage)), (Some((5, 6, 7)), ReplyClass::Unusable));
    assert!(connection.is_usable());
    // An A-label needs nothing of the kind.
    assert_eq!(code_and_stage(connection.submit(&envelope("e@bücher.example"), MESSAGE).await).0, 250);
}

#[tokio::test]
async fn a_message_over_the_servers_size_is_not_even_begun() {
    let catcher = catcher(Settings { max_message: 1000, ..Settings::default() }).await;
    let mut connection = open(&catcher).await;
    let outcome = connection.submit(&envelope("ok@x.example"), &[b'a'; 2000]).await;
    let SubmitOutcome::Refused { reply, stage } = outcome else { panic!("{outcome:?}") };
    assert_eq!(classify(&reply, stage), ReplyClass::Content);
    assert_eq!(code_and_stage(connection.submit(&envelope("ok@x.example"), MESSAGE).await).0, 250);
}

fn tls(implicit: bool) -> Option<Tls> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    Some(Tls { config: Arc::new(config), implicit })
}

fn auth(mechanisms: &'static str) -> Option<Auth> {
    Some(Auth { user: "u@x".to_owned(), password: "p:é%".to_owned(), mechanisms })
}

#[tokio::test]
async fn passwords_go_over_tls_with_a_certificate_that_holds() {
    for (implicit, mechanisms) in [(true, "PLAIN LOGIN"), (false, "PLAIN"), (false, "LOGIN"), (true, "LOGIN")] {
        let catcher = catcher(Settings { tls: tls(implicit), auth: auth(mechanisms), ..Settings::default() }).await;
        let scheme = if implicit { "smtps" } else { "smtp" };
        let port = catcher.address().port();
        let url = format!("{scheme}://u%40x:p%3A%C3%A9%25@localhost:{port}");
        let server = Server::parse(&url).unwrap().trusting(CA).unwrap();
        let mut connection = Connection::open(&server, Timeouts::default()).await.unwrap();
        assert!(connection.is_encrypted());
        assert_eq!(code_and_stage(connection.submit(&envelope("ok@x.example"), MESSAGE).await).0, 250);
        assert!(matches!(connection.begin(&envelope("r1@x.example")).await, Begun::Ready));
        let (first, begun) = connection.finish_and_begin(MESSAGE, &envelope("r2@x.example")).await;
        assert!(matches!((&first, &begun), (SubmitOutcome::Accepted(_), Begun::Ready)));
        assert!(matches!(connection.finish(MESSAGE).await, SubmitOutcome::Accepted(_)));
        connection.quit().await;

        let wrong = Server::parse(&format!("{scheme}://u%40x:wrong@localhost:{port}")).unwrap().trusting(CA).unwrap();
        let error = Connection::open(&wrong, Timeouts::default()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { stage: Stage::Auth, .. }) && error.is_permanent(), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_refused() {
    let catcher = catcher(Settings { tls: tls(true), auth: auth("PLAIN"), ..Settings::default() }).await;
    let port = catcher.address().port();
    // Nobody we know signed it.
    let server = Server::parse(&format!("smtps://u:p@localhost:{port}")).unwrap();
    let error = Connection::open(&server, Timeouts::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }) && error.is_permanent(), "{error}");
    // It is another's.
    let settings = Settings { tls: tls(true), ..Settings::default() };
    let other = Catcher::start("127.0.0.2:0".parse().unwrap(), settings).await.unwrap();
    let server = Server::parse(&format!("smtps://{}", other.address())).unwrap().trusting(CA).unwrap();
    let error = Connection::open(&server, Timeouts::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }) && error.is_permanent(), "{error}");
}

#[tokio::test]
async fn a_local_server_may_have_a_certificate_of_its_own_making() {
    let catcher = catcher(Settings { tls: tls(false), ..Settings::default() }).await;
    let mut connection = open(&catcher).await;
    assert!(connection.is_encrypted());
    assert_eq!(code_and_stage(connection.submit(&envelope("ok@x.example"), MESSAGE).await).0, 250);
}

#[tokio::test]
async fn a_password_never_leaves_in_the_clear() {
    let seen = Arc::new(Mutex::new(String::new()));
    let seen_too = seen.clone();
    let mut settings = scripted(move |event| {
        if let What::Command(line) = event.what {
            seen_too.lock().unwrap().push_str(line);
        }
        Action::Usual
    });
    settings.auth = auth("PLAIN LOGIN");
    let catcher = catcher(settings).await;
    // As for a host that is not this machine, whatever the address.
    let mut server = Server::parse("smtp://u%40x:p@mail.example.org").unwrap();
    assert!(!server.is_loopback());
    server.host = "127.0.0.1".to_owned();
    server.port = catcher.address().port();
    let error = Connection::open(&server, Timeouts::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::TlsNotOffered(_)) && error.is_permanent(), "{error}");
    assert!(!seen.lock().unwrap().contains("AUTH"));
    // On this machine it may.
    let server = Server::parse(&format!("smtp://u%40x:p%3A%C3%A9%25@{}", catcher.address())).unwrap();
    assert!(Connection::open(&server, Timeouts::default()).await.is_ok());
}

#[tokio::test]
async fn a_server_without_auth_gets_no_password() {
    let catcher = catcher(Settings::default()).await;
    let server = Server::parse(&format!("smtp://u:p@{}", catcher.address())).unwrap();
    let error = Connection::open(&server, Timeouts::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::AuthNotOffered(_)), "{error}");
}

/// What comes in the clear with the answer to STARTTLS would be read as if TLS had protected it.
#[tokio::test]
async fn replies_injected_before_tls_are_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1000];
        for reply in ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n250-x\r\n250 AUTH PLAIN\r\n"] {
            stream.write_all(reply.as_bytes()).await.unwrap();
            let _ = stream.read(&mut buffer).await;
        }
    });
    let error = Connection::open(&Server::parse(&format!("smtp://{address}")).unwrap(), Timeouts::all(SHORT)).await;
    assert!(matches!(error, Err(ConnectError::Injection(_))), "{error:?}");
    server.abort();
}

/// A server that answers before it is asked is not one to count replies with.
#[tokio::test]
async fn an_unasked_reply_ends_the_connection() {
    let catcher = catcher(at_message(Action::Reply("250 2.0.0 ok\r\n250 2.0.0 and ok again\r\n".to_owned()))).await;
    let mut connection = open(&catcher).await;
    assert_eq!(code_and_stage(connection.submit(&envelope("r1@x.example"), MESSAGE).await).0, 250);
    let outcome = connection.submit(&envelope("r2@x.example"), MESSAGE).await;
    assert!(matches!(outcome, SubmitOutcome::NotSent(SmtpError::Unusable)), "{outcome:?}");
}

/// The 40 ms of Nagle's algorithm and delayed ACKs must not come back.
#[tokio::test]
async fn a_hundred_messages_take_no_hundred_delays() {
    let catcher = catcher(Settings::default()).await;
    let mut connection = open(&catcher).await;
    let message = "line of a message\r\n".repeat(1000);
    let started = Instant::now();
    for _ in 0..100 {
        let outcome = connection.submit(&envelope("ok@x.example"), message.as_bytes()).await;
        assert!(matches!(outcome, SubmitOutcome::Accepted(_)));
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_catcher_survives_anything_and_keeps_within_bounds() {
    let catcher = catcher(Settings { keep_messages: 2, max_message: 2000, ..Settings::default() }).await;
    let mut noise: Vec<u8> = (0..=255u8).cycle().take(60_000).collect();
    noise.extend_from_slice(b"\r\nMAIL FROM:<a\r\nRCPT TO:<>\r\nDATA\r\nAUTH PLAIN =\r\n\xff\xfe\r\n");
    let mut stream = tokio::net::TcpStream::connect(catcher.address()).await.unwrap();
    let _ = stream.write_all(&noise).await;
    let mut answer = Vec::new();
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"220 "));

    let mut stream = tokio::net::TcpStream::connect(catcher.address()).await.unwrap();
    let huge = format!(
        "EHLO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n{}\r\n.\r\nQUIT\r\n",
        "a".repeat(100_000)
    );
    stream.write_all(huge.as_bytes()).await.unwrap();
    answer.clear();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("552 5.3.4") && answer.ends_with("221 2.0.0 goodbye\r\n"), "{answer}");

    let mut connection = open(&catcher).await;
    for _ in 0..5 {
        connection.submit(&envelope("ok@x.example"), MESSAGE).await;
    }
    let numbers: Vec<usize> = catcher.mailbag().messages().iter().map(|caught| caught.number).collect();
    assert_eq!((catcher.mailbag().count(), numbers), (5, vec![4, 5]));
}

/// An independent peer: Postfix's test server.
#[tokio::test]
async fn debians_smtp_sink_takes_our_mail() {
    let Some(program) = needs::program("smtp-sink", "our client against smtp-sink") else { return };
    for options in [&[][..], &["-p"], &["-e"], &["-q", "RCPT"], &["-f", "RCPT"], &["-r", "MAIL"]] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut sink = Command::new(&program);
        if std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            sink.args(["-u", "nobody"]);
        }
        let sink = sink.args(options).args([&format!("127.0.0.1:{port}"), "100"]);
        let mut sink = sink.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Server::parse(&format!("smtp://127.0.0.1:{port}")).unwrap();
        let mut connection = None;
        for _ in 0..100 {
            connection = Connection::open(&server, Timeouts::all(Duration::from_secs(5))).await.ok();
            if connection.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut connection = connection.expect("smtp-sink listens");
        for _ in 0..3 {
            let outcome = connection.submit(&envelope("ok@x.example"), MESSAGE).await;
            match options {
                ["-q", _] => assert!(matches!(outcome, SubmitOutcome::NotSent(_)), "{outcome:?}"),
                ["-f", _] => assert_eq!(code_and_stage(outcome), (500, Stage::Rcpt)),
                ["-r", _] => assert_eq!(code_and_stage(outcome), (450, Stage::Mail)),
                _ => assert_eq!(code_and_stage(outcome), (250, Stage::Final), "{options:?}"),
            }
            if !connection.is_usable() {
                break;
            }
        }
        sink.kill().unwrap();
        sink.wait().unwrap();
    }
}
