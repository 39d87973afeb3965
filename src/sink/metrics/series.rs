//! The telemetry contract: every series that Tripline exports, once, as data.
//!
//! Registration reads name, labels and help from here, and so does the generated page `docs/metrics.md`; a test compares both
//! with what a scrape really returns. Whoever adds a series adds it here or it cannot be registered.
//!
//! Rules of the house: the prefix is `tripline_`, counters end in `_total`, the unit is in the name, and every label is
//! bounded by configuration (models, features, families, reasons, partitions). An address or an account is never a label: it
//! would cost a series for each caller and write personal data into a store that many people read.

pub mod cases;
pub mod snapshots;

use std::fmt::Write as _;

use cases::{CASE_PRECISION, CASE_SPOOL, CASE_STORE_UP, CASE_VERDICTS, CASES};
use snapshots::{
    JUDGED_AGAIN, MISSING_RECORDS, SNAPSHOT_AGE, SNAPSHOT_BYTES, SNAPSHOT_DURATION, SNAPSHOT_PAUSE, SNAPSHOTS, STATE_RESTORE,
};

/// What kind of number a series is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows; starts again at zero with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket, with sum and count.
    Histogram,
}

/// One exported series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Series {
    /// Full name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Label names in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence: the `HELP` line.
    pub help: &'static str,
    /// What bounds the number of its time series.
    pub bound: &'static str,
    /// What a reader must know beyond the help line; empty if nothing.
    pub note: &'static str,
}

const MODELS: &str = "models";
const ONE: &str = "one";
const FEATURES: &str = "features of all models";

