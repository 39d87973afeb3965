//! The demo as a new user sees it: it prints an address, the page there shows what happens, Ctrl-C ends it cleanly.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Longest wait for the whole script at the speed of the test; a busy machine needs most of it.
const LIMIT: Duration = Duration::from_secs(240);

struct Demo {
    child: Child,
    lines: mpsc::Receiver<String>,
    told: String,
}

// === impl Demo ===

impl Demo {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tripline"))
            // Two demos that start at the same moment would both find the usual port free.
            .args(["demo", "--metrics-port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The test may have ended already.
                let _ = tell.send(line);
            }
        });
        Self { child, lines, told: String::new() }
    }

    /// Reads its output until a line contains the words.
    fn until(&mut self, words: &str) -> String {
        let began = tripline::clock::instant();
        loop {
            let left = LIMIT.checked_sub(began.elapsed()).unwrap_or_default();
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no '{words}' in what it printed:\n{}", self.told));
            self.told.push_str(&line);
            self.told.push('\n');
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already; a failed test must leave no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(url: &str) -> String {
    ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn the_demo_tells_its_drift_from_its_attack_shows_both_and_ends_with_ctrl_c() {
    // Four times the usual speed, so that the day's script takes well under a minute.
    let mut demo = Demo::start(&["--port", "0", "--speed", "0.8"]);
    let line = demo.until("Open http://");
    let address = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let page = get(&address);
    assert!(page.contains("Tripline") && page.contains("/app.js"), "{page}");
    assert!(!page.contains("https://"), "the page needs nothing from elsewhere");
    assert!(get(&format!("{address}/app.js")).contains("/state.json"));
    demo.until("The world changed");
    demo.until("and somebody is probing");
    let state: serde_json::Value = serde_json::from_str(&get(&format!("{address}/state.json"))).unwrap();
    assert_eq!(state["finding"], "drift+probing");
    assert!(!state["flagged"].as_array().unwrap().is_empty(), "{state}");
    assert_eq!(state["counts"]["rejected"], 0, "{state}");
    let interrupted = Command::new("kill").args(["-INT", &demo.child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    demo.until("attacking addresses were flagged");
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_demo_ends_by_itself_and_moves_when_its_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut demo = Demo::start(&["--port", &port, "--for", "2s", "--clients", "40"]);
    let line = demo.until("Open http://");
    assert!(!line.contains(&format!(":{port} ")), "{line}");
    demo.until("Read ");
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
}
