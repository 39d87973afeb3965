//! The acceptance tests: the built program, run as a person or a machine would run it, with real external programs.
//!
//! One binary for all of them, because every test binary is linked with all of Kafka, HTTP and TLS. Each subject is a module
//! under `tests/system/`; shared helpers are in `tests/system/support/`. A test that lacks a program fails and
//! says what to install (`make setup`); no test skips itself. Nothing waits for a fixed time, only for conditions with a limit.

#![cfg(feature = "runtime")]

// The inline module gives its files the folder `tests/system/`.
#[cfg(test)]
mod system {
    mod access;
    mod adversary;
    mod bad_input;
    mod cases;
    mod changes;
    mod checkpoint;
    mod commands;
    mod crowd;
    mod demo;
    mod denylist;
    mod documents;
    mod drill;
    mod end_to_end;
    mod first_hour;
    mod formats;
    mod hiding;
    mod judged;
    mod kafka;
    mod kafka_log;
    mod kinds;
    mod kserve;
    mod observability;
    mod outputs;
    mod profiles;
    mod recordings;
    mod registry;
    mod repartition;
    mod replay;
    mod snapshot;
    mod support;
    mod telemetry;
    mod volume;
}
