//! Callers of whom nobody wants to hear: an address, a network or an account, with a reason and an end. Their verdicts are stored and counted,
//! and open no case and change none.
//!
//! A campaign or an account with several addresses is silenced only if every one of them is: a suppressed scanner must not hide its company.
//! A preview says what a suppression would have silenced in the last days, above all cases that people confirmed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::line::VerdictLine;
use super::{CaseError, Cases, id_of};
use crate::audit::{Actor, Entry};
use crate::clock;
use crate::event::EventTime;
use crate::judge::{At, Finding};
use crate::store::StoreError;

/// Shortest prefixes that may be suppressed: a /16 or /32 is a whole provider, and more is nearly everybody.
const SHORTEST: (u8, u8) = (16, 32);
/// Longest time for which one may be made. Chosen: after a year somebody looks again.
const MAX_DAYS: u32 = 366;
/// Longest reason in bytes.
const MAX_REASON: usize = 1_000;
/// Verdicts that a preview reads at most, the latest first.
const MAX_PREVIEWED: i64 = 50_000;
/// Cases that a preview names.
const NAMED: usize = 100;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// What the entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Known, and not worth a case for now.
    Suppress,
    /// Allowed to do this, such as an own test; it is also never shut out.
    Allow,
}

/// Kind of caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One address.
    Address,
    /// A network, `address/length`.
    Prefix,
    /// An account.
    Account,
}

/// A suppression to be made.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSuppression {
    /// What it is for.
    pub mode: Mode,
    /// Kind of caller.
    pub kind: Target,
    /// Which caller.
    pub value: String,
    /// On this model alone; empty: on all.
    #[serde(default)]
    pub model: String,
    /// Why. It must be given.
    pub reason: String,
    /// For so many days, 1 to 366.
    pub days: u32,
}

/// A suppression.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Suppression {
    /// Id.
    pub id: String,
    /// What it is for.
    pub mode: Mode,
    /// Kind of caller.
    pub kind: Target,
    /// Which caller.
    pub value: String,
    /// On this model alone; empty: on all.
    pub model: String,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: At,
    /// When it ends by itself.
    pub expires_at: At,
    /// When somebody ended it.
    pub ended_at: Option<At>,
    /// Verdicts that it silenced.
    pub hits: i64,
}

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

// === impl Target ===

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Prefix => "prefix",
            Self::Account => "account",
        }
    }

    fn read(name: &str) -> Option<Self> {
        [Self::Address, Self::Prefix, Self::Account].into_iter().find(|target| target.name() == name)
    }
}

// === impl Mode ===

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Allow => "allow",
        }
    }
}

// === impl NewSuppression ===

impl NewSuppression {
    /// The value in the one spelling that callers have, if everything is in order.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] with what is wrong.
    pub fn checked(mut self) -> Result<Self, CaseError> {
        let invalid = |what: String| Err(CaseError::Invalid(what));
        if self.reason.trim().is_empty() || self.reason.len() > MAX_REASON {
            return invalid(format!("a reason is needed, of {MAX_REASON} bytes at most"));
        }
        if !(1..=MAX_DAYS).contains(&self.days) {
            return invalid(format!("{} days are outside 1 to {MAX_DAYS}", self.days));
        }
        self.value = self.value.trim().replace('\0', "\u{fffd}");
        match self.kind {
            Target::Account if self.value.is_empty() => return invalid("an account is needed".into()),
            Target::Account => {}
            Target::Address => match self.value.parse::<IpAddr>() {
                Ok(ip) => self.value = ip.to_canonical().to_string(),
                Err(_) => return invalid(format!("'{}' is no address", self.value)),
            },
            Target::Prefix => {
                let Some((ip, length)) = network(&self.value) else {
                    return invalid(format!("'{}' is no network; write 203.0.113.0/24 or 2001:db8::/64", self.value));
                };
                let shortest = if ip.is_ipv4() { SHORTEST.0 } else { SHORTEST.1 };
                if length < shortest {
                    return invalid(format!("a /{length} is nearly everybody; a /{shortest} is the widest"));
                }
                self.value = format!("{}/{length}", masked(ip, length));
            }
        }
        Ok(self)
    }

    fn as_suppression(&self) -> Suppression {
        let at = At(EventTime::default());
        Suppression {
            id: String::new(),
            mode: self.mode,
            kind: self.kind,
            value: self.value.clone(),
            model: self.model.clone(),
            reason: self.reason.clone(),
            created_by: String::new(),
            created_at: at,
            expires_at: at,
            ended_at: None,
            hits: 0,
        }
    }
}

// === impl Suppression ===

