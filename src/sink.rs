//! Where verdicts and numbers go: metrics, the verdict topic, JSON lines, dead letters.

pub mod metrics;
