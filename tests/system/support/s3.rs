//! A small S3-compatible server on a loopback port: enough of the protocol for the object store of the service, objects in memory.
//!
//! It keeps the one promise that matters: of two writers that create the same name, one is refused (412).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// Largest object that it takes.
const MAX_OBJECT: usize = 1 << 30;

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct S3 {
    /// `http://host:port`.
    pub endpoint: String,
    bucket: Bucket,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    away: Arc<AtomicBool>,
}

// === impl S3 ===

impl S3 {
    /// Starts a server on a free port.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bucket = Bucket::default();
        let app = axum::Router::new().fallback(serve).with_state(bucket.clone());
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, bucket, _runtime: runtime }
    }

    /// From now on every request is refused, or none.
    pub fn set_away(&self, away: bool) {
        self.bucket.away.store(away, Ordering::Release);
    }

    /// Names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.bucket.objects.lock().unwrap().keys().cloned().collect()
    }
}

async fn serve(State(bucket): State<Bucket>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_OBJECT).await else { return StatusCode::BAD_REQUEST.into_response() };
    if bucket.away.load(Ordering::Acquire) {
        return StatusCode::FORBIDDEN.into_response();
    }
    assert!(parts.headers.contains_key("authorization"), "requests are signed");
    let path = parts.uri.path().trim_start_matches('/');
    let key = path.split_once('/').map_or("", |(_, key)| key).to_owned();
    let query = parts.uri.query().unwrap_or_default();
    match parts.method {
        Method::GET if query.contains("list-type=2") => bucket.list(query),
        Method::GET | Method::HEAD => bucket.get(&key),
        Method::PUT => bucket.put(key, body, &parts.headers),
        Method::POST if query == "delete" => bucket.delete_all(&body),
        Method::DELETE => {
            bucket.objects.lock().unwrap().remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

// === impl Bucket ===

impl Bucket {
    fn get(&self, key: &str) -> Response {
        match self.objects.lock().unwrap().get(key) {
            Some(bytes) => ([("etag", "\"e\""), ("last-modified", "Mon, 02 Mar 2026 00:00:00 GMT")], bytes.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn put(&self, key: String, body: Bytes, headers: &HeaderMap) -> Response {
        let mut objects = self.objects.lock().unwrap();
        if headers.contains_key("if-none-match") && objects.contains_key(&key) {
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        objects.insert(key, body);
        [("etag", "\"e\"")].into_response()
    }

    fn delete_all(&self, body: &Bytes) -> Response {
        let text = String::from_utf8_lossy(body).into_owned();
        let mut answer = String::from("<DeleteResult>");
        for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            self.objects.lock().unwrap().remove(key);
            write!(answer, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
        }
        (answer + "</DeleteResult>").into_response()
    }

    /// All names at once: a test never has more than a page of them.
    fn list(&self, query: &str) -> Response {
        let value = |name: &str| {
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().replace("%2F", "/")
        };
        let (prefix, delimiter) = (value("prefix"), value("delimiter"));
        let mut answer = String::from("<ListBucketResult>");
        for (key, bytes) in self.objects.lock().unwrap().iter() {
            let Some(rest) = key.strip_prefix(&prefix) else { continue };
            if !delimiter.is_empty() && rest.contains(&delimiter) {
                continue;
            }
            let size = bytes.len();
            let when = "2026-03-02T00:00:00.000Z";
            write!(
                answer,
                "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{when}</LastModified><ETag>e</ETag></Contents>"
            )
            .unwrap();
        }
        (answer + "</ListBucketResult>").into_response()
    }
}