impl Suppression {
    /// Whether it is the whole answer to a verdict.
    pub fn silences(&self, verdict: &VerdictLine) -> bool {
        if verdict.scope == "model" || (!self.model.is_empty() && self.model != verdict.model) {
            return false;
        }
        let own = [
            (Target::Address, &verdict.source_ip),
            (Target::Prefix, &verdict.source_prefix),
            (Target::Account, &verdict.client_id),
        ];
        if own.iter().any(|(kind, value)| !value.is_empty() && self.covers(*kind, value)) {
            return true;
        }
        // Of a caller at one address no more is to be said; of several addresses each must be covered.
        verdict.source_ip.is_empty()
            && !verdict.members.is_empty()
            && verdict.members.iter().all(|address| self.covers(Target::Address, address))
    }

    fn covers(&self, kind: Target, value: &str) -> bool {
        match (self.kind, kind) {
            (Target::Address, Target::Address) | (Target::Account, Target::Account) => self.value == value,
            (Target::Prefix, Target::Address | Target::Prefix) => {
                let (Some((own, length)), Some((ip, longer))) = (network(&self.value), network(value)) else { return false };
                own.is_ipv4() == ip.is_ipv4() && longer >= length && masked(ip, length) == masked(own, length)
            }
            _ => false,
        }
    }
}

/// Address and length of a network; of a bare address the whole length.
pub(super) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let ip: IpAddr = address.trim().parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.trim().parse().ok())?;
    (length <= most).then_some((ip, length))
}

/// The first address of the network of this length.
pub(super) fn masked(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((four.to_bits() & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6((six.to_bits() & mask).into())
        }
    }
}

// === impl Cases ===

impl Cases {
    /// Makes a suppression.
    ///
    /// # Errors
    /// [`CaseError::Invalid`] if it is not in order, or the database.
    pub async fn suppress(&self, new: NewSuppression, who: &Actor) -> Result<Suppression, CaseError> {
        let new = new.checked()?;
        let now = clock::now();
        let expires = now.plus_seconds(i64::from(new.days) * 86_400);
        let value = self.seal().seal(&new.value);
        let id = id_of('s', &[new.mode.name(), new.kind.name(), &value, &new.model, &now.micros().to_string(), &who.name]);
        let mut transaction = self.database().begin().await?;
        let insert = "INSERT INTO suppressions (id, mode, kind, value, model, reason, created_by, created_at, expires_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let insert = sqlx::query(insert).bind(&id).bind(new.mode.name()).bind(new.kind.name()).bind(&value).bind(&new.model);
        let insert = insert.bind(new.reason.replace('\0', " ")).bind(&who.name).bind(now.micros()).bind(expires.micros());
        insert.execute(&mut *transaction).await.map_err(StoreError::from)?;
        let detail = json!({"mode": new.mode.name(), "kind": new.kind.name(), "value": value, "model": new.model, "reason": new.reason,
                            "expires_at": At(expires)});
        let entry = Entry { actor: who.clone(), action: "suppression.create", subject: format!("suppression:{id}"), detail };
        self.audit().append_in(&mut transaction, &entry).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(Suppression { id, created_by: who.name.clone(), created_at: At(now), expires_at: At(expires), ..new.as_suppression() })
    }

