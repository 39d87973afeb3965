//! `tripline simulate`: traffic of a simulated world, to a file, a topic, or a folder of scenarios.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::output::file::PackedFile;
use super::output::paths::Paths;
use super::output::say;
use crate::event::EventTime;
use crate::exit::{Exit, Failure};
use crate::reference::Reference;
use crate::simulate::attack::AttackSpec;
use crate::simulate::callers::Mix;
use crate::simulate::change::pipeline::Pipeline;
use crate::simulate::change::{self, ChangeSpec};
use crate::simulate::drift::DriftSpec;
use crate::simulate::victim::VictimKind;
use crate::simulate::{SimulateError, Simulation, SimulationSettings, World, line, matrix};

/// How long a full producer queue is waited for before trying again.
const QUEUE_WAIT: Duration = Duration::from_millis(50);
/// How long the broker may take for the last messages.
const FLUSH_WAIT: Duration = Duration::from_secs(30);

/// Arguments of `tripline simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # A day of honest traffic, with every look-alike of an attack
  tripline simulate --reference models/adult/reference.json --out day.jsonl.zst

  # A grid scan from 100 addresses inside a drift, with the truth to score verdicts by
  tripline simulate --reference models/adult/reference.json --out mixed.jsonl.zst --truth truth.json \\
      --attack grid:queries=800,ips=100,pace=jitter,start=14 --drift gradual:start=8

  # An honest release: a space before every text, for a third of the callers from noon on
  tripline simulate --reference models/adult/reference.json --out change.jsonl.zst --truth truth.json \\
      --change space_before_text:share=0.33:at=0.5

  # Random rows through rotating proxies, every query from a new address
  tripline simulate --reference models/adult/reference.json --out rotating.jsonl.zst --truth truth.json \\
      --attack uniform:queries=3000,rate=200,start=14,rotating=yes

  # The same attack in a log that names nobody: no source_ip, no client_id
  tripline simulate --reference models/adult/reference.json --out nameless.jsonl.zst --truth truth.json \\
      --attack uniform:queries=3000,rate=200,start=14 --without-callers

  # Straight into a topic
  tripline simulate --reference models/adult/reference.json --topic predictions --brokers localhost:9092

  # Every drift, every attack in several deliveries, in folders like those of the recorded traces
  tripline simulate --reference models/adult/reference.json --matrix scenarios/

Attacks: grid, one_at_a_time, line_search, hopskipjump, boundary, zoo, simba, square, uniform, tempest, jacobian,
  equation, tree_path, active, membership,
  incomplete, inversion, genetic, natural
Keys of an attack: queries=N  ips=N  subnet=scatter|same24  account=per_ip|shared|none  start=HOUR
  pace=fast|slow|jitter  rate=PER_MINUTE  cover=SHARE  nat=no|yes  rotating=no|yes
  precision=schema|full
