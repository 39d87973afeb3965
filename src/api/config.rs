//! Settings of the API and the console: section `[api]` of the configuration. Without the section neither is served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use crate::access::accounts::SessionLimits;
use crate::access::config::{JwtConfig, KeyConfig};
use crate::document::secret::Secret;
use crate::document::{Faults, Period};
use crate::http::tls::Certificates;

/// Where API and console are served unless configured otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The API and the console.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// How browsers reach it, such as `https://tripline.example`: links in alerts begin so, and requests that name another host are refused.
    /// Needed behind a proxy. Empty: whatever they say, on a loopback address its usual names alone.
    pub public_url: String,
    /// Whether the description of the API is served at `/api/v1/openapi.json`.
    pub openapi: bool,
    /// A session ends when it was not used for so long.
    pub session_idle: Period,
    /// A session ends after so long.
    pub session_lifetime: Period,
    /// File to which the token of the first sign-in is written while there is no account. Relative paths begin at this file's directory.
    pub first_token_file: PathBuf,
    /// That token itself, given as `${env:NAME}` or `${file:/path}`; then no file is written.
    pub first_token: Secret,
    /// Certificate and key; without them the server speaks plain HTTP.
    pub tls: TlsConfig,
    /// Bearer tokens of an identity provider.
    pub jwt: JwtConfig,
    /// API keys, as hashes. More can be made while the service runs, if it has a database.
    pub keys: Vec<KeyConfig>,
}

/// Files of the certificate.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            public_url: String::new(),
            openapi: false,
            // An analyst who was at lunch signs in again.
            session_idle: Period::seconds(3_600),
            // A working day.
            session_lifetime: Period::seconds(12 * 3_600),
            first_token_file: "tripline-first-token".into(),
            first_token: Secret::default(),
            tls: TlsConfig::default(),
            jwt: JwtConfig::default(),
            keys: Vec::new(),
        }
    }
}

// === impl TlsConfig ===

impl TlsConfig {
    /// Whether there is a certificate.
    pub fn is_used(&self) -> bool {
        !self.certificate.as_os_str().is_empty() || !self.key.as_os_str().is_empty()
    }
}

// === impl ApiConfig ===

impl ApiConfig {
    /// How long sessions last.
    pub const fn session_limits(&self) -> SessionLimits {
        SessionLimits { idle: self.session_idle.0, lifetime: self.session_lifetime.0 }
    }

    /// Whether browsers reach the server by TLS alone: its own, or that of a proxy.
    pub fn is_secure(&self) -> bool {
        self.tls.is_used() || self.public_url.starts_with("https://")
    }

