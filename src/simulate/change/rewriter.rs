//! Makes a change in the lines of a log: finds features and caller, decides whose rows change, and writes the line anew.
//!
//! Every other field keeps its bytes. Lines of other models, lines that are no JSON, and rows that a change does not touch are
//! left as they are. Chance comes from the seed and the number of the row, so the same log gives the same bytes.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::ChangeSpec;
use super::columns::Columns;
use super::row::{Field, Members, Row, quoted};
use super::scene::{Memory, Scene};
use crate::decode::Mapping;
use crate::hash::{mix2, text};
use crate::reference::Reference;
use crate::simulate::chance::stream;

/// Where the fields of an event lie, as lists of names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventLayout {
    features: Vec<Vec<String>>,
    rows: Option<Vec<String>>,
    client_id: Vec<String>,
    source_ip: Vec<String>,
    /// Where the model's name lies; none if the mapping states it.
    model: Option<Vec<String>>,
}

/// A change that is bound to a model.
#[derive(Clone, Debug)]
pub struct Change {
    /// What was asked for.
    pub spec: ChangeSpec,
    columns: Arc<Columns>,
    /// The columns that it takes.
    targets: Vec<usize>,
    layout: Arc<EventLayout>,
    model: String,
    seed: u64,
}

/// A change that goes through a log.
#[derive(Debug)]
pub struct Rewriter {
    change: Change,
    memory: Memory,
    rows: u64,
    changed: u64,
}

// === impl EventLayout ===

impl EventLayout {
    /// The layout of a mapping, or the canonical one.
    pub fn new(mapping: Option<&Mapping>) -> Self {
        let Some(mapping) = mapping else {
            let name = |name: &str| vec![name.to_owned()];
            return Self {
                features: vec![name("features"), name("instances")],
                rows: None,
                client_id: name("client_id"),
                source_ip: name("source_ip"),
                model: Some(name("model")),
            };
        };
        Self {
            features: vec![segments(&mapping.features)],
            rows: mapping.rows.as_deref().map(segments),
            client_id: segments(&mapping.client_id),
            source_ip: segments(&mapping.source_ip),
            model: mapping.model_name.is_none().then(|| segments(&mapping.model)),
        }
    }
}

/// The names of a JSON pointer.
fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
}

/// The JSON at the end of a path.
fn find<'a>(json: &'a str, path: &[String]) -> Option<&'a str> {
    let Some((name, rest)) = path.split_first() else { return Some(json) };
    let Members(members) = serde_json::from_str(json).ok()?;
    find(members.into_iter().find(|(member, _)| member == name)?.1.get(), rest)
}

/// A single value as people name callers and models: the text of a string, or the digits of a number.
fn plain(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| if json == "null" { String::new() } else { json.to_owned() })
}

/// The JSON with the value at the end of a path replaced by what `edit` makes of it; none if it makes nothing or finds nothing.
fn replace(json: &str, path: &[String], edit: &mut dyn FnMut(&str) -> Option<String>) -> Option<String> {
    let Some((name, rest)) = path.split_first() else { return edit(json) };
    let Members(members) = serde_json::from_str(json).ok()?;
    let at = members.iter().position(|(member, _)| member == name)?;
    let other = replace(members[at].1.get(), rest, edit)?;
    let mut out = String::with_capacity(json.len() + 64);
    for (nth, (member, value)) in members.iter().enumerate() {
        out.push(if nth == 0 { '{' } else { ',' });
        out.push_str(&quoted(member));
        out.push(':');
        out.push_str(if nth == at { &other } else { value.get() });
    }
    out.push('}');
    Some(out)
}

/// The array with each element replaced by what `edit` makes of it; none if it makes nothing of any.
fn replace_each(json: &str, edit: &mut dyn FnMut(&str) -> Option<String>) -> Option<String> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let edited: Vec<Option<String>> = elements.iter().map(|element| edit(element.get())).collect();
    if edited.iter().all(Option::is_none) {
        return None;
    }
    let parts: Vec<&str> = edited.iter().zip(&elements).map(|(new, old)| new.as_deref().unwrap_or(old.get())).collect();
    Some(format!("[{}]", parts.join(",")))
}

