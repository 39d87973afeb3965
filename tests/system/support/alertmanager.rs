//! Debian's Alertmanager with the committed configuration, and the web hooks that it calls, run by the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::daemon::{Daemon, committed, free_port, replaced, wait_for};

/// A running Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    _daemon: Daemon,
    /// Port on this machine.
    pub port: u16,
}

/// One alert of a notification.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Notified {
    /// The receiver, as the path of its web hook.
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// Alert name.
    pub alert: String,
    /// Model label.
    pub model: String,
    /// The credentials that came with it.
    pub authorization: String,
    /// Everything of the alert.
    pub json: String,
}

/// A web server that takes notifications.
#[derive(Clone, Debug)]
pub struct Webhooks {
    port: u16,
    received: Arc<Mutex<Vec<Notified>>>,
}

// === impl Alertmanager ===

impl Alertmanager {
    /// Starts it so that it calls `webhooks` instead of the example hosts, without waiting to group alerts.
    pub fn start(folder: &Path, webhooks: &Webhooks) -> Self {
        let port = free_port();
        let mut config = committed("grafana/alertmanager/alertmanager.yml");
        for receiver in ["security", "sre", "owners"] {
            let hook = format!("http://127.0.0.1:{}/{receiver}", webhooks.port);
            config = replaced(&config, &format!("http://{receiver}.example/tripline"), &hook);
            let token = folder.join(format!("{receiver}-token"));
            std::fs::write(&token, format!("secret-of-{receiver}")).unwrap();
            config = replaced(&config, &format!("/etc/alertmanager/secrets/{receiver}-token"), &token.display().to_string());
        }
        // Waiting times alone are changed.
        for slow in ["group_wait: 10s", "group_interval: 2m", "group_interval: 30s"] {
            let (name, _) = slow.split_once(':').unwrap();
            config = replaced(&config, slow, &format!("{name}: 1s"));
        }
        std::fs::write(folder.join("alertmanager.yml"), config).unwrap();
        let args = [
            format!("--config.file={}", folder.join("alertmanager.yml").display()),
            format!("--storage.path={}", folder.join("alertmanager").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            // No cluster: an empty address turns gossip off.
            "--cluster.listen-address=".to_owned(),
        ];
        let mut daemon = Daemon::start("prometheus-alertmanager", folder, &args);
        daemon.wait_for("ready", || ureq::get(format!("http://127.0.0.1:{port}/-/ready")).call().ok());
        Self { _daemon: daemon, port }
    }
}

// === impl Webhooks ===

impl Webhooks {
    /// Listens on a free port until the test's process ends.
    pub fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let hooks = Self { port: listener.local_addr().unwrap().port(), received: Arc::default() };
        let received = Arc::clone(&hooks.received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&received);
                std::thread::spawn(move || serve(&stream, &received));
            }
        });
        hooks
    }

    /// Every alert of every notification so far.
    pub fn received(&self) -> Vec<Notified> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until a receiver was told of an alert on a model, and returns what it was told.
    pub fn wait_for(&self, receiver: &str, status: &str, alert: &str, model: &str) -> Notified {
        wait_for(&format!("{receiver} to hear of {status} {alert} on {model}"), || {
            self.received().into_iter().find(|notified| {
                (notified.receiver.as_str(), notified.status.as_str(), notified.alert.as_str(), notified.model.as_str())
                    == (receiver, status, alert, model)
            })
        })
    }

    /// The names of all alerts that a receiver was told of for a model, without repeats.
    pub fn alerts(&self, receiver: &str, model: &str) -> Vec<String> {
        let told = self.received().into_iter().filter(|n| n.receiver == receiver && n.model == model);
        let mut names: Vec<String> = told.map(|n| n.alert).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Takes the requests of one connection; a caller that does not speak HTTP is disconnected.
fn serve(stream: &TcpStream, received: &Mutex<Vec<Notified>>) {
    let mut reader = BufReader::new(stream);
    while let Some((path, authorization, body)) = request(&mut reader) {
        let notification: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alerts = notification["alerts"].as_array().cloned().unwrap_or_default();
        received.lock().unwrap().extend(alerts.iter().map(|alert| Notified {
            receiver: path.trim_start_matches('/').to_owned(),
            status: text(&alert["status"]),
            alert: text(&alert["labels"]["alertname"]),
            model: text(&alert["labels"]["model"]),
            authorization: authorization.clone(),
            json: alert.to_string(),
        }));
        let mut stream = stream;
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// Path, credentials and body of a request; none at the end of the connection.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String, Vec<u8>)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => value.clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, authorization, body))
}