Drifts: gradual, unit, missing, seasonal, rollout, concept
Keys of a drift: start=HOUR  span=HOURS  strength=S  features=A+B  factor=F
Changes of the pipeline: --list shows them
Keys of a change: extent=all|mid|some  share=OF_THE_CALLERS  at=SHARE_OF_THE_LOG  column=NAME")]
pub struct Args {
    /// Reference profile of the model whose callers are simulated.
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    pub reference: Option<PathBuf>,
    /// Write events to this file; .zst compresses, - is standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topic", "matrix"])]
    pub out: Option<PathBuf>,
    /// Send events to this topic.
    #[arg(long, requires = "brokers", conflicts_with = "matrix")]
    pub topic: Option<String>,
    /// Brokers of the topic, host:port separated by commas.
    #[arg(long, value_name = "LIST")]
    pub brokers: Option<String>,
    /// Write a matrix of scenarios into this folder, one folder each.
    #[arg(long, value_name = "DIR")]
    pub matrix: Option<PathBuf>,
    /// With --matrix: every attack in every delivery and 30,000 client-days of calm, instead of a quick selection.
    #[arg(long, requires = "matrix")]
    pub full: bool,
    /// With --matrix: only scenarios whose name contains this.
    #[arg(long, requires = "matrix", value_name = "TEXT")]
    pub only: Option<String>,
    /// Seed: the same seed and settings give the same bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Hours of event time.
    #[arg(long, default_value_t = 24.0)]
    pub hours: f64,
    /// First instant, RFC 3339.
    #[arg(long, default_value = "2026-03-02T00:00:00Z", value_name = "TIME")]
    pub start: String,
    /// Ordinary clients.
    #[arg(long, default_value_t = 400)]
    pub clients: usize,
    /// Median queries of an ordinary client per day.
    #[arg(long, default_value_t = 20.0)]
    pub volume: f64,
    /// How much clients differ from each other, 0 to 1.
    #[arg(long, default_value_t = 0.4)]
    pub heterogeneity: f64,
    /// Leave out the honest callers that look like attackers.
    #[arg(long)]
    pub no_look_alikes: bool,
    /// Model that answers: boosted or tree; a tree by default if an attack is tree_path.
    #[arg(long, value_parser = ["boosted", "tree"])]
    pub victim: Option<String>,
    /// An attack, FAMILY[:key=value,...]; may be repeated.
    #[arg(long, value_name = "SPEC")]
    pub attack: Vec<String>,
    /// A drift, KIND[:key=value,...]; may be repeated.
    #[arg(long, value_name = "SPEC")]
    pub drift: Vec<String>,
    /// Write no source_ip and no client_id into any record, as many prediction logs have none; the truth then names nobody either.
    #[arg(long)]
    pub without_callers: bool,
    /// A change of the pipeline that writes the log, KIND[:key=value..]; may be repeated, and then each changes what the one before
    /// wrote.
    #[arg(long, value_name = "SPEC", conflicts_with = "matrix")]
    pub change: Vec<String>,
    /// List the changes of --change with what they do, and end.
    #[arg(long)]
    pub list: bool,
    /// Write what was really done to this file.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Write the attacks' line numbers to this file.
    #[arg(long, value_name = "FILE")]
    pub attack_events: Option<PathBuf>,
    /// Write half of the profile's sample rows with the victim's answers to this file, to fit another reference to; the callers'
    /// rows then come from the other half.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
}

