//! Several processes on one log: what `direct` refuses, and what `repartition` says. The verdicts of one, two and four processes are compared
//! with those of `replay`, ids and all.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use rdkafka::message::Message as _;
use tripline::decode::{DecodeConfig, Decoder};
use tripline::engine::{Engine, EngineConfig};
use tripline::event::Provenance;
use tripline::hash::mix2;
use tripline::judge::Verdict;
use tripline::observer::{ObservedRecord, Observer};
use tripline::reference::{Reference, Trust, load};
use tripline::replay::replay;
use tripline::source::{Record, Source};

use super::support::data::Cut;
use super::support::kafka::Broker;
use super::support::program;
use super::support::service::Service;

const ATTACK: Cut = Cut("10_hopskipjump_fast");
/// An attack from twenty-four addresses.
const CAMPAIGN: Cut = Cut("20_tramer_dist24_and_behind_nat");
const OTHER: Cut = Cut("05_drift_unit_flights");

/// A log of two models, spread over four partitions without regard to model or caller.
struct Stage {
    broker: &'static Broker,
    folder: tempfile::TempDir,
    topic: String,
    references: Vec<PathBuf>,
    /// Lines in the order of judging, each with its place.
    lines: Vec<(Provenance, String)>,
}

const PARTITIONS: i32 = 4;

/// Records in the order of a list.
struct Listed(std::vec::IntoIter<(Provenance, String)>, String);

impl Source for Listed {
    type Error = Infallible;

    fn next(&mut self) -> Result<Option<Record<'_>>, Infallible> {
        let Some((provenance, line)) = self.0.next() else { return Ok(None) };
        self.1 = line;
        Ok(Some(Record { payload: self.1.as_bytes(), provenance, ..Record::default() }))
    }
}

/// Verdict lines of each model, and how many there were before the last record.
#[derive(Default)]
struct Lines {
    said: Vec<String>,
    before_last: usize,
}

impl Observer for Lines {
    type Error = Infallible;

    fn record(&mut self, _: &ObservedRecord<'_>) -> Result<(), Infallible> {
        self.before_last = self.said.len();
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        self.said.push(serde_json::to_string(verdict).unwrap());
        Ok(())
    }
}

/// Lines of one model, in order.
fn of(model: &str, lines: &[String]) -> Vec<String> {
    let name = format!("\"model\":\"{model}\"");
    lines.iter().filter(|line| line.contains(&name)).cloned().collect()
}

// === impl Stage ===

impl Stage {
    fn new(name: &str, cuts: &[Cut]) -> Self {
        let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
        let topic = broker.topic(name, PARTITIONS);
        let references = cuts.iter().map(|cut| cut.fit(folder.path())).collect();
        let time = |line: &String| line.split("\"timestamp\":\"").nth(1).map(|rest| rest[..23].to_owned()).unwrap();
        let mut all: Vec<String> = cuts.iter().flat_map(|cut| cut.lines()).collect();
        all.sort_by_key(time);
        let mut next = [0; PARTITIONS as usize];
        let mut lines: Vec<(Provenance, String)> = Vec::new();
        for (number, line) in (0_u64..).zip(all) {
            let at = (mix2(3, number) % 4) as usize;
            let place =
                Provenance { topic: topic.as_str().into(), partition: i32::try_from(at).unwrap(), offset: next[at], row: 0 };
            next[at] += 1;
            lines.push((place, line));
        }
        // Records of one instant go by partition.
        lines.sort_by_key(|(place, line)| (time(line), place.clone()));
        Self { broker, folder, topic, references, lines }
    }

    /// Writes a part of the log, in its order within each partition.
    fn produce(&self, from: usize, to: usize) {
        let part = &self.lines[from..to];
        let place = |place: &Provenance| usize::try_from(place.partition).unwrap();
        self.broker.produce(&self.topic, PARTITIONS, part.iter().map(|(at, line)| (place(at), line.as_bytes())));
    }

