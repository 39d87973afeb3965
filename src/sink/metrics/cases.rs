//! Numbers about cases.

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::series::cases::{CASE_PRECISION, CASE_SPOOL, CASE_STORE_UP, CASE_VERDICTS, CASES};
use super::{Metrics, counters, gauge, gauges, int_gauge, int_gauges};
use crate::cases::rules::Status;
use crate::judge::Family;

/// What became of a verdict on its way into cases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaseVerdict {
    /// It is in the database.
    Stored,
    /// It was there already.
    Repeated,
    /// Its caller is suppressed.
    Suppressed,
    /// It cannot be read or stored.
    Refused,
    /// The spool did not take it.
    Lost,
}

/// The series of this file.
#[derive(Debug)]
pub(super) struct CaseMetrics {
    verdicts: IntCounterVec,
    spool: IntGauge,
    up: Gauge,
    cases: IntGaugeVec,
    precision: GaugeVec,
}

// === impl CaseVerdict ===

impl CaseVerdict {
    const ALL: [Self; 5] = [Self::Stored, Self::Repeated, Self::Suppressed, Self::Refused, Self::Lost];

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Repeated => "repeated",
            Self::Suppressed => "suppressed",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

// === impl CaseMetrics ===

impl CaseMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let own = Self {
            verdicts: counters(registry, &CASE_VERDICTS)?,
            spool: int_gauge(registry, &CASE_SPOOL)?,
            up: gauge(registry, &CASE_STORE_UP)?,
            cases: int_gauges(registry, &CASES)?,
            precision: gauges(registry, &CASE_PRECISION)?,
        };
        for outcome in CaseVerdict::ALL {
            own.verdicts.with_label_values(&[outcome.name()]);
        }
        own.up.set(f64::NAN);
        for status in Status::ALL {
            own.cases.with_label_values(&[status.name()]);
        }
        for family in Family::ALL {
            own.precision.with_label_values(&[family.name()]).set(f64::NAN);
        }
        Ok(own)
    }
}

// === impl Metrics, cases ===

impl Metrics {
    /// So many verdicts came to this end.
    pub fn case_verdicts(&self, outcome: CaseVerdict, number: u64) {
        self.inner.cases.verdicts.with_label_values(&[outcome.name()]).inc_by(number);
    }

    /// So many bytes wait in the spool.
    pub fn case_spool(&self, bytes: u64) {
        self.inner.cases.spool.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Whether the database worked.
    pub fn case_store(&self, up: bool) {
        self.inner.cases.up.set(f64::from(u8::from(up)));
    }

    /// Number of cases of a status.
    pub fn case_count(&self, status: Status, cases: i64) {
        self.inner.cases.cases.with_label_values(&[status.name()]).set(cases);
    }

    /// How many cases of a family people found right and wrong.
    pub fn case_precision(&self, family: &str, right: i64, wrong: i64) {
        if right + wrong > 0
            && let Some(family) = Family::ALL.iter().find(|known| known.name() == family)
        {
            #[expect(clippy::cast_precision_loss, reason = "numbers of cases are far below 2^53")]
            let precision = right as f64 / (right + wrong) as f64;
            self.inner.cases.precision.with_label_values(&[family.name()]).set(precision);
        }
    }
}
