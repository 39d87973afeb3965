//! `tripline demo`.

use super::{Exit, Failure};

/// Arguments of `tripline demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `tripline demo`.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::new(Exit::Internal, "not written yet"))
}