    fn config(&self, group: &str, more: &str) -> String {
        let models = self.references.iter().map(|path| format!("[[models]]\nreference = \"{}\"\n", path.display()));
        format!(
            "[source.kafka]\nbrokers = \"{}\"\ntopics = [\"{}\"]\ngroup = \"{group}\"\n{}\
             [runtime]\ntopology = \"repartition\"\nstatus_interval = \"500ms\"\nidle_advance = \"0s\"\ncommit_interval = \"300ms\"\n\
             [runtime.repartition]\npartitions = 4\ntransaction_timeout = \"5s\"\n\
             [sink.verdicts]\ntopic = \"{group}.verdicts\"\n[state]\nurl = \"file://{}\"\ninterval = \"1s\"\n\
             [source.kafka.options]\n\"session.timeout.ms\" = 6000\n\"heartbeat.interval.ms\" = 500\n{more}",
            self.broker.address,
            self.topic,
            models.collect::<String>(),
            self.folder.path().join("state").display(),
        )
    }

    fn replayed(&self) -> Lines {
        let load = |path: &PathBuf| Arc::new(load::profile(path, &Trust::Anyone).unwrap());
        let references: Vec<Arc<Reference>> = self.references.iter().map(load).collect();
        let decoder = Decoder::new(&references, DecodeConfig::default()).unwrap();
        let mut engine = Engine::new(EngineConfig::default(), references).unwrap();
        let mut lines = Lines::default();
        replay(Listed(self.lines.clone().into_iter(), String::new()), decoder, &mut engine, &mut lines);
        lines
    }

    /// What a group has said, as a consumer sees it that reads what is committed.
    fn said(&self, group: &str) -> Vec<String> {
        let read = self.broker.read_committed(&format!("{group}.verdicts"));
        read.iter().map(|message| String::from_utf8(message.payload().unwrap().to_vec()).unwrap()).collect()
    }

    /// Records in the newest snapshots of all models of a group.
    fn in_state(&self, group: &str) -> u64 {
        let shown = program::run(&["state", "show", &format!("file://{}", self.folder.path().join("state").display()), "--json"]);
        let mut counts = std::collections::BTreeMap::new();
        // Before the first snapshot there is nothing to show.
        for line in shown.out.lines() {
            let snapshot: serde_json::Value = serde_json::from_str(line).unwrap();
            let unit = snapshot["unit"].as_str().unwrap().to_owned();
            let count = |name: &str| snapshot[name].as_u64().unwrap_or(0);
            // The newest comes first.
            counts.entry(unit).or_insert(count("queries") + count("late"));
        }
        counts.iter().filter(|(unit, _)| unit.contains(&format!("{group}/"))).map(|(_, count)| count).sum()
    }

    /// What was said is what `replay` says, in the same order for each model, and each once.
    fn must_equal_replay(&self, said: &[String]) {
        let replayed = self.replayed();
        assert!(said.len() >= replayed.before_last, "{} of {} verdicts", said.len(), replayed.before_last);
        for model in ["adult", "flights"] {
            let (own, wanted) = (of(model, said), of(model, &replayed.said));
            // At its end `replay` closes the windows, which the service does when event time moves on.
            assert_eq!(own[..], wanted[..own.len().min(wanted.len())], "{model}");
        }
    }
}

#[test]
fn one_two_and_four_processes_say_what_replay_says() {
    let stage = Stage::new("many", &[CAMPAIGN, OTHER]);
    stage.produce(0, stage.lines.len());
    let wanted = stage.replayed();
    for processes in [1, 2, 4] {
        let group = format!("{}-by-{processes}", stage.topic);
        let config = stage.config(&group, "");
        let start = |number| Service::start(stage.folder.path(), &format!("{group}-{number}"), &config);
        let mut services: Vec<Service> = (0..processes).map(start).collect();
        services[0].wait_for("everything to be judged", |_| {
            (stage.in_state(&group) == stage.lines.len() as u64 && stage.said(&group).len() >= wanted.before_last).then_some(())
        });
        for service in services {
            let counts = service.stop();
            assert!(counts.rejected == 0, "{counts:?}");
        }
        assert_eq!(stage.in_state(&group), stage.lines.len() as u64, "each record once");
        let said = stage.said(&group);
        stage.must_equal_replay(&said);
        let campaign = |line: &String| line.contains("\"scope\":\"campaign\"") && line.contains("\"verdict\":\"probing\"");
        assert!(said.iter().any(campaign), "the campaign over all partitions is found: {said:?}");
    }
}

