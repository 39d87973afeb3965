//! Shared helpers: the built program as a child process, and the committed recordings.

pub mod alertmanager;
pub mod browser;
pub mod daemon;
pub mod dashboard;
pub mod data;
pub mod kafka;
pub mod postgres;
pub mod program;
pub mod prometheus;
pub mod registry;
pub mod s3;
pub mod service;
pub mod site;
