//! The Grafana dashboard as code: what `grafana/dashboards/tripline.json` is made from.
//!
//! A dashboard file is mostly repetition, which nobody can review. Here a panel is one entry: its query, its unit, and why a person
//! looks at it. The classic JSON is generated from that, with a fixed uid, so links from alerts stay valid. The test
//! `the_dashboard_is_the_one_that_the_code_describes` compares it with the committed file, and writes it under TRIPLINE_UPDATE=1.

use serde_json::{Value, json};

/// What a panel looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Stat,
    Lines,
    Stacked,
    Thresholds,
    Timeline,
    Heat,
}

/// One panel: title, description, unit, width of 24, look and (expression, legend) pairs.
struct Panel {
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    width: u64,
    look: Look,
    targets: &'static [(&'static str, &'static str)],
}

/// A row of panels under a heading.
struct Row {
    title: &'static str,
    panels: &'static [Panel],
}

/// Height of a panel in grid units; three rows of this height fill a laptop's screen.
const HEIGHT: u64 = 8;

/// Verdict as a number: 0 stable, 1 drift, 2 probing, 3 both, -1 not measured yet. If one instance reports drift and another
/// probing, both hold for the model, and the sum is 3.
const VERDICT: &str = "clamp_max(max by (model) (tripline_model_verdict{model=~\"$model\",verdict=\"drift\"}) \
     + 2 * max by (model) (tripline_model_verdict{model=~\"$model\",verdict=\"probing\"}) \
     + 3 * max by (model) (tripline_model_verdict{model=~\"$model\",verdict=\"drift+probing\"}) \
     - (max by (model) (tripline_model_verdict{model=~\"$model\"}) == bool 0), 3)";

