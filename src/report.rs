//! What a replay tells a person: the summary in the terminal and the page of `--report`.
//!
//! The engine knows nothing of this module, and nothing of it feeds back into the engine. What the pictures need is collected in
//! bounded memory and in the order of the log, so that two replays give the same page.
//!
//! * [`document`] is the summary as JSON, [`denylist`] the callers found probing as a list for a firewall.
//! * [`summary`] counts, [`activity`] by caller, [`verdict_history`] keeps the verdicts by model, caller and campaign, and [`terminal`] prints both.
//! * [`sample`] keeps the queries; [`suspects`] says which of them are a suspect's.
//! * [`page`] puts the report together from [`case`]s, the tables of [`volume`], of information [`budget`]s and of [`drift`], and [`picture`]s.

pub mod activity;
pub mod budget;
pub mod case;
pub mod denylist;
pub mod document;
pub mod drift;
pub mod page;
pub mod picture;
pub mod sample;
pub mod summary;
pub mod suspects;
pub mod terminal;
pub mod verdict_history;
pub mod volume;

#[cfg(test)]
mod tests;
