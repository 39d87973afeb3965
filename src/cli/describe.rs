//! A reference profile in words: what `fit` and `reference show` print, as text, Markdown or JSON.
//!
//! Names and categories come from foreign files, so control characters are shown as text and do not reach the terminal.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::reference::{Feature, Kind, PredictionKind, Reference, code, sign};

/// Most frequent values named per feature. Chosen: three show what a column is, and more would not fit beside the other columns.
const TOP_VALUES: usize = 3;
/// Dependences named. Chosen: the strongest few show whether the right columns were read.
const TOP_PAIRS: usize = 5;
/// Longest text shown whole, in characters. Chosen: half a line of a terminal.
const MAX_SHOWN: usize = 40;

/// The profile as plain text, ending in a line break.
pub fn text(reference: &Reference) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<11}{value}");
    };
    line("model", &clean(&reference.model));
    line("rows", &format!("{} (a sample of {} is kept)", reference.rows, reference.sample.len()));
    line("digest", &reference.digest);
    line("signature", &signature(reference));
    line("prediction", &prediction(reference));
    out.push('\n');
    let rows = feature_rows(reference);
    let widths: [usize; 5] =
        std::array::from_fn(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0).max(HEADER[i].chars().count()));
    for cells in std::iter::once(&HEADER.map(String::from)).chain(&rows) {
        let [name, kind, bins, missing, values] = cells;
        let [w_name, w_kind, w_bins, w_missing, _] = widths;
        let _ = writeln!(out, "{name:<w_name$}  {kind:<w_kind$}  {bins:>w_bins$}  {missing:>w_missing$}  {values}");
    }
    let pairs = pair_lines(reference);
    if !pairs.is_empty() {
        let _ = writeln!(out, "\nstrongest dependences (mutual information in nats)");
        for pair in pairs {
            let _ = writeln!(out, "  {pair}");
        }
    }
    out
}

/// The profile as Markdown tables, as a model card holds them.
pub fn markdown(reference: &Reference) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "\\`");
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "| Rows | Sample kept | Prediction |\n|---|---|---|");
    let _ = writeln!(out, "| {} | {} | {} |\n", reference.rows, reference.sample.len(), escape(&prediction(reference)));
    let _ = writeln!(out, "| {} |\n|---|---|---:|---:|---|", HEADER.join(" | "));
    for cells in feature_rows(reference) {
        let _ = writeln!(out, "| {} |", cells.map(|c| escape(&c)).join(" | "));
    }
    let pairs = pair_lines(reference);
    if !pairs.is_empty() {
        let _ = writeln!(out, "\nStrongest dependences (mutual information in nats):\n");
        for pair in pairs {
            let _ = writeln!(out, "- {}", escape(&pair));
        }
    }
    out
}

/// The profile as JSON for scripts: everything but the sample and the joint counts.
pub fn json(reference: &Reference) -> Value {
    let features: Vec<Value> = reference
        .features
        .iter()
        .map(|feature| {
            let top: Vec<Value> =
                top_values(feature, usize::MAX).into_iter().map(|(value, share)| json!({"value": value, "share": share})).collect();
            let mut entry = json!({
                "name": feature.name,
                "kind": feature.kind.name(),
                "bins": feature.bins(),
                "missing": missing_share(feature, reference.rows),
            });
            if feature.is_numeric() {
                entry["range"] = json!({"min": feature.min, "p01": feature.p01, "p99": feature.p99, "max": feature.max});
            }
            if feature.kind != Kind::Continuous {
                entry["values"] = top.into();
            }
            entry
        })
        .collect();
    let name = |i: usize| reference.features.get(i).map_or("", |f| f.name.as_str());
    let pairs: Vec<Value> =
        reference.pairs.iter().map(|p| json!({"a": name(p.a), "b": name(p.b), "information": p.information})).collect();
    let signer = sign::signer(reference).ok().flatten().map(|key| sign::fingerprint(&key));
    json!({
        "schema": reference.schema,
        "model": reference.model,
        "rows": reference.rows,
        "sample_rows": reference.sample.len(),
        "digest": reference.digest,
        "signed_by": signer,
        "features": features,
        "prediction": {
            "kind": reference.prediction.kind.name(),
            "classes": reference.prediction.classes,
            "edges": reference.prediction.edges,
            "counts": reference.prediction.counts,
            "threshold": reference.prediction.threshold,
        },
        "dependences": pairs,
    })
}

const HEADER: [&str; 5] = ["Feature", "Kind", "Bins", "Missing", "Range, or most frequent values"];

fn feature_rows(reference: &Reference) -> Vec<[String; 5]> {
    let row = |feature: &Feature| {
        [
            clean(&feature.name),
            feature.kind.name().to_owned(),
            feature.bins().to_string(),
            percent(missing_share(feature, reference.rows)),
            values(feature),
        ]
    };
    reference.features.iter().map(row).collect()
}

