//! Reads what the command line says about an attack or a drift: `name:key=value,key=value`.
//!
//! One small reader for both, so that a misspelt key is always named together with the keys there are.

use super::SimulateError;

/// A name with its keys; every key must be taken, so a misspelt one cannot be ignored.
#[derive(Clone, Debug)]
pub struct KeyedSpec {
    text: String,
    name: String,
    keys: Vec<(String, String)>,
    known: Vec<&'static str>,
}

// === impl KeyedSpec ===

impl KeyedSpec {
    /// Splits the text.
    pub fn new(text: &str) -> Result<Self, SimulateError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut keys = Vec::new();
        for part in rest.split(',').filter(|part| !part.trim().is_empty()) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(fault(text, format!("'{part}' is not of the form key=value")));
            };
            keys.push((key.trim().to_string(), value.trim().to_string()));
        }
        Ok(Self { text: text.to_string(), name: name.trim().to_string(), keys, known: Vec::new() })
    }

    /// The name before the colon.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a key as text.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        let at = self.keys.iter().position(|(k, _)| k == key)?;
        Some(self.keys.swap_remove(at).1)
    }

    /// Takes a key as a number within a range, or the default.
    pub fn number(&mut self, key: &'static str, default: f64, low: f64, high: f64) -> Result<f64, SimulateError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        match text.parse::<f64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(fault(&self.text, format!("{key}={text} is not a number from {low} to {high}"))),
        }
    }

    /// Takes a key as one of a few words, by index; the first is the default.
    pub fn word(&mut self, key: &'static str, words: &[&'static str]) -> Result<usize, SimulateError> {
        let Some(text) = self.text(key) else { return Ok(0) };
        words
            .iter()
            .position(|word| *word == text)
            .ok_or_else(|| fault(&self.text, format!("{key}={text} is not one of {}", words.join(", "))))
    }

    /// Ends the reading: whatever is left is a mistake.
    pub fn finish(self) -> Result<(), SimulateError> {
        match self.keys.first() {
            None => Ok(()),
            Some((key, _)) => Err(fault(&self.text, format!("there is no key '{key}'; keys are {}", self.known.join(", ")))),
        }
    }
}

/// An error that quotes the text at fault.
pub fn fault(text: &str, what: String) -> SimulateError {
    SimulateError::Setting { setting: format!("'{text}'"), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_the_keys_there_are() {
        let mut spec = KeyedSpec::new("grid:querys=10").unwrap();
        assert_eq!(spec.number("queries", 5.0, 1.0, 9.0), Ok(5.0));
        assert_eq!(spec.finish().unwrap_err().to_string(), "'grid:querys=10': there is no key 'querys'; keys are queries");
    }

    #[test]
    fn a_number_out_of_range_says_the_range() {
        let mut spec = KeyedSpec::new("grid:queries=0").unwrap();
        let error = spec.number("queries", 5.0, 1.0, 9.0).unwrap_err().to_string();
        assert_eq!(error, "'grid:queries=0': queries=0 is not a number from 1 to 9");
    }
}
