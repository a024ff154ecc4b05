//! A client that says exactly what it is told to, and the public pages behind a real listener.

use std::net::SocketAddr;

use ouinon::{app::App, web};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// The public pages, served until dropped.
pub struct Served {
    /// Where.
    pub at: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Serves the public pages of `app` on the loopback.
pub async fn serve(app: &App) -> Served {
    serve_on(app, TcpListener::bind("127.0.0.1:0").await.expect("a port is free")).await
}

/// Serves the public pages of `app` where `listener` listens.
pub async fn serve_on(app: &App, listener: TcpListener) -> Served {
    let at = listener.local_addr().expect("it is bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async {
        let _ = stopped.await;
    };
    let server = tokio::spawn(web::serve(app.clone(), listener, until));
    Served { at, stop: Some(stop), server: Some(server) }
}

impl Served {
    /// Sends `head` (request line and header lines) and `body`; `Host` and `Content-Length` are added.
    pub async fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.send(head, body).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        read_answer(&bytes)
    }

    /// As `ask`, without waiting for the answer.
    pub async fn send(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.expect("the server accepts");
        let mut request = format!("{}\r\nHost: {}\r\nConnection: close\r\n", head.trim_end(), self.at).into_bytes();
        if !body.is_empty() {
            request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        stream.write_all(&request).await.expect("the server reads");
        stream
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), b"").await
    }

    /// POST of an urlencoded form.
    pub async fn post(&self, path: &str, form: &str) -> Answer {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        self.ask(&format!("POST {path} HTTP/1.1\r\n{kind}"), form.as_bytes()).await
    }

    /// Stops and waits for the end.
    pub async fn stop(mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        self.server.take().expect("it runs").await.expect("the server does not panic").expect("the server ends well");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn read_answer(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).expect("a status line");
    let headers = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    Answer { status, headers, body: body.to_owned() }
}
