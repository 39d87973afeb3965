//! How the lines of a log hold their records: bare, behind words of a logger (`2026-03-02 09:15:00 INFO {..}`), or as a JSON text that
//! was encoded twice.
//!
//! Also what files hold that are no lines at all, with what to do: it is told from the first lines, before anything is judged.

use serde_json::Value;

/// How lines hold records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum LineForm {
    /// The line is the record.
    #[default]
    Bare,
    /// Words of a logger stand before it.
    BehindWords,
    /// The line is a JSON text that holds the record.
    Encoded,
}

// === impl LineForm ===

impl LineForm {
    /// By a line; a line of no form that is known is bare.
    pub(super) fn of(line: &[u8]) -> Self {
        let line = line.trim_ascii();
        let is_object = |bytes: &[u8]| matches!(serde_json::from_slice(bytes), Ok(Value::Object(_)));
        match line.first() {
            Some(b'"') if serde_json::from_slice::<String>(line).is_ok_and(|text| is_object(text.as_bytes())) => Self::Encoded,
            Some(b'{' | b'[' | b'"') | None => Self::Bare,
            Some(_) => match line.iter().position(|&byte| byte == b'{') {
                Some(at) if is_object(&line[at..]) => Self::BehindWords,
                _ => Self::Bare,
            },
        }
    }

    /// The record of a line; `buffer` is used again.
    pub(super) fn record<'a>(self, line: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            Self::Bare => line,
            Self::BehindWords => line.iter().position(|&byte| byte == b'{').map_or(line, |at| &line[at..]),
            Self::Encoded => match serde_json::from_slice::<String>(line) {
                Ok(text) => {
                    buffer.clear();
                    buffer.extend_from_slice(text.as_bytes());
                    buffer
                }
                Err(_) => line,
            },
        }
    }

    /// What is said of it behind the layout.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Bare => "",
            Self::BehindWords => "; what stands before each record is left out",
            Self::Encoded => "; each record is a JSON text within a line",
        }
    }
}

/// What is wrong with JSON that is not one object a line, by its first two lines.
pub(super) fn not_lines(first: &[u8], second: &[u8]) -> Option<&'static str> {
    match first.trim_ascii() {
        // A name alone, or an object, begins the second line; a record that was cut has the next record there.
        b"{" | b"[" if second.first().is_some_and(u8::is_ascii_whitespace) => {
            Some("the objects go over several lines; write one JSON object a line (jq -c . does that)")
        }
        [b'[', rest @ ..] if rest.trim_ascii_start().starts_with(b"{") => Some(
            "the log is one JSON array; write one JSON object a line (pandas: to_json(orient=\"records\", lines=True), or jq -c '.[]')",
        ),
        line => whole_table(line, second).or_else(|| several_in_a_line(line, second)),
    }
}

/// A whole table in one object, as `to_json` of pandas writes it unless asked otherwise.
fn whole_table(first: &[u8], second: &[u8]) -> Option<&'static str> {
    if !second.trim_ascii().is_empty() {
        return None;
    }
    let Ok(Value::Object(map)) = serde_json::from_slice(first) else { return None };
    let is_list = |name: &str| map.get(name).is_some_and(Value::is_array);
    let is_number = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let by_row = |value: &Value| value.as_object().is_some_and(|rows| rows.len() > 1 && rows.keys().all(is_number));
    let split = is_list("columns") && is_list("index") && is_list("data");
    let table = map.contains_key("schema") && is_list("data");
    let by_column = !map.is_empty() && map.values().all(by_row);
    let by_number = map.len() > 1 && map.iter().all(|(name, value)| is_number(name) && value.is_object());
    (split || table || by_column || by_number)
        .then_some("the log is one JSON table; write one object a line (pandas: to_json(FILE, orient=\"records\", lines=True))")
}

