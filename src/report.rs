//! What a replay tells a person: the summary in the terminal and the page of `--report`.
//!
//! Everything here looks at the stream from outside: the engine knows nothing of it, and nothing of it feeds back. What the
//! pictures need is collected in bounded memory and in the order of the log, so that two replays give the same page.

pub mod tally;
