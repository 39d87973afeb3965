//! Reads a TOML document so that every fault is found at once, each with its line.
//!
//! A deserialiser stops at the first fault, so that fixing a file takes one run per fault. Here a faulty entry is noted and taken
//! out of the tree, and the rest is read again until the remainder is sound. This needs no knowledge of the sections: a new setting
//! is covered as soon as it exists. Syntax faults are reported alone, because a tree that is guessed from broken syntax has faults
//! that the file has not.
//!
//! * [`period`] is a duration with its unit.
//! * [`secret`] is a value that comes from the environment or a file and is never printed.

pub mod period;
pub mod secret;

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

pub use period::Period;
pub use secret::Options;

/// One thing that is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Line in the file, from 1; 0 if it has none (a missing entry).
    pub line: usize,
    /// Which setting, as a dotted path; empty for syntax.
    pub setting: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// The faults found so far, and the document that gives each its line.
#[derive(Debug)]
pub struct Faults<'a> {
    text: &'a str,
    tree: Option<DeTable<'a>>,
    all: Vec<Fault>,
}

/// Most faults that one file is searched for. Chosen: a file with more is not a Tripline configuration, and each fault costs one
/// reading of the document.
const MAX_FAULTS: usize = 100;
/// Wrong letters that still count as a slip: two swapped ones.
const SLIP: usize = 2;
/// Share of wrong letters that still counts as a slip in a longer name: one in three. Chosen, as [`SLIP`]: more is another word.
const SLIP_ONE_IN: usize = 3;

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.setting.is_empty() {
            write!(f, "{}: ", self.setting)?;
        }
        write!(f, "{}", self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n    to do: {}", self.remedy) }
    }
}

// === impl Faults ===

impl<'a> Faults<'a> {
    /// Notes a fault of a setting given by its dotted path; array elements are numbers, as in `models.0.reference`.
    pub fn add(&mut self, setting: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let line = self.line_of(setting);
        self.all.push(Fault { line, setting: setting.into(), what: what.into(), remedy: remedy.into() });
    }

    /// Every fault, in the order of lines; those without a line first.
    pub fn into_sorted(mut self) -> Vec<Fault> {
        self.all.sort_by_key(|fault| fault.line);
        self.all.dedup();
        self.all
    }

    /// Line of the setting, or of the deepest part of its path that stands in the file; 0 if none does.
    fn line_of(&self, path: &str) -> usize {
        let Some(tree) = &self.tree else { return 0 };
        let mut line = 0;
        let mut parts = path.split('.').peekable();
        let Some(first) = parts.next() else { return 0 };
        let Some((key, mut value)) = tree.iter().find(|(key, _)| key.get_ref().as_ref() == first) else { return 0 };
        line = line_at(self.text, key.span().start).max(line);
        while parts.peek().is_some() {
            // Option names hold dots themselves (`sasl.password`), so a table is also asked for the rest as one key.
            let rest = parts.clone().collect::<Vec<_>>().join(".");
            let part = parts.next().unwrap_or_default();
            let next = match value.get_ref() {
                DeValue::Table(table) => {
                    let found = table.iter().find(|(key, _)| key.get_ref().as_ref() == part);
                    found.or_else(|| table.iter().find(|(key, _)| key.get_ref().as_ref() == rest))
                }
                DeValue::Array(array) => {
                    let Some(element) = part.parse::<usize>().ok().and_then(|index| array.get(index)) else { return line };
                    line = line_at(self.text, element.span().start);
                    value = element;
                    continue;
                }
                _ => None,
            };
            let Some((key, found)) = next else { return line };
            line = line_at(self.text, key.span().start);
            if key.get_ref().as_ref() == rest {
                return line;
            }
            value = found;
        }
        line
    }
}

/// Reads `text` as `T`. Entries that cannot be read are noted as faults and hold their defaults in `T`. `None` if the syntax is
/// broken, or if a fault belongs to no entry.
pub fn read<T: DeserializeOwned>(text: &str) -> (Option<T>, Faults<'_>) {
    let (tree, syntax) = DeTable::parse_recoverable(text);
    let mut faults = Faults { text, tree: None, all: Vec::new() };
    if !syntax.is_empty() {
        for error in syntax.iter().take(MAX_FAULTS) {
            let line = error.span().map_or(0, |span| line_at(text, span.start));
            let what = on_one_line(error.message());
            faults.all.push(Fault { line, setting: String::new(), what, remedy: "correct the TOML syntax of this line".into() });
        }
        return (None, faults);
    }
    let span = tree.span();
    let mut tree = tree.into_inner();
    faults.tree = Some(tree.clone());
    for _ in 0..MAX_FAULTS {
        let error = match T::deserialize(Deserializer::from(Spanned::new(span.clone(), tree.clone()))) {
            Ok(value) => return (Some(value), faults),
            Err(error) => error,
        };
        let what = on_one_line(error.message());
        let at = error.span().unwrap_or(span.clone());
        let mut path = Vec::new();
        let removed = remove_at(&mut tree, &at, &mut path);
        let setting = path.join(".");
        let line = if removed || at != span { line_at(text, at.start) } else { 0 };
        faults.all.push(Fault { line, setting, remedy: remedy(&what), what });
        if !removed {
            return (None, faults);
        }
    }
    (None, faults)
}

