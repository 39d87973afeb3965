//! Arguments in, exit code out. Everything else is in the library.

use clap::Parser as _;
use tripline::cli::{Cli, dispatch, output};
use tripline::exit::Exit;

fn main() -> std::process::ExitCode {
    // clap would end wrong usage with 2; the documented code is 64.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage as u8 } else { 0 };
            // A closed terminal does not change the exit code.
            let _ = error.print();
            return std::process::ExitCode::from(code);
        }
    };
    match dispatch(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            output::say(&format!("tripline: {failure}"));
            std::process::ExitCode::from(failure.exit as u8)
        }
    }
}
