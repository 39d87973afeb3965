//! `tripline fit`.

use super::{Exit, Failure};

/// Arguments of `tripline fit`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `tripline fit`.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Exit::Internal, "not written yet"))
}
