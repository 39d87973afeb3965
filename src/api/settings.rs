//! How the service is configured, for an admin who looks. A chosen list: no secret, no path of a key, nothing that was not thought about.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::refusals::Refusals;
use super::state::ApiState;
use crate::config::Config;

/// One setting.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Setting {
    /// Its name in the configuration.
    name: String,
    /// Its value, as text.
    value: String,
}

/// The settings that are shown.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SettingList {
    /// In the order of the configuration.
    items: Vec<Setting>,
}

/// The settings of a configuration that are shown, in its order.
pub fn shown(config: &Config) -> Vec<(String, String)> {
    let kafka = &config.source.kafka;
    let mut shown = vec![
        ("source.kafka.topics", kafka.topics.join(", ")),
        ("source.kafka.group", kafka.group.clone()),
        ("models", config.models.iter().map(|model| model.reference.display().to_string()).collect::<Vec<_>>().join(", ")),
        ("reference.require_signature", config.reference.require_signature.to_string()),
        ("engine.alarms_per_client_day", config.engine.alarms_per_client_day.to_string()),
        ("engine.max_clients", config.engine.max_clients.to_string()),
        ("engine.allowed_lateness_seconds", config.engine.allowed_lateness_seconds.to_string()),
        ("state", if config.state.is_kept() { "kept" } else { "not kept" }.to_owned()),
        ("store", if config.store.is_used() { "used" } else { "not used: no cases, no accounts" }.to_owned()),
        ("sink.verdicts.topic", config.sink.verdicts.topic.clone()),
        ("server.metrics", config.server.metrics.to_string()),
    ];
    if let Some(api) = &config.api {
        shown.extend([
            ("api.listen", api.listen.to_string()),
            ("api.public_url", api.public_url.clone()),
            ("api.openapi", api.openapi.to_string()),
            ("api.session_idle", api.session_idle.to_string()),
            ("api.session_lifetime", api.session_lifetime.to_string()),
            ("api.tls", if api.tls.is_used() { "used" } else { "not used" }.to_owned()),
            ("api.jwt.issuer", api.jwt.issuer.clone()),
            ("api.keys", api.keys.iter().map(|key| format!("{} ({})", key.name, key.role.name())).collect::<Vec<_>>().join(", ")),
        ]);
    }
    shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// How the service is configured.
#[utoipa::path(
    get, path = "/api/v1/settings", tag = "settings", operation_id = "list_settings",
    responses((status = 200, description = "The settings that are shown", body = SettingList), Refusals)
)]
pub async fn list(State(state): State<ApiState>) -> Json<SettingList> {
    let items = state.settings.iter().map(|(name, value)| Setting { name: name.clone(), value: value.clone() }).collect();
    Json(SettingList { items })
}
