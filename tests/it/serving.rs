//! The accept loop: what it bears, and how it ends.

use std::time::Duration;

use axum::{Router, routing::get};
use ouinon::web::{self, Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server of `/now` and `/slow` with its address, how to stop it, and its end.
async fn server(limits: Limits) -> (String, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        "slow"
    };
    let router = Router::new().route("/now", get(|| async { "now" })).route("/slow", get(slow));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound").to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async {
        let _ = stopped.await;
    };
    (at, stop, tokio::spawn(web::serve_router(router, listener, limits, until)))
}

fn short() -> Limits {
    Limits { connections: 2, head: Duration::from_millis(300), farewell: Duration::from_secs(5) }
}

async fn connect(at: &str, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.expect("accepted");
    stream.write_all(text.as_bytes()).await.expect("sent");
    stream
}

/// Everything until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("the server closes in time");
    text
}

#[tokio::test]
async fn whoever_dawdles_over_the_head_is_let_go() {
    let (at, _stop, _server) = server(short()).await;
    let start = Instant::now();
    // Half a head, nothing at all, and nothing after a first answer.
    for text in ["GET /now HTTP/1.1\r\nHost: x\r\nX-Slow: ", "", "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"] {
        rest(connect(&at, text).await).await;
    }
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_crowd_waits_for_a_place_and_then_gets_one() {
    let (at, _stop, _server) = server(short()).await;
    // Two dawdlers take both places until they are let go.
    let dawdlers = [connect(&at, "GET /").await, connect(&at, "GET /").await];
    let answer = rest(connect(&at, "GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await).await;
    assert!(answer.ends_with("now"), "{answer}");
    drop(dawdlers);
}

#[tokio::test]
async fn what_was_begun_is_ended_and_the_idle_are_let_go() {
    let limits = Limits { connections: 10, head: Duration::from_secs(60), farewell: Duration::from_secs(5) };
    let (at, stop, server) = server(limits).await;
    let mut idle = connect(&at, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut seen = [0; 12];
    idle.read_exact(&mut seen).await.expect("an answer");
    let begun = connect(&at, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send(()).expect("it listens");
    assert!(rest(begun).await.ends_with("slow"), "the request that was begun is answered");
    rest(idle).await;
    timeout(PATIENCE, server).await.expect("it ends in time").expect("without panic").expect("well");
    assert!(TcpStream::connect(&at).await.is_err(), "nobody listens any more");
}
