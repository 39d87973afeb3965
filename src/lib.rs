//! Tripline tells an honest change of the world from somebody probing your model.
//!
//! The straight line, six stages, one file each:
//!
//! source → decode → window → signal → judge → sink
//!
//! [`engine`] strings the middle together; [`event`] is what flows, [`reference`](mod@reference) is what it is compared with.
//! Everything but `source`, `sink`, `app`, `runtime` and `cli` is pure: no clock, no I/O, no randomness of its own.

pub mod decode;
pub mod engine;
pub mod event;
pub mod hash;
pub mod judge;
pub mod observer;
pub mod outcome;
mod prefetch;
pub mod reference;
pub mod signal;
pub mod source;
pub mod window;

#[cfg(feature = "runtime")]
pub mod app;
#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod clock;
#[cfg(feature = "runtime")]
pub mod config;
#[cfg(feature = "runtime")]
pub mod dataset;
#[cfg(feature = "runtime")]
pub mod drill;
#[cfg(feature = "runtime")]
pub mod exit;
#[cfg(feature = "runtime")]
pub mod health;
#[cfg(feature = "runtime")]
pub mod http;
#[cfg(feature = "runtime")]
pub mod page;
#[cfg(feature = "runtime")]
pub mod replay;
#[cfg(feature = "runtime")]
pub mod report;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "runtime")]
pub mod simulate;
#[cfg(feature = "runtime")]
pub mod sink;
#[cfg(feature = "runtime")]
pub mod telemetry;
