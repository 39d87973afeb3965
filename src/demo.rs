//! The demo: everything on one machine, in one process. An embedded broker, simulated callers, a drift, an attack, the real
//! service, and a page that shows all of it.
//!
//! Only the callers are simulated. Their queries go through a real Kafka protocol into the same service that `tripline run`
//! starts, and nothing tells the service what is coming. What it finds is in the [`readmodel`](crate::readmodel), as in any
//! deployment. What really happens is known to the simulator alone and is kept in [`truth`]. The two meet in [`state`], so that a
//! newcomer can judge the judge.
//!
//! * [`script`] is what will happen; [`broker`] and [`callers`] make it happen.
//! * [`truth`] keeps what happened; [`observer`] follows the service; [`state`] holds both, and [`view`] compares them.
//! * [`page`] and [`traffic`] draw a view; [`server`] serves it to this machine alone.

pub mod broker;
pub mod callers;
pub mod observer;
pub mod page;
pub mod script;
pub mod server;
pub mod state;
pub mod traffic;
pub mod truth;
pub mod view;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::app;
use crate::app::stop::Stop;
use crate::cli::load;
use crate::config::{Config, ModelConfig, Period};
use crate::exit::{Exit, Failure};
use crate::outcome::OutcomeCounts;
use crate::reference::Reference;
use crate::simulate::{MIN_SAMPLE, Simulation, SimulationSettings};
use crate::terminal::{print, say};
use broker::Broker;
use callers::Callers;
use observer::DemoObserver;
use script::Script;
use server::DemoPage;

/// How often the service tells its state: twice a second, which is as often as the page asks.
const STATUS_INTERVAL: Period = Period::millis(500);
/// How long a partition may be silent before event time goes on without it. Ten minutes of simulated life pass in a second, so
/// the service's usual patience would show as hours.
const IDLE_AFTER: Period = Period::seconds(2);
/// How long the page's server may take to end.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// What the arguments ask for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Profile of the model that is shown.
    pub reference: Arc<Reference>,
    /// The simulated world.
    pub settings: SimulationSettings,
    /// Simulated seconds in a real one.
    pub speed: f64,
    /// Port of the page.
    pub port: u16,
    /// Port of the metrics.
    pub metrics_port: u16,
    /// When to end; never if left out.
    pub duration: Option<Duration>,
}

/// Runs the demo until it is interrupted or its time is up.
///
/// # Errors
/// What ends the service (its documented exit codes), a port that cannot be had, or a broker that fails.
pub fn run(options: Options) -> Result<(), Failure> {
    let reference = Arc::clone(&options.reference);
    let settings = SimulationSettings { held_out: reference.sample.len() >= 2 * MIN_SAMPLE, ..options.settings.clone() };
    say(&format!("Preparing a world of {} callers of the model '{}' …", settings.clients, reference.model));
    let simulation = Simulation::new(Arc::clone(&reference), &settings)?;
    let observer = DemoObserver::new(Script::new(&reference.model, options.speed, &settings, &simulation));
    let state = observer.state();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let tokio = tokio.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let (page, moved) =
        tokio.block_on(DemoPage::bind(options.port, state.clone())).map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    if moved {
        say(&format!("Port {} is taken; the page is on another one.", options.port));
    }
    print(&format!("\n  Open http://{} to watch. Press Ctrl-C to end.\n\n", page.address()))?;
    let serving = tokio.spawn(page.serve());
    let profile = if settings.held_out { other_half(&reference) } else { Reference::clone(&reference) };
    let outcome = perform(&options, &profile, simulation, observer);
    serving.abort();
    tokio.shutdown_timeout(SHUTDOWN);
    print(&state.last_words(outcome?).to_string())
}

/// Starts the broker and the callers, and runs the service until the end.
fn perform(
    options: &Options,
    profile: &Reference,
    simulation: Simulation,
    observer: DemoObserver,
) -> Result<OutcomeCounts, Failure> {
    let stop = Stop::default();
    let broker = Broker::start()?;
    let callers = Callers::new(&broker, simulation, observer.state(), options.speed)?;
    let folder = Folder::new()?;
    let config = service_config(&broker, folder.write(profile)?, options.metrics_port);
    say(&format!("Metrics for Prometheus at http://{}/metrics\n", config.server.metrics));
    let calling = callers.start(stop.clone());
    if let Some(limit) = options.duration {
        let stop = stop.clone();
        std::thread::spawn(move || {
            std::thread::sleep(limit);
            stop.ask();
        });
    }
    let references = load::references(&config);
    let outcome = references.and_then(|references| app::run(&config, references, &stop, vec![Box::new(observer)]));
    stop.ask();
    match calling.join() {
        Ok(called) => called.and(outcome),
        Err(_) => Err(Failure::new(Exit::Internal, "the simulator broke off")),
    }
}

/// The configuration of the service: as shipped, but for the embedded broker and the compressed time.
fn service_config(broker: &Broker, profile: PathBuf, metrics_port: u16) -> Config {
    let mut config = Config::default();
    config.source.kafka.brokers = broker.address();
    config.source.kafka.topics = vec![broker::TOPIC.to_owned()];
    config.models = vec![ModelConfig { reference: profile }];
    // Nobody would read them here: the page shows verdicts, and the simulator writes nothing unreadable.
    config.sink.dead_letters.topic = String::new();
    config.runtime.status_interval = STATUS_INTERVAL;
    config.runtime.idle_after = IDLE_AFTER;
    config.server.metrics = free_address(metrics_port);
    config
}

/// The profile with the rows of its sample that the callers do not send: the service must not know the very rows it judges.
fn other_half(reference: &Reference) -> Reference {
    let mut half = crate::simulate::half(reference, 0);
    // Nobody has signed this one.
    half.signature = None;
    half.digest = half.content_digest();
    half
}

/// A loopback address with the port asked for, or with a free one.
fn free_address(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = TcpListener::bind(wanted).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    bound.and_then(|listener| listener.local_addr()).unwrap_or(wanted)
}

/// A temporary folder for the profile, removed at the end.
struct Folder(PathBuf);

// === impl Folder ===

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("tripline-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// Writes the profile for the service to load, as it would load any other.
    fn write(&self, reference: &Reference) -> Result<PathBuf, Failure> {
        let path = self.0.join("reference.json");
        let bytes = reference.to_json().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        std::fs::write(&path, bytes).map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A temporary folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