const ROWS: &[Row] = &[
    Row {
        title: "Is it drift or probing?",
        panels: &[
            Panel {
                title: "Verdict now",
                description: "The engine's verdict on each model: stable, drift, probing, or both at once. Links lead to the console, which lists the callers.",
                unit: "none",
                width: 5,
                look: Look::Stat,
                targets: &[(VERDICT, "{{model}}")],
            },
            Panel {
                title: "Verdict over time",
                description: "When the verdict changed. Drift often begins slowly and lasts; probing begins at once and ends some hours after the last evidence.",
                unit: "none",
                width: 10,
                look: Look::Timeline,
                targets: &[(VERDICT, "{{model}}")],
            },
            Panel {
                title: "Features beyond chance, with and without suspects",
                description: "Number of features whose index exceeds its critical value. If only the line without suspects falls to zero, the suspects cause the drift and there is nothing to retrain. If both lines stay up, the world changed.",
                unit: "none",
                width: 9,
                look: Look::Lines,
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
                look: Look::Stacked,
                targets: &[("sum by (family) (tripline_flagged_clients{model=~\"$model\"})", "{{family}}")],
            },
            Panel {
                title: "Campaigns",
                description: "Groups of callers whose queries are linked although their addresses differ. Blocking one address does not stop a campaign.",
                unit: "none",
                width: 4,
                look: Look::Stat,
                targets: &[("max by (model) (tripline_campaigns{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "New verdicts",
                description: "New verdicts a second, by scope and verdict. A burst of benign ones after probing is normal: the evidence has expired.",
                unit: "ops",
                width: 6,
                look: Look::Stacked,
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
                look: Look::Lines,
                targets: &[("max by (model) (tripline_information_budget_ratio{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "Gaps between queries of a caller",
                description: "Time between two queries of one caller. Machines concentrate in one band; people spread over seconds to minutes.",
                unit: "s",
                width: 8,
                look: Look::Heat,
                targets: &[(
                    "sum by (le) (increase(tripline_query_gap_seconds_bucket{model=~\"$model\"}[$__rate_interval]))",
                    "{{le}}",
                )],
            },
            Panel {
                title: "Query rate of busy callers",
                description: "95th percentile over callers of queries an hour. It is no evidence by itself: a nightly batch job is busier than most attackers.",
                unit: "none",
                width: 8,
                look: Look::Lines,
                targets: &[("max by (model) (tripline_client_rate_p95{model=~\"$model\"})", "{{model}}")],
            },
            Panel {
                title: "Entropy of the features",
                description: "Entropy of callers' features relative to the reference. Above 1: more varied than honest traffic, as grids and random queries are. Below 1: narrower, as line searches are.",
                unit: "percentunit",
                width: 8,
                look: Look::Lines,
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
                look: Look::Thresholds,
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
                look: Look::Thresholds,
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
                look: Look::Lines,
                targets: &[("max by (model, feature) (tripline_psi{model=~\"$model\"})", "{{model}}: {{feature}}")],
            },
            Panel {
                title: "PSI of the answers",
                description: "Whether the distribution of the model's answers changed, with its critical value. Input drift without drift of the answers may be harmless.",
                unit: "none",
                width: 8,
                look: Look::Lines,
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
                look: Look::Heat,
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
                look: Look::Lines,
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
                look: Look::Stacked,
                targets: &[("sum by (topic, partition) (tripline_consumer_lag_records)", "{{topic}}/{{partition}}")],
            },
            Panel {
                title: "Event time behind the clock",
                description: "How far complete event time (the watermark) is behind the clock. While events arrive, it does not fall below the allowed lateness.",
                unit: "s",
                width: 6,
                look: Look::Lines,
                targets: &[("max by (instance) (tripline_watermark_lag_seconds)", "{{instance}}")],
            },
            Panel {
                title: "From query to verdict",
                description: "Time from the deciding query to the verdict: median and 95th percentile.",
                unit: "s",
                width: 6,
                look: Look::Lines,
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
                look: Look::Stacked,
                targets: &[("sum by (reason) (rate(tripline_rejected_total[$__rate_interval]))", "{{reason}}")],
            },
            Panel {
                title: "Callers in memory",
                description: "Callers in memory by model, and callers forgotten a second to stay within the memory limit. Evidence against slow callers is lost with them.",
                unit: "none",
                width: 6,
                look: Look::Lines,
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
                look: Look::Lines,
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
                look: Look::Lines,
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
                look: Look::Stat,
                targets: &[("max by (instance) (tripline_checkpoint_age_seconds)", "{{instance}}")],
            },
            Panel {
                title: "Instances by version",
                description: "Instances that answer, by version. Two versions at once mean a roll-out that is under way or was interrupted.",
                unit: "none",
                width: 3,
                look: Look::Stat,
                targets: &[("count by (version) (tripline_build_info)", "{{version}}")],
            },
        ],
    },
];

/// The dashboard as Grafana reads it.
pub fn dashboard() -> Value {
    let mut panels = Vec::new();
    let mut top = 0;
    for row in ROWS {
        panels.push(json!({
            "id": panels.len() + 1, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"h": 1, "w": 24, "x": 0, "y": top},
        }));
        top += 1;
        let mut left = 0;
        for panel in row.panels {
            if left + panel.width > 24 {
                left = 0;
                top += HEIGHT;
            }
            panels.push(panel.json(panels.len() + 1, left, top));
            left += panel.width;
        }
        top += HEIGHT;
    }
    json!({
        "id": null, "uid": "tripline", "title": "Tripline", "tags": ["tripline"], "schemaVersion": 38, "version": 1,
        "description": "Is somebody probing the models, or has the world changed? Made from tests/system/support/dashboard.rs.",
        "editable": false, "graphTooltip": 1, "refresh": "30s", "timezone": "browser", "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": [{
            "name": "Alerts", "enable": true, "hide": false, "iconColor": "red", "datasource": datasource(),
            "expr": "ALERTS{alertname=~\"Tripline.*\",alertstate=\"firing\"}",
            "titleFormat": "{{alertname}}", "textFormat": "{{model}}", "tagKeys": "severity", "useValueForTime": false,
        }]},
        "links": [{
            "type": "link", "title": "Console", "url": "${console}/", "targetBlank": true, "icon": "external link",
            "tooltip": "Callers, cases and the queries themselves", "asDropdown": false, "includeVars": false,
            "keepTime": false, "tags": [],
        }],
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "hide": 0, "multi": false,
             "includeAll": false, "current": {}, "regex": "", "refresh": 1},
            {"type": "query", "name": "model", "label": "Model", "datasource": datasource(), "hide": 0, "multi": true,
             "includeAll": true, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2, "sort": 1, "regex": "",
             "definition": "label_values(tripline_model_verdict, model)",
             "query": {"query": "label_values(tripline_model_verdict, model)", "refId": "model"}},
            {"type": "textbox", "name": "console", "label": "Console", "hide": 0, "query": "http://127.0.0.1:8080",
             "current": {"text": "http://127.0.0.1:8080", "value": "http://127.0.0.1:8080"}},
        ]},
        "panels": panels,
    })
}

/// Every query of the dashboard, for one model and one interval.
pub fn expressions(model: &str, interval: &str) -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let asked = targets.chain(dashboard["annotations"]["list"].as_array().cloned().unwrap_or_default());
    let filled =
        asked.map(|target| target["expr"].as_str().unwrap().replace("$model", model).replace("$__rate_interval", interval));
    let expressions: Vec<String> = filled.collect();
    assert!(expressions.len() > 20);
    for expression in &expressions {
        assert!(!expression.contains('$'), "an unknown variable in {expression}");
    }
    expressions
}

