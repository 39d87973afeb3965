//! The server as slow, silent, greedy and ordinary peers see it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as Peer;

use axum::routing::{get, post};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;

/// Limits so small that a test reaches them.
const TINY: Limits = Limits {
    connections: 2,
    idle: Duration::from_secs(60),
    request: Duration::from_millis(300),
    header_bytes: 1_000,
    body_bytes: 1_000,
    drain: Duration::from_millis(300),
};

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), HttpError>>,
}

async fn start(limits: Limits) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), "a test", "--port", limits).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = Router::new()
        .route("/", get(|| async { "here\n" }))
        .route("/slow", get(|| async { sleep(Duration::from_secs(3_600)).await }))
        .route("/echo", post(|body: String| async { body }));
    let ended = tokio::spawn(server.serve(router, async {
        let _ = stopped.await;
    }));
    Running { address, stop, ended }
}

/// Sends a text and returns the whole answer; empty if the server hangs up.
async fn ask(address: SocketAddr, text: String) -> String {
    let ask = move || {
        let mut peer = Peer::connect(address).unwrap();
        // A server that hangs up in the middle of a long request refuses the rest.
        let _ = peer.write_all(text.as_bytes());
        let mut answer = String::new();
        let _ = peer.read_to_string(&mut answer);
        answer
    };
    spawn_blocking(ask).await.unwrap()
}

fn request(line: &str, headers: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n{body}")
}

impl Running {
    async fn end(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_bodies_and_handlers_beyond_their_limits_get_an_answer_that_says_so() {
    let running = start(TINY).await;
    let status = |answer: String| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(status(ask(running.address, request("GET /", "", "")).await), "200");
    let long = format!("X-Long: {}\r\n", "x".repeat(1_200));
    assert_eq!(status(ask(running.address, request("GET /", &long, "")).await), "431");
    let body = "x".repeat(1_200);
    let length = format!("Content-Length: {}\r\n", body.len());
    assert_eq!(status(ask(running.address, request("POST /echo", &length, &body)).await), "413");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(status(ask(running.address, request("POST /echo", chunked, &chunk)).await), "413");
    assert_eq!(status(ask(running.address, request("GET /slow", "", "")).await), "503");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_trickles_in_is_cut_off_however_steadily_it_comes() {
    let running = start(TINY).await;
    let address = running.address;
    let trickle = move || {
        let mut peer = Peer::connect(address).unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut sent = 0_u32;
        loop {
            // A byte every 20 ms: never silent for long, and never done.
            let written = peer.write_all(b"x");
            let mut byte = [0];
            match peer.read(&mut byte) {
                Ok(_) => return sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && written.is_ok() => sent += 1,
                Err(_) => return sent,
            }
            assert!(sent < 1_000, "20 s of trickling and nobody minds");
        }
    };
    let sent = spawn_blocking(trickle).await.unwrap();
    assert!(sent > 1, "it was given some time");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_end_is_cut_off_by_its_size() {
    let running = start(Limits { request: Duration::from_secs(60), ..TINY }).await;
    let endless = format!("GET / HTTP/1.1\r\nX-Endless: {}", "x".repeat(1_000_000));
    let answer = ask(running.address, endless).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_slots_wait_for_a_slot() {
    let running = start(Limits { request: Duration::from_secs(60), ..TINY }).await;
    let hold: Vec<_> = (0..TINY.connections).map(|_| Peer::connect(running.address).unwrap()).collect();
    let waiting = tokio::spawn(ask(running.address, request("GET /", "", "")));
    // Every slot is held by a silent peer; the answer can only come after one of them leaves.
    tokio::task::yield_now().await;
    drop(hold);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_come_cannot_stop_the_shutdown() {
    let running = start(Limits { request: Duration::from_secs(60), ..TINY }).await;
    let mut hanging = Peer::connect(running.address).unwrap();
    hanging.write_all(request("GET /slow", "", "").as_bytes()).unwrap();
    // One served request proves that the server has accepted the earlier connection too.
    assert!(ask(running.address, request("GET /", "", "")).await.starts_with("HTTP/1.1 200"));
    running.end().await;
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_setting() {
    let running = start(TINY).await;
    let error = Server::bind(running.address, "a test", "--port", TINY).await.unwrap_err().to_string();
    assert!(error.contains(&running.address.to_string()) && error.contains("set --port to a free address"), "{error}");
    running.end().await;
}
