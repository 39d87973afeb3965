//! `tripline demo`: everything on one machine, in one process: an embedded broker, simulated callers, a drift, an attack, the
//! real service, and a page that shows all of it.
//!
//! Only the callers are simulated. Their queries go through a real Kafka protocol into the same service that `tripline run`
//! starts; nothing tells it what is coming. The page and the terminal put what it says beside what really happens.

mod stage;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::load;
use crate::app;
use crate::app::stop::Stop;
use crate::config::{Config, ModelConfig, Period};
use crate::engine::ModelStatus;
use crate::event::EventTime;
use crate::exit::{Exit, Failure};
use crate::judge::{Finding, Verdict};
use crate::observer::Observer;
use crate::outcome::OutcomeCounts;
use crate::page::board::{Act, Counts as Read, DemoState, Setting};
use crate::page::{DEFAULT_PORT, Page};
use crate::reference::Reference;
use crate::report::words;
use crate::simulate::attack::AttackSpec;
use crate::simulate::drift::DriftSpec;
use crate::simulate::{DEFAULT_START, MIN_SAMPLE, Settings, Simulation};
use stage::{Broker, Callers};

/// The profile that is shown unless another is asked for: people's data, which everybody can picture.
const PROFILE: &[u8] = include_bytes!("../../models/adult/reference.json");
/// The shipped drift: ageing callers who work longer. A feature that everybody understands, and slow enough to be a drift.
const DRIFT: &str = "gradual:features=age+hours_per_week,start=4.5,span=1.5,strength=1.2";
/// The shipped attack: a grid scan that hides its volume behind two dozen addresses, none of which asks more than its neighbours.
const ATTACK: &str = "grid:queries=900,ips=24,account=none,pace=jitter,start=13,rate=3.5";
/// The simulated day begins in the morning, so that the calm is one of a busy day.
const FIRST_HOUR: i64 = 5;
/// Simulated hours in a real second: a whole day in two minutes.
const HOURS_PER_SECOND: f64 = 0.2;
/// Length of the simulated world, in hours: days beyond the script, for those who keep looking.
const HOURS: f64 = 96.0;

/// Arguments of `tripline demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tripline demo                                             then open the address that it prints
  tripline demo --for 2m --port 0                           ends by itself, on any free port
  tripline demo --attack hopskipjump:start=13,queries=600 --drift missing:start=4.5,span=1
  tripline demo --reference models/flights/reference.json --drift seasonal:start=4.5 --attack grid:ips=50,start=13

The script: some hours of calm, then a drift, then an attack; a simulated day takes two minutes.
No browser is opened. 'tripline simulate --help' lists attacks and drifts.")]
pub struct Args {
    /// Reference profile of the model; the shipped one of Adult if left out.
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Port of the page on 127.0.0.1; a free one is taken if it is not free.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    pub port: u16,
    /// Port of the metrics on 127.0.0.1; a free one is taken if it is not free.
    #[arg(long, default_value_t = crate::telemetry::DEFAULT_LISTEN.port())]
    pub metrics_port: u16,
    /// End after this time, such as 90s or 5m.
    #[arg(long = "for", value_name = "TIME", value_parser = Period::parse)]
    pub duration: Option<Period>,
    /// Seed of the simulated world.
    #[arg(long, default_value_t = 3)]
    pub seed: u64,
    /// Ordinary clients.
    #[arg(long, default_value_t = 700)]
    pub clients: usize,
    /// Simulated hours per second.
    #[arg(long, default_value_t = HOURS_PER_SECOND, value_name = "HOURS")]
    pub speed: f64,
    /// The drift; `none` for none.
    #[arg(long, value_name = "SPEC")]
    pub drift: Option<String>,
    /// The attack; `none` for none.
    #[arg(long, value_name = "SPEC")]
    pub attack: Option<String>,
}

