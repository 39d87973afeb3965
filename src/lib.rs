//! Tripline tells an honest change of the world from somebody probing your model.
//!
//! The straight line, six stages, one file each with a folder of its name:
//!
//! source → decode → window → signal → judge → sink
//!
//! The core is pure: it has no clock, no I/O, no logging and no randomness of its own, and builds without the feature `runtime`.
//!
//! | core | what it is |
//! |---|---|
//! | [`decode`] | bytes of a record → queries bound to a schema, or a rejection |
//! | [`engine`] | window, signal and judge in one: one engine a model |
//! | [`event`] | a query and where it lay |
//! | `fuzz` | changes valid inputs at random, for the tests of readers |
//! | [`hash`] | the integer mixer that hashing, sampling and salting share |
//! | [`judge`] | evidence → findings on clients, campaigns and models |
//! | [`observer`] | the port by which commands learn what became of records |
//! | [`outcome`] | what became of a record: accepted, late or rejected, with the reason |
//! | `prefetch` | asks the processor for memory early |
//! | [`reference`](mod@reference) | the reference profile: fit, load, sign |
//! | [`signal`] | the statistics, one a file, with their sources |
//! | [`source`] | where records come from; the port is pure, files and Kafka are not |
//! | [`window`] | event time, watermark, panes, bounded tables |
//!
//! The shell touches the world: Kafka, HTTP, files, terminals.
//!
//! | shell | what it is |
//! |---|---|
//! | [`access`] | who may do what: roles, credentials, sessions, in one place |
//! | [`api`] | `/api/v1`: what people and programs may ask and change |
//! | [`app`] | composition root and ordered shutdown of the service |
//! | [`audit`] | who did what: append-only, chained by signatures |
//! | [`cases`] | what people work on: verdicts about the same actor and model, and what was decided |
//! | [`checkpoint`] | state that survives a restart: snapshots, and where in the log each was taken |
//! | [`cli`] | one file a command: arguments and wiring |
//! | [`clock`] | the only file that asks the machine for the time |
//! | [`config`] | the configuration file, composed of each stage's own settings |
//! | [`console`] | the pages for the people who look into what was found |
//! | [`dataset`] | training data from CSV, JSON lines and Parquet |
//! | [`demo`] | everything on one machine: broker, callers, an attack, the page |
//! | [`document`] | reads a TOML document with every fault, line and remedy at once |
//! | [`drill`] | attacks injected into a copy of a log: power, and time to detect |
//! | [`exit`] | exit codes and how a command ends |
//! | [`export`] | cases in the formats of other systems |
//! | [`health`] | whether the service is ready |
//! | [`html`] | frame, words, SVG and style of every page |
//! | [`http`] | one HTTP server: limits and drain |
//! | [`readmodel`] | what people look at, fed by verdicts, read without locks on the engine |
//! | [`repartition`] | several processes: decode a share, judge what is owned |
//! | [`replay`] | a log judged in event time, to the byte |
//! | [`report`] | the summary and the page of a replay |
//! | [`runtime`] | the service's loop: poll, decode, judge, deliver, commit |
//! | [`simulate`] | seeded callers, drifts and attacks, with the truth |
//! | [`sink`] | where verdicts, numbers and dead letters go |
//! | [`store`] | the database of cases, audit and access: SQLite or PostgreSQL |
//! | [`surface`] | the server of API and console, behind one guard |
//! | [`telemetry`] | the end points of operations: metrics, liveness, readiness |
//! | `terminal` | words for a person, also when nobody reads them |

pub mod decode;
pub mod engine;
pub mod event;
#[cfg(test)]
mod fuzz;
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
pub mod access;
#[cfg(feature = "runtime")]
pub mod api;
#[cfg(feature = "runtime")]
pub mod app;
#[cfg(feature = "runtime")]
pub mod audit;
#[cfg(feature = "runtime")]
pub mod cases;
#[cfg(feature = "runtime")]
pub mod checkpoint;
#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod clock;
#[cfg(feature = "runtime")]
pub mod config;
#[cfg(feature = "runtime")]
pub mod console;
#[cfg(feature = "runtime")]
pub mod dataset;
#[cfg(feature = "runtime")]
pub mod demo;
#[cfg(feature = "runtime")]
pub mod document;
#[cfg(feature = "runtime")]
pub mod drill;
#[cfg(feature = "runtime")]
pub mod exit;
#[cfg(feature = "runtime")]
pub mod export;
#[cfg(feature = "runtime")]
pub mod health;
#[cfg(feature = "runtime")]
pub mod html;
#[cfg(feature = "runtime")]
pub mod http;
#[cfg(feature = "runtime")]
pub mod readmodel;
#[cfg(feature = "runtime")]
pub mod repartition;
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
pub mod store;
#[cfg(feature = "runtime")]
pub mod surface;
#[cfg(feature = "runtime")]
pub mod telemetry;
#[cfg(feature = "runtime")]
mod terminal;
