//! Collects rows by column within bounds of memory.
//!
//! Up to the row limit every row is kept. Beyond it Algorithm R (Vitter 1985) keeps a uniform sample, with a hash of the row's
//! number in place of random numbers: the same file gives the same sample on every machine.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::open::{Format, Packing};
use super::{Fault, Loaded, MAX_CELLS, MAX_COLUMNS, MAX_TEXT, MAX_TEXT_TOTAL, ReadOptions, TableError};
use crate::hash::mix2;
use crate::reference::{Column, Raw, Table};

/// Keeps the reservoir's choices apart from those of the sample that `fit` takes, which hashes row numbers too.
const SALT: u64 = 0x7461_626c_6521;
/// Different texts that are shared between cells. Categories are far fewer; beyond it a column holds ids, and sharing is no gain.
const SHARED_TEXTS: usize = 1 << 16;
/// Decimal digits that a 64-bit float keeps for certain: with so many or fewer, the number prints as it was written.
const EXACT_DIGITS: usize = 15;
/// Names listed in a message before the rest is only counted.
const NAMES_SHOWN: usize = 30;

/// The model's answer in one row.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// A number, a label, or nothing.
    Scalar(Raw),
    /// Probabilities by class.
    Classes(Vec<(String, f64)>),
}

/// What becomes of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The feature of this index.
    Feature(usize),
    /// The model's answer.
    Prediction,
    /// Left out.
    Dropped,
}

/// Rows on their way into a [`Table`].
#[derive(Debug)]
pub struct Builder<'a> {
    options: &'a ReadOptions,
    roles: FxHashMap<Box<str>, Role>,
    columns: Vec<Column>,
    verbatim: Vec<bool>,
    predictions: Vec<Raw>,
    probabilities: Vec<Vec<(String, f64)>>,
    saw_scalar: bool,
    saw_classes: bool,
    saw_prediction_column: bool,
    lines: Vec<u64>,
    rows_read: u64,
    limit: usize,
    shared: FxHashSet<Arc<str>>,
    text_bytes: usize,
    models_seen: Vec<String>,
    other_models: u64,
}

// === impl Builder ===

impl<'a> Builder<'a> {
    /// An empty builder.
    pub fn new(options: &'a ReadOptions) -> Self {
        Self {
            options,
            roles: FxHashMap::default(),
            columns: Vec::new(),
            verbatim: Vec::new(),
            predictions: Vec::new(),
            probabilities: Vec::new(),
            saw_scalar: false,
            saw_classes: false,
            saw_prediction_column: false,
            lines: Vec::new(),
            rows_read: 0,
            limit: options.max_rows,
            shared: FxHashSet::default(),
            text_bytes: 0,
            models_seen: Vec::new(),
            other_models: 0,
        }
    }

