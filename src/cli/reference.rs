//! `tripline reference`.

use super::{Exit, Failure};

/// Arguments of `tripline reference`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `tripline reference`.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Exit::Internal, "not written yet"))
}