/// Queries taken into the windows.
pub const QUERIES: Series = Series {
    name: "tripline_queries_total",
    kind: Kind::Counter,
    labels: &["model"],
    help: "Queries accepted into the windows.",
    bound: MODELS,
    note: "Together with rejected and late this is every record that was read: accepted + rejected + late = produced.",
};
/// Records that could not be used.
pub const REJECTED: Series = Series {
    name: "tripline_rejected_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Records that could not be read or used, by reason; each is also a dead letter.",
    bound: "reasons, fixed in the program",
    note: "",
};
/// Fields that were repaired.
pub const REPAIRED: Series = Series {
    name: "tripline_repaired_fields_total",
    kind: Kind::Counter,
    labels: &["field", "fault"],
    help: "Records with a fault that cost one field and not the row, by field and fault.",
    bound: "faults, fixed in the program",
    note: "docs/bad-records.md says what is used instead. A record with two faults counts under both.",
};
/// Share of unreadable records.
pub const UNREADABLE_RATIO: Series = Series {
    name: "tripline_unreadable_ratio",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Share of the model's records of the last three to six hours that could not be read.",
    bound: MODELS,
    note: "A record whose model could not be read counts for the first model in order of name. NaN until there is a state.",
};
/// Largest share of unreadable records of a caller.
pub const REJECTED_BY_CLIENT: Series = Series {
    name: "tripline_rejected_by_client_max_ratio",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "The largest share of unreadable records of a caller with at least ten records in the last three to six hours.",
    bound: MODELS,
    note: "Near 1 while the ratio of the model is small: one caller is broken, or hides. NaN until there is a state.",
};
/// Callers suspicious for unreadable records.
pub const UNREADABLE_CLIENTS: Series = Series {
    name: "tripline_unreadable_clients",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Callers that are suspicious now because most of their records cannot be read while their peers' can.",
    bound: MODELS,
    note: "Their verdicts have the family unreadable.",
};
/// Callers suspicious for volume.
pub const VOLUME_CLIENTS: Series = Series {
    name: "tripline_volume_clients",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Callers that are suspicious now because they ask far more different rows than their peers, and than they ever did.",
    bound: MODELS,
    note: "Their verdicts have the family volume. A caller is suspicious until it has asked less for six hours.",
};
/// Messages without a value.
pub const TOMBSTONES: Series = Series {
    name: "tripline_tombstones_total",
    kind: Kind::Counter,
    labels: &["topic"],
    help: "Messages without a value, by topic. They are no records: nothing is judged, and no dead letter is kept.",
    bound: "topics",
    note: "Compacted topics hold them to delete a key.",
};
/// Records that were removed before they were read.
pub const SKIPPED_RECORDS: Series = Series {
    name: "tripline_skipped_records_total",
    kind: Kind::Counter,
    labels: &["topic"],
    help: "Records that the topic's retention removed before they were read, so that nobody has judged them.",
    bound: "topics",
    note: "At most by the marks of transactions and by compacted records too high. tripline_missing_records_total counts what was judged \
           before a restart and is missing in the state.",
};
/// Records behind an open transaction.
pub const OPEN_TRANSACTION: Series = Series {
    name: "tripline_open_transaction_records",
    kind: Kind::Gauge,
    labels: &["topic", "partition"],
    help: "Records of a partition that wait for a transaction to end before anybody may read them.",
    bound: "partitions of this instance",
    note: "They are no lag. One that stays means a producer that hangs: kafka-transactions.sh find-hanging names it.",
};
/// Posted records.
pub const POSTS: Series = Series {
    name: "tripline_posts_total",
    kind: Kind::Counter,
    labels: &["outcome"],
    help: "Records that were posted to source.http, by outcome.",
    bound: "two",
    note: "`outcome` is accepted or refused (503: no room, or the service ends). Absent without source.http.",
};
/// Queries behind the watermark.
pub const LATE: Series = Series {
    name: "tripline_late_total",
    kind: Kind::Counter,
    labels: &["model"],
    help: "Queries behind the watermark: evidence about their sender, left out of windows and drift; each is kept as a dead letter of reason late.",
    bound: MODELS,
    note: "",
};
/// The model's answers.
pub const PREDICTION_VALUE: Series = Series {
    name: "tripline_prediction_value",
    kind: Kind::Histogram,
    labels: &["model"],
    help: "The model's answers: the score, the probability of the top class, or the index of the label in the reference.",
    bound: "models x bins of the reference's prediction",
    note: "The buckets are the reference's own prediction bins, so a shift against the reference is visible without the \
           reference at hand. They therefore differ between models: never aggregate the buckets of several models.",
};
/// The model's latency.
pub const PREDICTION_LATENCY: Series = Series {
    name: "tripline_prediction_latency_seconds",
    kind: Kind::Histogram,
    labels: &["model"],
    help: "How long the model took to answer, as its log says.",
    bound: "models x 14 buckets",
    note: "Stays empty for a model whose log has no latency.",
};
/// Population stability index.
pub const PSI: Series = Series {
    name: "tripline_psi",
    kind: Kind::Gauge,
    labels: &["model", "feature"],
    help: "Population stability index of the feature in the window against the reference.",
    bound: FEATURES,
    note: "Read it beside its critical value: the same index means nothing in a small window and much in a large one. NaN until \
           the first window has closed.",
};
/// Critical value of the index.
pub const PSI_CRITICAL: Series = Series {
    name: "tripline_psi_critical",
    kind: Kind::Gauge,
    labels: &["model", "feature"],
    help: "Value that the index of this window exceeds by chance alone with the configured probability.",
    bound: FEATURES,
    note: "NaN until the first window has closed.",
};
/// The index without the suspects.
pub const PSI_WITHOUT_SUSPECTS: Series = Series {
    name: "tripline_psi_without_suspects",
    kind: Kind::Gauge,
    labels: &["model", "feature"],
    help: "Population stability index when the queries of suspects are left out.",
    bound: FEATURES,
    note: "Where the plain index is above the critical value and this one is below, the suspects are the drift. NaN until the \
           first window has closed.",
};
/// Values that the reference does not know.
pub const UNSEEN: Series = Series {
    name: "tripline_unseen_ratio",
    kind: Kind::Gauge,
    labels: &["model", "feature"],
    help: "Share of the last hour's queries with a value that the reference does not know: unseen, of the wrong kind, or out of its range.",
    bound: FEATURES,
    note: "Near 0 on the day of the fit. A step to a large share is a change of the pipeline: a spelling, a unit, a new default.",
};
/// Missing values.
pub const MISSING: Series = Series {
    name: "tripline_missing_ratio",
    kind: Kind::Gauge,
    labels: &["model", "feature"],
    help: "Share of the last hour's queries without a value.",
    bound: FEATURES,
    note: "Compare with the share in the reference (`tripline reference show`).",
};
/// Columns that changed.
pub const COLUMN_CHANGED: Series = Series {
    name: "tripline_column_changed",
    kind: Kind::Gauge,
    labels: &["model", "feature"],
    help: "1 while many callers with a past write the column as the reference does not know, else 0.",
    bound: FEATURES,
    note: "It counts callers and not queries, so that one caller cannot set it. Rows that are written so are judged without the column.",
};
/// Drift of the answers.
pub const PREDICTION_PSI: Series = Series {
    name: "tripline_prediction_psi",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Population stability index of the model's answers in the window against the reference.",
    bound: MODELS,
    note: "NaN until the first window has closed.",
};
/// Critical value of the drift of the answers.
pub const PREDICTION_PSI_CRITICAL: Series = Series {
    name: "tripline_prediction_psi_critical",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Value that the answers' index exceeds by chance alone with the configured probability.",
    bound: MODELS,
    note: "NaN until the first window has closed.",
};
/// The verdict on a model.
pub const MODEL_VERDICT: Series = Series {
    name: "tripline_model_verdict",
    kind: Kind::Gauge,
    labels: &["model", "verdict"],
    help: "1 for the verdict in force on the model, 0 for the others.",
    bound: "models x 5",
    note: "`verdict` is stable, drift, probing, drift+probing or undetermined. It is undetermined until something is found or a drift test \
           has found nothing; /readyz says what is missing.",
};
/// Clients in memory.
pub const CLIENTS: Series =
    Series { name: "tripline_clients", kind: Kind::Gauge, labels: &["model"], help: "Clients in memory.", bound: MODELS, note: "" };
