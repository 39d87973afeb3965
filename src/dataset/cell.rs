//! What the text of a cell means: nothing, a number, a boolean, or the text itself.
//!
//! Only a text that prints back exactly becomes a number here, so that `007` stays the category that it may be. `fit` reads the
//! remaining spellings of numbers where a column turns out to be numeric.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{Fault, MAX_TEXT, ReadOptions};
use crate::reference::Raw;
use crate::reference::number_style::NumberStyle;

/// Different texts that are shared between cells. Categories are far fewer; a column with more holds ids, which do not repeat.
const SHARED_TEXTS: usize = 1 << 16;
/// Decimal digits that a 64-bit float keeps for certain (`f64::DIGITS`). A number with as many or fewer prints as it was written.
const EXACT_DIGITS: usize = f64::DIGITS as usize;

/// Makes cells; equal texts share memory.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    /// Texts that mean "no value", besides the empty one.
    missing: &'a [String],
    /// A point may stand between thousands, so a number that has one is read where its whole column is known.
    points_are_plain: bool,
    shared: FxHashSet<Arc<str>>,
}

// === impl Cells ===

impl<'a> Cells<'a> {
    /// A maker of cells with the user's words for "no value".
    pub(super) fn new(options: &'a ReadOptions) -> Self {
        Self {
            missing: &options.missing,
            points_are_plain: options.numbers != NumberStyle::DecimalComma,
            shared: FxHashSet::default(),
        }
    }

    fn is_missing(&self, text: &str) -> bool {
        self.missing.iter().any(|word| word == text)
    }

    /// The cell of a text from a file without types.
    ///
    /// # Errors
    /// If the text is longer than [`MAX_TEXT`].
    pub(super) fn untyped(&mut self, text: &str) -> Result<Raw, Fault> {
        if !self.is_missing(text) {
            match text {
                "true" => return Ok(Raw::Boolean(true)),
                "false" => return Ok(Raw::Boolean(false)),
                _ => (),
            }
            if let Some(number) = exact_number(text).filter(|_| self.points_are_plain || !text.contains('.')) {
                return Ok(Raw::Number(number));
            }
        }
        self.text(text)
    }

    /// The cell of a text that the file declares to be a text: nothing, or the text.
    ///
    /// # Errors
    /// If the text is longer than [`MAX_TEXT`].
    pub(super) fn text(&mut self, text: &str) -> Result<Raw, Fault> {
        if text.trim().is_empty() || self.is_missing(text) {
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
    pub(super) fn number(&self, number: f64) -> Result<Raw, Fault> {
        if number.is_finite() {
            return Ok(Raw::Number(number));
        }
        let text = number.to_string();
        let declared = self.missing.iter().any(|word| word.eq_ignore_ascii_case(&text));
        if declared { Ok(Raw::Missing) } else { Err(Fault::NotFinite(text)) }
    }
}

/// Bytes of a text that no other cell shares. The bytes of shared texts are bounded by [`SHARED_TEXTS`].
pub(super) fn text_bytes(raw: &Raw) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_prints_back_exactly_is_a_number() {
        for text in ["0", "-1", "0.5", "10.25", "123456789012345", "0.1"] {
            assert_eq!(exact_number(text).map(|number| number.to_string()).as_deref(), Some(text));
        }
        for text in ["", "-", "007", "1.0", "1.", ".5", "-0", "1e3", "+1", "12345678901234567890", "nan", "0.1000000000000000055"] {
            assert_eq!(exact_number(text), None, "{text}");
        }
    }

    #[test]
    fn texts_that_repeat_are_kept_once_and_words_for_nothing_are_missing() {
        let options = ReadOptions { missing: vec!["?".into(), "nan".into()], ..ReadOptions::default() };
        let mut cells = Cells::new(&options);
        let [Ok(Raw::Text(a)), Ok(Raw::Text(b))] = [cells.text("x"), cells.untyped("x")] else { panic!("no text") };
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(text_bytes(&Raw::Text(a)), 0, "a shared text is counted once, elsewhere");
        assert!(matches!((cells.untyped("?"), cells.text("  ")), (Ok(Raw::Missing), Ok(Raw::Missing))));
        assert!(matches!((cells.number(f64::NAN), cells.number(f64::INFINITY)), (Ok(Raw::Missing), Err(Fault::NotFinite(_)))));
    }
}
