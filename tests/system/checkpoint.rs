//! State that survives: the service on a real Kafka is killed, its snapshots are damaged or taken away, one of its models is refitted. What it
//! says, ids and all, is compared with what an undisturbed run says of the same topic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::message::Message as _;
use tripline::hash::mix2;

use super::support::data::{Cut, text};
use super::support::kafka::Broker;
use super::support::program;
use super::support::s3::S3;
use super::support::service::Service;

const ATTACK: Cut = Cut("10_hopskipjump_fast");

/// A service with state, and what it works on.
struct Stage {
    broker: &'static Broker,
    folder: tempfile::TempDir,
    topic: String,
    references: Vec<PathBuf>,
    /// Where state is kept, unless in a folder of its own.
    url: Option<String>,
    /// Lines of `[state]` beyond URL and interval.
    more: String,
}

/// What a run has said, and what its state has counted.
#[derive(Debug, PartialEq)]
struct Said {
    /// Verdict lines in order of their first appearance, each once by id.
    verdicts: Vec<String>,
    /// Queries and late queries in the state of each model.
    counts: BTreeMap<String, u64>,
}

// === impl Stage ===

impl Stage {
    fn new(name: &str, partitions: i32, cuts: &[Cut]) -> Self {
        let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
        let topic = broker.topic(name, partitions);
        let references = cuts.iter().map(|cut| cut.fit(folder.path())).collect();
        Self { broker, folder, topic, references, url: None, more: String::new() }
    }

    fn state(&self, group: &str) -> PathBuf {
        self.folder.path().join(format!("state-{group}"))
    }

    fn url(&self, group: &str) -> String {
        self.url.clone().unwrap_or_else(|| format!("file://{}", self.state(group).display()))
    }

    /// A configuration. Event time does not move while nothing arrives, because what it does then is not in the log.
    fn config(&self, group: &str) -> String {
        let models = self.references.iter().map(|path| format!("[[models]]\nreference = \"{}\"\n", path.display()));
        format!(
            "[source.kafka]\nbrokers = \"{}\"\ntopics = [\"{}\"]\ngroup = \"{group}\"\nconnect_timeout = \"5s\"\n\
             options = {{ \"group.instance.id\" = \"one\" }}\n{}\
             [runtime]\ncommit_interval = \"200ms\"\nstatus_interval = \"200ms\"\nidle_advance = \"0s\"\n\
             [sink.verdicts]\ntopic = \"verdicts-{group}\"\n\
             [state]\nurl = \"{}\"\ninterval = \"300ms\"\n{}",
            self.broker.address,
            self.topic,
            models.collect::<String>(),
            self.url(group),
            self.more
        )
    }

    fn start(&self, group: &str) -> Service {
        Service::start(self.folder.path(), group, &self.config(group))
    }

    fn produce(&self, lines: &[String]) -> u64 {
        self.broker.produce(&self.topic, 1, lines.iter().map(|line| (0, line.as_bytes())))
    }

    /// Waits until everything is judged and committed.
    fn drain(&self, service: &mut Service, group: &str) {
        service.wait_for("everything to be committed", |_| {
            let committed = self.broker.committed(group, &self.topic);
            committed.iter().all(|(position, end)| position == end).then_some(())
        });
    }

