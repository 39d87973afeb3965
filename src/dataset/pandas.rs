//! What pandas writes about a data frame: into Parquet, which columns are its row index and which hold durations; and the layouts of
//! `to_json` that are not one object a line.

use ::parquet::file::metadata::FileMetaData;
use serde_json::Value;

use super::Fault;
use super::json::{Json, find};

/// What the metadata of a Parquet file say of the data frame that it was.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Frame {
    index: Vec<String>,
    durations: Vec<String>,
}

// === impl Frame ===

impl Frame {
    /// The frame of a file; nothing is known of one that pandas did not write.
    pub(super) fn of(metadata: &FileMetaData) -> Self {
        let entries = metadata.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let text = entries.iter().find(|entry| entry.key == "pandas").and_then(|entry| entry.value.as_deref());
        text.and_then(|text| serde_json::from_str(text).ok()).map(|frame: Value| Self::read(&frame)).unwrap_or_default()
    }

    fn read(frame: &Value) -> Self {
        let list = |name: &str| frame[name].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        // A range that counts the rows is described and has no column.
        let index = list("index_columns").filter_map(Value::as_str).map(str::to_owned).collect();
        let durations = list("columns")
            .filter(|column| column["numpy_type"].as_str().is_some_and(|kind| kind.starts_with("timedelta")))
            .filter_map(|column| column["field_name"].as_str().map(str::to_owned))
            .collect();
        Self { index, durations }
    }

    /// Whether a column is the row index of the frame, which pandas reads back as no column.
    pub(super) fn has_index(&self, name: &str) -> bool {
        let number = name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__"));
        let nameless = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        nameless || self.index.iter().any(|known| known == name)
    }

    /// Whether a column holds durations; the file stores them as whole numbers.
    pub(super) fn has_duration(&self, name: &str) -> bool {
        self.durations.iter().any(|known| known == name)
    }
}

/// Refuses the first line of a file that is a whole table in one of the layouts of `to_json` and of other exports.
///
/// # Errors
/// [`Fault::Unsupported`] with what writes one object a line.
pub(super) fn refuse_whole_table(fields: &[(String, Json)]) -> Result<(), Fault> {
    let is_list = |name: &str| matches!(find(fields, name), Some(Json::Array(_)));
    let rows = |value: &Json| matches!(value, Json::Object(rows) if rows.len() > 1 && rows.iter().all(|(name, _)| is_number(name)));
    let split = is_list("columns") && is_list("data");
    let table = find(fields, "schema").is_some() && is_list("data");
    let by_column = !fields.is_empty() && fields.iter().all(|(_, value)| rows(value));
    let by_row = fields.len() > 1 && fields.iter().all(|(name, value)| is_number(name) && matches!(value, Json::Object(_)));
    if split || table || by_column || by_row {
        return Err(Fault::Unsupported(
            "the file is one JSON table; write one object a line (pandas: to_json(FILE, orient=\"records\", lines=True))",
        ));
    }
    Ok(())
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::json::parse;
    use super::*;

    #[test]
    fn a_frame_tells_its_index_and_its_durations() {
        let frame = Frame::read(&json!({
            "index_columns": ["row", {"kind": "range", "name": null, "start": 0, "stop": 3, "step": 1}],
            "columns": [
                {"name": "age", "field_name": "age", "numpy_type": "int64"},
                {"name": "took", "field_name": "took", "numpy_type": "timedelta64[ns]"},
            ],
        }));
        assert!(frame.has_index("row") && frame.has_index("__index_level_0__") && !frame.has_index("age"));
        assert!(frame.has_duration("took") && !frame.has_duration("age"));
        assert!(!Frame::default().has_index("__index_level___"));
        assert_eq!(Frame::read(&json!([1])), Frame::default());
    }

    #[test]
    fn tables_in_one_object_are_told_from_rows() {
        let whole = |text: &str| match parse(text) {
            Ok(Json::Object(fields)) => refuse_whole_table(&fields).is_err(),
            _ => panic!("no object"),
        };
        for text in [
            r#"{"columns":["a","b"],"index":[0],"data":[[1,2]]}"#,
            r#"{"schema":{"fields":[]},"data":[{"a":1}]}"#,
            r#"{"a":{"0":1,"1":2},"b":{"0":3,"1":4}}"#,
            r#"{"0":{"a":1},"1":{"a":2}}"#,
        ] {
            assert!(whole(text), "{text}");
        }
        for text in [r#"{"a":1,"b":{"0":3}}"#, r#"{"features":{"a":1},"prediction":1}"#, "{}", r#"{"who":{"age":3,"x":1}}"#] {
            assert!(!whole(text), "{text}");
        }
    }
}
