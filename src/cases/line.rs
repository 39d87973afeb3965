//! A verdict line as cases read it. They read the line and not the judge's own types: it is what lies in the spool and in the database, maybe
//! of an earlier version.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rules::{Facts, Severity};
use crate::event::{Address, EventTime};
use crate::judge::Finding;

/// Most members that a case keeps. A crowd can have more; its campaign line says how many it has.
pub const MAX_MEMBERS: usize = 1_000;

/// A line of the spool: the verdict, and what its queries asked, redacted by policy.
#[derive(Clone, Debug, Deserialize)]
pub struct SpoolLine {
    /// The verdict line.
    pub verdict: Value,
    /// For each of its queries what was asked, in their order; null for a query that is not remembered.
    #[serde(default)]
    pub queries: Vec<Value>,
}

/// What cases read of a verdict line.
#[derive(Clone, Debug, Deserialize)]
pub struct VerdictLine {
    /// Id.
    #[serde(default)]
    pub id: String,
    /// Event time.
    at: String,
    /// `client`, `campaign` or `model`.
    pub scope: String,
    /// Model.
    pub model: String,
    /// Address, if it speaks of one.
    #[serde(default)]
    pub source_ip: String,
    /// Prefix, if it speaks of one.
    #[serde(default)]
    pub source_prefix: String,
    /// Account, if it speaks of one.
    #[serde(default)]
    pub client_id: String,
    /// What it says.
    #[serde(rename = "verdict")]
    pub finding: Finding,
    /// Family; empty if it has none.
    #[serde(default)]
    pub family: String,
    /// Confidence, 0 if it states none.
    #[serde(default)]
    pub confidence: f64,
    /// The engine's incident; empty if it has none.
    #[serde(default, rename = "case")]
    pub incident: String,
    /// Queries up to the verdict.
    #[serde(default)]
    pub queries_seen: u64,
    /// Event time of the first evidence; empty if it states none.
    #[serde(default)]
    since: String,
    /// Addresses of a campaign, or the flagged ones of a prefix or account.
    #[serde(default)]
    pub members: Vec<String>,
    /// Why.
    #[serde(default)]
    pub signals: Vec<Signal>,
    /// The queries that led here.
    #[serde(default)]
    pub queries: Vec<QueryLine>,
    /// Event time in microseconds; not part of the line.
    #[serde(skip)]
    pub at_micros: i64,
}

/// A reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signal {
    /// Name of the statistic.
    pub name: String,
    /// What was measured.
    #[serde(default)]
    pub value: f64,
    /// What honest traffic shows.
    #[serde(default)]
    pub reference: f64,
    /// Natural logarithm of the evidence.
    #[serde(default)]
    pub evidence: f64,
}

/// A query that led to a verdict.
#[derive(Clone, Debug, Deserialize)]
pub struct QueryLine {
    /// When.
    pub at: String,
    /// Request id; empty if the log has none.
    #[serde(default)]
    pub request_id: String,
    /// Topic; empty for a file.
    #[serde(default)]
    pub topic: String,
    /// Partition.
    #[serde(default)]
    pub partition: i64,
    /// Offset.
    #[serde(default)]
    pub offset: i64,
    /// Row of a batch.
    #[serde(default)]
    pub row: i64,
}

/// A caller that takes part in a case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MemberKey {
    /// `address`, `prefix` or `account`.
    pub kind: &'static str,
    /// Which.
    pub value: String,
}

// === impl VerdictLine ===

impl VerdictLine {
    /// Reads a line. NUL, which no database takes in a text, becomes the replacement character.
    ///
    /// # Errors
    /// What is wrong with it: a lower-case fragment.
    pub fn read(verdict: &Value) -> Result<Self, String> {
        let mut line: Self = serde_json::from_value(verdict.clone()).map_err(|error| error.to_string())?;
        line.at_micros = EventTime::parse(&line.at).map_err(|error| format!("its time {error}"))?.micros();
        if line.id.is_empty() {
            return Err("it has no id".into());
        }
        let texts = [&mut line.id, &mut line.scope, &mut line.model, &mut line.source_ip, &mut line.source_prefix];
        let more = [&mut line.client_id, &mut line.family, &mut line.incident];
        let queries = line.queries.iter_mut().flat_map(|query| [&mut query.request_id, &mut query.topic]);
        for text in texts.into_iter().chain(more).chain(&mut line.members).chain(queries).filter(|text| text.contains('\0')) {
            *text = text.replace('\0', "\u{fffd}");
        }
        Ok(line)
    }

