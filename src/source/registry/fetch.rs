//! The thread that asks a schema registry: `GET /schemas/ids/{id}`, and the schemas that one refers to.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::avro::AvroSchema;
use super::config::RegistryConfig;
use super::protobuf::ProtobufSchema;
use super::{Schema, Schemas};

/// First wait after a registry that did not answer; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Most schemas that one may refer to, directly or through others.
const MAX_REFERENCES: usize = 64;
/// Longest answer. Chosen: schemas have some kilobytes; a longer one comes from something else.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A schema, as the registry gives it.
#[derive(Debug, Deserialize)]
struct Answer {
    schema: String,
    /// Absent for Avro.
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

/// A schema that another refers to.
#[derive(Clone, Debug, Deserialize)]
struct Reference {
    /// Name of the type, or of the imported file.
    name: String,
    subject: String,
    version: i64,
}

/// Why there is no schema.
enum Failure {
    /// The registry has none, or it cannot be read.
    Refused(String),
    /// It does not answer, or not to us.
    Away(String),
}

struct Client {
    http: reqwest::Client,
    base: String,
    user: String,
    password: Option<String>,
}

/// Starts the thread. It ends when the schemas are closed.
pub(super) fn start(config: &RegistryConfig, directory: &Path, schemas: Schemas) -> Result<(), String> {
    // It is refused if something else of this process has installed one, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = config.timeout.0;
    let http = reqwest::Client::builder().timeout(timeout).build().map_err(|error| error.to_string())?;
    let client = Client { http, base: config.base()?, user: config.user.clone(), password: config.secret(directory)? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let work = move || serve(&client, &runtime, &schemas);
    std::thread::Builder::new().name("registry".into()).spawn(work).map(drop).map_err(|error| error.to_string())
}

fn serve(client: &Client, runtime: &tokio::runtime::Runtime, schemas: &Schemas) {
    let mut pause = Duration::ZERO;
    while let Some(id) = schemas.next_wanted() {
        match runtime.block_on(client.schema(id)) {
            Ok(schema) => {
                tracing::info!(id, kind = schema.kind(), "schema fetched");
                schemas.learn(id, Ok(schema));
            }
            Err(Failure::Refused(why)) => {
                tracing::debug!(id, why, "no schema");
                schemas.learn(id, Err(why));
            }
            Err(Failure::Away(why)) => {
                if pause.is_zero() {
                    tracing::error!(
                        registry = client.base,
                        "the schema registry does not answer: {why}; records wait, and it is asked again"
                    );
                }
                pause = (2 * pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                if !schemas.note_trouble(Some(why), pause) {
                    return;
                }
                continue;
            }
        }
        if !pause.is_zero() {
            tracing::info!("the schema registry answers again");
            pause = Duration::ZERO;
            schemas.note_trouble(None, Duration::ZERO);
        }
    }
}

// === impl Schema ===

impl Schema {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Avro(_) => "AVRO",
            Self::Protobuf(_) => "PROTOBUF",
        }
    }
}

// === impl Client ===

impl Client {
    async fn schema(&self, id: u32) -> Result<Schema, Failure> {
        let answer = self.get(&format!("/schemas/ids/{id}")).await?;
        let kind = answer.kind.as_deref().unwrap_or("AVRO");
        if kind == "JSON" {
            return Ok(Schema::Json);
        }
        let references = self.references(answer.references.unwrap_or_default()).await?;
        let unreadable = |what: String| Failure::Refused(format!("its schema cannot be used: {what}"));
        match kind {
            "AVRO" => {
                let texts: Vec<String> = references.into_iter().map(|(_, text)| text).collect();
                AvroSchema::parse(&answer.schema, &texts).map(|schema| Schema::Avro(Box::new(schema))).map_err(unreadable)
            }
            "PROTOBUF" => ProtobufSchema::parse(&answer.schema, references).map(Schema::Protobuf).map_err(unreadable),
            other => Err(Failure::Refused(format!("schemas of type {other} are not read"))),
        }
    }

    /// The texts of everything that is referred to, by name.
    async fn references(&self, mut open: Vec<Reference>) -> Result<Vec<(String, String)>, Failure> {
        let mut all: Vec<(String, String)> = Vec::new();
        while let Some(reference) = open.pop() {
            if all.iter().any(|(name, _)| *name == reference.name) {
                continue;
            }
            if all.len() == MAX_REFERENCES {
                return Err(Failure::Refused(format!("it refers to more than {MAX_REFERENCES} schemas")));
            }
            let mut path = url::Url::parse(&self.base).map_err(|error| Failure::Refused(error.to_string()))?;
            if let Ok(mut segments) = path.path_segments_mut() {
                segments.pop_if_empty().extend(["subjects", &reference.subject, "versions", &reference.version.to_string()]);
            }
            let path = path.as_str().strip_prefix(&self.base).map(str::to_owned).unwrap_or_default();
            let answer = self.get(&path).await?;
            open.extend(answer.references.unwrap_or_default());
            all.push((reference.name, answer.schema));
        }
        Ok(all)
    }

    async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let request = self.http.get(format!("{}{path}", self.base)).header("Accept", "application/vnd.schemaregistry.v1+json");
        let request = if self.user.is_empty() { request } else { request.basic_auth(&self.user, self.password.as_ref()) };
        let away = |error: reqwest::Error| Failure::Away(words(&error));
        let mut answer = request.send().await.map_err(away)?;
        let status = answer.status();
        if status.as_u16() == 404 {
            return Err(Failure::Refused("the registry does not know it".to_owned()));
        }
        if matches!(status.as_u16(), 401 | 403) {
            return Err(Failure::Away(format!("it answers {status}; check source.registry.user and password")));
        }
        if !status.is_success() {
            return Err(Failure::Away(format!("it answers {status}")));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(away)? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER {
                return Err(Failure::Refused(format!("its schema is longer than {MAX_ANSWER} bytes")));
            }
        }
        serde_json::from_slice(&body)
            .map_err(|error| Failure::Away(format!("its answer is no schema ({error}); check source.registry.url")))
    }
}

/// An error with its causes; the outermost alone says little.
fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}