#[test]
fn processes_that_are_killed_say_each_verdict_once() {
    const KILLS: u64 = 8;
    let stage = Stage::new("storm", &[CAMPAIGN, OTHER]);
    stage.produce(0, stage.lines.len());
    let group = format!("{}-killed", stage.topic);
    // Small steps, so that the log lasts for many lives.
    let config = stage.config(
        &group,
        "\"fetch.message.max.bytes\" = 20000\n\"fetch.queue.backoff.ms\" = 100\n\"queued.max.messages.kbytes\" = 20\n",
    );
    let start = |number: u64| Service::start(stage.folder.path(), &format!("{group}-{number}"), &config);
    let mut others = Vec::new();
    for kill in 0..KILLS {
        let service = start(kill);
        // It dies while it joins, restores, decodes or judges; two live at a time.
        std::thread::sleep(std::time::Duration::from_millis(300 + mix2(17, kill) % 2_500));
        others.push(service);
        if kill % 2 == 1 {
            let mut victim: Service = others.remove(0);
            victim.signal("-KILL");
            assert_eq!(victim.ended(), None, "killed");
        }
    }
    for mut victim in others {
        victim.signal("-KILL");
        assert_eq!(victim.ended(), None, "killed");
    }
    let steady = start(1_000);
    let mut steady = steady.ready();
    steady.wait_for("everything to be read", |_| {
        let committed = stage.broker.committed(&group, &stage.topic);
        committed.iter().all(|(position, end)| position == end).then_some(())
    });
    let wanted = stage.replayed();
    steady.wait_for("everything to be judged", |_| (stage.said(&group).len() >= wanted.before_last).then_some(()));
    steady.stop();
    assert_eq!(stage.in_state(&group), stage.lines.len() as u64, "each record once");
    let said = stage.said(&group);
    let mut ids: Vec<&str> = said.iter().map(|line| line.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), said.len(), "each verdict once");
    stage.must_equal_replay(&said);
}

#[test]
fn direct_refuses_a_second_member_and_goes_on_when_it_has_left() {
    for protocol in ["classic", "consumer"] {
        let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
        let topic = broker.topic("split", 4);
        let lines = ATTACK.lines();
        let config = format!(
            "[source.kafka]\nbrokers = \"{}\"\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\noptions = {{ \"group.protocol\" = \"{protocol}\" }}\n\
             [[models]]\nreference = \"{}\"\n[runtime]\ncommit_interval = \"500ms\"\nstatus_interval = \"500ms\"\n",
            broker.address,
            ATTACK.fit(folder.path()).display()
        );
        let spread = |lines: &[String]| broker.produce(&topic, 4, lines.iter().map(String::as_bytes).enumerate());
        let mut produced = spread(&lines[..2_000]);
        let mut first = Service::start(folder.path(), "first", &config).ready();
        first.wait_for("the first part", |first| (first.seen() > 1_999.5).then_some(()));
        let mut second = Service::start(folder.path(), "second", &config);
        first.wait_for("to wait for the other", |first| {
            let (status, text) = first.get("/readyz")?;
            (status == 503 && text.contains("runtime.topology = \"repartition\"")).then_some(())
        });
        assert_eq!(second.ended(), Some(64), "{}", second.words());
        let words = second.words();
        assert!(words.contains("runtime.topology = \"repartition\"") && words.contains("key the topic by model"), "{words}");
        produced += spread(&lines[2_000..4_000]);
        first.wait_for("readiness", |first| first.get("/readyz").filter(|(status, _)| *status == 200));
        #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
        first.wait_for("the rest", |first| (first.seen() >= produced as f64).then_some(()));
        assert!(first.words().contains("nothing is judged until this process has all of them again"), "{}", first.words());
        assert_eq!(first.stop().sum(), produced, "each once, and by one process");
    }
}