    /// What the caller decided.
    pub fn options(&self) -> &'a ReadOptions {
        self.options
    }

    /// The role of a column, which is made if it is new.
    ///
    /// # Errors
    /// If there are too many columns, or the new column does not fit into memory beside the rows that are there.
    pub fn role(&mut self, name: &str) -> Result<Role, Fault> {
        if name == self.options.prediction {
            self.saw_prediction_column = true;
            return Ok(Role::Prediction);
        }
        self.feature(name)
    }

    /// Whether a name is to be left out, and notes that it came.
    pub fn drops(&mut self, name: &str) -> bool {
        let drops = self.options.drop.iter().any(|d| d == name);
        if drops {
            self.roles.insert(name.into(), Role::Dropped);
        }
        drops
    }

    /// Notes that the prediction's column is there, in layouts where it lies apart from the features.
    pub fn found_prediction(&mut self) {
        self.saw_prediction_column = true;
    }

    /// The role of a name that can only be a feature (or left out).
    ///
    /// # Errors
    /// As [`Builder::role`].
    pub fn feature(&mut self, name: &str) -> Result<Role, Fault> {
        if let Some(role) = self.roles.get(name) {
            return Ok(*role);
        }
        if self.roles.len() >= MAX_COLUMNS {
            return Err(Fault::TooManyColumns);
        }
        let role = if self.drops(name) {
            Role::Dropped
        } else {
            // A column that appears late brings a cell for every earlier row.
            if self.lines.len().saturating_mul(self.columns.len() + 1) > MAX_CELLS {
                return Err(Fault::TooBig);
            }
            self.columns.push(Column { name: name.to_owned(), cells: vec![Raw::Missing; self.lines.len()] });
            self.verbatim.push(self.options.verbatim.iter().any(|v| v == name));
            Role::Feature(self.columns.len() - 1)
        };
        self.roles.insert(name.into(), role);
        Ok(role)
    }

    /// The cell that a text means: nothing, a number or boolean that prints exactly so, or the text itself.
    ///
    /// Only what prints back exactly becomes a number here, so that `007` stays the category it may be; `fit` reads the
    /// remaining spellings of numbers where a column turns out to be numeric.
    ///
    /// # Errors
    /// If the text is longer than [`MAX_TEXT`].
    pub fn cell(&mut self, role: Role, text: &str) -> Result<Raw, Fault> {
        let verbatim = matches!(role, Role::Feature(at) if self.verbatim.get(at) == Some(&true));
        if !verbatim && !self.options.missing.iter().any(|m| m == text) {
            match text {
                "true" => return Ok(Raw::Boolean(true)),
                "false" => return Ok(Raw::Boolean(false)),
                _ => (),
            }
            if let Some(number) = exact_number(text) {
                return Ok(Raw::Number(number));
            }
        }
        self.text(text)
    }

    /// The cell of a text that was written as a text: nothing, or the text.
    ///
    /// # Errors
    /// If the text is longer than [`MAX_TEXT`].
    pub fn text(&mut self, text: &str) -> Result<Raw, Fault> {
        if text.trim().is_empty() || self.options.missing.iter().any(|m| m == text) {
            return Ok(Raw::Missing);
        }
        if text.len() > MAX_TEXT {
            return Err(Fault::LongText { length: text.len() });
        }
        if let Some(shared) = self.shared.get(text) {
            return Ok(Raw::Text(Arc::clone(shared)));
        }
        let text: Arc<str> = text.into();
        if self.shared.len() < SHARED_TEXTS {
            self.shared.insert(Arc::clone(&text));
        }
        Ok(Raw::Text(text))
    }

    /// The cell of a number that may not be finite (Parquet holds NaN).
    ///
    /// # Errors
    /// If it is not finite and not declared to mean a missing value.
    pub fn number(&self, number: f64) -> Result<Raw, Fault> {
        if number.is_finite() {
            return Ok(Raw::Number(number));
        }
        let text = number.to_string();
        let declared = self.options.missing.iter().any(|m| m.eq_ignore_ascii_case(&text));
        if declared { Ok(Raw::Missing) } else { Err(Fault::NotFinite(text)) }
    }

    /// Notes the model that an event is of; false if the event is of another model than wanted.
    pub fn wants_model(&mut self, name: &str) -> bool {
        match &self.options.model {
            Some(wanted) if wanted != name => {
                self.other_models += 1;
                if self.models_seen.len() < NAMES_SHOWN && !self.models_seen.iter().any(|m| m == name) {
                    self.models_seen.push(name.to_owned());
                }
                false
            }
            _ => true,
        }
    }

    /// Whether the next row will be kept, so that a reader need not take apart what is only counted.
    pub fn keeps_next(&self) -> bool {
        self.slot().is_some()
    }

    /// Counts a row that is not kept.
    pub fn skip(&mut self) {
        self.rows_read += 1;
    }

    /// Where the next row goes: behind the others, or by Algorithm R in place of one of them, or nowhere.
    fn slot(&self) -> Option<usize> {
        if self.lines.len() < self.limit {
            return Some(self.lines.len());
        }
        let chosen = mix2(SALT, self.rows_read) % (self.rows_read + 1);
        usize::try_from(chosen).ok().filter(|&chosen| chosen < self.limit)
    }

    /// Takes a row: its line, its cells by feature index (absent ones are missing; drained), its answer.
    ///
    /// # Errors
    /// If the answer has another form than earlier ones, or the text no longer fits into memory.
    pub fn push(&mut self, line: u64, cells: &mut Vec<(usize, Raw)>, answer: Answer) -> Result<(), TableError> {
        let prediction = |fault: Fault| fault.at_column(line, &self.options.prediction);
        match &answer {
            Answer::Scalar(Raw::Missing) => (),
            Answer::Scalar(_) if self.saw_classes => {
                return Err(prediction(Fault::MixedPrediction { found: "a single value", before: "probabilities by class" }));
            }
            Answer::Scalar(_) => self.saw_scalar = true,
            Answer::Classes(_) if self.saw_scalar => {
                return Err(prediction(Fault::MixedPrediction { found: "probabilities by class", before: "a single value" }));
            }
            Answer::Classes(_) => self.saw_classes = true,
        }
        if self.rows_read == 0 {
            self.limit = self.limit.min(MAX_CELLS / self.columns.len().max(1)).max(1);
        }
        let slot = self.slot();
        self.rows_read += 1;
        let Some(at) = slot else {
            cells.clear();
            return Ok(());
        };
        if at == self.lines.len() {
            self.grow();
        }
        self.lines[at] = line;
        for column in &mut self.columns {
            let old = std::mem::replace(&mut column.cells[at], Raw::Missing);
            self.text_bytes -= text_bytes(&old);
        }
        for (column, raw) in cells.drain(..) {
            self.text_bytes += text_bytes(&raw);
            self.columns[column].cells[at] = raw;
        }
        let (scalar, classes) = match answer {
            Answer::Scalar(raw) => (raw, Vec::new()),
            Answer::Classes(classes) => (Raw::Missing, classes),
        };
        self.predictions[at] = scalar;
        if self.saw_classes {
            self.probabilities.resize(self.lines.len(), Vec::new());
            self.probabilities[at] = classes;
        }
        if self.text_bytes > MAX_TEXT_TOTAL { Err(Fault::TooBig.at(line)) } else { Ok(()) }
    }

    fn grow(&mut self) {
        self.lines.push(0);
        self.predictions.push(Raw::Missing);
        for column in &mut self.columns {
            column.cells.push(Raw::Missing);
        }
    }

    /// Checks that the columns of the options are there, once all columns are known.
    ///
    /// # Errors
    /// If the prediction's column, or one to be left out, is not there.
    pub fn check_columns(&self) -> Result<(), Fault> {
        let known = || {
            let mut names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
            let more = names.len().saturating_sub(NAMES_SHOWN);
            names.truncate(NAMES_SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            names.join(", ") + &more
        };
        if !self.saw_prediction_column {
            return Err(Fault::NoPrediction { wanted: self.options.prediction.clone(), known: known() });
        }
        match self.options.drop.iter().find(|d| !self.roles.contains_key(d.as_str())) {
            Some(wanted) => Err(Fault::NothingToDrop { wanted: wanted.clone(), known: known() }),
            None => Ok(()),
        }
    }

    /// The table.
    ///
    /// # Errors
    /// If there are no rows, or a column of the options never came.
    pub fn finish(self, format: Format, packing: Packing) -> Result<Loaded, TableError> {
        if self.rows_read == 0 {
            return Err(match &self.options.model {
                Some(wanted) if self.other_models > 0 => {
                    Fault::NoSuchModel { wanted: wanted.clone(), known: self.models_seen.join(", ") }.into()
                }
                _ => Fault::NoRows.into(),
            });
        }
        self.check_columns()?;
        let mut table = Table { features: self.columns, predictions: self.predictions, probabilities: self.probabilities };
        if self.saw_classes {
            table.probabilities.resize(self.lines.len(), Vec::new());
            table.predictions.clear();
        }
        Ok(Loaded { table, rows_read: self.rows_read, other_models: self.other_models, format, packing, lines: self.lines })
    }
}

/// Bytes that a cell's text takes for itself alone; those of shared texts are bounded by [`SHARED_TEXTS`].
fn text_bytes(raw: &Raw) -> usize {
    match raw {
        Raw::Text(text) if Arc::strong_count(text) == 1 => text.len(),
        _ => 0,
    }
}

/// The number of a text that is written exactly as the number prints.
fn exact_number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let (whole, fraction) = match digits.iter().position(|&b| b == b'.') {
        Some(point) => (&digits[..point], Some(&digits[point + 1..])),
        None => (digits, None),
    };
    let all_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let canonical = all_digits(whole)
        && (whole == b"0" || whole[0] != b'0')
        && fraction.is_none_or(|f| all_digits(f) && f.last() != Some(&b'0'))
        && text != "-0";
    let number: f64 = if canonical { text.parse().ok()? } else { return None };
    (digits.len() <= EXACT_DIGITS || number.to_string() == text).then_some(number)
}