fn values(feature: &Feature) -> String {
    if feature.kind == Kind::Continuous {
        let [min, max, p01, p99] = [feature.min, feature.max, feature.p01, feature.p99].map(number);
        return format!("{min} to {max} (98% within {p01} to {p99})");
    }
    let top = top_values(feature, TOP_VALUES);
    let rest = feature.bins() - top.len();
    let mut parts: Vec<String> = top.into_iter().map(|(value, share)| format!("{} {}", clean(&value), percent(share))).collect();
    if rest > 0 {
        parts.push(format!("{rest} more"));
    }
    parts.join(", ")
}

/// The most frequent values with their share of the rows that have one.
fn top_values(feature: &Feature, limit: usize) -> Vec<(String, f64)> {
    let own = feature.counts.get(..feature.bins()).unwrap_or(&[]);
    let total = own.iter().sum::<u64>().max(1) as f64;
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(own[i]), i));
    order.truncate(limit);
    let name = |i: usize| match feature.kind {
        Kind::Categorical => feature.values.get(i).cloned(),
        _ => feature.support.get(i).map(|v| number(*v)),
    };
    order.into_iter().filter_map(|i| Some((name(i)?, own[i] as f64 / total))).collect()
}

fn missing_share(feature: &Feature, rows: u64) -> f64 {
    feature.counts.get(feature.bins() + code::MISSING).map_or(0.0, |&n| n as f64 / rows.max(1) as f64)
}

fn signature(reference: &Reference) -> String {
    match sign::signer(reference) {
        Ok(None) => "none".into(),
        Ok(Some(key)) => format!("by {}", sign::fingerprint(&key)),
        Err(error) => error.to_string(),
    }
}

fn prediction(reference: &Reference) -> String {
    let profile = &reference.prediction;
    let mut text = profile.kind.name().to_owned();
    // Writing to a String cannot fail.
    match profile.kind {
        PredictionKind::Score => {
            let scores: Vec<f64> =
                reference.sample_predictions.iter().filter(|c| !c.is_missing() && !c.is_unreadable()).map(|c| c.value()).collect();
            let (low, high) = scores.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &s| (l.min(s), h.max(s)));
            if low <= high {
                let _ = write!(text, ", {} to {} in the sample", number(low), number(high));
            }
            if let Some(threshold) = profile.threshold {
                let above = scores.iter().filter(|&&s| s > threshold).count() as f64 / scores.len().max(1) as f64;
                let _ = write!(text, "; decision at {}, {} above", number(threshold), percent(above));
            }
        }
        PredictionKind::Label | PredictionKind::Probabilities => {
            let total = profile.counts.iter().sum::<u64>().max(1) as f64;
            let mut classes: Vec<(&String, u64)> = profile.classes.iter().zip(profile.counts.iter().copied()).collect();
            classes.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
            let _ = write!(text, " of {} classes: ", classes.len());
            let more = classes.len().saturating_sub(TOP_VALUES);
            let shown: Vec<String> = classes
                .iter()
                .take(TOP_VALUES)
                .map(|(name, count)| format!("{} {}", clean(name), percent(*count as f64 / total)))
                .collect();
            text.push_str(&shown.join(", "));
            if more > 0 {
                let _ = write!(text, ", {more} more");
            }
        }
    }
    text
}

fn pair_lines(reference: &Reference) -> Vec<String> {
    let name = |i: usize| reference.features.get(i).map_or(String::new(), |f| clean(&f.name));
    reference.pairs.iter().take(TOP_PAIRS).map(|p| format!("{} and {}: {:.2}", name(p.a), name(p.b), p.information)).collect()
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p <= 0.0 => "0%".into(),
        p if p < 0.1 => "<0.1%".into(),
        p if p < 9.95 => format!("{p:.1}%"),
        p => format!("{p:.0}%"),
    }
}

/// A number with about five significant digits, as short as it goes.
fn number(value: f64) -> String {
    let size = value.abs();
    if size > 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the logarithm of a number in 1e-4..1e7 is small")]
    let decimals = if size > 0.0 { (4.0 - size.log10().floor()).clamp(0.0, 8.0) as usize } else { 0 };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Foreign text made safe for a terminal: control characters escaped, long text cut.
fn clean(text: &str) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == MAX_SHOWN {
            out.push('…');
            break;
        }
        // Marks of direction reverse the rest of a line, and are no control characters.
        let steers = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || steers { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_five_digits() {
        for (value, text) in [(0.0, "0"), (17.0, "17"), (1484705.0, "1484705"), (0.0710459, "0.071046"), (-42.5, "-42.5")] {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(1e12), "1.000e12");
    }

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\nc\\u{202e}d");
        assert_eq!(clean(&"x".repeat(100)).chars().count(), MAX_SHOWN + 1);
    }
}
