//! Settings of the receiver of posted records: section `[source.http]` of the configuration.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::document::Faults;

/// Where records are posted to.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address to listen on; none for no receiver. Whoever reaches it can write into the log, so it should be reached by the serving
    /// system alone.
    pub listen: Option<SocketAddr>,
    /// Records that wait at most; beyond it posts are refused with 503.
    pub buffer_records: usize,
    /// Bytes that wait at most.
    pub buffer_bytes: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        // A second of ten thousand halves of calls, of six kilobytes each.
        Self { listen: None, buffer_records: 10_000, buffer_bytes: 64 * 1024 * 1024 }
    }
}

// === impl HttpConfig ===

impl HttpConfig {
    /// Adds every fault of the section.
    pub fn validate(&self, faults: &mut Faults<'_>) {
        let mut number = |name: &str, value: usize, low: usize, high: usize| {
            if !(low..=high).contains(&value) {
                let what = format!("{value} is outside {low} to {high}");
                faults.add(&format!("source.http.{name}"), what, format!("choose a number from {low} to {high}"));
            }
        };
        number("buffer_records", self.buffer_records, 1, 1_000_000);
        number("buffer_bytes", self.buffer_bytes, 65_536, 1 << 32);
    }
}
