//! `tripline simulate`.

use super::{Exit, Failure};

/// Arguments of `tripline simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `tripline simulate`.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Exit::Internal, "not written yet"))
}
