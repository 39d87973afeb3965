//! What a replay tells a person: the summary in the terminal and the page of `--report`.
//!
//! Everything here looks at the stream from outside: the engine knows nothing of it, and nothing of it feeds back. What the
//! pictures need is collected in bounded memory and in the order of the log, so that two replays give the same page.
//!
//! * [`tally`] counts, [`ledger`] keeps what was said about whom, and [`summary`] prints both.
//! * [`sample`] keeps the queries; [`suspects`] says whose are on which side.
//! * [`page`] puts the report together from [`case`]s, [`budget`] and [`picture`]s, in the [`words`] that [`glossary`] explains,
//!   within a [`frame`] that lets nothing in from elsewhere.

pub mod budget;
pub mod case;
pub mod frame;
pub mod glossary;
pub mod ledger;
pub mod page;
pub mod picture;
pub mod sample;
pub mod summary;
pub mod suspects;
pub mod tally;
pub mod words;

#[cfg(test)]
mod tests;
