//! The queue: cases by filter and sort, a page at a time. A page begins where the last one ended (keyset), so it costs the same at any depth
//! and shows no case twice while others come in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;

use super::line::place_of;
use super::rules::{Severity, Status};
use super::suppression::{masked, network};
use super::{Case, CaseError, Cases, Feedback};
use crate::store::StoreError;

/// Most cases of a page.
pub const MAX_PAGE: u32 = 500;

/// Which cases are wanted. Left out: any.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaseFilter {
    /// Model.
    pub model: String,
    /// Models that the reader may see; empty: all.
    #[serde(skip)]
    pub models: Vec<String>,
    /// Family.
    pub family: String,
    /// This severity or more.
    pub severity: Option<Severity>,
    /// One of these.
    pub status: Vec<Status>,
    /// Owner; `-` for cases without one.
    pub owner: String,
    /// An address or network, as `203.0.113.7` or `203.0.113.0/24`.
    pub network: String,
    /// An account.
    pub account: String,
    /// What people found.
    pub feedback: Option<Feedback>,
    /// Heard of at this time or later, in microseconds; 0: any.
    pub seen_from: i64,
    /// Heard of first before this time, in microseconds; 0: any.
    pub seen_until: i64,
}

/// Order of the queue. Equal ones follow by when they were heard of last, and then by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseSort {
    /// What is urgent first.
    #[default]
    Severity,
    /// What was heard of last first.
    LastSeen,
    /// What began last first.
    FirstSeen,
    /// What asked most first.
    Queries,
    /// What has most members first.
    Members,
}

/// A page of the queue.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Page {
    /// Cases.
    pub cases: Vec<Case>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// The place behind a case in an order.
#[derive(Serialize, Deserialize)]
struct Cursor(CaseSort, i64, i64, String);

/// Conditions of a query, with their values.
#[derive(Debug, Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Number(i64),
}

// === impl CaseSort ===

impl CaseSort {
    /// The column; one of these constants and nothing else gets into the query.
    const fn column(self) -> &'static str {
        match self {
            Self::Severity => "severity",
            Self::LastSeen => "last_seen",
            Self::FirstSeen => "first_seen",
            Self::Queries => "queries",
            Self::Members => "members",
        }
    }

    fn value(self, case: &Case) -> i64 {
        match self {
            Self::Severity => case.severity.rank(),
            Self::LastSeen => case.last_seen.0.micros(),
            Self::FirstSeen => case.first_seen.0.micros(),
            Self::Queries => case.queries,
            Self::Members => case.members,
        }
    }
}

// === impl Conditions ===

impl Conditions {
    /// Adds a condition; each `?` stands for the next of the values.
    fn add(&mut self, condition: &'static str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        let mut values = values.into_iter();
        for part in condition.split_inclusive('?') {
            match (part.strip_suffix('?'), values.next()) {
                (Some(part), Some(value)) => {
                    self.values.push(value);
                    self.sql.push_str(part);
                    self.sql.push_str(&format!("${}", self.values.len()));
                }
                _ => self.sql.push_str(part),
            }
        }
    }

    /// Adds that a column has one of some texts. `column` is a constant.
    fn one_of(&mut self, column: &'static str, texts: impl IntoIterator<Item = String>) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        let places = texts.into_iter().map(|text| {
            self.values.push(Value::Text(text));
            format!("${}", self.values.len())
        });
        let places: Vec<String> = places.collect();
        self.sql.push_str(&format!("{column} IN ({})", places.join(", ")));
    }

    fn bound<'q>(&self, mut query: Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments> {
        for value in &self.values {
            query = match value {
                Value::Text(text) => query.bind(text.clone()),
                Value::Number(number) => query.bind(*number),
            };
        }
        query
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.replace('\0', "\u{fffd}"))
    }
}

// === impl Cases ===

impl Cases {
    /// A page of the queue; `cursor` is the `next` of the page before, with the same sort.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] for a filter or cursor that cannot be, or the database.
    pub async fn list(&self, filter: &CaseFilter, sort: CaseSort, cursor: Option<&str>, limit: u32) -> Result<Page, CaseError> {
        let mut conditions = self.conditions(filter)?;
        let column = sort.column();
        if let Some(cursor) = cursor {
            let Cursor(own, value, last_seen, id) = Cursor::read(cursor)?;
            if own != sort {
                return Err(CaseError::Invalid("the cursor belongs to another order".into()));
            }
            let condition = match sort {
                CaseSort::Severity => "(severity, last_seen, id) < (?, ?, ?)",
                CaseSort::LastSeen => "(last_seen, last_seen, id) < (?, ?, ?)",
                CaseSort::FirstSeen => "(first_seen, last_seen, id) < (?, ?, ?)",
                CaseSort::Queries => "(queries, last_seen, id) < (?, ?, ?)",
                CaseSort::Members => "(members, last_seen, id) < (?, ?, ?)",
            };
            conditions.add(condition, [Value::Number(value), Value::Number(last_seen), Value::Text(id)]);
        }
        let limit = limit.clamp(1, MAX_PAGE);
        // Constants of this file and numbers alone.
        let order = if sort == CaseSort::LastSeen { String::new() } else { format!("{column} DESC, ") };
        let select = format!("SELECT * FROM cases{} ORDER BY {order}last_seen DESC, id DESC LIMIT {}", conditions.sql, limit + 1);
        let query = conditions.bound(sqlx::query(sqlx::AssertSqlSafe(select)));
        let rows = query.fetch_all(self.database().pool()).await.map_err(StoreError::from)?;
        let mut cases = rows.iter().map(|row| self.case(row)).collect::<Result<Vec<_>, _>>()?;
        let more = cases.len() > limit as usize;
        cases.truncate(limit as usize);
        let next = cases.last().filter(|_| more).map(|last| Cursor::behind(sort, last).write());
        Ok(Page { cases, next })
    }

