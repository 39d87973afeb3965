//! Texts of a row that no cell holds, so that people can be shown an example of what the reference does not know.
//!
//! A cell keeps of an unknown text a hash, or only that it is no number. Here the decoder keeps the beginning of the text for as long as the
//! query is judged. What of it is remembered is the judge's business.

/// Bytes of a text that are kept. Chosen: enough to recognise a category or a number with a unit, too few for a letter.
pub const MAX_BYTES: usize = 40;

/// Texts of one row, by column; empty if values may not be shown. The buffers are used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownTexts {
    may_be_shown: bool,
    text: String,
    /// Column, and where its text ends.
    ends: Vec<(usize, usize)>,
}

// === impl UnknownTexts ===

impl UnknownTexts {
    /// Forgets everything and keeps the buffers; `may_be_shown` says whether values of the next row may be shown to people.
    pub fn begin(&mut self, may_be_shown: bool) {
        self.may_be_shown = may_be_shown;
        self.text.clear();
        self.ends.clear();
    }

    /// Whether values of this row may be shown.
    pub const fn may_be_shown(&self) -> bool {
        self.may_be_shown
    }

    /// Keeps the beginning of a text of a column, at most `most` texts of one row.
    pub fn push(&mut self, column: usize, text: &str, most: usize) {
        if self.may_be_shown && self.ends.len() < most {
            self.text.push_str(&shortened(text));
            self.ends.push((column, self.text.len()));
        }
    }

    /// The texts with their columns, in the order of the record.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, end)| end));
        starts.zip(&self.ends).map(|(start, &(column, end))| (column, self.text.get(start..end).unwrap_or_default()))
    }
}

/// The beginning of a text, of [`MAX_BYTES`] at most; a mark says that something is missing.
pub fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    const MARK: &str = "…";
    if text.len() <= MAX_BYTES {
        return text.into();
    }
    let mut end = MAX_BYTES - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_with_their_columns_and_no_longer_than_they_may_be() {
        let mut texts = UnknownTexts::default();
        texts.begin(true);
        let long = "ä".repeat(500);
        for (column, text) in [(3, " Private"), (0, ""), (7, long.as_str()), (8, "one too many")] {
            texts.push(column, text, 3);
        }
        let kept: Vec<(usize, &str)> = texts.iter().collect();
        assert_eq!(kept[..2], [(3, " Private"), (0, "")]);
        assert!(kept.len() == 3 && kept[2].1.len() <= MAX_BYTES && kept[2].1.ends_with("ä…"), "{kept:?}");
        texts.begin(false);
        texts.push(3, " Private", 3);
        assert_eq!((texts.iter().count(), texts.may_be_shown()), (0, false));
    }
}
