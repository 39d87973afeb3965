//! `tripline key`: makes an API key and the lines of the configuration that let it in.

use super::output::{print, say};
use crate::access::permission::Role;
use crate::access::secret_token::ApiKey;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tripline key --name grafana --role viewer >> tripline.toml
      the key on the terminal, its hash in the configuration
  tripline key --name ci --role analyst --model adult --expires 2027-01-31
      a key for one model that ends by itself

The key is shown once and kept nowhere. A service with a database ([store]) also makes keys itself: POST /api/v1/keys.";

/// Arguments of `tripline key`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name in the audit: what uses the key.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it may do: viewer, analyst or admin.
    #[arg(long, value_name = "ROLE", default_value = "viewer")]
    role: String,
    /// A model that it may know of; all unless given. May be repeated.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// When it ends: a date, or a time in RFC 3339. Never unless given.
    #[arg(long, value_name = "DATE", default_value = "")]
    expires: String,
}

/// Runs `tripline key`.
///
/// # Errors
/// 64 if there is no such role, 70 if the system has no randomness, 74 if the output cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let role = Role::parse(&args.role)
        .ok_or_else(|| Failure::new(Exit::Usage, format!("--role {}: write viewer, analyst or admin", args.role)))?;
    let key = ApiKey::new().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let models: Vec<String> = args.models.iter().map(|model| quoted(model)).collect();
    print(&format!(
        "\n[[api.keys]]\nname = {}\nid = {}\nhash = {}\nrole = {}\nmodels = [{}]\nexpires = {}\n",
        quoted(&args.name),
        quoted(&key.id),
        quoted(&key.secret.hash()),
        quoted(role.name()),
        models.join(", "),
        quoted(&args.expires),
    ))?;
    say(&format!("the key, shown once and kept nowhere: {}", key.reveal()));
    Ok(())
}
