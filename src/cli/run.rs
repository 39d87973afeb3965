//! `tripline run`: the service. Kafka in; metrics, verdicts and dead letters out.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::load;
use crate::app;
use crate::app::stop::Stop;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tripline run --config tripline.toml
      watch the topics that the configuration names
  tripline run --config tripline.toml --log debug --log-format json
      say more, as JSON lines for a log collector
  curl http://127.0.0.1:9464/metrics; curl http://127.0.0.1:9464/readyz
      what it sees, and whether it is ready

It ends in an orderly way on SIGTERM and Ctrl-C: what was read is judged, delivered and committed, then the group is left.
Exit codes: 0 stopped as asked; 64 configuration, credentials or permissions; 66 a missing file or topic; 74 the cluster cannot
be reached, or a result cannot be delivered.";

/// Where the configuration lies unless given.
const DEFAULT_CONFIG: &str = "tripline.toml";

/// Arguments of `tripline run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// How much to say: error, warn, info, debug or trace; or a filter such as `tripline=debug,librdkafka=info`.
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "TRIPLINE_LOG")]
    log: String,
    /// Form of the log, which goes to standard error.
    #[arg(long, value_name = "FORM", default_value = "text")]
    log_format: LogFormat,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON lines for collectors.
    Json,
}

/// Runs `tripline run`.
///
/// # Errors
/// With the documented exit codes; see [`app::run`].
pub fn run(args: Args) -> Result<(), Failure> {
    let config = load::config(&args.config)?;
    super::check::paths(&args.config, &config).check()?;
    logging(&args.log, args.log_format)?;
    let references = load::references(&config)?;
    let counts = app::run(&config, references, &Stop::default(), Vec::new())?;
    let words = "stopped";
    tracing::info!(
        accepted = counts.accepted,
        late = counts.late,
        rejected = counts.rejected,
        verdicts = counts.verdicts,
        "{words}"
    );
    // One line for scripts, whatever the log level: what went through this instance.
    super::output::say(&serde_json::to_string(&counts).unwrap_or_default());
    Ok(())
}

fn logging(level: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(level).map_err(|error| Failure::new(Exit::Usage, format!("--log {level}: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let set = match format {
        LogFormat::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(terminal).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| Failure::new(Exit::Internal, format!("the log cannot be opened: {error}")))
}
