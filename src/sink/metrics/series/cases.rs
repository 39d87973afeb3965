//! The series about cases.

use super::{Kind, Series};

/// What became of verdicts on their way into cases.
pub const CASE_VERDICTS: Series = Series {
    name: "tripline_case_verdicts_total",
    kind: Kind::Counter,
    labels: &["outcome"],
    help: "Verdicts on their way into the database of cases, by what became of them.",
    bound: "outcomes, fixed in the program",
    note: "lost: the spool was full or could not be written. repeated: the database had the verdict already. refused: it could not be read, or \
           the database did not take it; it is in refused.jsonl beside the spool. 0 if there is no database ([store] url).",
};
/// Verdicts that wait.
pub const CASE_SPOOL: Series = Series {
    name: "tripline_case_spool_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "Bytes of verdicts in the spool, which wait for the database of cases.",
    bound: "one",
    note: "Beyond cases.spool_bytes verdicts are lost for the cases.",
};
/// Whether the database works.
pub const CASE_STORE_UP: Series = Series {
    name: "tripline_case_store_up",
    kind: Kind::Gauge,
    labels: &[],
    help: "Whether the last attempt to use the database of cases succeeded.",
    bound: "one",
    note: "NaN if there is no database ([store] url). Detection does not depend on it.",
};
/// Cases by status.
pub const CASES: Series = Series {
    name: "tripline_cases",
    kind: Kind::Gauge,
    labels: &["status"],
    help: "Cases in the database, by status.",
    bound: "statuses, fixed in the program",
    note: "",
};
/// Precision as people see it.
pub const CASE_PRECISION: Series = Series {
    name: "tripline_case_precision_ratio",
    kind: Kind::Gauge,
    labels: &["family"],
    help: "Share of true positives among the cases that people found right or wrong, by family.",
    bound: "families, fixed in the program",
    note: "NaN until a case of the family has feedback.",
};
