//! The series about snapshots.

use super::{Kind, Series};

const UNITS: &str = "units (a unit is a model)";

/// Age of a unit's newest snapshot.
pub const SNAPSHOT_AGE: Series = Series {
    name: "tripline_snapshot_age_seconds",
    kind: Kind::Gauge,
    labels: &["unit"],
    help: "Seconds since the newest complete snapshot of the unit was taken, or since its state last was the same as in it.",
    bound: UNITS,
    note: "Computed at the scrape. NaN until there is one; absent if no state is kept ([state] url).",
};
/// Size of a unit's newest snapshot.
pub const SNAPSHOT_BYTES: Series = Series {
    name: "tripline_snapshot_bytes",
    kind: Kind::Gauge,
    labels: &["unit"],
    help: "Bytes of the unit's newest complete snapshot in the object store.",
    bound: UNITS,
    note: "",
};
/// Duration of a unit's newest snapshot.
pub const SNAPSHOT_DURATION: Series = Series {
    name: "tripline_snapshot_duration_seconds",
    kind: Kind::Gauge,
    labels: &["unit"],
    help: "Seconds that packing and writing the unit's newest complete snapshot took, in the background.",
    bound: UNITS,
    note: "",
};
/// Pauses of the loop.
pub const SNAPSHOT_PAUSE: Series = Series {
    name: "tripline_snapshot_pause_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "Seconds that judging stood still while the state was copied for a snapshot.",
    bound: "12 buckets",
    note: "",
};
/// What became of snapshots.
pub const SNAPSHOTS: Series = Series {
    name: "tripline_snapshots_total",
    kind: Kind::Counter,
    labels: &["unit", "outcome"],
    help: "Snapshots by what became of them.",
    bound: "units x 6",
    note: "`outcome`: complete; failed (the object store); fenced (another process has taken the unit over); and at a start restored, \
           skipped (damaged, so the one before was taken) or refused (another format, other settings or another reference).",
};
/// Duration of the last restore.
pub const STATE_RESTORE: Series = Series {
    name: "tripline_state_restore_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Seconds that reading the state back took the last time.",
    bound: "one",
    note: "NaN until then.",
};
/// Records judged again.
pub const JUDGED_AGAIN: Series = Series {
    name: "tripline_judged_again_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Records that were judged again after a restore without saying anything, because their results were delivered before.",
    bound: "one",
    note: "They are not counted in queries, late or rejected a second time.",
};
/// Records that the log no longer has.
pub const MISSING_RECORDS: Series = Series {
    name: "tripline_missing_records_total",
    kind: Kind::Counter,
    labels: &["topic"],
    help: "Records that follow a snapshot and that the log no longer had when it was restored; they are missing in the state.",
    bound: "topics",
    note: "The topic's retention must be longer than a snapshot gets old.",
};
