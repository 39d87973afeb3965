//! `tripline demo`: the arguments of the [`demo`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load;
use crate::config::Period;
use crate::demo::script::{
    ATTACK, CLIENT_RANGE, CLIENTS, DRIFT, DRIFT_OF_OTHER_PROFILE, HOURS, HOURS_PER_SECOND, MAX_HOURS_PER_SECOND, PROFILE, SEED,
    VOLUME, day_start,
};
use crate::demo::server::DEFAULT_PORT;
use crate::demo::{self, Options};
use crate::exit::{Exit, Failure};
use crate::reference::Reference;
use crate::simulate::SimulationSettings;
use crate::simulate::attack::AttackSpec;
use crate::simulate::drift::DriftSpec;

/// Seconds in an hour.
const HOUR: f64 = 3600.0;

/// Arguments of `tripline demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tripline demo                                             then open the address that it prints
  tripline demo --for 2m --port 0                           ends by itself, on any free port
  tripline demo --attack hopskipjump:start=13,queries=600 --drift missing:start=4.5,span=1
  tripline demo --reference models/flights/reference.json --drift seasonal:start=4.5 --attack grid:ips=50,start=13

The script: some hours without anything unusual, then a drift, then an attack; a simulated day takes two minutes.
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
    #[arg(long, default_value_t = SEED)]
    pub seed: u64,
    /// Ordinary clients.
    #[arg(long, default_value_t = CLIENTS)]
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
///
/// # Errors
/// Usage (64), a missing profile (66), and what ends the service.
pub fn run(args: Args) -> Result<(), Failure> {
    let reference = Arc::new(profile(args.reference.as_deref())?);
    demo::run(Options {
        reference,
        settings: settings(&args)?,
        speed: args.speed * HOUR,
        port: args.port,
        metrics_port: args.metrics_port,
        duration: args.duration.map(|Period(limit)| limit),
    })
}

fn profile(path: Option<&Path>) -> Result<Reference, Failure> {
    match path {
        Some(path) => load::profile(path),
        None => Reference::from_json(PROFILE)
            .map_err(|error| Failure::new(Exit::Internal, format!("the profile inside the program: {error}"))),
    }
}

fn settings(args: &Args) -> Result<SimulationSettings, Failure> {
    if !(args.speed > 0.0 && args.speed <= MAX_HOURS_PER_SECOND) {
        let range = format!("--speed must be above 0 and at most {MAX_HOURS_PER_SECOND} simulated hours a second");
        return Err(Failure::new(Exit::Usage, range));
    }
    // The shipped drift names features of the shipped profile.
    let drift = if args.reference.is_none() { DRIFT } else { DRIFT_OF_OTHER_PROFILE };
    let chosen = |given: &Option<String>, shipped: &str| match given.as_deref() {
        Some("none") => None,
        Some(text) => Some(text.to_owned()),
        None => Some(shipped.to_owned()),
    };
    Ok(SimulationSettings {
        scenario: "demo".into(),
        seed: args.seed,
        start: day_start(),
        hours: HOURS,
        clients: args.clients.clamp(CLIENT_RANGE.0, CLIENT_RANGE.1),
        volume: VOLUME,
        drifts: chosen(&args.drift, drift).iter().map(|text| DriftSpec::parse(text)).collect::<Result<_, _>>()?,
        attacks: chosen(&args.attack, ATTACK).iter().map(|text| AttackSpec::parse(text)).collect::<Result<_, _>>()?,
        ..SimulationSettings::default()
    })
}
