//! The layouts of logs that have a name (`decode.format`): where each of them keeps time, caller, rows and answers.
//!
//! A format is a list of places for every field; the first that exists in a record is used, and `decode.mapping` overrides any of them.
//! How rows and answers are written is known from themselves ([`shape`](super::shape)), so a format names places and no shapes.
//! Calls and answers are logged together by every system here but KServe, whose logger writes them one by one: [`kserve`](super::kserve)
//! joins them first.
//!
//! | format | contract |
//! |---|---|
//! | `kserve` | KServe inference logger: CloudEvents 1.0, `org.kubeflow.serving.inference.request` and `.response` |
//! | `open_inference` | Open Inference Protocol V2: `inputs` and `outputs` of tensors, in a log's envelope |
//! | `seldon` | Seldon Core v1 `SeldonMessage` and v2, request and response in a log's envelope |
//! | `sagemaker` | SageMaker data capture: `captureData`, `eventMetadata` |
//! | `mlflow` | MLflow scoring server: `dataframe_split`, `dataframe_records`, `inputs`, `instances`, in a log's envelope |
//! | `flat` | the features beside the other fields in one object, as BentoML's monitoring and tables write them |

use serde::{Deserialize, Serialize};

/// A layout with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Recognised from the first records of a file.
    Auto,
    /// Tripline's own.
    Canonical,
    /// KServe's inference logger: CloudEvents, a request and a response a call.
    Kserve,
    /// Open Inference Protocol V2.
    OpenInference,
    /// Seldon Core.
    Seldon,
    /// SageMaker data capture.
    Sagemaker,
    /// MLflow scoring server.
    Mlflow,
    /// Features beside the other fields.
    Flat,
}

/// Where the fields of a format lie, in order of preference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub timestamp: &'static [&'static str],
    pub model: &'static [&'static str],
    pub model_version: &'static [&'static str],
    pub source_ip: &'static [&'static str],
    pub client_id: &'static [&'static str],
    pub request_id: &'static [&'static str],
    pub features: &'static [&'static str],
    pub prediction: &'static [&'static str],
    pub latency_ms: &'static [&'static str],
    pub label: &'static [&'static str],
}

/// What stands around a request and a response in a log of one's own.
const ENVELOPE: Places = Places {
    timestamp: &["/timestamp", "/@timestamp", "/time", "/ts", "/event_time", "/datetime", "/request_time", "/created_at"],
    model: &["/model", "/model_name", "/res/model_name", "/response/model_name", "/meta/model"],
    model_version: &["/model_version", "/response/model_version", "/res/model_version"],
    source_ip: &[
        "/source_ip",
        "/ip",
        "/client_ip",
        "/remote_addr",
        "/x_forwarded_for",
        "/headers/X-Forwarded-For",
        "/headers/x-forwarded-for",
    ],
    client_id: &["/client_id", "/user_id", "/user", "/account", "/api_key_id"],
    request_id: &["/request_id", "/id", "/trace_id", "/request/id", "/req/id", "/request/meta/puid", "/response/meta/puid"],
    features: &[
        "/features",
        "/request",
        "/req",
        "/input",
        "/inputs",
        "/instances",
        "/dataframe_split",
        "/dataframe_records",
        "/payload",
        "/body",
        "/data",
    ],
    prediction: &["/prediction", "/predictions", "/response", "/res", "/output", "/outputs", "/result", "/score"],
    latency_ms: &["/latency_ms", "/latency", "/duration_ms"],
    label: &["/label"],
};

const CANONICAL: Places = Places {
    timestamp: &["/timestamp"],
    model: &["/model"],
    model_version: &["/model_version"],
    source_ip: &["/source_ip"],
    client_id: &["/client_id"],
    request_id: &["/request_id"],
    features: &["/features"],
    prediction: &["/prediction"],
    latency_ms: &["/latency_ms"],
    label: &["/label"],
};

const SAGEMAKER: Places = Places {
    timestamp: &["/eventMetadata/inferenceTime"],
    model: &["/model", "/eventMetadata/endpointName"],
    model_version: &["/eventMetadata/variantName"],
    source_ip: &["/source_ip", "/eventMetadata/customAttributes/source_ip"],
    client_id: &["/client_id", "/eventMetadata/customAttributes/client_id"],
    request_id: &["/eventMetadata/inferenceId", "/eventMetadata/eventId"],
    features: &["/captureData/endpointInput"],
    prediction: &["/captureData/endpointOutput"],
    ..CANONICAL
};

const FLAT: Places = Places {
    features: &[""],
    prediction: &[
        "/prediction",
        "/score",
        "/probability",
        "/prediction_score",
        "/predicted_probability",
        "/output",
        "/predictions",
        "/predicted_label",
    ],
    ..ENVELOPE
};

// === impl Format ===

impl Format {
    /// Every format that can be set.
    pub const ALL: [Self; 8] =
        [Self::Auto, Self::Canonical, Self::Kserve, Self::OpenInference, Self::Seldon, Self::Sagemaker, Self::Mlflow, Self::Flat];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Canonical => "canonical",
            Self::Kserve => "kserve",
            Self::OpenInference => "open_inference",
            Self::Seldon => "seldon",
            Self::Sagemaker => "sagemaker",
            Self::Mlflow => "mlflow",
            Self::Flat => "flat",
        }
    }

    pub(super) const fn places(self) -> &'static Places {
        match self {
            Self::Auto | Self::Canonical | Self::Kserve => &CANONICAL,
            Self::OpenInference | Self::Seldon | Self::Mlflow => &ENVELOPE,
            Self::Sagemaker => &SAGEMAKER,
            Self::Flat => &FLAT,
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_called_in_the_configuration_as_it_calls_itself() {
        for format in Format::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.name());
        }
    }
}