    /// The snapshots of a group, the newest first, as `tripline state show --json` tells them.
    fn snapshots(&self, group: &str) -> Vec<serde_json::Value> {
        let shown = program::run(&["state", "show", &self.url(group), "--json"]);
        shown.must_succeed();
        shown.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn said(&self, group: &str) -> Said {
        let (mut verdicts, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
        for message in self.broker.read(&format!("verdicts-{group}")) {
            let line = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            let verdict: serde_json::Value = serde_json::from_str(&line).unwrap();
            if seen.insert(verdict["id"].as_str().unwrap().to_owned()) {
                verdicts.push(line);
            }
        }
        let mut counts = BTreeMap::new();
        for snapshot in self.snapshots(group) {
            let unit = snapshot["unit"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            counts.entry(unit).or_insert_with(|| snapshot["queries"].as_u64().unwrap() + snapshot["late"].as_u64().unwrap());
        }
        Said { verdicts, counts }
    }

    /// What a run says that nobody disturbs, of all that is in the topic now.
    fn undisturbed(&self) -> Said {
        let group = format!("{}-undisturbed", self.topic);
        let mut service = self.start(&group).ready();
        self.drain(&mut service, &group);
        service.stop();
        self.said(&group)
    }
}

/// The newest file of a folder by name.
fn newest(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).max().unwrap()
}

#[test]
fn killed_at_random_points_it_says_what_an_undisturbed_run_says() {
    const KILLS: usize = 12;
    let stage = Stage::new("kill", 1, &[ATTACK]);
    let group = format!("{}-killed", stage.topic);
    let lines = ATTACK.lines();
    let (mut produced, mut repeated) = (0, 0.0);
    for (kill, part) in lines.chunks(lines.len().div_ceil(KILLS)).enumerate() {
        let mut service = stage.start(&group).ready();
        produced += stage.produce(part);
        // Somewhere within the half second in which the part is judged and snapshots are written.
        std::thread::sleep(Duration::from_millis(mix2(11, kill as u64) % 500));
        repeated += service.metric("tripline_judged_again_total", "").unwrap_or(0.0);
        service.signal("-KILL");
        assert_eq!(service.ended(), None, "killed");
    }
    let mut service = stage.start(&group).ready();
    stage.drain(&mut service, &group);
    assert!(service.metric("tripline_snapshots_total", "outcome=\"restored\"").unwrap() > 0.5);
    service.stop();
    let (said, undisturbed) = (stage.said(&group), stage.undisturbed());
    assert_eq!(said.verdicts, undisturbed.verdicts, "ids and all; {repeated} records were judged again in silence");
    assert!(said.verdicts.iter().any(|line| line.contains(r#""verdict":"probing""#)), "the attack was found: {said:?}");
    assert_eq!(said.counts, undisturbed.counts);
    assert_eq!(said.counts.values().sum::<u64>(), produced, "each event once");
}

#[test]
fn a_damaged_snapshot_costs_nothing_and_is_said() {
    let stage = Stage::new("damaged", 1, &[ATTACK]);
    let group = format!("{}-damaged", stage.topic);
    let lines = ATTACK.lines();
    let mut service = stage.start(&group).ready();
    for part in lines[..lines.len() / 2].chunks(2_000) {
        stage.produce(part);
        stage.drain(&mut service, &group);
    }
    service.stop();
    assert!(stage.snapshots(&group).len() >= 3, "three are kept");
    let data = newest(&stage.state(&group).join(&group).join("adult/data"));
    let mut bytes = std::fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    program::run(&["state", "verify", &stage.url(&group)]).must_fail(65, &["damaged"]);

    stage.produce(&lines[lines.len() / 2..]);
    let mut service = stage.start(&group).ready();
    stage.drain(&mut service, &group);
    let skipped = service.metric("tripline_snapshots_total", "outcome=\"skipped\"");
    assert!(skipped.unwrap() > 0.5 && service.words().contains("skipped for the one before"), "{}", service.words());
    assert!(service.metric("tripline_judged_again_total", "").unwrap() > 0.5, "what came between was delivered before");
    service.stop();
    assert_eq!(stage.said(&group), stage.undisturbed());
}

#[test]
fn a_store_that_goes_away_stops_commits_only_if_state_is_required() {
    for required in [false, true] {
        let stage = Stage { more: format!("required = {required}\n"), ..Stage::new("away", 1, &[ATTACK]) };
        let group = format!("{}-away", stage.topic);
        let lines = ATTACK.lines();
        let mut service = stage.start(&group).ready();
        stage.produce(&lines[..1_000]);
        stage.drain(&mut service, &group);
        // A file where the folder was: nobody can write there, whatever the permissions.
        let (unit, aside) = (stage.state(&group).join(&group), stage.folder.path().join("aside"));
        std::fs::rename(&unit, &aside).unwrap();
        std::fs::write(&unit, b"").unwrap();
        stage.produce(&lines[1_000..2_000]);
        service.wait_for("a failure", |service| {
            service.metric("tripline_snapshots_total", "outcome=\"failed\"").filter(|failed| *failed > 0.5)
        });
        service.wait_for("the records to be judged", |service| (service.seen() > 1_999.5).then_some(()));
        assert!(service.words().contains("no snapshot: the object store"), "{}", service.words());
        if required {
            assert_eq!(stage.broker.committed(&group, &stage.topic), [(1_000, 2_000)], "nothing is committed");
        } else {
            stage.drain(&mut service, &group);
        }
        std::fs::remove_file(&unit).unwrap();
        std::fs::rename(&aside, &unit).unwrap();
        stage.drain(&mut service, &group);
        service.wait_for("a snapshot", |service| service.words().contains("snapshots are complete again").then_some(()));
        service.stop();
        let counts: u64 = stage.said(&group).counts.values().sum();
        assert_eq!(counts, 2_000);
    }
}

#[test]
fn a_refit_of_one_of_two_models_leaves_the_other_alone() {
    const OTHER: Cut = Cut("05_drift_unit_flights");
    let mut stage = Stage::new("refit", 1, &[ATTACK, OTHER]);
    let group = format!("{}-refit", stage.topic);
    let (attack, other) = (ATTACK.lines(), OTHER.lines());
    let mut lines: Vec<String> = attack.iter().take(8_000).chain(other.iter().take(2_000)).cloned().collect();
    // Two models in one log, in the order of time.
    lines.sort_by_key(|line| line.split(r#""timestamp":""#).nth(1).map(|rest| rest[..23].to_owned()));
    let half = lines.len() / 2;
    stage.produce(&lines[..half]);
    let mut service = stage.start(&group).ready();
    stage.drain(&mut service, &group);
    service.stop();
    let before = stage.said(&group).counts;

    let refitted = stage.folder.path().join("refitted.json");
    let baseline = zstd::decode_all(std::fs::File::open(OTHER.path("baseline.csv.zst")).unwrap()).unwrap();
    let baseline = String::from_utf8(baseline).unwrap();
    let fewer: Vec<&str> = baseline.lines().take(baseline.lines().count() - 100).collect();
    let rows = stage.folder.path().join("fewer.csv");
    std::fs::write(&rows, fewer.join("\n")).unwrap();
    let model = OTHER.truth()["model"].as_str().unwrap().to_owned();
    program::run(&["fit", text(&rows), "--model", &model, "--prediction", "prediction", "-o", text(&refitted)]).must_succeed();
    let first = std::mem::replace(&mut stage.references[1], refitted);

    let mut service = stage.start(&group).ready();
    assert!(service.words().contains("reference profile has changed"), "{}", service.words());
    stage.produce(&lines[half..]);
    stage.drain(&mut service, &group);
    service.stop();
    let after = stage.said(&group);
    stage.references[1] = first;
    let undisturbed = stage.undisturbed();
    assert_eq!(after.counts["adult"], undisturbed.counts["adult"], "its state goes on");
    assert_eq!(after.counts[&model], undisturbed.counts[&model] - before[&model], "this one began again");
    let of_adult =
        |said: &Said| -> Vec<String> { said.verdicts.iter().filter(|line| line.contains(r#""model":"adult""#)).cloned().collect() };
    assert_eq!(of_adult(&after), of_adult(&undisturbed));
    assert!(!of_adult(&after).is_empty());
}

#[test]
fn encrypted_state_opens_with_its_key_alone_and_a_rotation_keeps_it() {
    let mut stage = Stage::new("sealed", 1, &[ATTACK]);
    let group = format!("{}-sealed", stage.topic);
    let lines = ATTACK.lines();
    let key = |name: &str, text: &str| {
        std::fs::write(stage.folder.path().join(name), text).unwrap();
        format!("\"${{file:{name}}}\"")
    };
    let old = key("old.key", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n");
    let new = key("new.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    stage.more = format!("key = {old}\n");
    stage.produce(&lines[..2_000]);
    let mut service = stage.start(&group).ready();
    stage.drain(&mut service, &group);
    service.stop();
    let encrypted = stage.snapshots(&group);
    let id = encrypted[0]["data"]["key"].as_str().unwrap().to_owned();
    program::run(&["state", "verify", &stage.url(&group)]).must_fail(64, &[&id, "state.old_keys"]);
    let file = stage.folder.path().join(format!("{group}.toml"));
    program::run(&["state", "verify", "--config", text(&file)]).must_succeed();

    // Without the key the state is refused and said; with the new key and the old one it goes on.
    stage.more = format!("key = {new}\nrequired = true\n");
    let mut refused = stage.start(&group);
    assert_eq!(refused.ended(), Some(64), "{}", refused.words());
    assert!(refused.words().contains(&id), "{}", refused.words());
    stage.more = format!("key = {new}\nold_keys = [{old}]\nrequired = true\n");
    let mut service = stage.start(&group).ready();
    stage.produce(&lines[2_000..4_000]);
    stage.drain(&mut service, &group);
    service.stop();
    let said = stage.said(&group);
    assert_eq!(said.counts["adult"], 4_000, "nothing was lost by the rotation");
    assert_ne!(stage.snapshots(&group)[0]["data"]["key"].as_str(), Some(id.as_str()), "new snapshots have the new key");
}

#[test]
fn a_bucket_of_s3_keeps_the_state_as_a_directory_does() {
    let (mut stage, s3) = (Stage::new("bucket", 1, &[ATTACK]), S3::start());
    let group = format!("{}-bucket", stage.topic);
    let lines = ATTACK.lines();
    std::fs::write(stage.folder.path().join("secret"), "hunter2").unwrap();
    stage.url = Some("s3://bucket/some/path".into());
    stage.more = format!(
        "required = true\n[state.options]\naws_endpoint = \"{}\"\naws_allow_http = true\naws_region = \"here\"\n\
         aws_access_key_id = \"tripline\"\naws_secret_access_key = \"${{file:secret}}\"\n",
        s3.endpoint
    );
    for part in lines[..4_000].chunks(1_000) {
        let mut service = stage.start(&group).ready();
        stage.produce(part);
        stage.drain(&mut service, &group);
        service.signal("-KILL");
        assert_eq!(service.ended(), None, "killed");
    }
    let file = stage.folder.path().join(format!("{group}.toml"));
    let verified = program::run(&["state", "verify", "--config", text(&file), "--json"]);
    let checked = program::run(&["check", "--connect", text(&file)]);
    assert!(checked.must_succeed().out.contains("can be read and written, 1 models"), "{}", checked.out);
    let newest: serde_json::Value = serde_json::from_str(verified.must_succeed().out.lines().next().unwrap()).unwrap();
    assert_eq!(newest["queries"].as_u64().unwrap() + newest["late"].as_u64().unwrap(), 4_000, "each event once");
    assert_eq!(s3.names().iter().filter(|name| name.contains("/data/")).count(), 3, "three are kept: {:?}", s3.names());
    assert!(s3.names().iter().all(|name| name.starts_with(&format!("some/path/{group}/adult/"))), "{:?}", s3.names());

    // Without permissions a service that needs its state does not start, and says why.
    s3.set_away(true);
    let mut refused = stage.start(&group);
    assert_eq!(refused.ended(), Some(74), "{}", refused.words());
    assert!(refused.words().contains("s3://bucket/some/path") && !refused.words().contains("hunter2"), "{}", refused.words());
}

#[test]
fn state_that_is_not_there_or_is_no_url_is_said_with_what_to_do() {
    program::run(&["state", "show", "file:///nowhere/tripline"]).must_fail(66, &["/nowhere/tripline"]);
    program::run(&["state", "show", "ftp://x/y"]).must_fail(64, &["ftp", "no store"]);
    program::run(&["state", "verify"]).must_fail(64, &["URL"]);
    let folder = tempfile::tempdir().unwrap();
    let empty = program::run(&["state", "show", &format!("file://{}", folder.path().display())]);
    assert!(empty.must_succeed().out.contains("no snapshots"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking makes nothing");
}
