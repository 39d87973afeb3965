//! API and console of the built service: who gets in, what it sees, and what the outside tries.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use super::support::browser::Browser;
use super::support::daemon::{TIMEOUT, wait_for};
use super::support::data::Cut;
use super::support::program;
use super::support::site::{ADMIN, Site};

const CUT: Cut = Cut("10_hopskipjump_fast");

#[test]
fn the_first_account_is_made_once_and_what_it_lets_in_sees_the_attack() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::start(folder.path(), CUT, "");
    // Nobody gets in, and a person is sent to the first sign-in.
    assert_eq!(site.ask("GET", "/api/v1/models", &[], "").status, 401);
    assert_eq!(site.ask("GET", "/", &[], "").location, "/login?next=%2F");
    assert_eq!(site.ask("GET", "/login", &[], "").location, "/first");
    let wrong = site.form("/first", "", &[("token", "guessed"), ("name", "eve"), ("password", ADMIN.1)]);
    assert!(wrong.status == 200 && wrong.cookie.is_empty(), "{wrong:?}");
    let cookie = site.first_admin();
    let again = site.form("/first", "", &[("token", &site.token), ("name", "eve"), ("password", ADMIN.1)]);
    assert!(again.cookie.is_empty(), "the token works once: {again:?}");
    // A viewer's key follows the verdicts live, sees the attacker and changes nothing.
    let key = site.key(&cookie, "viewer", "viewer");
    let follower = follow(&format!("{}/api/v1/verdicts/stream", site.url), &key);
    site.post(CUT);
    let followed = follower.recv_timeout(TIMEOUT).expect("no verdict came live");
    assert!(followed.contains("\"verdict\":"), "{followed}");
    let seen = |path: &str| site.ask("GET", path, &[("x-api-key", &key)], "");
    let attackers = CUT.truth()["malicious_ips"].clone();
    let found = wait_for("the attacker in the API", || {
        let found = seen("/api/v1/callers?verdict=probing").json();
        (!found["items"].as_array().unwrap().is_empty()).then_some(found)
    });
    let ip = found["items"][0]["source_ip"].as_str().unwrap().to_owned();
    assert!(attackers.to_string().contains(&ip), "{ip} of {attackers}");
    let caller = seen(&format!("/api/v1/callers/{}", found["items"][0]["id"].as_str().unwrap())).json();
    assert!(!caller["latest"]["queries"].as_array().unwrap().is_empty(), "{caller}");
    let page = seen(&format!("/addresses/{ip}"));
    assert!(page.status == 200 && page.body.contains("What was measured"), "{}", page.body);
    let change = site.ask("POST", "/api/v1/keys", &[("x-api-key", &key), ("content-type", "application/json")], "{}");
    assert_eq!(change.status, 403, "{}", change.body);
    // The audit says who did what.
    let audit = site.ask("GET", "/api/v1/audit", &[("cookie", &cookie)], "").json();
    let actions: Vec<&str> = audit["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    for action in ["user.create", "key.create", "login.failed"] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    site.service.stop();
}

/// Follows the stream on a thread; the data of the first verdict comes through the channel.
fn follow(url: &str, key: &str) -> mpsc::Receiver<String> {
    let mut stream = ureq::get(url).header("x-api-key", key).call().unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = std::io::BufReader::new(stream.body_mut().as_reader()).lines().map_while(Result::ok);
        let mut data = lines.skip_while(|line| line != "event: verdict").filter(|line| line.starts_with("data: "));
        // The test may have ended already.
        let _ = data.next().map(|data| tell.send(data));
    });
    told
}

#[test]
fn a_configuration_that_would_be_open_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tripline.toml");
    std::fs::write(&file, "[source.kafka]\nbrokers = \"b:9092\"\ntopics = [\"t\"]\n[[models]]\nreference = \"r.json\"\n[api]\nlisten = \"0.0.0.0:8080\"\n").unwrap();
    let checked = program::run(&["check", file.to_str().unwrap()]);
    let said = format!("{checked:?}");
    assert!(said.contains("everybody could look") && said.contains("in the clear"), "{said}");
}

/// The tools of the tests that are no Debian packages; `make setup` installs them.
fn tool(name: &str) -> PathBuf {
    let cache = std::env::var("TRIPLINE_CACHE")
        .map_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/tripline"), PathBuf::from);
    let path = cache.join("schemathesis-4.32.5/bin").join(name);
    assert!(path.exists(), "{} is missing; `make setup` installs it", path.display());
    path
}

