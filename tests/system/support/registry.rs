//! A schema registry for the tests: the part of Confluent's interface that reading needs, on a free port of this machine.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Answers by path.
type Answers = BTreeMap<String, (u16, String)>;

/// A registry that answers what it was told.
#[derive(Clone, Debug)]
pub struct Registry {
    port: u16,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

// === impl Registry ===

impl Registry {
    /// Listens until the test's process ends.
    pub fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let registry = Self { port, answers: Arc::default(), asked: Arc::default() };
        let served = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(&stream));
            }
        });
        registry
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Gives it an answer.
    pub fn put(&self, path: &str, status: u16, body: &Value) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_string()));
    }

    /// Paths that were asked for, with the credentials that came with them.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        while reader.read_line(&mut first).is_ok_and(|read| read > 0) {
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut credentials = String::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
                    break;
                }
                if let Some((name, value)) = line.trim().split_once(": ")
                    && name.eq_ignore_ascii_case("authorization")
                {
                    value.clone_into(&mut credentials);
                }
            }
            self.asked.lock().unwrap().push((path.clone(), credentials));
            let missing = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
            let (status, body) = self.answers.lock().unwrap().get(&path).cloned().unwrap_or(missing);
            let mut stream = stream;
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} Answer\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {length}\r\n\r\n"
            );
            if stream.write_all((head + &body).as_bytes()).is_err() {
                return;
            }
            first.clear();
        }
    }
}