impl From<SimulateError> for Failure {
    fn from(error: SimulateError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

/// Runs `tripline simulate`.
pub fn run(args: Args) -> Result<(), Failure> {
    if args.list {
        return super::output::print(&change::list());
    }
    // The parser has asked for it.
    let profile = args.reference.as_deref().ok_or_else(|| Failure::new(Exit::Usage, "give a profile with --reference FILE"))?;
    let paths = Paths::default().reads("--reference", profile).writes("--out", &args.out).writes("--truth", &args.truth);
    paths.writes("--attack-events", &args.attack_events).writes("--baseline", &args.baseline).check()?;
    let reference = Arc::new(super::load::profile(profile)?);
    if let Some(folder) = &args.matrix {
        return run_matrix(&args, reference, folder);
    }
    let settings = settings(&args)?;
    let specs = args.change.iter().map(|text| ChangeSpec::parse(text).map(|(spec, _)| spec)).collect::<Result<Vec<_>, _>>()?;
    let mut simulation = Simulation::new(reference, &settings)?;
    let World { reference, start, end, .. } = simulation.world();
    let mut pipeline = Pipeline::new(&specs, reference, settings.seed, *start, *end)?;
    if let Some(path) = &args.baseline {
        write_baseline(&simulation, path)?;
    }
    match (&args.out, &args.topic) {
        (Some(path), _) => to_file(&mut simulation, &mut pipeline, path, progress(&settings))?,
        (None, Some(topic)) => {
            let brokers = args.brokers.as_deref().unwrap_or_default();
            to_topic(&mut simulation, &mut pipeline, topic, brokers, progress(&settings))?;
        }
        (None, None) => {
            return Err(Failure::new(Exit::Usage, "where to? give --out FILE, --topic TOPIC --brokers LIST, or --matrix DIR"));
        }
    }
    simulation.note_changes(pipeline.truth());
    write_truth(&simulation, args.truth.as_deref(), args.attack_events.as_deref())?;
    let truth = simulation.truth();
    say(&format!(
        "{} events, {} of them from {} attack(s), {}; expected verdict on the model: {}",
        truth.n_events,
        truth.n_attack_queries,
        truth.attacks.len(),
        if truth.without_callers { "no callers named".to_owned() } else { format!("{} honest addresses", truth.n_benign_ips) },
        truth.expected_model_verdict
    ));
    Ok(())
}

fn settings(args: &Args) -> Result<SimulationSettings, Failure> {
    let start = EventTime::parse(&args.start).map_err(|e| Failure::new(Exit::Usage, format!("--start {}: {e}", args.start)))?;
    if !(0.0..=1.0).contains(&args.heterogeneity) {
        return Err(Failure::new(Exit::Usage, "--heterogeneity must lie between 0 and 1"));
    }
    if !(args.volume > 0.0 && args.volume <= 1e4) {
        return Err(Failure::new(Exit::Usage, "--volume must be above 0 and at most 10000 queries a day"));
    }
    let name = args.out.as_ref().and_then(|p| p.file_name()).map_or("simulated".into(), |n| n.to_string_lossy().into_owned());
    Ok(SimulationSettings {
        scenario: name.split('.').next().unwrap_or("simulated").to_string(),
        seed: args.seed,
        start,
        hours: args.hours,
        clients: args.clients,
        volume: args.volume,
        heterogeneity: args.heterogeneity,
        mix: if args.no_look_alikes { Mix::none() } else { Mix::default() },
        victim: args.victim.as_deref().map(|v| if v == "tree" { VictimKind::Tree } else { VictimKind::Boosted }),
        attacks: args.attack.iter().map(|t| AttackSpec::parse(t)).collect::<Result<_, _>>()?,
        drifts: args.drift.iter().map(|t| DriftSpec::parse(t)).collect::<Result<_, _>>()?,
        held_out: args.baseline.is_some(),
        without_callers: args.without_callers,
    })
}

fn run_matrix(args: &Args, reference: Arc<Reference>, folder: &Path) -> Result<(), Failure> {
    let mut list = matrix::scenarios(args.full, args.seed, args.clients)?;
    list.iter_mut().for_each(|settings| settings.without_callers |= args.without_callers);
    list.retain(|settings| args.only.as_ref().is_none_or(|text| settings.scenario.contains(text)));
    let files = ["baseline.csv.zst", "events.jsonl.zst", "truth.json", "attack_events.csv.zst"];
    let written = |all: Paths, settings: &SimulationSettings| {
        files.iter().fold(all, |all, name| all.writes("--matrix", &folder.join(&settings.scenario).join(name)))
    };
    list.iter().fold(Paths::default().reads_all("--reference", &args.reference), written).check()?;
    for settings in &list {
        let dir = folder.join(&settings.scenario);
        std::fs::create_dir_all(&dir).map_err(|e| io(&dir, &e))?;
        let mut simulation = Simulation::new(Arc::clone(&reference), settings)?;
        write_baseline(&simulation, &dir.join("baseline.csv.zst"))?;
        to_file(&mut simulation, &mut Pipeline::default(), &dir.join("events.jsonl.zst"), progress(settings))?;
        write_truth(&simulation, Some(&dir.join("truth.json")), Some(&dir.join("attack_events.csv.zst")))?;
        let truth = simulation.truth();
        say(&format!(
            "{:32} {:>8} events, {:>6} of attacks, {}",
            settings.scenario, truth.n_events, truth.n_attack_queries, truth.expected_model_verdict
        ));
    }
    Ok(())
}

fn io(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", path.display()))
}

/// A bar over event time; hidden unless standard error is a terminal.
fn progress(settings: &SimulationSettings) -> ProgressBar {
    let bar = ProgressBar::new((settings.hours * 60.0) as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {percent:>3}% of {msg}  {elapsed} elapsed, {eta} to go") {
        bar.set_style(style);
    }
    bar.set_message(format!("{} hours", settings.hours));
    bar
}

fn to_file(simulation: &mut Simulation, pipeline: &mut Pipeline, path: &Path, bar: ProgressBar) -> Result<(), Failure> {
    let mut out = PackedFile::create(path)?;
    let reference = Arc::clone(&simulation.world().reference);
    let (start, mut text) = (simulation.world().start, String::new());
    for event in simulation.by_ref() {
        text.clear();
        line::write_event(&mut text, &event, &reference);
        pipeline.pass(&mut text, &event);
        text.push('\n');
        out.write_all(text.as_bytes()).map_err(|e| io(path, &e))?;
        if out.is_closed() {
            break;
        }
        if event.line % 1024 == 0 {
            bar.set_position((event.at.seconds_since(start) / 60.0) as u64);
        }
    }
    bar.finish_and_clear();
    out.finish()
}

fn to_topic(
    simulation: &mut Simulation,
    pipeline: &mut Pipeline,
    topic: &str,
    brokers: &str,
    bar: ProgressBar,
) -> Result<(), Failure> {
    let kafka = |error: rdkafka::error::KafkaError| Failure::new(Exit::Io, format!("brokers {brokers}, topic {topic}: {error}"));
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.type", "zstd")
        .set("linger.ms", "20")
        .create()
        .map_err(kafka)?;
    // Without this a wrong address would only show after the queue is full.
    producer.client().fetch_metadata(Some(topic), Duration::from_secs(10)).map_err(kafka)?;
    let reference = Arc::clone(&simulation.world().reference);
    let (start, mut text) = (simulation.world().start, String::new());
    for event in simulation.by_ref() {
        text.clear();
        line::write_event(&mut text, &event, &reference);
        pipeline.pass(&mut text, &event);
        // One caller's events keep their order within a partition. A log without callers has no key either.
        let key = event.address.to_string();
        let mut record = BaseRecord::to(topic).payload(&text).timestamp(event.at.micros() / 1000);
        if event.names_caller {
            record = record.key(&key);
        }
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(kafka(error));
            }
            producer.poll(QUEUE_WAIT);
            record = back;
        }
        if event.line % 1024 == 0 {
            producer.poll(Duration::ZERO);
            bar.set_position((event.at.seconds_since(start) / 60.0) as u64);
        }
    }
    bar.finish_and_clear();
    producer.flush(FLUSH_WAIT).map_err(kafka)
}