/// The committed form: readable in a diff, with a line end.
pub fn file() -> String {
    format!("{:#}\n", dashboard())
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

// === impl Look ===

impl Look {
    fn kind(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Lines | Self::Stacked => "timeseries",
            Self::Thresholds => "bargauge",
            Self::Timeline => "state-timeline",
            Self::Heat => "heatmap",
        }
    }

    /// Whether the panel shows only the present.
    fn instant(self) -> bool {
        matches!(self, Self::Stat | Self::Thresholds)
    }

    fn options(self) -> Value {
        let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        match self {
            Self::Stat => {
                json!({"reduceOptions": last, "colorMode": "background", "graphMode": "none", "textMode": "value_and_name",
                "orientation": "auto", "justifyMode": "auto"})
            }
            Self::Thresholds => {
                json!({"reduceOptions": last, "displayMode": "basic", "orientation": "horizontal", "showUnfilled": true})
            }
            Self::Timeline => json!({"showValue": "auto", "mergeValues": true, "rowHeight": 0.9, "alignValue": "center",
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": {"mode": "single"}}),
            Self::Heat => {
                json!({"calculate": false, "yAxis": {"unit": "none"}, "cellGap": 1, "tooltip": {"show": true, "yHistogram": false},
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "fill": "dark-blue", "reverse": false}})
            }
            Self::Lines | Self::Stacked => json!({"legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"}}),
        }
    }
}

// === impl Panel ===

impl Panel {
    fn json(&self, id: usize, left: u64, top: u64) -> Value {
        let targets: Vec<Value> = self
            .targets
            .iter()
            .zip('A'..)
            .map(|((expr, legend), name)| {
                let format = if self.look == Look::Heat { "heatmap" } else { "time_series" };
                json!({"refId": name.to_string(), "datasource": datasource(), "expr": expr, "legendFormat": legend, "format": format,
                    "instant": self.look.instant(), "range": !self.look.instant(), "editorMode": "code"})
            })
            .collect();
        let mut options = self.look.options();
        if self.look == Look::Heat {
            options["yAxis"]["unit"] = self.unit.into();
        }
        json!({
            "id": id, "type": self.look.kind(), "title": self.title, "description": self.description, "datasource": datasource(),
            "gridPos": {"h": HEIGHT, "w": self.width, "x": left, "y": top}, "targets": targets, "options": options,
            "fieldConfig": {"defaults": self.field(), "overrides": []},
        })
    }

    fn field(&self) -> Value {
        let verdicts = self.targets.iter().any(|(expr, _)| *expr == VERDICT);
        let steps = if verdicts {
            json!([{"color": "text", "value": null}, {"color": "green", "value": 0}, {"color": "yellow", "value": 1}, {"color": "red", "value": 2},
                {"color": "dark-red", "value": 3}])
        } else if self.look == Look::Thresholds {
            // Above 1, chance does not explain the index.
            json!([{"color": "green", "value": null}, {"color": "yellow", "value": 1}])
        } else {
            json!([{"color": "text", "value": null}])
        };
        let mappings = if verdicts {
            json!([{"type": "value", "options": {
                "-1": {"text": "not measured yet", "index": 0}, "0": {"text": "stable", "index": 1}, "1": {"text": "drift", "index": 2},
                "2": {"text": "PROBING", "index": 3}, "3": {"text": "DRIFT + PROBING", "index": 4}}}])
        } else {
            json!([])
        };
        let stacked = if self.look == Look::Stacked { "normal" } else { "none" };
        let custom = match self.look {
            Look::Lines | Look::Stacked => {
                json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": if self.look == Look::Stacked { 30 } else { 0 },
                "showPoints": "never", "spanNulls": false, "stacking": {"mode": stacked, "group": "A"}})
            }
            Look::Timeline => json!({"lineWidth": 0, "fillOpacity": 80}),
            Look::Stat | Look::Thresholds | Look::Heat => json!({}),
        };
        json!({
            "unit": self.unit, "mappings": mappings, "custom": custom, "color": {"mode": if verdicts || self.look == Look::Thresholds { "thresholds" } else { "palette-classic" }},
            "thresholds": {"mode": "absolute", "steps": steps},
            "links": [{"title": "Open the model in the console", "url": "${console}/?model=${__field.labels.model}", "targetBlank": true}],
        })
    }
}