/// Runs `tripline demo`.
pub fn run(args: Args) -> Result<(), Failure> {
    let reference = Arc::new(profile(args.reference.as_deref())?);
    let settings = Settings { held_out: reference.sample.len() >= 2 * MIN_SAMPLE, ..settings(&args)? };
    eprintln!("Preparing a world of {} callers of the model '{}' …", settings.clients, reference.model);
    let simulation = Simulation::new(Arc::clone(&reference), &settings)?;
    let board = DemoState::new(setting(&args, &reference, &settings, &simulation));
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let tokio = tokio.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let (page, moved) = tokio
        .block_on(Page::bind(args.port, board.clone()))
        .map_err(|error| Failure::new(Exit::Io, format!("no port of 127.0.0.1 can be had for the page: {error}")))?;
    if moved {
        eprintln!("Port {} is taken; the page is on another one.", args.port);
    }
    println!("\n  Open http://{} to watch. Press Ctrl-C to end.\n", page.address());
    let serving = tokio.spawn(page.serve());
    let profile = if settings.held_out { other_half(&reference) } else { Reference::clone(&reference) };
    let outcome = perform(&args, &profile, simulation, &board);
    serving.abort();
    tokio.shutdown_timeout(Duration::from_secs(1));
    let counts = outcome?;
    summarise(&board, counts);
    Ok(())
}

/// Sets the stage and runs the service on it until the end.
fn perform(args: &Args, reference: &Reference, simulation: Simulation, board: &DemoState) -> Result<OutcomeCounts, Failure> {
    let stop = Stop::default();
    let broker = Broker::start()?;
    let callers = Callers::new(&broker, simulation, board.clone(), args.speed * 3600.0)?;
    let folder = Folder::new()?;
    let profile = folder.0.join("reference.json");
    let bytes = reference.to_json().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    std::fs::write(&profile, bytes).map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", profile.display())))?;
    let mut config = Config::default();
    config.source.kafka.brokers = broker.address();
    config.source.kafka.topics = vec![stage::TOPIC.to_owned()];
    config.models = vec![ModelConfig { reference: profile }];
    // Nobody else would read them here: the page shows verdicts, and the simulator writes nothing unreadable.
    config.sink.dead_letters.topic = String::new();
    config.runtime.status_interval = Period::millis(500);
    // Ten minutes of life pass in a second here; a slow partition is left out sooner.
    config.runtime.idle_after = Period::seconds(2);
    config.server.metrics = free_address(args.metrics_port);
    eprintln!("Metrics for Prometheus at http://{}/metrics\n", config.server.metrics);
    let playing = callers.play(stop.clone());
    if let Some(Period(limit)) = args.duration {
        let stop = stop.clone();
        std::thread::spawn(move || {
            std::thread::sleep(limit);
            stop.ask();
        });
    }
    let observer = DemoObserver { board: board.clone() };
    let references = load::references(&config);
    let outcome = references.and_then(|references| app::run(&config, references, &stop, vec![Box::new(observer)]));
    stop.ask();
    match playing.join() {
        Ok(played) => played.and(outcome),
        Err(_) => Err(Failure::new(Exit::Internal, "the simulator broke off")),
    }
}

fn profile(path: Option<&Path>) -> Result<Reference, Failure> {
    match path {
        Some(path) => super::simulate::load(path),
        None => Reference::from_json(PROFILE)
            .map_err(|error| Failure::new(Exit::Internal, format!("the profile inside the program: {error}"))),
    }
}

/// The profile with the rows of its sample that the callers do not send.
fn other_half(reference: &Reference) -> Reference {
    let mut half = crate::simulate::half(reference, 0);
    // Nobody has signed this one.
    half.signature = None;
    half.digest = half.content_digest();
    half
}

