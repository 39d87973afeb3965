//! What the dashboard shows: rows of panels, from the verdict on top to the service at the bottom.

use super::{Panel, PanelKind, Row, VERDICT};

/// The rows, from top to bottom.
pub(super) const ROWS: &[Row] = &[
    Row {
        title: "Is it drift or probing?",
        panels: &[
            Panel {
                title: "Verdict now",
                description: "The engine's verdict on each model: stable, drift, probing, or both at once. Links lead to the console, which lists the callers.",
                unit: "none",
                width: 5,
                kind: PanelKind::Stat,
                targets: &[(VERDICT, "{{model}}")],
            },
            Panel {
                title: "Verdict over time",
                description: "When the verdict changed. Drift often begins slowly and lasts; probing begins at once and ends some hours after the last evidence.",
                unit: "none",
                width: 10,
                kind: PanelKind::Timeline,
                targets: &[(VERDICT, "{{model}}")],
            },
            Panel {
                title: "Features beyond chance, with and without suspects",
                description: "Number of features whose index exceeds its critical value. If only the line without suspects falls to zero, the suspects cause the drift and there is nothing to retrain. If both lines stay up, the world changed.",
                unit: "none",
                width: 9,
                kind: PanelKind::Lines,
                targets: &[
                    ("model:tripline_features_drifting:count{model=~\"$model\"}", "{{model}}: everybody"),
                    ("model:tripline_features_drifting_without_suspects:count{model=~\"$model\"}", "{{model}}: without suspects"),
                ],
            },
        ],
    },
    Row {
        title: "Probing: how, and how much",
        panels: &[
            Panel {
                title: "Flagged callers by shape",
                description: "Callers flagged as probing now. Grids and random queries copy the model; line searches and boundary walks also prepare inputs that fool it.",
                unit: "none",
                width: 8,
                kind: PanelKind::Stacked,
                targets: &[("sum by (family) (tripline_flagged_clients{model=~\"$model\"})", "{{family}}")],
            },
            Panel {
                title: "Campaigns",
                description: "Groups of callers whose queries are linked although their addresses differ. Blocking one address does not stop a campaign.",
                unit: "none",
                width: 4,
                kind: PanelKind::Stat,
                targets: &[("max by (model) (tripline_campaigns{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "New verdicts",
                description: "New verdicts a second, by scope and verdict. A burst of benign ones after probing is normal: the evidence has expired.",
                unit: "ops",
                width: 6,
                kind: PanelKind::Stacked,
                targets: &[(
                    "sum by (scope, verdict) (rate(tripline_verdicts_total{model=~\"$model\"}[$__rate_interval]))",
                    "{{scope}}: {{verdict}}",
                )],
            },
            Panel {
                title: "Information budget",
                description: "Different rows that the caller, account or campaign with most of them has asked, in units of the d + 1 rows that copy a linear model (each category counts as one of d). Any busy customer exceeds 1; a jump is a reason to ask. Extraction with honest-looking rows shows here and nowhere else.",
                unit: "none",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[("max by (model) (tripline_information_budget_ratio{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "Unreadable records",
                description: "Share of the model's records of the last hours that could not be read, and the largest such share of one caller. If only the second is high, one caller is broken, or hides. If both are, a writer is broken.",
                unit: "percentunit",
                width: 8,
                kind: PanelKind::Lines,
                targets: &[
                    ("max by (model) (tripline_unreadable_ratio{model=~\"$model\"})", "{{model}}: all records"),
                    ("max by (model) (tripline_rejected_by_client_max_ratio{model=~\"$model\"})", "{{model}}: worst caller"),
                ],
            },
            Panel {
                title: "Callers with unreadable records",
                description: "Callers that are suspicious because most of their records cannot be read while their peers' can. Their verdicts have the family unreadable.",
                unit: "none",
                width: 8,
                kind: PanelKind::Lines,
                targets: &[("max by (model) (tripline_unreadable_clients{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "Repaired fields",
                description: "Records a second with a fault that cost one field and not the row. A new fault begins with a release of the writer.",
                unit: "ops",
                width: 8,
                kind: PanelKind::Stacked,
                targets: &[(
                    "sum by (field, fault) (rate(tripline_repaired_fields_total[$__rate_interval]))",
                    "{{field}}: {{fault}}",
                )],
            },
            Panel {
                title: "Gaps between queries of a caller",
                description: "Time between two queries of one caller. Machines concentrate in one band; people spread over seconds to minutes.",
                unit: "s",
                width: 6,
                kind: PanelKind::Heat,
                targets: &[(
                    "sum by (le) (increase(tripline_query_gap_seconds_bucket{model=~\"$model\"}[$__rate_interval]))",
                    "{{le}}",
                )],
            },
            Panel {
                title: "Query rate of busy callers",
                description: "95th percentile over callers of queries an hour. It is no evidence by itself: a nightly batch job is busier than most attackers.",
                unit: "none",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[("max by (model) (tripline_client_rate_p95{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "Callers of unexplained volume",
                description: "Callers that ask far more different rows than their peers, and than they ever did. Their verdicts are suspicious, with the family volume: a job that nobody announced, or a copy of the model. Each is said once.",
                unit: "none",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[("max by (model) (tripline_volume_clients{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "Entropy of the features",
                description: "Entropy of callers' features relative to the reference. Above 1: more varied than honest traffic, as grids and random queries are. Below 1: narrower, as line searches are.",
                unit: "percentunit",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[("max by (model) (tripline_feature_entropy_ratio{model=~\"$model\"})", "{{model}}")],
            },
        ],
    },
    Row {
        title: "Drift: which features, and the answers",
        panels: &[
            Panel {
                title: "Features furthest beyond chance",
                description: "PSI divided by the critical value of its window. Chance alone rarely exceeds 1. The critical value depends on the number of rows, so 2 means the same at night and at noon.",
                unit: "none",
                width: 8,
                kind: PanelKind::Thresholds,
                targets: &[(
                    "topk(10, max by (model, feature) (tripline_psi{model=~\"$model\"} / tripline_psi_critical{model=~\"$model\"}))",
                    "{{model}}: {{feature}}",
                )],
            },
            Panel {
                title: "The same without suspects",
                description: "The same ratio without the queries of suspects. A feature with a long bar in the panel beside and a short one here is moved by the suspects.",
                unit: "none",
                width: 8,
                kind: PanelKind::Thresholds,
                targets: &[(
                    "topk(10, max by (model, feature) (tripline_psi_without_suspects{model=~\"$model\"} / tripline_psi_critical{model=~\"$model\"}))",
                    "{{model}}: {{feature}}",
                )],
            },
            Panel {
                title: "PSI by feature",
                description: "Population stability index of the window against the reference. A step indicates a changed unit or a release; a slope indicates a gradual change of the world.",
                unit: "none",
                width: 8,
                kind: PanelKind::Lines,
                targets: &[("max by (model, feature) (tripline_psi{model=~\"$model\"})", "{{model}}: {{feature}}")],
            },
            Panel {
                title: "PSI of the answers",
                description: "Whether the distribution of the model's answers changed, with its critical value. Input drift without drift of the answers may be harmless.",
                unit: "none",
                width: 8,
                kind: PanelKind::Lines,
                targets: &[
                    ("max by (model) (tripline_prediction_psi{model=~\"$model\"})", "{{model}}"),
                    ("max by (model) (tripline_prediction_psi_critical{model=~\"$model\"})", "{{model}}: critical"),
                ],
            },
            Panel {
                title: "Answers",
                description: "Answers a second by bin of the reference. Select one model, because bins differ between models. An attacker near the decision boundary shows as a band there.",
                unit: "none",
                width: 8,
                kind: PanelKind::Heat,
                targets: &[(
                    "sum by (le) (increase(tripline_prediction_value_bucket{model=~\"$model\"}[$__rate_interval]))",
                    "{{le}}",
                )],
            },
            Panel {
                title: "Queries",
                description: "Accepted queries a second by model, and queries that came too late for their windows.",
                unit: "reqps",
                width: 8,
                kind: PanelKind::Lines,
                targets: &[
                    ("sum by (model) (rate(tripline_queries_total{model=~\"$model\"}[$__rate_interval]))", "{{model}}"),
                    ("sum by (model) (rate(tripline_late_total{model=~\"$model\"}[$__rate_interval]))", "{{model}}: late"),
                ],
            },
        ],
    },
    Row {
        title: "The service itself",
        panels: &[
            Panel {
                title: "Backlog by partition",
                description: "Records not yet read. If one partition is behind, it has a hot key. If all are behind, capacity is too low or a producer is catching up.",
                unit: "none",
                width: 6,
                kind: PanelKind::Stacked,
                targets: &[("sum by (topic, partition) (tripline_consumer_lag_records)", "{{topic}}/{{partition}}")],
            },
            Panel {
                title: "Event time behind the clock",
                description: "How far complete event time (the watermark) is behind the clock. While events arrive, it does not fall below the allowed lateness.",
                unit: "s",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[("max by (instance) (tripline_watermark_lag_seconds)", "{{instance}}")],
            },
            Panel {
                title: "From query to verdict",
                description: "Time from the deciding query to the verdict: median and 95th percentile.",
                unit: "s",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[
                    ("histogram_quantile(0.5, sum by (le) (rate(tripline_end_to_end_seconds_bucket[$__rate_interval])))", "half"),
                    (
                        "histogram_quantile(0.95, sum by (le) (rate(tripline_end_to_end_seconds_bucket[$__rate_interval])))",
                        "95 of 100",
                    ),
                ],
            },
            Panel {
                title: "Rejected records by reason",
                description: "Rejected records are not watched. They are in the dead-letter topic or file, with their reason.",
                unit: "ops",
                width: 6,
                kind: PanelKind::Stacked,
                targets: &[("sum by (reason) (rate(tripline_rejected_total[$__rate_interval]))", "{{reason}}")],
            },
            Panel {
                title: "Callers in memory",
                description: "Callers in memory by model, and callers forgotten a second to stay within the memory limit. Evidence against slow callers is lost with them.",
                unit: "none",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[
                    ("sum by (model) (tripline_clients{model=~\"$model\"})", "{{model}}"),
                    (
                        "sum by (model) (rate(tripline_evicted_clients_total{model=~\"$model\"}[$__rate_interval]))",
                        "{{model}}: forgotten a second",
                    ),
                ],
            },
            Panel {
                title: "Deliveries",
                description: "Verdicts delivered to receivers a second, by outcome, and how many are waiting.",
                unit: "none",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[
                    (
                        "sum by (receiver, outcome) (rate(tripline_alerts_sent_total[$__rate_interval]))",
                        "{{receiver}}: {{outcome}}",
                    ),
                    ("sum(tripline_alert_outbox_depth)", "waiting"),
                ],
            },
            Panel {
                title: "Latency of the models",
                description: "How long the models took to answer, according to their logs: median and 95th percentile.",
                unit: "s",
                width: 6,
                kind: PanelKind::Lines,
                targets: &[
                    (
                        "histogram_quantile(0.5, sum by (model, le) (rate(tripline_prediction_latency_seconds_bucket{model=~\"$model\"}[$__rate_interval])))",
                        "{{model}}: half",
                    ),
                    (
                        "histogram_quantile(0.95, sum by (model, le) (rate(tripline_prediction_latency_seconds_bucket{model=~\"$model\"}[$__rate_interval])))",
                        "{{model}}: 95 of 100",
                    ),
                ],
            },
            Panel {
                title: "Since the last commit",
                description: "Time since the last commit: after a crash, this much would be read again. It stays small while the service works.",
                unit: "s",
                width: 3,
                kind: PanelKind::Stat,
                targets: &[("max by (instance) (tripline_checkpoint_age_seconds)", "{{instance}}")],
            },
            Panel {
                title: "Instances by version",
                description: "Instances that answer, by version. Two versions at once mean a roll-out that is under way or was interrupted.",
                unit: "none",
                width: 3,
                kind: PanelKind::Stat,
                targets: &[("count by (version) (tripline_build_info)", "{{version}}")],
            },
        ],
    },
];