    /// How many cases a filter finds.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] for a filter that cannot be, or the database.
    pub async fn count(&self, filter: &CaseFilter) -> Result<i64, CaseError> {
        let conditions = self.conditions(filter)?;
        let select = format!("SELECT count(*) AS number FROM cases{}", conditions.sql);
        let row = conditions.bound(sqlx::query(sqlx::AssertSqlSafe(select))).fetch_one(self.database().pool()).await;
        let row = row.map_err(StoreError::from)?;
        Ok(sqlx::Row::try_get(&row, "number").map_err(StoreError::from)?)
    }

    fn conditions(&self, filter: &CaseFilter) -> Result<Conditions, CaseError> {
        let mut all = Conditions::default();
        for (condition, text) in [("model = ?", &filter.model), ("family = ?", &filter.family)] {
            if !text.is_empty() {
                all.add(condition, [Value::from(text.as_str())]);
            }
        }
        match filter.owner.as_str() {
            "" => {}
            "-" => all.add("owner = ''", []),
            owner => all.add("owner = ?", [Value::from(owner)]),
        }
        if let Some(severity) = filter.severity {
            all.add("severity >= ?", [Value::Number(severity.rank())]);
        }
        if let Some(feedback) = filter.feedback {
            all.add("feedback = ?", [Value::from(feedback.name())]);
        }
        if !filter.status.is_empty() {
            all.one_of("status", filter.status.iter().map(|status| status.name().to_owned()));
        }
        if !filter.models.is_empty() {
            all.one_of("model", filter.models.iter().cloned());
        }
        if filter.seen_from != 0 {
            all.add("last_seen >= ?", [Value::Number(filter.seen_from)]);
        }
        if filter.seen_until != 0 {
            all.add("first_seen < ?", [Value::Number(filter.seen_until)]);
        }
        if !filter.account.is_empty() {
            let account = self.seal().seal(&filter.account);
            let condition = "id IN (SELECT case_id FROM case_members WHERE kind = 'account' AND value = ?)";
            all.add(condition, [Value::from(account.as_str())]);
        }
        if !filter.network.is_empty() {
            self.in_network(&mut all, &filter.network)?;
        }
        Ok(all)
    }

    fn in_network(&self, all: &mut Conditions, text: &str) -> Result<(), CaseError> {
        let (ip, length) = network(text)
            .ok_or_else(|| CaseError::Invalid(format!("'{text}' is no address and no network, such as 203.0.113.0/24")))?;
        let (first, whole, subscriber) =
            (masked(ip, length), if ip.is_ipv4() { 32 } else { 128 }, if ip.is_ipv4() { 24 } else { 64 });
        if !self.seal().is_active() {
            let host_bits = u32::from(whole - length);
            let low = place_of(first);
            let last =
                u128::from_str_radix(&low, 16).unwrap_or(0) | 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
            let condition = "id IN (SELECT case_id FROM case_members WHERE place >= ? AND place <= ?)";
            all.add(condition, [Value::Text(low), Value::Text(format!("{last:032x}"))]);
            return Ok(());
        }
        if length == whole {
            let condition = "id IN (SELECT case_id FROM case_members WHERE kind = 'address' AND value = ?)";
            all.add(condition, [Value::Text(self.seal().seal(&ip.to_canonical().to_string()))]);
        } else if length == subscriber {
            let condition = "id IN (SELECT case_id FROM case_members WHERE prefix = ?)";
            all.add(condition, [Value::Text(self.seal().seal(&format!("{first}/{length}")))]);
        } else {
            let what = format!(
                "addresses are stored under pseudonyms, so a whole address or a /{subscriber} can be asked for, and no /{length}"
            );
            return Err(CaseError::Invalid(what));
        }
        Ok(())
    }
}

// === impl Cursor ===

impl Cursor {
    fn behind(sort: CaseSort, case: &Case) -> Self {
        Self(sort, sort.value(case), case.last_seen.0.micros(), case.id.clone())
    }

    fn write(&self) -> String {
        // Numbers and an id can always be written.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(text: &str) -> Result<Self, CaseError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        cursor.ok_or_else(|| CaseError::Invalid("the cursor cannot be read; begin with the first page".into()))
    }
}
