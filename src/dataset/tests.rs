//! What the readers promise: the dataset means what the file means, or the error says where it does not.

mod faults;
mod formats;
mod properties;

use super::{DatasetError, Loaded, ReadOptions, read_bytes};
use crate::reference::Raw;

/// Reads text under a file name.
fn load(name: &str, text: &str) -> Result<Loaded, DatasetError> {
    read_bytes(name, text.as_bytes(), &ReadOptions::default())
}

fn cells<'a>(loaded: &'a Loaded, column: &str) -> &'a [Raw] {
    &loaded.dataset.features.iter().find(|c| c.name == column).unwrap().cells
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.dataset.features.iter().map(|c| c.name.as_str()).collect()
}

fn text(text: &str) -> Raw {
    Raw::Text(text.into())
}
