//! JSON lines: flat objects (every key a column), or canonical events whose `features` hold the columns.
//!
//! The first line decides which of the two layouts the file has; every other line must have the same. Objects within features are
//! flattened with dots (`customer.age`), as decoding does it. Features given as an array are named `f0`, `f1`, … by position. An
//! answer may be a number, a text, or an object of class → probability.

use std::io::{BufRead, Read};

use super::build::{Answer, Builder, Role};
use super::json::{Json, find, parse, parse_line};
use super::pandas::refuse_whole_table;
use super::{DatasetError, Fault, MAX_RECORD};
use crate::reference::Raw;

/// Which of the two layouts a file has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    Flat,
    Event,
}

/// Reads every line into the builder.
///
/// # Errors
/// [`Fault`]s with line and column.
pub fn read<'a>(mut source: Box<dyn BufRead + 'a>, builder: &mut Builder<'_>) -> Result<(), DatasetError> {
    let mut buffer = Vec::new();
    let mut layout = None;
    let mut row = Row::default();
    for line in 1.. {
        buffer.clear();
        let n = source.by_ref().take(MAX_RECORD as u64 + 1).read_until(b'\n', &mut buffer).map_err(|e| Fault::Io(e).at(line))?;
        if n == 0 {
            break;
        }
        if n > MAX_RECORD {
            return Err(Fault::LongRecord.at(line));
        }
        let text = std::str::from_utf8(&buffer).map_err(|_| Fault::NotUtf8.at(line))?.trim();
        if text.is_empty() {
            continue;
        }
        let fields = match parse_line(text, &builder.options().missing).map_err(|f| f.at(line))? {
            Json::Object(fields) => fields,
            other => return Err(Fault::Json(format!("the line is {}", other.what())).at(line)),
        };
        if layout.is_none() {
            refuse_whole_table(&fields).map_err(|f| f.at(line))?;
        }
        let features = fields.iter().filter(|(name, _)| name == "features").count();
        let holds_features = matches!(find(&fields, "features"), Some(Json::Object(_) | Json::Array(_)));
        let here = if holds_features { Layout::Event } else { Layout::Flat };
        if features > 1 {
            return Err(Fault::DuplicateColumn.at_column(line, "features"));
        }
        if *layout.get_or_insert(here) != here {
            let what = match here {
                Layout::Event => "this line is an event with 'features', earlier lines were flat objects",
                Layout::Flat => "this line has no 'features', earlier lines were events that had",
            };
            return Err(Fault::Json(what.into()).at(line));
        }
        let wanted = match here {
            Layout::Flat => row.flat(line, fields, builder)?,
            Layout::Event => row.event(line, fields, builder)?,
        };
        if let Some(answer) = wanted {
            builder.push(line, &mut row.cells, answer)?;
        }
    }
    Ok(())
}

/// Probabilities by class from a JSON object in text, as a CSV cell may hold them.
///
/// # Errors
/// If it is not an object of numbers from 0 to 1.
pub fn probabilities(text: &str) -> Result<Answer, Fault> {
    answer(parse(text)?)
}

fn answer(value: Json) -> Result<Answer, Fault> {
    let fields = match value {
        Json::Null => return Ok(Answer::Scalar(Raw::Missing)),
        Json::Boolean(flag) => return Ok(Answer::Scalar(Raw::Boolean(flag))),
        Json::Number(number) => return Ok(Answer::Scalar(Raw::Number(number))),
        Json::Text(text) if text.trim().is_empty() => return Ok(Answer::Scalar(Raw::Missing)),
        Json::Text(text) => return Ok(Answer::Scalar(Raw::Text(text.into()))),
        Json::Array(_) => return Err(Fault::NestedAnswer("a list")),
        Json::Object(fields) => fields,
    };
    let mut classes: Vec<(String, f64)> = Vec::with_capacity(fields.len());
    for (class, value) in fields {
        let probability = match value {
            Json::Number(p) if (0.0..=1.0).contains(&p) => p,
            Json::Number(p) => return Err(Fault::BadProbability { class, value: p.to_string() }),
            other => return Err(Fault::BadProbability { class, value: other.what().into() }),
        };
        if classes.iter().any(|(known, _)| *known == class) {
            return Err(Fault::Json(format!("class '{class}' occurs twice")));
        }
        classes.push((class, probability));
    }
    if classes.is_empty() { Ok(Answer::Scalar(Raw::Missing)) } else { Ok(Answer::Classes(classes)) }
}

