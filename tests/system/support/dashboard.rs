//! The Grafana dashboard as code: what `grafana/dashboards/tripline.json` is made from.
//!
//! A dashboard file is mostly repetition, which nobody can review. Here a panel is one entry: its queries, its unit, and why it is
//! there. The classic JSON is made from the entries, with a fixed uid so that links from alerts stay right. The test
//! `the_dashboard_is_the_one_that_the_code_describes` compares it with the committed file, and writes it under TRIPLINE_UPDATE=1.

mod rows;

use serde_json::{Value, json};

use rows::ROWS;

/// How a panel draws its series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PanelKind {
    Stat,
    Lines,
    Stacked,
    Thresholds,
    Timeline,
    Heat,
}

/// One panel: title, description, unit, width of 24, kind and (expression, legend) pairs.
struct Panel {
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    width: u64,
    kind: PanelKind,
    targets: &'static [(&'static str, &'static str)],
}

/// A row of panels under a heading.
struct Row {
    title: &'static str,
    panels: &'static [Panel],
}

/// Height of a panel in grid units; three rows of this height fill a laptop's screen.
const HEIGHT: u64 = 8;

/// Verdict as a number: 0 stable, 1 drift, 2 probing, 3 both, -1 not measured yet. When one instance reports drift and another
/// probing, both hold, and the sum is 3.
const VERDICT: &str = "clamp_max(max by (model) (tripline_model_verdict{model=~\"$model\",verdict=\"drift\"}) \
     + 2 * max by (model) (tripline_model_verdict{model=~\"$model\",verdict=\"probing\"}) \
     + 3 * max by (model) (tripline_model_verdict{model=~\"$model\",verdict=\"drift+probing\"}) \
     - (max by (model) (tripline_model_verdict{model=~\"$model\",verdict!=\"undetermined\"}) == bool 0), 3)";

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

/// Every question that the dashboard asks of Prometheus, for one model and over one time.
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

// === impl PanelKind ===

impl PanelKind {
    fn grafana_type(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Lines | Self::Stacked => "timeseries",
            Self::Thresholds => "bargauge",
            Self::Timeline => "state-timeline",
            Self::Heat => "heatmap",
        }
    }

    /// Whether the panel shows the present alone.
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
                let format = if self.kind == PanelKind::Heat { "heatmap" } else { "time_series" };
                json!({"refId": name.to_string(), "datasource": datasource(), "expr": expr, "legendFormat": legend, "format": format,
                    "instant": self.kind.instant(), "range": !self.kind.instant(), "editorMode": "code"})
            })
            .collect();
        let mut options = self.kind.options();
        if self.kind == PanelKind::Heat {
            options["yAxis"]["unit"] = self.unit.into();
        }
        json!({
            "id": id, "type": self.kind.grafana_type(), "title": self.title, "description": self.description, "datasource": datasource(),
            "gridPos": {"h": HEIGHT, "w": self.width, "x": left, "y": top}, "targets": targets, "options": options,
            "fieldConfig": {"defaults": self.field(), "overrides": []},
        })
    }

    fn field(&self) -> Value {
        let verdicts = self.targets.iter().any(|(expr, _)| *expr == VERDICT);
        let steps = if verdicts {
            json!([{"color": "text", "value": null}, {"color": "green", "value": 0}, {"color": "yellow", "value": 1}, {"color": "red", "value": 2},
                {"color": "dark-red", "value": 3}])
        } else if self.kind == PanelKind::Thresholds {
            // Above 1 chance is no explanation.
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
        let stacked = if self.kind == PanelKind::Stacked { "normal" } else { "none" };
        let custom = match self.kind {
            PanelKind::Lines | PanelKind::Stacked => {
                json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": if self.kind == PanelKind::Stacked { 30 } else { 0 },
                "showPoints": "never", "spanNulls": false, "stacking": {"mode": stacked, "group": "A"}})
            }
            PanelKind::Timeline => json!({"lineWidth": 0, "fillOpacity": 80}),
            PanelKind::Stat | PanelKind::Thresholds | PanelKind::Heat => json!({}),
        };
        json!({
            "unit": self.unit, "mappings": mappings, "custom": custom, "color": {"mode": if verdicts || self.kind == PanelKind::Thresholds { "thresholds" } else { "palette-classic" }},
            "thresholds": {"mode": "absolute", "steps": steps},
            "links": [{"title": "Open the model in the console", "url": "${console}/?model=${__field.labels.model}", "targetBlank": true}],
        })
    }
}