    /// What the rules need.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            id: &self.id,
            at: self.at_micros,
            has_actor: self.scope != "model",
            finding: self.finding,
            family: &self.family,
            incident: &self.incident,
            severity: self.severity(),
        }
    }

    /// Event time of the first evidence, in microseconds.
    pub fn first_micros(&self) -> i64 {
        let since = EventTime::parse(&self.since).map_or(self.at_micros, EventTime::micros);
        since.min(self.at_micros)
    }

    /// How severe it is by itself.
    pub fn severity(&self) -> Severity {
        let budget = self.signals.iter().find(|signal| signal.name == "information_budget").map_or(0.0, |signal| signal.value);
        Severity::of(self.finding, self.members.len().max(1), budget)
    }

    /// Whom it speaks of, as one text; empty for a campaign or model. The judge's words for people are in the page; this is a key.
    pub fn actor(&self) -> String {
        let parts = [("account", &self.client_id), ("address", &self.source_ip), ("prefix", &self.source_prefix)];
        let parts: Vec<String> =
            parts.iter().filter(|(_, value)| !value.is_empty()).map(|(kind, value)| format!("{kind}={value}")).collect();
        parts.join(" ")
    }

    /// Everybody who takes part: whom it speaks of, and its members; without repeats, [`MAX_MEMBERS`] at most.
    pub fn members(&self) -> Vec<MemberKey> {
        let own = [("address", &self.source_ip), ("account", &self.client_id), ("prefix", &self.source_prefix)];
        let own = own.into_iter().filter(|(_, value)| !value.is_empty());
        let all = own.chain(self.members.iter().map(|address| ("address", address)));
        let mut members: Vec<MemberKey> = Vec::new();
        let mut known = std::collections::BTreeSet::new();
        for (kind, value) in all {
            if members.len() < MAX_MEMBERS && known.insert((kind, value)) {
                members.push(MemberKey { kind, value: value.clone() });
            }
        }
        members
    }
}

// === impl QueryLine ===

impl QueryLine {
    /// Event time in microseconds; 0 if it cannot be read.
    pub fn at_micros(&self) -> i64 {
        EventTime::parse(&self.at).map_or(0, EventTime::micros)
    }
}

// === impl MemberKey ===

impl MemberKey {
    /// The network that the member lies in, as `address/length`: /24 or /64, the level at which one subscriber usually owns everything. Empty
    /// for an account.
    pub fn prefix(&self) -> String {
        if self.kind == "prefix" {
            return self.value.clone();
        }
        if self.kind != "address" {
            return String::new();
        }
        let prefix = Address::parse(&self.value).and_then(Address::prefix);
        prefix.map_or_else(String::new, |ip| format!("{ip}/{}", if ip.is_ipv4() { 24 } else { 64 }))
    }

    /// The address as 32 hexadecimal digits (IPv4 as IPv4-mapped IPv6), so that a network is a range of texts. Empty if it is none.
    pub fn place(&self) -> String {
        let text = self.value.split('/').next().unwrap_or_default();
        match (self.kind, text.parse::<IpAddr>()) {
            ("address" | "prefix", Ok(ip)) => place_of(ip),
            _ => String::new(),
        }
    }
}

/// An address as 32 hexadecimal digits.
pub fn place_of(ip: IpAddr) -> String {
    let bits = match ip {
        IpAddr::V4(four) => four.to_ipv6_mapped().to_bits(),
        IpAddr::V6(six) => six.to_bits(),
    };
    format!("{bits:032x}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_the_judge_is_read_with_everybody_in_it() {
        let line = VerdictLine::read(&json!({
            "id": "v-1", "at": "2026-03-02T08:12:43.247Z", "scope": "client", "model": "adult", "client_id": "acct\u{0}1",
            "verdict": "probing", "family": "grid", "case": "c-1", "queries_seen": 5, "members": ["203.0.113.7", "203.0.113.7", "2001:db8::1"],
            "signals": [{"name": "information_budget", "value": 0.6, "reference": 1.0, "evidence": 0.0}],
            "queries": [{"at": "2026-03-02T08:12:43.247Z", "partition": 0, "offset": 7, "row": 0}]
        }))
        .unwrap();
        assert_eq!((line.at_micros, line.actor().as_str()), (1_772_439_163_247_000, "account=acct\u{fffd}1"));
        assert_eq!(line.severity(), Severity::High);
        let members = line.members();
        let values: Vec<_> = members.iter().map(|member| (member.kind, member.prefix())).collect();
        assert_eq!(values, [("account", String::new()), ("address", "203.0.113.0/24".into()), ("address", "2001:db8::/64".into())]);
        assert_eq!(members[1].place(), "00000000000000000000ffffcb007107");
    }

    #[test]
    fn what_is_no_verdict_line_is_refused_with_the_reason() {
        for (line, word) in [
            (json!({"id": "v-1"}), "missing field"),
            (json!({"at": "2026-03-02T08:12:43Z", "scope": "model", "model": "m", "verdict": "stable"}), "no id"),
            (json!({"id": "v", "at": "yesterday", "scope": "model", "model": "m", "verdict": "stable"}), "time"),
            (json!({"id": "v", "at": "2026-03-02T08:12:43Z", "scope": "model", "model": "m", "verdict": "mad"}), "mad"),
        ] {
            let what = VerdictLine::read(&line).unwrap_err();
            assert!(what.contains(word), "{what}");
        }
    }
}