/// Clients that were forgotten.
pub const EVICTED_CLIENTS: Series = Series {
    name: "tripline_evicted_clients_total",
    kind: Kind::Counter,
    labels: &["model"],
    help: "Clients forgotten to keep within the configured memory.",
    bound: MODELS,
    note: "",
};
/// Clients flagged as probing.
pub const FLAGGED_CLIENTS: Series = Series {
    name: "tripline_flagged_clients",
    kind: Kind::Gauge,
    labels: &["model", "family"],
    help: "Clients that are flagged as probing now, by the shape of the probing.",
    bound: "models x 10",
    note: "",
};
/// Campaigns.
pub const CAMPAIGNS: Series = Series {
    name: "tripline_campaigns",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Active campaigns: several callers whose queries belong together.",
    bound: MODELS,
    note: "",
};
/// Verdicts given.
pub const VERDICTS: Series = Series {
    name: "tripline_verdicts_total",
    kind: Kind::Counter,
    labels: &["model", "scope", "family", "verdict"],
    help: "Verdicts given, one for each change of mind.",
    bound: "models x 3 scopes x 11 families x 6 verdicts",
    note: "`family` is none where a verdict has no shape.",
};
/// Query rate of the busiest clients.
pub const CLIENT_RATE_P95: Series = Series {
    name: "tripline_client_rate_p95",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "95th percentile over clients of queries per hour in the sliding window.",
    bound: MODELS,
    note: "Description only: no verdict rests on it.",
};
/// Gaps between queries.
pub const QUERY_GAP: Series = Series {
    name: "tripline_query_gap_seconds",
    kind: Kind::Histogram,
    labels: &["model"],
    help: "Time between two queries of the same client, in event time.",
    bound: "models x 17 buckets",
    note: "Description only: no verdict rests on it.",
};
/// Entropy of the features.
pub const ENTROPY_RATIO: Series = Series {
    name: "tripline_feature_entropy_ratio",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Entropy of the window's features over that of the reference, mean over features.",
    bound: MODELS,
    note: "Above 1: more varied than honest traffic, as grids and random queries are. Below 1: narrower. NaN until the first \
           window has closed. Description only: no verdict rests on it.",
};
/// Information budget.
pub const INFORMATION_BUDGET: Series = Series {
    name: "tripline_information_budget_ratio",
    kind: Kind::Gauge,
    labels: &["model"],
    help: "Distinct rows asked by the caller, account or campaign that asked the most, over the unknowns of a linear copy.",
    bound: MODELS,
    note: "The unit is d + 1 rows, which copy a linear model over d columns; each category is a column. Estimated to about 13%. \
           Copying with honest-looking rows cannot be told from use, so it gets this number and no verdict; any busy customer passes \
           1, so look at its growth. The summary and the report of a replay name who.",
};
/// Records not yet read.
pub const CONSUMER_LAG: Series = Series {
    name: "tripline_consumer_lag_records",
    kind: Kind::Gauge,
    labels: &["topic", "partition"],
    help: "Records not yet read of a partition that this instance owns.",
    bound: "partitions of the configured topics",
    note: "The series vanishes when the partition goes to another instance.",
};
/// Event time behind the clock.
pub const WATERMARK_LAG: Series = Series {
    name: "tripline_watermark_lag_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "How far the event time that is complete lies behind the clock; the slowest model counts.",
    bound: ONE,
    note: "Computed at the scrape, so it keeps growing if the worker hangs. 0 before the first query.",
};
/// Delay of verdicts.
pub const END_TO_END: Series = Series {
    name: "tripline_end_to_end_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "From the event time of the deciding query to the verdict.",
    bound: "16 buckets",
    note: "Empty in a replay, where the clock says nothing about the events.",
};
/// Age of what is durable.
pub const CHECKPOINT_AGE: Series = Series {
    name: "tripline_checkpoint_age_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Time since everything processed was last made durable (offsets committed).",
    bound: ONE,
    note: "Computed at the scrape. NaN until the first time.",
};
/// Alerts and verdicts handed out.
pub const ALERTS_SENT: Series = Series {
    name: "tripline_alerts_sent_total",
    kind: Kind::Counter,
    labels: &["receiver", "outcome"],
    help: "Verdicts handed to a receiver outside the process, by outcome.",
    bound: "configured receivers x 2",
    note: "`outcome` is delivered or failed. Absent while no receiver is configured.",
};
/// Alerts waiting.
pub const ALERT_OUTBOX: Series = Series {
    name: "tripline_alert_outbox_depth",
    kind: Kind::Gauge,
    labels: &[],
    help: "Verdicts that wait for delivery to a receiver outside the process.",
    bound: ONE,
    note: "",
};
/// Version of the program.
pub const BUILD_INFO: Series = Series {
    name: "tripline_build_info",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "Always 1; the label tells the version of the program.",
    bound: ONE,
    note: "",
};