// === impl Change ===

impl Change {
    /// Binds a change to a model and a layout.
    ///
    /// # Errors
    /// Why it changes nothing here, in words.
    pub fn new(
        spec: &ChangeSpec,
        reference: &Reference,
        columns: &Arc<Columns>,
        layout: &Arc<EventLayout>,
        seed: u64,
    ) -> Result<Self, String> {
        let targets = spec.kind.targets(columns, spec.column.as_deref())?;
        Ok(Self {
            spec: spec.clone(),
            columns: Arc::clone(columns),
            targets,
            layout: Arc::clone(layout),
            model: reference.model.clone(),
            seed: mix2(mix2(seed, stream::CHANGE), text(spec.kind.name)),
        })
    }

    /// Names of the columns that it takes.
    pub fn column_names(&self) -> Vec<String> {
        self.targets.iter().map(|&at| self.columns.all[at].name.clone()).collect()
    }

    /// Whether the rows of a caller change; `who` is its account, or its address where it has none.
    pub fn takes(&self, who: &str) -> bool {
        // The uniform number of 53 bits that a hash gives.
        #[expect(clippy::cast_precision_loss, reason = "53 bits, which a float holds")]
        let place = (mix2(self.seed, text(who)) >> 11) as f64 / (1_u64 << 53) as f64;
        self.spec.share >= 1.0 || place < self.spec.share
    }

    /// Who sent an event: its account, or its address.
    fn who(&self, line: &str) -> String {
        let name = |path: &[String]| find(line, path).map(plain).filter(|name| !name.is_empty());
        name(&self.layout.client_id).or_else(|| name(&self.layout.source_ip)).unwrap_or_default()
    }
}

// === impl Rewriter ===

impl Rewriter {
    /// Begins at the first line of a log.
    pub fn new(change: Change) -> Self {
        Self { change, memory: Memory::default(), rows: 0, changed: 0 }
    }

    /// The change.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// Rows changed so far.
    pub fn changed(&self) -> u64 {
        self.changed
    }

    /// The next line of the log as the change makes it; none if it stays as it is. `begun` says whether the change has begun.
    /// Every line has to be shown, also before that, since a change may remember the row before.
    pub fn rewrite(&mut self, line: &str, begun: bool) -> Option<String> {
        let layout = Arc::clone(&self.change.layout);
        if let Some(path) = &layout.model
            && find(line, path).map(plain).is_none_or(|model| model != self.change.model)
        {
            return None;
        }
        let hit = begun && (self.change.spec.share >= 1.0 || self.change.takes(&self.change.who(line)));
        let mut edit_rows = |json: &str| self.features(json, hit);
        match &layout.rows {
            None => layout.features.iter().find_map(|path| replace(line, path, &mut edit_rows)),
            Some(rows) => {
                replace(line, rows, &mut |rows| replace_each(rows, &mut |row| replace(row, &layout.features[0], &mut edit_rows)))
            }
        }
    }

    /// The features of an event: an object, an array, or an array of either.
    fn features(&mut self, json: &str, hit: bool) -> Option<String> {
        let inner = json.strip_prefix('[').map(str::trim_start);
        if inner.is_some_and(|inner| inner.starts_with(['{', '['])) {
            return replace_each(json, &mut |row| self.row(row, hit));
        }
        self.row(json, hit)
    }

    fn row(&mut self, json: &str, hit: bool) -> Option<String> {
        let change = &self.change;
        self.rows += 1;
        let mut row = Row::read(json, &change.columns)?;
        let values =
            |row: &Row| change.targets.iter().map(|&at| row.field(at).map(|field: &Field| field.json().to_owned())).collect();
        let original = values(&row);
        if hit {
            if self.memory.first.is_empty() {
                self.memory.first.clone_from(&original);
            }
            let chance = mix2(change.seed, self.rows);
            let mut scene = Scene { columns: &change.columns, targets: &change.targets, chance, memory: &mut self.memory };
            change.spec.kind.edit(&mut row, &mut scene);
        }
        self.memory.before = original;
        self.changed += u64::from(row.changed());
        row.changed().then(|| row.write())
    }
}
