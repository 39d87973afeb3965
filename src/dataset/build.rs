//! Collects rows by column within bounds of memory. Up to the row limit every row is kept, beyond it a uniform sample
//! ([`reservoir`](super::reservoir)).

use rustc_hash::FxHashMap;

use super::cell::{Cells, text_bytes};
use super::open::{Format, Packing};
use super::reservoir::Reservoir;
use super::{DatasetError, Fault, Loaded, MAX_CELLS, MAX_COLUMNS, MAX_TEXT_TOTAL, ReadOptions};
use crate::reference::number_style::NumberStyle;
use crate::reference::{Column, Dataset, Raw};

/// Names listed in a message; the others are counted. Chosen: as many as fit on a screen.
const NAMES_SHOWN: usize = 30;

/// The model's answer in one row.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// A number, a label, or nothing.
    Scalar(Raw),
    /// Probabilities by class.
    Classes(Vec<(String, f64)>),
}

/// The role of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The feature of this index.
    Feature(usize),
    /// The model's answer.
    Prediction,
    /// Left out.
    Dropped,
}

/// Rows that become a [`Dataset`].
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
    reservoir: Reservoir,
    cells: Cells<'a>,
    text_bytes: usize,
    models_seen: Vec<String>,
    other_models: u64,
    left_out: Vec<String>,
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
            reservoir: Reservoir::new(options.max_rows),
            cells: Cells::new(options),
            text_bytes: 0,
            models_seen: Vec::new(),
            other_models: 0,
            left_out: Vec::new(),
        }
    }

    /// Notes a saved row index that is left out without being asked for.
    pub fn leave_out(&mut self, column: &str) {
        self.left_out.push(column.to_owned());
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

    /// Whether a name is to be left out; notes that it occurred.
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
            // A column that appears late gets a missing cell for every earlier row.
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

    /// The cell of a text from a file without types. Columns that were declared categorical keep their text.
    ///
    /// # Errors
    /// If the text is too long to be a category.
    pub fn cell(&mut self, role: Role, text: &str) -> Result<Raw, Fault> {
        let verbatim = matches!(role, Role::Feature(at) if self.verbatim.get(at) == Some(&true));
        if verbatim { self.cells.text(text) } else { self.cells.untyped(text) }
    }

    /// The cell of a text that the file declares to be a text.
    ///
    /// # Errors
    /// If the text is too long to be a category.
    pub fn text(&mut self, text: &str) -> Result<Raw, Fault> {
        self.cells.text(text)
    }

    /// The cell of a number.
    ///
    /// # Errors
    /// If it is not finite and not declared to mean a missing value.
    pub fn number(&self, number: f64) -> Result<Raw, Fault> {
        self.cells.number(number)
    }

    /// Whether an event of the model `name` is wanted; notes the others for the message.
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

    /// Whether the next row will be kept. A reader need not parse a row that is only counted.
    pub fn keeps_next(&self) -> bool {
        self.reservoir.slot(self.lines.len()).is_some()
    }

    /// Counts a row that is not kept.
    pub fn skip(&mut self) {
        self.reservoir.count();
    }

    /// Takes a row: its line, its cells by feature index (absent ones are missing; drained), its answer.
    ///
    /// # Errors
    /// If the answer has another form than earlier ones, or the text no longer fits into memory.
    pub fn push(&mut self, line: u64, cells: &mut Vec<(usize, Raw)>, answer: Answer) -> Result<(), DatasetError> {
        self.check_form(line, &answer)?;
        self.reservoir.bound(MAX_CELLS / self.columns.len().max(1));
        let slot = self.reservoir.slot(self.lines.len());
        self.reservoir.count();
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

    /// Refuses an answer of another form than the earlier ones.
    fn check_form(&mut self, line: u64, answer: &Answer) -> Result<(), DatasetError> {
        const SCALAR: &str = "a single value";
        const CLASSES: &str = "probabilities by class";
        let mixed = |found, before| Err(Fault::MixedPrediction { found, before }.at_column(line, &self.options.prediction));
        match answer {
            Answer::Scalar(Raw::Missing) => (),
            Answer::Scalar(_) if self.saw_classes => return mixed(SCALAR, CLASSES),
            Answer::Scalar(_) => self.saw_scalar = true,
            Answer::Classes(_) if self.saw_scalar => return mixed(CLASSES, SCALAR),
            Answer::Classes(_) => self.saw_classes = true,
        }
        Ok(())
    }

    /// Makes room for one more row.
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

    /// The dataset.
    ///
    /// # Errors
    /// If there are no rows, or a column of the options never came.
    pub fn finish(mut self, format: Format, packing: Packing) -> Result<Loaded, DatasetError> {
        if self.reservoir.seen() == 0 {
            return Err(match &self.options.model {
                Some(wanted) if self.other_models > 0 => {
                    Fault::NoSuchModel { wanted: wanted.clone(), known: self.models_seen.join(", ") }.into()
                }
                _ => Fault::NoRows.into(),
            });
        }
        self.check_columns()?;
        let style = self.options.numbers;
        for (column, verbatim) in self.columns.iter_mut().zip(&self.verbatim) {
            if !verbatim {
                read_numbers(&mut column.cells, style);
            }
        }
        read_numbers(&mut self.predictions, style);
        let mut dataset = Dataset { features: self.columns, predictions: self.predictions, probabilities: self.probabilities };
        if self.saw_classes {
            dataset.probabilities.resize(self.lines.len(), Vec::new());
            dataset.predictions.clear();
        }
        Ok(Loaded {
            dataset,
            rows_read: self.reservoir.seen(),
            other_models: self.other_models,
            left_out: self.left_out,
            format,
            packing,
            lines: self.lines,
        })
    }
}

/// Reads the texts of a column in the style of the file, if most of its values are numbers in it; `fit` names what is left.
fn read_numbers(cells: &mut [Raw], style: NumberStyle) {
    if style == NumberStyle::Plain {
        return;
    }
    let (mut numbers, mut others) = (0_usize, 0_usize);
    for cell in cells.iter() {
        match cell {
            Raw::Missing => {}
            Raw::Number(_) => numbers += 1,
            Raw::Text(text) if style.read(text).is_some() => numbers += 1,
            Raw::Text(_) | Raw::Boolean(_) => others += 1,
        }
    }
    if numbers <= others {
        return;
    }
    for cell in cells {
        if let Raw::Text(text) = cell
            && let Some(number) = style.read(text)
        {
            *cell = Raw::Number(number);
        }
    }
}
