//! `tripline check`.

use super::{Exit, Failure};

/// Arguments of `tripline check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `tripline check`.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Exit::Internal, "not written yet"))
}
