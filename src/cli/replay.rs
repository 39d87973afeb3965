//! `tripline replay`.

use super::{Exit, Failure};

/// Arguments of `tripline replay`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `tripline replay`.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Exit::Internal, "not written yet"))
}