/// Every series, in the order of the documentation.
pub const ALL: &[Series] = &[
    QUERIES,
    REJECTED,
    REPAIRED,
    UNREADABLE_RATIO,
    REJECTED_BY_CLIENT,
    UNREADABLE_CLIENTS,
    VOLUME_CLIENTS,
    TOMBSTONES,
    SKIPPED_RECORDS,
    OPEN_TRANSACTION,
    POSTS,
    LATE,
    PREDICTION_VALUE,
    PREDICTION_LATENCY,
    PSI,
    PSI_CRITICAL,
    PSI_WITHOUT_SUSPECTS,
    UNSEEN,
    MISSING,
    COLUMN_CHANGED,
    PREDICTION_PSI,
    PREDICTION_PSI_CRITICAL,
    MODEL_VERDICT,
    CLIENTS,
    EVICTED_CLIENTS,
    FLAGGED_CLIENTS,
    CAMPAIGNS,
    VERDICTS,
    CLIENT_RATE_P95,
    QUERY_GAP,
    ENTROPY_RATIO,
    INFORMATION_BUDGET,
    CONSUMER_LAG,
    WATERMARK_LAG,
    END_TO_END,
    CHECKPOINT_AGE,
    SNAPSHOT_AGE,
    SNAPSHOT_BYTES,
    SNAPSHOT_DURATION,
    SNAPSHOT_PAUSE,
    SNAPSHOTS,
    STATE_RESTORE,
    JUDGED_AGAIN,
    MISSING_RECORDS,
    CASE_VERDICTS,
    CASE_SPOOL,
    CASE_STORE_UP,
    CASES,
    CASE_PRECISION,
    ALERTS_SENT,
    ALERT_OUTBOX,
    BUILD_INFO,
];

// === impl Kind ===

impl Kind {
    /// The word of the exposition format's `TYPE` line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The page `docs/metrics.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Served at `/metrics` on `127.0.0.1:9464` unless configured otherwise, in the Prometheus text format. This page is written by the\n\
         program (`TRIPLINE_UPDATE=1 cargo test --release --test system documented`); a test fails when it is stale.\n\n\
         Every label is bounded. A model name that has no reference profile counts as `other`. No address and no account is ever a\n\
         label: they are in the verdicts. Series of known models exist from the start, counts at 0, measurements as NaN until there is one.\n",
    );
    for series in ALL {
        let labels = if series.labels.is_empty() { "none".to_owned() } else { format!("`{}`", series.labels.join("`, `")) };
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n* Type: {}\n* Labels: {labels}\n* Number of series: {}\n",
            series.name,
            series.help,
            series.kind.name(),
            series.bound
        );
        if !series.note.is_empty() {
            let _ = writeln!(page, "* {}", series.note);
        }
    }
    page
}