/// Objects without line ends between them, as Firehose writes them, or with those of old computers.
fn several_in_a_line(first: &[u8], second: &[u8]) -> Option<&'static str> {
    let several = |line: &[u8]| {
        let mut objects = serde_json::Deserializer::from_slice(line).into_iter::<serde::de::IgnoredAny>();
        line.starts_with(b"{") && matches!(objects.next(), Some(Ok(_))) && objects.next().is_some_and(|more| more.is_ok())
    };
    let second = second.trim_ascii();
    (several(first) && (second.is_empty() || several(second)))
        .then_some("several JSON objects stand in one line; write one a line (jq -c . does that)")
}

/// Logs of systems that write the two halves of a call apart in a way that nothing here joins.
pub(super) fn not_whole_calls(record: &[u8]) -> Option<&'static str> {
    let Ok(Value::Object(map)) = serde_json::from_slice(record) else { return None };
    let is_azure = map.contains_key("specversion") && map.contains_key("correlationid") && map.contains_key("data");
    is_azure.then_some(
        "this is Azure ML's data collector, which logs inputs and outputs apart; join them by correlationid first, with both \"data\" in one \
         object (pandas: merge(on=\"correlationid\"), then to_json(orient=\"records\", lines=True))",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_behind_words_and_within_a_text() {
        let mut buffer = Vec::new();
        for (line, form, record) in [
            (r#"{"a":1}"#, LineForm::Bare, r#"{"a":1}"#),
            (r#"2026-03-02T09:15:00Z stdout F {"a":"{"}"#, LineForm::BehindWords, r#"{"a":"{"}"#),
            (r#""{\"a\":1}""#, LineForm::Encoded, r#"{"a":1}"#),
            ("age,sex", LineForm::Bare, "age,sex"),
            ("started {x}", LineForm::Bare, "started {x}"),
            (r#""quoted",1"#, LineForm::Bare, r#""quoted",1"#),
        ] {
            assert_eq!(LineForm::of(line.as_bytes()), form, "{line}");
            assert_eq!(form.record(line.as_bytes(), &mut buffer), record.as_bytes(), "{line}");
        }
        // A line of another kind stays as it is, and the decoder refuses it.
        assert_eq!(LineForm::Encoded.record(b"text", &mut buffer), b"text");
        assert_eq!(LineForm::BehindWords.record(b"text", &mut buffer), b"text");
    }

    #[test]
    fn what_is_no_line_is_named_with_what_to_do() {
        for (first, second, word) in [
            ("{", "  \"a\": 1", "several lines"),
            ("[{\"a\":1}]", "", "JSON array"),
            (r#"{"a":{"0":1,"1":2}}"#, "", "JSON table"),
            (r#"{"columns":["a"],"index":[0],"data":[[1]]}"#, "", "JSON table"),
            (r#"{"schema":{},"data":[{"a":1}]}"#, "", "JSON table"),
            (r#"{"0":{"a":1},"1":{"a":2}}"#, "", "JSON table"),
            (r#"{"a":1}{"a":2}"#, "", "several JSON objects"),
            ("{\"a\":1}\r{\"a\":2}", "", "several JSON objects"),
            (r#"{"a":1} {"a":2}"#, r#"{"a":1}{"a":2}{"a":3}"#, "several JSON objects"),
        ] {
            assert!(not_lines(first.as_bytes(), second.as_bytes()).is_some_and(|said| said.contains(word)), "{first}");
        }
        for (first, second) in [
            (r#"{"a":1}"#, ""),
            (r#"{"a":1}{"a":2}"#, r#"{"a":1}"#),
            (r#"{"features":{"a":1},"columns":["a"],"data":[1]}"#, r#"{"a":1}"#),
            ("{\"a\":", "{\"a\":1}"),
            ("", ""),
        ] {
            assert_eq!(not_lines(first.as_bytes(), second.as_bytes()), None, "{first}");
        }
        assert!(not_whole_calls(br#"{"specversion":"1.0","correlationid":"c","data":[]}"#).is_some());
        assert!(not_whole_calls(br#"{"specversion":"1.0","id":"c","data":[]}"#).is_none());
    }
}
