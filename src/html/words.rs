//! Plain words for the names of the engine (families, statistics, findings), and numbers as people write them.

use crate::event::EventTime;
use crate::judge::{ColumnChange, Family, FeatureDrift, Finding, SignalValue};
use crate::reference::UnknownValue;

/// Share of the callers from which all of them are meant: one of the 64 that are compared may have sent its newest row before.
const ALL: f64 = 0.98;
/// Coefficient of variation of the gaps below which a caller is said to ask by the clock. Chosen: half of what chance gives.
const METRONOME: f64 = 0.5;
use crate::signal::density::statistic::DensityStatistic;

/// A family of probing in a word or two, for tables.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::Grid => "grid scan",
        Family::LineSearch => "line search",
        Family::Boundary => "boundary walk",
        Family::NearDuplicate => "near duplicates",
        Family::Random => "random input",
        Family::Substitute => "training a copy",
        Family::Membership => "membership test",
        Family::Volume => "sheer volume",
        Family::Unreadable => "unreadable records",
        Family::Unknown => "unnamed pattern",
    }
}

/// A caller that probes in this shape, as a headline.
pub fn family_headline(family: Family) -> &'static str {
    match family {
        Family::Grid => "It scans the model in a grid",
        Family::LineSearch => "It searches along single features for where the answer flips",
        Family::Boundary => "It walks along the model's decision boundary",
        Family::NearDuplicate => "It asks about clouds of almost equal rows",
        Family::Random => "It asks about made-up rows",
        Family::Substitute => "It trains a copy of the model",
        Family::Membership => "It tests who was in the training data",
        Family::Volume => "It asks far more than others",
        Family::Unreadable => "It sends records that nobody can read",
        Family::Unknown => "It asks systematically",
    }
}

/// What a family of probing does, in a sentence.
pub fn family_explained(family: Family) -> &'static str {
    match family {
        Family::Grid => "walks through the input space in regular steps, so that the answers map the model out",
        Family::LineSearch => {
            "holds everything still but one feature, and halves its range again and again to find where the answer flips"
        }
        Family::Boundary => {
            "moves along the edge between two answers, in small steps, to find the smallest change that fools the model"
        }
        Family::NearDuplicate => "asks about a cloud of almost equal rows, to measure how the answer reacts to tiny changes",
        Family::Random => "makes up rows that no real case resembles, and learns the model from the answers",
        Family::Substitute => "picks rows by what a copy of the model is still unsure about, in order to train that copy",
        Family::Membership => "tests whether particular rows were in the training data",
        Family::Volume => {
            "asks far more different rows than callers do; it is a batch job, a mirror or a load test that nobody announced, or it copies the model"
        }
        Family::Unreadable => "leaves records that cannot be read, so that nobody knows what it asked; it hides, or it is broken",
        Family::Unknown => "does not look like use, without a shape that has a name",
    }
}

/// What a statistic of a verdict says, in words; unknown names are shown as they are.
pub fn signal(name: &str) -> String {
    let known = match name {
        "query_rate" => "queries per hour",
        "inter_query_gap_seconds" | "inter_query_gap" | "query_gap" => "mean seconds between queries",
        "gap_variation" | "gap_regularity" => "irregularity of the gaps (0 is a metronome, 1 is chance)",
        "off_hours_share" | "off_hours" => "share of queries at night",
        "feature_entropy" | "entropy" => "variety of the feature values (entropy)",
        "psi" => "shift of the feature distributions (PSI)",
        "vanishes_without_suspects" => "share of the shift that vanishes without the suspects",
        "moved_callers" => "callers whose own rows moved, of all in the window",
        "change_quarters" => "quarters of an hour that the change took (0 is a step)",
        "psi_same_hour_yesterday" => "shift against the same hour of yesterday (PSI)",
        "changed_answers" => "repeated rows whose answers changed",
        "prediction_psi" => "shift of the model's answers (PSI)",
        "proximity_to_earlier_rows" => "rows suspiciously close to earlier ones (score)",
        "automation_of_edits" => "edits as a machine makes them (score)",
        "one_feature_edits" => "rows that differ from an earlier one in one feature",
        "bisections" => "values exactly in the middle between two tried before",
        "lattice_steps" => "equal steps along a feature, or values of a list tried once each",
        "completed_rectangles" => "rows that complete a table of two features' values",
        "ends_of_range" => "values at the very end of a feature's range",
        "equal_sizes" => "steps as large as one taken elsewhere",
        "equal_shares" => "steps that move several features by equal shares of their scales",
        "growing_blanks" => "rows with more fields empty, or fewer, than any before",
        "flagged_neighbours_in_prefix" => "flagged callers of the same network prefix",
        "flagged_addresses_in_prefix" => "flagged addresses among those known of this network prefix",
        "flagged_addresses_of_account" => "addresses at which this account is flagged",
        "campaign_members" => "callers whose queries belong together",
        "row_of_a_crowd" => "its row is one of a crowd of new callers (score)",
        "strangers" => "different rows of new callers since the crowd came",
        "odd_rows_of_strangers" => {
            "share of these rows that are impossible or belong to a campaign (usually: that of callers with a past)"
        }
        "flagged_clients" => "callers flagged as probing",
        "different_rows_in_five_minutes" => "far more different rows than its peers ask (in five minutes)",
        "different_rows_in_an_hour" => "far more different rows than its peers ask (in an hour)",
        "busy_newcomers_together" => "several busy newcomers that came together (callers)",
        "times_own_largest_past" => "times the most that it asked before",
        "queries_without_a_caller" => "queries that do not say who asked (share of all)",
        "unreadable_ratio" => "records that cannot be read (share of its records)",
        "information_budget" => "different rows against the unknowns of a linear copy",
        "regions_covered" => "part of the model's regions asked about",
        other => {
            return DensityStatistic::named(other)
                .map_or_else(|| other.replace('_', " "), |statistic| format!("{} (share of rows)", statistic.words()));
        }
    };
    known.to_owned()
}

