//! The one place that asks the machine for the time. Everything else takes time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::EventTime;

/// The present as an event time.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    EventTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A monotonic instant, for durations within this process.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn instant() -> Instant {
    Instant::now()
}