#[test]
fn schemathesis_finds_no_answer_that_the_description_does_not_allow() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::start(folder.path(), CUT, "openapi = true\n");
    let cookie = site.first_admin();
    let key = site.key(&cookie, "fuzzer", "admin");
    site.post(CUT);
    let run = Command::new(tool("schemathesis"))
        .args(["run", &format!("{}/api/v1/openapi.json", site.url), "--header", &format!("X-Api-Key: {key}")])
        // The stream of verdicts does not end by itself, and the fuzzer must not revoke its own key or end its session.
        .args(["--exclude-path", "/api/v1/verdicts/stream", "--exclude-operation-id", "revoke_key"])
        // Cursors, networks and times have a form that a schema cannot say, so some valid requests are refused with 400. The rate is that at
        // which a caller without a credential is still told so, instead of to wait.
        .args(["--exclude-checks", "positive_data_acceptance", "--rate-limit", "19/s"])
        .args(["--max-examples", "20", "--seed", "1", "--workers", "1", "--no-color"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    if let Ok(path) = std::env::var("TRIPLINE_SCREENSHOTS") {
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(Path::new(&path).join("schemathesis.txt"), &said).unwrap();
    }
    assert!(run.status.success(), "{said}");
    site.service.stop();
}

/// Where pictures go: a folder that is asked for, or one that is thrown away.
fn pictures(folder: &Path) -> PathBuf {
    std::env::var("TRIPLINE_SCREENSHOTS").map_or_else(|_| folder.join("pictures"), PathBuf::from)
}

/// Acknowledges the case in the queue, confirms it on its own page, and looks at what a suppression of its caller would silence.
fn decide(browser: &Browser, site: &Site, pictures: &Path) {
    wait_for("the case in the queue", || {
        browser.open(&format!("{}/cases?status=open", site.url));
        browser.text("#queue").contains("212.53.1.114").then_some(())
    });
    browser.picture(&pictures.join("queue.png"));
    browser.click("#queue tbody input[type=checkbox]");
    browser.click("button[value=acknowledge]");
    browser.open(&format!("{}/cases?owner={}", site.url, ADMIN.0));
    assert!(browser.text("#queue").contains("acknowledged"));
    browser.click("#queue tbody a");
    browser.type_into("textarea[name=note]", "Seen by the test");
    browser.evaluate("document.querySelector('select[name=status]').value = 'confirmed';");
    browser.click("form.card button");
    assert!(browser.text("main").contains("Seen by the test") && browser.text("main").contains("confirmed"));
    browser.picture(&pictures.join("case.png"));
    browser.open(&format!("{}/suppressions?kind=address&value=212.53.1.114", site.url));
    browser.type_into("input[name=reason]", "a test");
    browser.click("form.filter button");
    // The recording is older than the days that a preview looks back.
    assert!(browser.text("main").contains("it would have silenced 0 verdicts"), "{}", browser.text("main"));
    browser.picture(&pictures.join("preview.png"));
}

#[test]
fn a_person_finds_the_attacker_in_a_browser_without_a_complaint_of_its_policy() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path());
    let mut site = Site::start(folder.path(), CUT, "");
    let browser = Browser::start(folder.path());
    browser.look(1280, 900, false);
    browser.open(&site.url);
    browser.type_into("input[name=token]", &site.token);
    browser.type_into("input[name=name]", ADMIN.0);
    browser.picture(&pictures.join("first.png"));
    browser.type_into("input[name=password]", ADMIN.1);
    browser.click("main button");
    assert!(browser.text("h1").contains("Overview"));
    site.post(CUT);
    browser.open(&site.url);
    // The list follows the stream by itself.
    wait_for("the attack on the overview", || browser.text("#first").contains("is being probed").then_some(()));
    browser.picture(&pictures.join("overview.png"));
    browser.click("#first a");
    browser.picture(&pictures.join("callers.png"));
    // j moves to the first row, and Enter opens it.
    browser.evaluate(
        "document.activeElement.blur(); document.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}));",
    );
    browser.press("\u{e007}");
    assert!(browser.url().contains("/callers/"), "{}", browser.url());
    assert!(browser.text("main").contains("The queries that led here"));
    browser.picture(&pictures.join("caller.png"));
    decide(&browser, &site, &pictures);
    browser.open(&format!("{}/models/{}", site.url, CUT.truth()["model"].as_str().unwrap()));
    browser.picture(&pictures.join("model.png"));
    for (path, name) in [("/audit", "audit"), ("/people", "people"), ("/settings", "settings"), ("/campaigns", "campaigns")] {
        browser.open(&format!("{}{path}", site.url));
        assert!(!browser.text("h1").contains("not"), "{path}");
        browser.picture(&pictures.join(format!("{name}.png")));
    }
    // A phone in the dark: nothing is wider than the screen.
    browser.look(390, 844, true);
    for (path, name) in [("/", "phone-overview"), ("/callers", "phone-callers"), ("/cases", "phone-cases")] {
        browser.open(&format!("{}{path}", site.url));
        let overflow = browser.evaluate("return document.documentElement.scrollWidth - document.documentElement.clientWidth;");
        browser.picture(&pictures.join(format!("{name}.png")));
        assert_eq!(overflow, 0, "{path} is wider than a phone");
    }
    browser.click(".bar form button");
    assert!(browser.url().ends_with("/login"), "{}", browser.url());
    browser.open(&format!("{}/callers", site.url));
    assert!(browser.url().contains("/login?next="), "signed out is out: {}", browser.url());
    assert_eq!(browser.complaints(), Vec::<String>::new());
    site.service.stop();
}