/// What a statistic of a verdict says, without the unit in which it is measured.
pub fn reason(name: &str) -> String {
    let mut words = signal(name);
    if let Some(unit) = words.find(" (") {
        words.truncate(unit);
    }
    words
}

/// How much a caller that asks far more than others asks, in a line; empty if its signals do not say.
pub fn volume(signals: &[SignalValue]) -> String {
    let find = |name: &str| signals.iter().find(|signal| signal.name == name);
    let window = |name, time: &str| {
        find(name).map(|rows| {
            let peers = measured(rows.reference.round());
            format!("{:.0} different rows in {time}, of its peers one in a hundred asks {peers}", rows.value)
        })
    };
    let mut said: Vec<String> = Vec::new();
    said.extend(window("different_rows_in_five_minutes", "five minutes"));
    said.extend(window("different_rows_in_an_hour", "an hour"));
    said.extend(find("busy_newcomers_together").map(|group| format!("{:.0} such newcomers came together", group.value)));
    let metronome = find("gap_variation").filter(|gap| gap.value < METRONOME);
    said.extend(metronome.and(find("inter_query_gap_seconds")).map(|gap| format!("one every {}", duration(gap.value))));
    said.extend(find("regions_covered").map(|share| format!("in {} of the model's regions", percent(share.value.min(1.0)))));
    said.join("; ")
}

/// Whether a campaign is a crowd of strangers, which share no address, account or edit, but what they ask.
pub fn is_crowd(signals: &[SignalValue]) -> bool {
    signals.iter().any(|signal| signal.name == "strangers")
}

/// The addresses of a campaign: `8 addresses`, or of a crowd `3,000 addresses with a query or two each`; words for them if there are none.
pub fn addresses(signals: &[SignalValue], members: usize, queries: u64) -> String {
    let members = members as u64;
    let number = counted(members, "address", "addresses");
    match () {
        () if members == 0 && !is_crowd(signals) => "callers that the log does not name".to_owned(),
        () if !is_crowd(signals) => number,
        () if members == 0 => "new addresses of which none can be named".to_owned(),
        () if queries <= 2 * members => format!("{number} with a query or two each"),
        () => format!("{number} with few queries each"),
    }
}

/// What the rows of a crowd have in common, without a full stop; `None` if its line names no columns.
pub fn in_common(features: &[FeatureDrift]) -> Option<String> {
    let names: Vec<String> = features.iter().map(|feature| printable(&feature.name, 40)).collect();
    (!names.is_empty()).then(|| format!("their rows have in common: unusual values of {}", names.join(", ")))
}