    /// Host names that requests may name; empty for all.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = self.public_host().into_iter().collect();
        if self.listen.ip().is_loopback() {
            hosts.extend(["127.0.0.1", "localhost", "[::1]"].map(str::to_owned));
        } else if !hosts.is_empty() {
            // Probes of an orchestrator name the address.
            hosts.push(self.listen.ip().to_string());
        }
        hosts
    }

    fn public_host(&self) -> Option<String> {
        Url::parse(&self.public_url).ok()?.host_str().map(str::to_owned)
    }

    /// The certificates, if there are any; relative paths begin at `directory`.
    ///
    /// # Errors
    /// Which file is wrong and why.
    pub fn certificates(&self, directory: &Path) -> Result<Option<Certificates>, String> {
        if !self.tls.is_used() {
            return Ok(None);
        }
        Certificates::read(&directory.join(&self.tls.certificate), &directory.join(&self.tls.key)).map(Some)
    }

    /// Adds every fault of the section. `has_store` says whether there is a database, and so accounts.
    pub fn validate(&self, faults: &mut Faults<'_>, directory: &Path, has_store: bool) {
        self.jwt.validate(faults);
        for (nth, key) in self.keys.iter().enumerate() {
            key.validate(faults, nth);
            if self.keys.iter().take(nth).any(|other| other.id == key.id || other.name == key.name) {
                faults.add(&format!("api.keys.{nth}"), "another key has this id or name", "give each key its own");
            }
        }
        if !self.public_url.is_empty() && (self.public_host().is_none() || !self.public_url.starts_with("http")) {
            faults.add("api.public_url", "it is no URL of a server", "write, for example, https://tripline.example");
        }
        if let Err(what) = self.certificates(directory) {
            faults.add("api.tls", what, "name the PEM files of a certificate chain and of its private key, readable by this user");
        }
        let (low, high) = (Period::seconds(60), Period::seconds(30 * 86_400));
        for (setting, value) in [("api.session_idle", self.session_idle), ("api.session_lifetime", self.session_lifetime)] {
            if value < low || value > high {
                faults.add(
                    setting,
                    format!("{value} is outside {low} to {high}"),
                    format!("choose a duration from {low} to {high}"),
                );
            }
        }
        self.validate_reach(faults, has_store);
    }

    /// Whoever can be reached by others needs credentials, and must not take them in the clear.
    fn validate_reach(&self, faults: &mut Faults<'_>, has_store: bool) {
        if self.listen.ip().is_loopback() {
            return;
        }
        if !has_store && self.keys.is_empty() && !self.jwt.is_used() {
            let what = format!("{} can be reached by others, and no credential is configured: everybody could look", self.listen);
            let remedy =
                "name a database ([store] url), an API key ([[api.keys]]) or a token issuer ([api.jwt]); or listen on 127.0.0.1";
            faults.add("api.listen", what, remedy);
        }
        if !self.is_secure() {
            let what = format!("{} can be reached by others, and credentials would cross the network in the clear", self.listen);
            let remedy = "name a certificate ([api.tls]); or, behind a proxy with one, write public_url = \"https://…\"";
            faults.add("api.listen", what, remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn faults(api: &str) -> Vec<(String, String)> {
        let text = format!("[source.kafka]\nbrokers = \"b:9092\"\ntopics = [\"t\"]\n[[models]]\nreference = \"r.json\"\n{api}");
        let faults = Config::from_text(&text, "/".into()).err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.setting, fault.what)).collect()
    }

    #[test]
    fn nothing_but_this_machine_is_served_without_credentials() {
        assert_eq!(faults("[api]\n"), []);
        assert_eq!(faults("[api]\nlisten = \"[::1]:8080\"\n"), []);
        let open = faults("[api]\nlisten = \"0.0.0.0:8080\"\n");
        assert_eq!(open.iter().filter(|(setting, _)| setting == "api.listen").count(), 2, "{open:?}");
        let key =
            "public_url = \"https://t.example\"\n[[api.keys]]\nname = \"ci\"\nid = \"a\"\nrole = \"viewer\"\nhash = \"sha256:";
        let hash = "0".repeat(64);
        assert_eq!(faults(&format!("[api]\nlisten = \"0.0.0.0:8080\"\n{key}{hash}\"\n")), []);
        let clear = faults(&format!("[api]\nlisten = \"0.0.0.0:8080\"\n{}{hash}\"\n", key.replace("https", "http")));
        assert!(clear.len() == 1 && clear[0].1.contains("in the clear"), "{clear:?}");
    }

    #[test]
    fn every_fault_is_told_at_its_setting() {
        let text = "[api]\npublic_url = \"tripline\"\nsession_idle = \"1s\"\ntls = { certificate = \"none.pem\" }\n\
                    [api.jwt]\nissuer = \"x\"\nkeys = \"http://id.example/keys\"\nrole_claim = \"roles\"\n\
                    [[api.keys]]\nname = \"\"\nid = \"a_b\"\nhash = \"tlk_x\"\nrole = \"viewer\"\nexpires = \"soon\"\n";
        let found = faults(text);
        for setting in [
            "api.public_url",
            "api.session_idle",
            "api.tls",
            "api.jwt.audience",
            "api.jwt.keys",
            "api.jwt.role_claim",
            "api.jwt.roles",
            "api.keys.0.name",
            "api.keys.0.id",
            "api.keys.0.hash",
            "api.keys.0.expires",
        ] {
            assert!(found.iter().any(|(of, _)| of == setting), "{setting} in {found:?}");
        }
    }
}
