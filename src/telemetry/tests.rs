//! The endpoint as a scraper, a probe and a silent peer see it.

use std::io::{Read as _, Write as _};

use super::*;
use crate::health::Phase;

struct Running {
    address: SocketAddr,
    readiness: Readiness,
    stop: tokio::sync::oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), HttpError>>,
}

async fn start() -> Running {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let readiness = Readiness::default();
    let server = TelemetryServer::bind("127.0.0.1:0".parse().unwrap(), metrics, readiness.clone()).await.unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let ended = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    Running { address, readiness, stop, ended }
}

async fn get(address: SocketAddr, path: &'static str) -> String {
    let ask = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_returns_the_series_and_a_probe_the_reason() {
    let running = start().await;
    assert!(get(running.address, "/metrics").await.contains("tripline_build_info{version="));
    assert!(get(running.address, "/livez").await.starts_with("HTTP/1.1 200"));
    let waiting = get(running.address, "/readyz").await;
    assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("loading configuration"), "{waiting}");
    running.readiness.set(Phase::Ready);
    assert!(get(running.address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(running.address, "/etc/passwd").await.starts_with("HTTP/1.1 404"));
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_hang_on_cannot_stop_the_shutdown() {
    let running = start().await;
    let mut half = std::net::TcpStream::connect(running.address).unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    // One served request proves that the server has accepted the earlier connection too.
    assert!(get(running.address, "/livez").await.starts_with("HTTP/1.1 200"));
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_comes_back_when_its_connection_ends() {
    let running = start().await;
    let hold: Vec<_> = (0..Limits::SMALL.connections).map(|_| std::net::TcpStream::connect(running.address).unwrap()).collect();
    let waiting = tokio::spawn(get(running.address, "/livez"));
    // Every slot is held by a silent peer; the answer can only come after one of them leaves.
    tokio::task::yield_now().await;
    drop(hold);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
    running.stop.send(()).unwrap();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named_with_a_remedy() {
    let running = start().await;
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let error = TelemetryServer::bind(running.address, metrics, Readiness::default()).await.unwrap_err().to_string();
    assert!(error.contains(&running.address.to_string()) && error.contains("server.metrics"), "{error}");
}