/// What kind of change a verdict of drift speaks of, in a line; `None` if its signals do not say.
pub fn change(signals: &[SignalValue]) -> Option<String> {
    let find = |name: &str| signals.iter().find(|signal| signal.name == name);
    let mut said = Vec::new();
    let pace = find("change_quarters").map(|quarters| match quarters.value {
        // What took no longer than an hour is a step to a person.
        steps if steps <= quarters.reference => "sudden".to_owned(),
        steps => format!("gradual over {}", duration(steps * 900.0)),
    });
    let moved = find("moved_callers").filter(|moved| moved.reference > 0.0).map(|moved| {
        // In a change of everybody's rows most callers move; a third is between a roll-out to a tenth and that.
        let width = if moved.value * 3.0 >= moved.reference { "broad" } else { "concentrated" };
        (width, format!("{:.0} of {:.0} callers moved", moved.value, moved.reference))
    });
    match (pace, moved) {
        (Some(pace), Some((width, callers))) => said.push(format!("{pace}, {width}: {callers}")),
        (None, Some((width, callers))) => said.push(format!("{width}: {callers}")),
        (Some(pace), None) => said.push(pace),
        (None, None) => {}
    }
    if let Some(share) = find("vanishes_without_suspects").filter(|share| share.value >= 0.005) {
        said.push(format!("{} of it vanishes without the suspects", percent(share.value)));
    }
    if find("psi_same_hour_yesterday").is_some_and(|hour| hour.value * 2.0 < hour.reference) {
        said.push("much the same at this hour yesterday".to_owned());
    }
    if let Some(answers) = find("changed_answers") {
        said.push(format!("{:.0} repeated rows got other answers", answers.value));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// What callers sent, as the end of a sentence: ` (for example ' Private')`; empty without an example.
fn examples(change: &ColumnChange) -> String {
    let quoted: Vec<String> = change.examples.iter().map(|text| format!("'{}'", printable(text, 40))).collect();
    if quoted.is_empty() { String::new() } else { format!(" (for example {})", quoted.join(", ")) }
}

/// A column that many callers write as the reference does not know, in a sentence without a full stop.
pub fn column_change(change: &ColumnChange) -> String {
    let name = printable(&change.name, 40);
    let (since, callers, examples) = (minute(change.since.0), percent(change.callers), examples(change));
    match change.kind {
        UnknownValue::Missing if change.callers >= ALL => format!("since {since}, the field {name} is gone: no caller sends it"),
        UnknownValue::Missing => format!("since {since}, {callers} of the callers send no {name}"),
        UnknownValue::Unseen => {
            format!("since {since}, {callers} of the callers send values of {name} that the reference does not know{examples}")
        }
        UnknownValue::Unreadable => {
            format!("since {since}, {callers} of the callers send values of {name} of the wrong kind{examples}")
        }
        UnknownValue::OutOfRange => {
            format!("since {since}, {callers} of the callers send numbers of {name} beyond the range of the reference{examples}")
        }
    }
}

/// How a drifted feature is to be read: the drift stays or vanishes without the suspects' queries.
pub fn drift_reading(drift: &FeatureDrift) -> &'static str {
    match (drift.psi > drift.critical, drift.psi_without_suspects > drift.critical) {
        (true, true) => "the world changed",
        (true, false) => "vanishes without the suspects",
        (false, _) => "within chance",
    }
}

/// A finding on a model, as a headline.
pub fn headline(finding: Finding) -> &'static str {
    match finding {
        Finding::Stable => "Nothing unusual",
        Finding::Drift => "The world changed",
        Finding::Probing => "Somebody is probing this model",
        Finding::DriftAndProbing => "The world changed, and somebody is probing this model",
        Finding::Benign => "Nothing against this caller",
        Finding::Suspicious => "Suspicious, but not enough evidence",
    }
}

/// A number with thousands set apart by commas.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 caller`, `2 callers`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A measured number with about three significant digits.
pub fn measured(value: f64) -> String {
    let size = value.abs();
    match () {
        () if !value.is_finite() => "–".to_owned(),
        () if size >= 1e15 => format!("{value:.2e}"),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above, rounded on purpose")]
        () if size >= 999.5 => format!("{}{}", if value < 0.0 { "-" } else { "" }, count(size.round() as u64)),
        () if size >= 99.95 => format!("{value:.0}"),
        () if size >= 9.995 => format!("{value:.1}"),
        () if size >= 0.0995 => format!("{value:.2}"),
        () if size >= 0.000_95 => format!("{value:.3}"),
        () if size > 0.0 => format!("{value:.1e}"),
        () => "0".to_owned(),
    }
}

/// A feature value as a log would write it: no digits that are not there, at most six decimals.
pub fn exact(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Part of a whole in percent, with as many digits as keep it from reading 0 or 100 when it is not.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match () {
        () if (99.95..100.0).contains(&percent) => 3,
        () if percent >= 10.0 => 1,
        () if percent >= 0.095 || percent <= 0.0 => 2,
        () => 4,
    };
    let text = format!("{percent:.digits$}");
    // A bound of 1e-9 rounds to 100; the engine did not say certain.
    if percent < 100.0 && text.starts_with("100") { "99.999 %".to_owned() } else { format!("{} %", trimmed(&text)) }
}

