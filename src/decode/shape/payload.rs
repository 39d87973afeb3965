//! A payload within a text: JSON or CSV, as data capture writes it.
//!
//! SageMaker's data capture keeps the body of a call as text, with its encoding beside it: `CSV`, `JSON` or `BASE64` ("Data capture",
//! field `encoding`). Gateways do the same without saying which. CSV is read by RFC 4180, by comma; its values stay text, and the
//! reference decides what is a number. A first line of names is used as such.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::super::{RejectReason, Rejection, tree};
use super::fault;

/// Reads a text as JSON or CSV. `known` tells the names of features, so that a line of names is found.
pub(in crate::decode) fn read(text: &str, known: impl Fn(&str) -> bool) -> Result<Value, Rejection> {
    let plain = text.trim();
    if let Some(lines) = json_lines(plain) {
        return Ok(Value::Array(lines));
    }
    if plain.starts_with(['{', '[', '"']) && !is_quoted_csv(plain) {
        return tree::read(plain)
            .map_err(|inner| fault(format_args!("the text in the place of the features is broken JSON: {}", inner.message)));
    }
    if plain.is_empty() {
        return Err(fault("the text in the place of the features is empty"));
    }
    csv(plain, known)
}

/// Several lines of JSON objects or arrays, as SageMaker's `application/jsonlines` has them; `None` for any other text.
pub(in crate::decode) fn json_lines(text: &str) -> Option<Vec<Value>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_whole = |line: &str| line.starts_with(['{', '[']) && line.ends_with(['}', ']']);
    if lines.clone().nth(1).is_none() || !lines.clone().all(|line| is_whole(line.trim())) {
        return None;
    }
    lines.try_fold(Vec::new(), |mut all, line| {
        all.push(tree::read(line.trim()).ok()?);
        Some(all)
    })
}

/// Whether a text may be a payload: JSON, or several values.
pub(in crate::decode) fn looks_like_one(text: &str) -> bool {
    let plain = text.trim_start();
    plain.starts_with(['{', '[']) || plain.contains(',')
}

/// A line of CSV that begins with a quoted value, and is no JSON text.
fn is_quoted_csv(text: &str) -> bool {
    text.starts_with('"') && serde_json::from_str::<String>(text).is_err()
}

/// The payload of an object that says how it is encoded; `None` if it is none.
pub(in crate::decode) fn captured(map: &Map<String, Value>) -> Result<Option<Value>, Rejection> {
    if let (Some(Value::String(encoding)), Some(Value::String(data))) = (map.get("encoding"), map.get("data")) {
        return match encoding.to_ascii_uppercase().as_str() {
            "CSV" | "JSON" | "JSONLINES" => Ok(Some(Value::String(data.clone()))),
            "BASE64" => base64(data).map(Some),
            other => Err(fault(format_args!("encoding '{}'; CSV, JSON and BASE64 are read", super::excerpt(other).escape_debug()))),
        };
    }
    // CloudEvents, structured mode: bytes beside JSON.
    match map.get("data_base64") {
        Some(Value::String(data)) => base64(data).map(Some),
        _ => Ok(None),
    }
}

/// Text in base64.
pub(in crate::decode) fn base64(data: &str) -> Result<Value, Rejection> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(data.trim())
        .map_err(|error| fault(format_args!("the payload is no base64: {error}")))?;
    String::from_utf8(bytes)
        .map(Value::String)
        .map_err(|_| Rejection::new(RejectReason::BadFeatures, "the payload in base64 is no text; only JSON and CSV are read"))
}

/// Lines of values; the first may be names.
fn csv(text: &str, known: impl Fn(&str) -> bool) -> Result<Value, Rejection> {
    let mut lines = records(text, ',')?;
    let names: Vec<Value> = match lines.first() {
        Some(first)
            if lines.len() > 1
                && first.iter().any(|name| known(name.trim()))
                && first.iter().all(|cell| cell.trim().parse::<f64>().is_err()) =>
        {
            lines.remove(0).into_iter().map(|name| Value::String(name.trim().to_owned())).collect()
        }
        _ => Vec::new(),
    };
    let rows = lines.into_iter().map(|line| Value::Array(line.into_iter().map(Value::String).collect())).collect();
    if names.is_empty() {
        return Ok(Value::Array(rows));
    }
    Ok(Value::Object([("columns".to_owned(), Value::Array(names)), ("data".to_owned(), Value::Array(rows))].into_iter().collect()))
}

/// Splits text into lines of fields by RFC 4180. Blank lines are left out; blanks around a field without quotes are removed.
///
/// # Errors
/// A quotation mark that is never closed.
pub(crate) fn records(text: &str, delimiter: char) -> Result<Vec<Vec<String>>, Rejection> {
    let mut lines = Vec::new();
    let mut line: Vec<String> = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let (field, quoted, end) = field(&mut chars, delimiter)?;
        let blank = line.is_empty() && field.is_empty() && !quoted;
        if end == End::Field || !blank {
            line.push(field);
        }
        if end != End::Field && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        if end == End::Text {
            return Ok(lines);
        }
    }
}

/// What stands behind a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Field,
    Line,
    Text,
}

/// Takes one field, and says whether it was quoted.
fn field(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, delimiter: char) -> Result<(String, bool, End), Rejection> {
    let mut text = String::new();
    while chars.peek().is_some_and(|c| *c == ' ') {
        chars.next();
    }
    let quoted = chars.next_if_eq(&'"').is_some();
    if quoted {
        loop {
            match chars.next() {
                Some('"') if chars.next_if_eq(&'"').is_none() => break,
                Some(c) => text.push(c),
                None => return Err(fault("a quotation mark in the CSV is never closed")),
            }
        }
    }
    loop {
        let end = match chars.next() {
            Some(c) if c == delimiter => End::Field,
            Some('\n') => End::Line,
            None => End::Text,
            Some('\r') => continue,
            Some(c) => {
                if !quoted {
                    text.push(c);
                }
                continue;
            }
        };
        if !quoted {
            text.truncate(text.trim_end().len());
        }
        return Ok((text, quoted, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Vec<String>> {
        records(text, ',').unwrap()
    }

    #[test]
    fn csv_is_read_as_rfc_4180_says() {
        assert_eq!(fields("a, b ,\"c,\"\"d\"\"\"\r\n\n1,,3\n"), [vec!["a", "b", "c,\"d\""], vec!["1", "", "3"]]);
        assert_eq!(fields("\"two\nlines\",x"), [["two\nlines", "x"]]);
        assert_eq!(fields("0.5"), [["0.5"]]);
        assert_eq!(fields(",\n"), [["", ""]]);
        assert!(records("\"open", ',').is_err() && fields("").is_empty());
    }

    #[test]
    fn a_line_of_names_is_told_from_a_line_of_values() {
        let known = |name: &str| name == "age";
        let named = read("age,sex\n39,M", known).unwrap();
        assert_eq!(named["columns"][1], "sex");
        assert!(read("39,M\n40,F", known).unwrap().is_array());
        assert!(read("age,sex", known).unwrap().is_array(), "a single line has values");
    }

    #[test]
    fn json_in_a_text_is_read_and_broken_json_is_named() {
        assert_eq!(read(r#" {"a":1}"#, |_| false).unwrap()["a"], 1);
        assert_eq!(read(r#""{\"a\":1}""#, |_| false).unwrap(), r#"{"a":1}"#);
        assert!(read(r#"{"a":"#, |_| false).unwrap_err().message.contains("broken JSON"));
        assert_eq!(read(r#""Smith, J",3"#, |_| false).unwrap()[0][0], "Smith, J");
    }
}