    /// Ends a suppression before its time; one that is over stays as it is.
    ///
    /// # Errors
    /// [`CaseError::NotFound`], or the database.
    pub async fn end_suppression(&self, id: &str, reason: &str, who: &Actor) -> Result<(), CaseError> {
        let mut transaction = self.database().begin().await?;
        let update = sqlx::query("UPDATE suppressions SET ended_at = $2 WHERE id = $1 AND ended_at = 0");
        let update = update.bind(id).bind(clock::now().micros()).execute(&mut *transaction).await.map_err(StoreError::from)?;
        if update.rows_affected() == 0 {
            let known: i64 = sqlx::query_scalar("SELECT count(*) FROM suppressions WHERE id = $1")
                .bind(id)
                .fetch_one(&mut *transaction)
                .await
                .map_err(StoreError::from)?;
            return if known > 0 { Ok(()) } else { Err(CaseError::NotFound(format!("suppression {id}"))) };
        }
        let subject = format!("suppression:{id}");
        let entry = Entry { actor: who.clone(), action: "suppression.end", subject, detail: json!({"reason": reason}) };
        self.audit().append_in(&mut transaction, &entry).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// All suppressions, the latest first; with `active` those that are in force.
    ///
    /// # Errors
    /// The database.
    pub async fn suppressions(&self, active: bool) -> Result<Vec<Suppression>, StoreError> {
        let now = if active { clock::now().micros() } else { 0 };
        let select = "SELECT * FROM suppressions WHERE ($1 = 0 OR (ended_at = 0 AND expires_at > $1)) ORDER BY created_at DESC, id LIMIT 10000";
        let rows = sqlx::query(select).bind(now).fetch_all(self.database().pool()).await?;
        rows.iter().map(|row| self.suppression(row)).collect()
    }

    pub(super) async fn active_suppressions(
        &self,
        tx: &mut Transaction<'static, Any>,
        now: i64,
    ) -> Result<Vec<Suppression>, StoreError> {
        let select = "SELECT * FROM suppressions WHERE ended_at = 0 AND expires_at > $1 ORDER BY created_at, id";
        let rows = sqlx::query(select).bind(now).fetch_all(&mut **tx).await?;
        rows.iter().map(|row| self.suppression(row)).collect()
    }

    fn suppression(&self, row: &AnyRow) -> Result<Suppression, StoreError> {
        let text = |name: &str| row.try_get::<String, _>(name);
        let at = |name: &str| row.try_get::<i64, _>(name).map(|micros| At(EventTime::from_micros(micros)));
        let (id, kind) = (text("id")?, text("kind")?);
        let kind = Target::read(&kind).ok_or_else(|| StoreError::Damaged(format!("suppression {id} is of the kind '{kind}'")))?;
        let ended = at("ended_at")?;
        Ok(Suppression {
            id,
            mode: if text("mode")? == "allow" { Mode::Allow } else { Mode::Suppress },
            kind,
            value: self.seal().open(&text("value")?),
            model: text("model")?,
            reason: text("reason")?,
            created_by: text("created_by")?,
            created_at: at("created_at")?,
            expires_at: at("expires_at")?,
            ended_at: (ended.0.micros() > 0).then_some(ended),
            hits: row.try_get("hits")?,
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn suppression(kind: Target, value: &str) -> Suppression {
        let new =
            NewSuppression { mode: Mode::Suppress, kind, value: value.into(), model: String::new(), reason: "r".into(), days: 1 };
        new.checked().unwrap().as_suppression()
    }

    fn verdict(fields: Value) -> VerdictLine {
        let mut line =
            json!({"id": "v-1", "at": "2026-03-02T08:12:43Z", "scope": "client", "model": "adult", "verdict": "probing"});
        line.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        VerdictLine::read(&line).unwrap()
    }

    #[test]
    fn a_network_silences_its_addresses_and_no_others() {
        let network = suppression(Target::Prefix, "203.0.113.77/24");
        assert_eq!(network.value, "203.0.113.0/24");
        assert!(network.silences(&verdict(json!({"source_ip": "203.0.113.7"}))));
        assert!(network.silences(&verdict(json!({"source_prefix": "203.0.113.0/24"}))));
        assert!(!network.silences(&verdict(json!({"source_ip": "203.0.114.7"}))));
        assert!(!network.silences(&verdict(json!({"source_ip": "::1"}))));
        let six = suppression(Target::Prefix, "2001:db8::/48");
        assert!(six.silences(&verdict(json!({"source_ip": "2001:db8:0:9::1"}))));
        assert!(!six.silences(&verdict(json!({"source_prefix": "2001:db8::/32"}))), "a wider network is not covered");
    }

    #[test]
    fn a_campaign_is_silenced_only_if_every_member_is() {
        let address = suppression(Target::Address, "203.0.113.7");
        let campaign = |members: Value| verdict(json!({"scope": "campaign", "members": members}));
        assert!(address.silences(&campaign(json!(["203.0.113.7"]))));
        assert!(!address.silences(&campaign(json!(["203.0.113.7", "198.51.100.1"]))));
        assert!(!address.silences(&campaign(json!([]))));
        let account = verdict(json!({"client_id": "a", "members": ["203.0.113.7", "198.51.100.1"]}));
        assert!(!address.silences(&account) && suppression(Target::Account, "a").silences(&account));
    }

    #[test]
    fn a_suppression_of_one_model_leaves_the_others_alone() {
        let one = Suppression { model: "adult".into(), ..suppression(Target::Address, "203.0.113.7") };
        assert!(one.silences(&verdict(json!({"source_ip": "203.0.113.7"}))));
        assert!(!one.silences(&verdict(json!({"source_ip": "203.0.113.7", "model": "flights"}))));
        assert!(!one.silences(&verdict(json!({"scope": "model", "source_ip": "203.0.113.7"}))));
    }

    #[test]
    fn what_is_too_wide_or_has_no_reason_is_refused() {
        let new = |kind, value: &str, reason: &str, days| {
            NewSuppression { mode: Mode::Allow, kind, value: value.into(), model: String::new(), reason: reason.into(), days }
                .checked()
        };
        assert!(new(Target::Prefix, "10.0.0.0/8", "r", 1).is_err());
        assert!(new(Target::Prefix, "nowhere", "r", 1).is_err());
        assert!(new(Target::Address, "203.0.113.0/24", "r", 1).is_err());
        assert!(new(Target::Account, " ", "r", 1).is_err());
        assert!(new(Target::Address, "::ffff:203.0.113.7", " ", 1).is_err());
        assert!(new(Target::Address, "203.0.113.7", "r", 0).is_err());
        assert_eq!(new(Target::Address, "::ffff:203.0.113.7", "r", 1).unwrap().value, "203.0.113.7");
    }
}