fn write_baseline(simulation: &Simulation, path: &Path) -> Result<(), Failure> {
    write_all(path, &line::baseline(simulation.world()))
}

fn write_truth(simulation: &Simulation, truth: Option<&Path>, events: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = truth {
        let text = serde_json::to_string_pretty(simulation.truth()).map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
        write_all(path, &(text + "\n"))?;
    }
    if let Some(path) = events {
        write_all(path, &simulation.truth().attack_events())?;
    }
    Ok(())
}

fn write_all(path: &Path, text: &str) -> Result<(), Failure> {
    let mut out = PackedFile::create(path)?;
    out.write_all(text.as_bytes()).map_err(|e| io(path, &e))?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Message as _;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::mocking::MockCluster;

    fn simulation() -> Simulation {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/magic/reference.json");
        let settings =
            SimulationSettings { hours: 2.0, clients: 40, mix: Mix::none(), volume: 200.0, ..SimulationSettings::default() };
        Simulation::new(Arc::new(crate::cli::load::profile(&path).unwrap()), &settings).unwrap()
    }

    #[test]
    fn every_event_reaches_the_topic_with_its_caller_as_key() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("predictions", 2, 1).unwrap();
        let mut simulation = simulation();
        to_topic(&mut simulation, &mut Pipeline::default(), "predictions", &cluster.bootstrap_servers(), ProgressBar::hidden())
            .unwrap();
        let sent = simulation.truth().n_events;
        assert!(sent > 50, "{sent} events test little");
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "test")
            .set("auto.offset.reset", "earliest")
            .create()
            .unwrap();
        consumer.subscribe(&["predictions"]).unwrap();
        let (mut seen, mut silent) = (0, 0);
        while seen < sent {
            // Joining the group takes some polls that bring nothing.
            let Some(message) = consumer.poll(Duration::from_millis(200)) else {
                silent += 1;
                assert!(silent < 300, "{seen} of {sent} events arrived");
                continue;
            };
            let message = message.unwrap();
            let event: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            assert_eq!(message.key().unwrap(), event["source_ip"].as_str().unwrap().as_bytes());
            seen += 1;
        }
    }

    #[test]
    fn a_broker_that_is_not_there_is_named() {
        // Port 1 of this machine: nobody listens.
        let failure =
            to_topic(&mut simulation(), &mut Pipeline::default(), "predictions", "127.0.0.1:1", ProgressBar::hidden()).unwrap_err();
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.message.contains("127.0.0.1:1") && failure.message.contains("predictions"), "{failure}");
    }
}