/// The row that is being read, in buffers that are used again.
#[derive(Default)]
struct Row {
    cells: Vec<(usize, Raw)>,
    /// Line that last filled each feature, to find names that occur twice without a search.
    filled: Vec<u64>,
}

// === impl Row ===

impl Row {
    /// A flat object; its answer.
    fn flat(&mut self, line: u64, fields: Vec<(String, Json)>, builder: &mut Builder<'_>) -> Result<Option<Answer>, DatasetError> {
        let mut found = None;
        for (name, value) in fields {
            if name == builder.options().prediction {
                builder.found_prediction();
                let given = answer(value).map_err(|f| f.at_column(line, &name))?;
                if found.replace(given).is_some() {
                    return Err(Fault::DuplicateColumn.at_column(line, &name));
                }
            } else {
                self.feature(line, &name, value, builder)?;
            }
        }
        Ok(Some(found.unwrap_or(Answer::Scalar(Raw::Missing))))
    }

    /// A canonical event; its answer, or nothing if it is of another model.
    fn event(&mut self, line: u64, fields: Vec<(String, Json)>, builder: &mut Builder<'_>) -> Result<Option<Answer>, DatasetError> {
        if let Some(Json::Text(model)) = find(&fields, "model")
            && !builder.wants_model(model)
        {
            return Ok(None);
        }
        let mut found = None;
        for (name, value) in fields {
            if name == builder.options().prediction {
                builder.found_prediction();
                let given = answer(value).map_err(|f| f.at_column(line, &name))?;
                if found.replace(given).is_some() {
                    return Err(Fault::DuplicateColumn.at_column(line, &name));
                }
            } else if name == "features" {
                match value {
                    Json::Object(features) => {
                        for (name, value) in features {
                            self.feature(line, &name, value, builder)?;
                        }
                    }
                    Json::Array(features) => {
                        for (i, value) in features.into_iter().enumerate() {
                            self.feature(line, &format!("f{i}"), value, builder)?;
                        }
                    }
                    _ => (),
                }
            }
        }
        Ok(Some(found.unwrap_or(Answer::Scalar(Raw::Missing))))
    }

    fn feature(&mut self, line: u64, name: &str, value: Json, builder: &mut Builder<'_>) -> Result<(), DatasetError> {
        if let Json::Object(parts) = value {
            // What is left out is left out with all of its parts.
            if builder.drops(name) {
                return Ok(());
            }
            for (part, value) in parts {
                self.feature(line, &format!("{name}.{part}"), value, builder)?;
            }
            return Ok(());
        }
        match builder.feature(name).map_err(|f| f.at_column(line, name))? {
            Role::Feature(at) => self.fill(line, at, name, value, builder),
            _ => Ok(()),
        }
    }

    fn fill(&mut self, line: u64, at: usize, name: &str, value: Json, builder: &mut Builder<'_>) -> Result<(), DatasetError> {
        if self.filled.len() <= at {
            self.filled.resize(at + 1, 0);
        }
        if std::mem::replace(&mut self.filled[at], line) == line {
            return Err(Fault::DuplicateColumn.at_column(line, name));
        }
        let raw = match value {
            Json::Null => Raw::Missing,
            Json::Boolean(flag) => Raw::Boolean(flag),
            Json::Number(number) => Raw::Number(number),
            Json::Text(text) => builder.text(&text).map_err(|f| f.at_column(line, name))?,
            nested => return Err(Fault::Nested(nested.what()).at_column(line, name)),
        };
        self.cells.push((at, raw));
        Ok(())
    }
}
