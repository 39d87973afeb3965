//! Chromium as a person uses it, driven through chromedriver (W3C WebDriver) on loopback.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::daemon::{Daemon, free_port, wait_for};

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    session: String,
    agent: ureq::Agent,
    _driver: Daemon,
}

// === impl Browser ===

impl Browser {
    /// Starts a browser without a window on a screen.
    pub fn start(folder: &Path) -> Self {
        let port = free_port();
        let mut driver = Daemon::start("chromedriver", folder, &[format!("--port={port}")]);
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(90))).build().into();
        let base = format!("http://127.0.0.1:{port}");
        driver.wait_for("chromedriver", || agent.get(format!("{base}/status")).call().ok());
        let options = json!({
            // The sandbox needs rights that a test as root or in a container has not.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en", "--no-proxy-server"],
            "prefs": {"credentials_enable_service": false},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = post(&agent, &format!("{base}/session"), &wanted);
        let id = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {answer}")).to_owned();
        Self { session: format!("{base}/session/{id}"), agent, _driver: driver }
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        post(&self.agent, &format!("{}/{path}", self.session), body)
    }

    fn ask(&self, path: &str) -> Value {
        let mut answer = self.agent.get(format!("{}/{path}", self.session)).call().unwrap();
        answer.body_mut().read_json::<Value>().unwrap()["value"].clone()
    }

    /// Opens an address.
    pub fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// The address that it shows.
    pub fn url(&self) -> String {
        self.ask("url").as_str().unwrap().to_owned()
    }

    /// Width and height of the window; `is_dark` is what the system prefers.
    pub fn look(&self, width: u32, height: u32, is_dark: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("goog/cdp/execute", &json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}));
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": if is_dark { "dark" } else { "light" }}]});
        self.command("goog/cdp/execute", &json!({"cmd": "Emulation.setEmulatedMedia", "params": scheme}));
    }

    /// Waits for the first element of a selector.
    fn find(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        wait_for(selector, || {
            let found = self.command("element", &wanted);
            found
                .as_object()
                .and_then(|found| found.values().next()?.as_str().map(str::to_owned))
                .filter(|_| found.get("error").is_none())
        })
    }

    /// Waits for an element, and types into it.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.command(&format!("element/{element}/value"), &json!({"text": text}));
    }

    /// Waits for an element, and clicks on it.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.command(&format!("element/{element}/click"), &json!({}));
    }

    /// Waits for an element; its text.
    pub fn text(&self, selector: &str) -> String {
        let element = self.find(selector);
        self.ask(&format!("element/{element}/text")).as_str().unwrap_or_default().to_owned()
    }

    /// Presses keys where the focus is.
    pub fn press(&self, keys: &str) {
        let element = self.ask("element/active");
        let element = element.as_object().and_then(|active| active.values().next()?.as_str().map(str::to_owned)).unwrap();
        self.command(&format!("element/{element}/value"), &json!({"text": keys}));
    }

    /// The value of a script's `return`.
    pub fn evaluate(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Writes what it shows, the whole page, as a PNG.
    pub fn picture(&self, path: &Path) {
        let shot =
            self.command("goog/cdp/execute", &json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": true}}));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// What the browser complained about since it was asked last, such as a breach of the page's policy.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({"type": "browser"}));
        let severe = log.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It closes the window; the driver ends the rest.
        let _ = self.agent.delete(&self.session).call();
    }
}

fn post(agent: &ureq::Agent, url: &str, body: &Value) -> Value {
    agent.post(url).send_json(body).unwrap().body_mut().read_json::<Value>().unwrap()["value"].clone()
}
