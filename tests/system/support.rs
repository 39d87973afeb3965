//! What the subjects share: the built program as a child process, and the committed recordings.

pub mod data;
pub mod program;
