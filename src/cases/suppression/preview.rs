//! What a suppression would have silenced in the last days, before anybody makes it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::Row;

use super::super::line::VerdictLine;
use super::super::{CaseError, Cases};
use super::NewSuppression;
use crate::clock;
use crate::judge::Finding;
use crate::store::StoreError;

/// Verdicts that a preview reads at most, the latest first.
const MAX_PREVIEWED: i64 = 50_000;
/// Cases that a preview names.
const NAMED: usize = 100;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// What a suppression would have silenced.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Preview {
    /// Days looked back.
    pub days: u32,
    /// Verdicts that would have been silenced.
    pub verdicts: u64,
    /// Cases all of whose verdicts of these days would have been silenced, a hundred at most are named.
    pub cases: Vec<String>,
    /// How many such cases there are.
    pub cases_total: u64,
    /// Those of the named cases that people confirmed or found right: look at them first.
    pub confirmed: Vec<String>,
    /// Whether there were more verdicts than could be looked at.
    pub incomplete: bool,
}

impl Cases {
    /// What a suppression would have silenced in the last days. It changes nothing.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] if it is not in order, or the database.
    pub async fn preview(&self, new: NewSuppression, days: u32) -> Result<Preview, CaseError> {
        let suppression = new.checked()?.as_suppression();
        let from = clock::now().micros().saturating_sub(i64::from(days).saturating_mul(DAY));
        let select = "SELECT v.case_id, v.body, coalesce(c.status, '') AS status, coalesce(c.feedback, '') AS feedback \
                      FROM verdicts v LEFT JOIN cases c ON c.id = v.case_id \
                      WHERE v.at >= $1 AND v.scope <> 'model' AND v.suppressed_by = '' ORDER BY v.at DESC, v.id LIMIT $2";
        let rows = sqlx::query(select).bind(from).bind(MAX_PREVIEWED).fetch_all(self.database().pool()).await;
        let rows = rows.map_err(StoreError::from)?;
        let mut preview = Preview { days, incomplete: rows.len() as i64 == MAX_PREVIEWED, ..Preview::default() };
        // Of each case: whether anything of it would be left, and whether people found it right.
        let mut cases: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for row in &rows {
            let text = |name: &str| row.try_get::<String, _>(name).map_err(StoreError::from);
            let Ok(body) = serde_json::from_str::<Value>(&self.seal().open(&text("body")?)) else { continue };
            let Ok(verdict) = VerdictLine::read(&body) else { continue };
            if verdict.finding == Finding::Benign {
                continue;
            }
            let silenced = suppression.silences(&verdict);
            preview.verdicts += u64::from(silenced);
            let right = text("status")? == "confirmed" || text("feedback")? == "true_positive";
            let case = text("case_id")?;
            if !case.is_empty() {
                cases.entry(case).or_insert((false, right)).0 |= !silenced;
            }
        }
        for (case, (_, right)) in cases.into_iter().filter(|(_, (left, _))| !left) {
            preview.cases_total += 1;
            if preview.cases.len() < NAMED {
                preview.cases.push(case.clone());
                if right {
                    preview.confirmed.push(case);
                }
            }
        }
        Ok(preview)
    }
}