fn on_one_line(message: &str) -> String {
    message.trim().replace('\n', "; ")
}

/// What to do about a fault that the deserialiser words.
fn remedy(what: &str) -> String {
    if let Some(rest) = what.strip_prefix("unknown field `") {
        let (unknown, expected) = rest.split_once('`').unwrap_or((rest, ""));
        let known = expected.split('`').skip(1).step_by(2);
        let nearest = known.map(|name| (distance(unknown, name), name)).min();
        return match nearest {
            Some((edits, name)) if edits < name.len() && edits <= SLIP.max(name.len() / SLIP_ONE_IN) => {
                format!("did you mean '{name}'?")
            }
            _ => "remove it, or see tripline.example.toml for the settings there are".into(),
        };
    }
    if what.starts_with("invalid type") {
        return "write a value of the kind that is expected".into();
    }
    "see tripline.example.toml for how this setting is written".into()
}

/// Levenshtein distance, for names of a few letters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Whether one range of the text holds the other.
fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Takes the smallest entry that holds the place `at` out of the tree. `path` becomes its dotted path. False if there is none.
fn remove_at(table: &mut DeTable<'_>, at: &Range<usize>, path: &mut Vec<String>) -> bool {
    let mut inside = None;
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().to_string();
        let own = covers(&key.span(), at) || value.span() == *at;
        if !own {
            path.push(name.clone());
            let deeper = match value.get_mut() {
                DeValue::Table(inner) => remove_at(inner, at, path),
                DeValue::Array(array) => {
                    let mut done = false;
                    for (index, element) in array.iter_mut().enumerate() {
                        path.push(index.to_string());
                        if let DeValue::Table(inner) = element.get_mut()
                            && remove_at(inner, at, path)
                        {
                            done = true;
                            break;
                        }
                        path.pop();
                    }
                    done
                }
                _ => false,
            };
            if deeper {
                return true;
            }
            path.pop();
        }
        if own || covers(&value.span(), at) {
            inside = Some((key.get_ref().clone(), name));
            break;
        }
    }
    let Some((key, name)) = inside else { return false };
    path.push(name);
    // Keys compare by their text, so a fresh span does.
    table.remove(&Spanned::new(0..0, key)).is_some()
}

/// Line of a position in the text, from 1.
fn line_at(text: &str, position: usize) -> usize {
    let end = position.min(text.len());
    text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        number: u32,
        word: String,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        first: Inner,
        list: Vec<Inner>,
        flag: bool,
    }

    #[test]
    fn every_fault_is_found_with_its_line_and_the_rest_is_read() {
        let text = "flag = true\n[first]\nnumber = \"x\"\nwrod = \"a\"\n\n[[list]]\nnumber = 3\n[[list]]\nnumber = -1\n[nothing]\n";
        let (outer, faults) = read::<Outer>(text);
        let outer = outer.unwrap();
        assert!(outer.flag);
        assert_eq!(outer.list[0].number, 3);
        let faults = faults.into_sorted();
        let lines: Vec<_> = faults.iter().map(|fault| (fault.line, fault.setting.as_str())).collect();
        assert_eq!(lines, [(3, "first.number"), (4, "first.wrod"), (9, "list.1.number"), (10, "nothing")], "{faults:#?}");
        assert_eq!(faults[1].remedy, "did you mean 'word'?");
    }

    #[test]
    fn syntax_faults_have_lines() {
        let (outer, faults) = read::<Outer>("flag = true\nlist = [\n[first\n");
        assert!(outer.is_none());
        assert!(faults.into_sorted().iter().all(|fault| fault.line > 0));
    }

    #[test]
    fn a_setting_is_found_by_its_path() {
        let (_, mut faults) = read::<Outer>("[first]\nword = \"a\"\n[[list]]\nnumber = 1\n");
        faults.add("list.0.number", "too small", "");
        faults.add("first.absent", "missing", "");
        let lines: Vec<_> = faults.into_sorted().iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 4]);
    }
}
