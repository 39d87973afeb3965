//! Walks the chain from its first entry and names the first that is broken.

use std::collections::BTreeMap;

use serde::Serialize;

use super::chain::{self, Link};
use super::{Audit, Head};
use crate::store::StoreError;

/// Entries read at once.
const PAGE: i64 = 1_000;

/// What the walk found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    /// Entries that are as they were written, from the first on.
    pub entries: i64,
    /// Entries among them whose details were erased, as other entries say.
    pub erased: i64,
    /// Entries made with a key that everybody knows.
    pub without_key: i64,
    /// The first that is broken, and how.
    pub broken: Option<Broken>,
    /// The end of the chain.
    pub head: Head,
}

/// A broken entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Broken {
    /// Its place in the chain.
    pub seq: i64,
    /// What is wrong with it.
    pub what: String,
}

/// An entry with its erasable part, if that is there.
type Row = (i64, i64, String, String, String, String, String, String, String);
type Details = BTreeMap<i64, (String, String, String)>;

/// The walk so far.
struct Walk<'a> {
    audit: &'a Audit,
    found: Verified,
    last: String,
    /// The head of before that must be in the chain.
    wanted: Option<&'a Head>,
}

impl Audit {
    /// Walks the chain. `wanted` is a head of before, kept elsewhere, which must still be in it: it shows whether the end was cut off.
    ///
    /// # Errors
    /// If the database cannot be read; a broken chain is a finding.
    pub async fn verify(&self, wanted: Option<&Head>) -> Result<Verified, StoreError> {
        let head = self.head().await?;
        let found = Verified { entries: 0, erased: 0, without_key: 0, broken: None, head: head.clone() };
        let mut walk = Walk { audit: self, found, last: String::new(), wanted };
        while walk.found.entries < head.seq && walk.found.broken.is_none() {
            let from = walk.found.entries;
            let (links, details, erasures) = self.page(from).await?;
            if links.is_empty() {
                walk.breaks(from + 1, "it is missing, and the head says that it was there");
            }
            for link in &links {
                if let Err(what) = walk.step(link, &details, &erasures) {
                    walk.breaks(walk.found.entries + 1, &what);
                    break;
                }
            }
        }
        walk.end(&head);
        Ok(walk.found)
    }

    async fn page(&self, from: i64) -> Result<(Vec<Link>, Details, BTreeMap<i64, i64>), StoreError> {
        let (pool, to) = (self.database.pool(), from + PAGE);
        let select = "SELECT seq, at, actor_kind, actor, action, digest, key_id, previous, mac FROM audit_entries \
                      WHERE seq > $1 AND seq <= $2 ORDER BY seq";
        let rows = sqlx::query_as::<_, Row>(select).bind(from).bind(to).fetch_all(pool).await?;
        let link = |(seq, at, actor_kind, actor, action, digest, key_id, previous, mac): Row| Link {
            seq,
            at,
            actor_kind,
            actor,
            action,
            digest,
            key_id,
            previous,
            mac,
        };
        let select = "SELECT seq, salt, subject, detail FROM audit_details WHERE seq > $1 AND seq <= $2";
        let details = sqlx::query_as::<_, (i64, String, String, String)>(select).bind(from).bind(to).fetch_all(pool).await?;
        let select = "SELECT seq, reason_seq FROM audit_erasures WHERE seq > $1 AND seq <= $2";
        let erasures = sqlx::query_as::<_, (i64, i64)>(select).bind(from).bind(to).fetch_all(pool).await?;
        let details = details.into_iter().map(|(seq, salt, subject, detail)| (seq, (salt, subject, detail))).collect();
        Ok((rows.into_iter().map(link).collect(), details, erasures.into_iter().collect()))
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn breaks(&mut self, seq: i64, what: &str) {
        self.found.broken.get_or_insert_with(|| Broken { seq, what: what.to_owned() });
    }

    fn step(&mut self, link: &Link, details: &Details, erasures: &BTreeMap<i64, i64>) -> Result<(), String> {
        if link.seq != self.found.entries + 1 {
            return Err("it is missing".into());
        }
        if link.previous != self.last {
            return Err("it does not follow from the entry before".into());
        }
        match self.audit.keys.verify(&link.key_id, &link.message(), &link.mac) {
            Some(true) => {}
            Some(false) => return Err("its signature is wrong: it was changed, or made by somebody without the key".into()),
            None => {
                return Err(format!("it was made with the key {}, which audit.key and audit.old_keys do not hold", link.key_id));
            }
        }
        match details.get(&link.seq) {
            Some((salt, subject, detail)) if chain::digest(salt, subject, detail) == link.digest => {}
            Some(_) => return Err("its subject or detail was changed".into()),
            // An erasure is told of by an entry that comes later.
            None if erasures.get(&link.seq).is_some_and(|reason| *reason > link.seq && *reason <= self.found.head.seq) => {
                self.found.erased += 1;
            }
            None => return Err("its detail is missing, and no entry tells of an erasure".into()),
        }
        if let Some(wanted) = self.wanted.filter(|wanted| wanted.seq == link.seq && wanted.mac != link.mac) {
            return Err(format!("it is another entry than the one whose head was kept ({})", wanted.mac));
        }
        self.found.entries += 1;
        self.found.without_key += i64::from(link.key_id == super::keys::PUBLIC_ID);
        self.last.clone_from(&link.mac);
        Ok(())
    }

    fn end(&mut self, head: &Head) {
        let entries = self.found.entries;
        if self.last != head.mac {
            self.breaks(entries + 1, "the head of the chain does not belong to its last entry");
        }
        if self.wanted.is_some_and(|wanted| wanted.seq > entries) {
            self.breaks(entries + 1, "it is missing: the head that was kept lies behind the end of the chain");
        }
    }
}
