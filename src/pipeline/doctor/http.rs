//! Asks our own public address as a stranger would: one request, no cookie, no redirect followed, and
//! a certificate that any mailbox provider would accept.

use std::{net::IpAddr, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::mail::smtp::client_config;

const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer, as much as is read.
const ENOUGH: usize = 64 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// Says who sends a cookie.
    pub cookie: bool,
    /// The body, as far as it was read.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not a URL that can be asked.
    #[error("{0:?} is no URL that can be asked")]
    Url(String),
    /// Nobody listens, or the connection broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// TLS cannot be set up here.
    #[error("{0}")]
    Tls(String),
    /// No answer in time.
    #[error("no answer within {} seconds", PATIENCE.as_secs())]
    Time,
    /// What came back is no HTTP.
    #[error("the answer is no HTTP")]
    Garbage,
}

/// GET.
pub async fn get(url: &str) -> Result<Answer, HttpError> {
    ask(url, "GET", None).await
}

/// POST of a body of a kind.
pub async fn post(url: &str, kind: &str, body: &str) -> Result<Answer, HttpError> {
    ask(url, "POST", Some((kind, body))).await
}

async fn ask(url: &str, method: &str, content: Option<(&str, &str)>) -> Result<Answer, HttpError> {
    timeout(PATIENCE, exchange(url, method, content)).await.map_err(|_| HttpError::Time)?
}

async fn exchange(url: &str, method: &str, content: Option<(&str, &str)>) -> Result<Answer, HttpError> {
    let refused = || HttpError::Url(url.to_owned());
    let parsed = reqwest::Url::parse(url).map_err(|_| refused())?;
    let host = parsed.host_str().ok_or_else(refused)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = parsed.port_or_known_default().ok_or_else(refused)?;
    let authority = parsed.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = format!(
        "{method} {} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ouinon-doctor\r\nAccept: */*\r\nConnection: close\r\n",
        [parsed.path(), &parsed.query().map_or(String::new(), |query| format!("?{query}"))].concat()
    );
    if let Some((kind, body)) = content {
        request.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    } else {
        request.push_str("\r\n");
    }
    let tcp = TcpStream::connect((bare, port)).await?;
    if parsed.scheme() == "http" {
        return talk(tcp, &request).await;
    }
    let name = match bare.parse::<IpAddr>() {
        Ok(ip) => ServerName::from(ip),
        Err(_) => ServerName::try_from(bare.to_owned()).map_err(|_| refused())?,
    };
    let config = client_config(&[], true).map_err(|e| HttpError::Tls(e.to_string()))?;
    talk(TlsConnector::from(Arc::clone(&config)).connect(name, tcp).await?, &request).await
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Result<Answer, HttpError> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while bytes.len() < ENOUGH && !is_whole(&bytes) {
        match stream.read(&mut piece).await {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            // Many servers end TLS without a word.
            Err(_) if !bytes.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    read(&bytes).ok_or(HttpError::Garbage)
}

/// The head is there, and as much of the body as it announces.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = field(head, "content-length").and_then(|n| n.parse::<usize>().ok());
    let head = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    length.is_some_and(|length| bytes.len() - head >= length)
}

fn read(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Answer {
        status,
        location: field(head, "location").map(str::to_owned),
        cookie: field(head, "set-cookie").is_some(),
        body: body.to_owned(),
    })
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = read(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nset-cookie: a=b\r\n\r\nhello").unwrap();
        assert_eq!((answer.status, answer.location.as_deref(), answer.cookie), (302, Some("/x"), true));
        assert_eq!(answer.body, "hello");
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nok"), "until the end of the connection");
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), text in "HTTP/1.[01] ?[0-9é]{0,4}(\r\n)?[ -~\r\n]{0,60}") {
            let _ = (read(&bytes), is_whole(&bytes), read(text.as_bytes()), is_whole(text.as_bytes()));
        }
    }
}
