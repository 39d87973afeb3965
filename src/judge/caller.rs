//! Whom a verdict of client scope speaks of: an address, an account, an account at an address, or a network prefix.

use crate::judge::Verdict;

/// Who asks. One attacker behind a shared address does not condemn all others there, so a verdict may name an account at an
/// address; and an account that asks from many addresses is named without any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Caller {
    /// The address, if the verdict speaks of one.
    pub source_ip: Option<String>,
    /// The prefix, if the verdict speaks of one.
    pub source_prefix: Option<String>,
    /// The account, if the verdict speaks of one.
    pub client_id: Option<String>,
}

// === impl Caller ===

impl Caller {
    /// The caller of a verdict of client scope; of other scopes, nobody.
    pub fn of(verdict: &Verdict) -> Self {
        let Verdict { source_ip, source_prefix, client_id, .. } = verdict;
        Self { source_ip: source_ip.clone(), source_prefix: source_prefix.clone(), client_id: client_id.clone() }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.source_ip, &self.client_id) {
            (Some(ip), Some(id)) => write!(f, "{id} at {ip}"),
            (Some(ip), None) => f.write_str(ip),
            (None, Some(id)) => f.write_str(id),
            (None, None) => f.write_str(self.source_prefix.as_deref().unwrap_or("unknown")),
        }
    }
}