fn settings(args: &Args) -> Result<Settings, Failure> {
    if !(args.speed > 0.0 && args.speed <= 2.0) {
        return Err(Failure::new(Exit::Usage, "--speed must be above 0 and at most 2 simulated hours a second"));
    }
    // The shipped script names features of the shipped profile; on another one the kinds choose theirs.
    let (drift, attack) = match args.reference {
        None => (DRIFT, ATTACK),
        Some(_) => ("gradual:start=4.5,span=1.5", ATTACK),
    };
    let chosen = |given: &Option<String>, shipped: &str| match given.as_deref() {
        Some("none") => None,
        Some(text) => Some(text.to_owned()),
        None => Some(shipped.to_owned()),
    };
    Ok(Settings {
        scenario: "demo".into(),
        seed: args.seed,
        start: DEFAULT_START.plus_seconds(FIRST_HOUR * 3600),
        hours: HOURS,
        clients: args.clients.clamp(20, 20_000),
        volume: 30.0,
        drifts: chosen(&args.drift, drift).iter().map(|t| DriftSpec::parse(t)).collect::<Result<_, _>>()?,
        attacks: chosen(&args.attack, attack).iter().map(|t| AttackSpec::parse(t)).collect::<Result<_, _>>()?,
        ..Settings::default()
    })
}

/// What the page tells of the script.
fn setting(args: &Args, reference: &Reference, settings: &Settings, simulation: &Simulation) -> Setting {
    let at = |hours: f64| settings.start.micros() + (hours * 3.6e9) as i64;
    let mut acts: Vec<Act> = simulation
        .world()
        .drifts
        .iter()
        .zip(&settings.drifts)
        .map(|(drift, spec)| {
            let features = drift.features(&simulation.world().rows).join(", ");
            let words = format!("drift: {} {features}", spec.kind.in_words());
            Act { kind: "drift", from: at(spec.start), words: words.trim_end().to_owned() }
        })
        .collect();
    acts.extend(settings.attacks.iter().map(|spec| {
        let from = if spec.addresses > 1 { format!("{} addresses", spec.addresses) } else { "one address".to_owned() };
        Act { kind: "probing", from: at(spec.start), words: format!("attack from {from}: {}", spec.family.in_words()) }
    }));
    Setting { model: reference.model.clone(), start: settings.start, speed: args.speed * 3600.0, acts }
}

/// A loopback address with the port asked for, or with a free one.
fn free_address(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = TcpListener::bind(wanted).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    bound.and_then(|listener| listener.local_addr()).unwrap_or(wanted)
}

/// A folder of our own for the profile, gone at the end.
struct Folder(PathBuf);

// === impl Folder ===

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("tripline-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A temporary folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tells the board and the terminal what the service finds.
struct DemoObserver {
    board: DemoState,
}

impl Observer for DemoObserver {
    type Error = Infallible;

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Infallible> {
        if let Some(line) = self.board.verdict(verdict) {
            println!("  {}  {:14} {}", line.at, line.kind, words::printable(&line.text, 160));
        }
        Ok(())
    }

    fn status(&mut self, models: &[ModelStatus], counts: &OutcomeCounts, elapsed: Duration) -> Result<(), Infallible> {
        let read = Read { accepted: counts.accepted, late: counts.late, rejected: counts.rejected };
        self.board.status(models, read, elapsed.as_secs_f64());
        Ok(())
    }
}

/// The last words: what was to be found, and what was.
fn summarise(board: &DemoState, counts: OutcomeCounts) {
    let (score, setting, said) = (board.score(), board.setting(), board.said());
    println!("\nRead {} queries ({} late, {} unusable).", words::count(counts.accepted), counts.late, counts.rejected);
    let clock = board.clock();
    for act in setting.acts.iter().filter(|act| act.from <= clock.micros()) {
        let from = EventTime::from_micros(act.from);
        let wanted = |finding: Finding| match act.kind {
            "drift" => matches!(finding, Finding::Drift | Finding::DriftAndProbing),
            _ => matches!(finding, Finding::Probing | Finding::DriftAndProbing),
        };
        let answer = match said.iter().find(|(at, finding)| *at >= from && wanted(*finding)) {
            Some((at, _)) => format!("said after {} of simulated time", words::duration(at.seconds_since(from))),
            None => "not said so far".to_owned(),
        };
        println!("  {}  {} – {answer}", words::minute(from), act.words);
    }
    if score.attackers > 0 {
        let first = score.queries_to_first.map_or(String::new(), |n| format!(", the first after {n} of the attack's queries"));
        println!("  {} of {} attacking addresses were flagged{first}.", score.found, score.attackers);
    }
    println!("  {} of {} honest addresses were flagged.", score.accused, words::count(score.honest as u64));
}
