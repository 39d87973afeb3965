//! `tripline run`.

use super::{Exit, Failure};

/// Arguments of `tripline run`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `tripline run`.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Exit::Internal, "not written yet"))
}
