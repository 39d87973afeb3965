//! The commands, one file each under `cli/`: arguments, wiring and words only.

pub mod audit;
pub mod cases;
pub mod check;
pub mod demo;
pub mod describe;
pub mod drill;
pub mod fit;
pub mod key;
pub mod keys;
mod limit;
pub mod load;
pub mod output;
pub mod reference;
pub mod replay;
pub mod run;
pub mod simulate;
pub mod state;

use clap::{Parser, Subcommand};

use crate::exit::Failure;

/// Tells an honest change of the world from somebody probing your model.
#[derive(Debug, Parser)]
#[command(name = "tripline", version, about, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Learn a reference profile from training data.
    Fit(fit::Args),
    /// Verify, show, calibrate or sign a reference profile.
    Reference(reference::Args),
    /// Judge a log file in event time; the same engine as `run`, and the same bytes every time.
    Replay(replay::Args),
    /// The service: Kafka in; metrics, verdicts and alerts out.
    Run(run::Args),
    /// Show or verify the snapshots of models: age, size, offsets, validity.
    State(state::Args),
    /// Walk the audit's chain of signatures, or list its entries.
    Audit(audit::Args),
    /// Export cases, or what is stored about a person, and erase the latter.
    Cases(cases::Args),
    /// Find every fault of a configuration file.
    Check(check::Args),
    /// Make an API key, and the lines of the configuration that let it in.
    Key(key::Args),
    /// Everything on one machine: embedded broker, simulated callers, a drift, an attack, a live page.
    Demo(demo::Args),
    /// Simulate the callers of a model, to a file or a topic.
    Simulate(simulate::Args),
    /// Plant attacks in a copy of your own log; say what is found, how soon, and at which price in false alarms.
    Drill(drill::Args),
}

/// Runs the command of the arguments.
pub fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Fit(args) => fit::run(args),
        Command::Reference(args) => reference::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Run(args) => run::run(args),
        Command::State(args) => state::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Cases(args) => cases::run(args),
        Command::Check(args) => check::run(args),
        Command::Key(args) => key::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Drill(args) => drill::run(args),
    }
}