/// A confidence in percent. Verdict lines have four decimals, so 1 says that it is above the last of them, and not that it is certain.
pub fn confidence(share: f64) -> String {
    if share >= 0.999_95 { "> 99.99 %".to_owned() } else { percent(share) }
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Date and time to the second, UTC, without the letters: `2026-03-02 09:15:00`.
pub fn moment(at: EventTime) -> String {
    let text = at.to_string();
    match text.get(..19) {
        Some(text) => text.replace('T', " "),
        None => text,
    }
}

/// Date and time to the minute.
pub fn minute(at: EventTime) -> String {
    let mut text = moment(at);
    text.truncate(16);
    text
}

/// Seconds as a person says them.
pub fn duration(seconds: f64) -> String {
    match () {
        () if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        () if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        () if seconds < 90.0 => format!("{} s", trimmed(&format!("{seconds:.1}"))),
        () if seconds < 5_400.0 => format!("{:.0} min", seconds / 60.0),
        () if seconds < 129_600.0 => format!("{} h", trimmed(&format!("{:.1}", seconds / 3_600.0))),
        () => format!("{} days", trimmed(&format!("{:.1}", seconds / 86_400.0))),
    }
}

/// Text from a log, safe to print on a terminal: no control characters, bounded length.
pub fn printable(text: &str, most: usize) -> String {
    let mut safe: String = text.chars().take(most).map(|c| if c.is_control() || is_bidi(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        safe.push('…');
    }
    safe
}

/// Characters that turn the reading direction: with them a log could make a line say something else.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.04, 0.31, 7.4, 31.26, 999.6, -1234.5].map(measured),
            ["0", "0.040", "0.31", "7.40", "31.3", "1,000", "-1,235"]
        );
        assert_eq!([39.0, 40.123_456, -0.0, 0.5].map(exact), ["39", "40.123456", "0", "0.5"]);
        assert_eq!([0.0, 0.5, 0.998, 1.0].map(percent), ["0 %", "50 %", "99.8 %", "100 %"]);
    }

    #[test]
    fn what_is_not_certain_does_not_read_as_certain() {
        assert_eq!(percent(0.999_999_999), "99.999 %");
        assert_eq!(percent(0.000_05), "0.005 %");
        assert_eq!([0.5, 0.9999, 1.0].map(confidence), ["50 %", "99.99 %", "> 99.99 %"]);
    }

    #[test]
    fn a_change_is_told_in_one_line() {
        let signal = |name, value, reference| SignalValue { name, value, reference, evidence: 0.0 };
        let world = [
            signal("vanishes_without_suspects", 0.02, 0.0),
            signal("moved_callers", 83.0, 90.0),
            signal("change_quarters", 1.0, 4.0),
        ];
        assert_eq!(change(&world).unwrap(), "sudden, broad: 83 of 90 callers moved; 2 % of it vanishes without the suspects");
        let slow = [signal("moved_callers", 9.0, 90.0), signal("change_quarters", 16.0, 4.0), signal("changed_answers", 12.0, 8.0)];
        assert_eq!(
            change(&slow).unwrap(),
            "gradual over 4 h, concentrated: 9 of 90 callers moved; 12 repeated rows got other answers"
        );
        assert_eq!(change(&[]), None);
    }

    #[test]
    fn a_crowd_is_told_from_other_campaigns() {
        let signal = |name| SignalValue { name, value: 9.0, reference: 0.0, evidence: 0.0 };
        let (crowd, other) = ([signal("campaign_members"), signal("strangers")], [signal("campaign_members")]);
        assert_eq!(addresses(&other, 8, 9), "8 addresses");
        assert_eq!(addresses(&other, 0, 9), "callers that the log does not name");
        assert_eq!(addresses(&crowd, 3_000, 3_100), "3,000 addresses with a query or two each");
        assert_eq!(addresses(&crowd, 3, 9), "3 addresses with few queries each");
        assert_eq!(addresses(&crowd, 0, 9), "new addresses of which none can be named");
        let feature = |name: &str| FeatureDrift { name: name.into(), psi: 3.0, critical: 0.3, psi_without_suspects: 0.0 };
        let said = in_common(&[feature("capital_gain"), feature("fnl\u{1b}wgt")]).unwrap();
        assert_eq!(said, "their rows have in common: unusual values of capital_gain, fnl\u{fffd}wgt");
        assert_eq!(in_common(&[]), None);
    }

    #[test]
    fn hostile_text_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\n", 10), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        assert_eq!(printable("abcdef", 3), "abc…");
    }

    #[test]
    fn durations_keep_to_one_unit() {
        assert_eq!(
            [0.000_02, 0.25, 1.0, 75.5, 600.0, 5_400.0, 172_800.0].map(duration),
            ["20 µs", "250 ms", "1 s", "75.5 s", "10 min", "1.5 h", "2 days"]
        );
    }
}
