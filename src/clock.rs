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

/// The instant by which several steps must be done together. Each step waits at most for what the others left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(Instant);

// === impl Deadline ===

impl Deadline {
    /// A deadline this far ahead.
    pub fn after(limit: Duration) -> Self {
        Self(instant() + limit)
    }

    /// Time that is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(instant())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_leaves_no_time() {
        assert_eq!(Deadline::after(Duration::ZERO).remaining(), Duration::ZERO);
        let ahead = Deadline::after(Duration::from_secs(3_600)).remaining();
        assert!(ahead > Duration::from_secs(3_500) && ahead <= Duration::from_secs(3_600), "{ahead:?}");
    }
}
