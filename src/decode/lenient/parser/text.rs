//! Texts within a record that has a fault: whatever stands between two quotation marks becomes a text. What is no character is written
//! out, so that two texts that differ stay two.

use super::Parser;
use crate::event::Repair;

// === impl Parser ===

impl Parser<'_> {
    /// The text between two quotation marks; the first is the next byte.
    pub(super) fn text(&mut self, quote: u8) -> String {
        if quote == b'\'' {
            self.parsed.repairs.add(Repair::ValueNotJson);
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte != quote && byte != b'\\') {
                self.at += 1;
            }
            self.plain(start, &mut text);
            match self.peek() {
                Some(b'\\') => self.escape(&mut text),
                Some(_) => {
                    self.at += 1;
                    return text;
                }
                None => {
                    self.cut_here();
                    return text;
                }
            }
        }
    }

    /// The characters from `start` on, up to here. A byte that is no UTF-8 is written out, so that two texts stay two.
    fn plain(&mut self, start: usize, text: &mut String) {
        let bytes = &self.bytes[start..self.at];
        if bytes.iter().any(|&byte| byte < b' ') {
            self.parsed.repairs.add(Repair::TextEscape);
        }
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                self.parsed.repairs.add(Repair::TextNotUtf8);
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
    }

    /// One escape; the next byte is the backslash.
    fn escape(&mut self, text: &mut String) {
        let Some(&kind) = self.bytes.get(self.at + 1) else {
            self.at = self.bytes.len();
            return;
        };
        self.at += 2;
        match kind {
            b'"' | b'\\' | b'/' => text.push(char::from(kind)),
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'u' => self.unicode(text),
            _ => {
                self.parsed.repairs.add(Repair::TextEscape);
                text.push('\\');
                // The character itself is read with the plain ones.
                self.at -= 1;
                if kind == b'\'' {
                    text.pop();
                    text.push('\'');
                    self.at += 1;
                }
            }
        }
    }

    /// Four hexadecimal digits, and the other half of a surrogate pair.
    fn unicode(&mut self, text: &mut String) {
        let Some(unit) = self.hex4(self.at) else {
            self.parsed.repairs.add(Repair::TextEscape);
            text.push_str("\\u");
            return;
        };
        self.at += 4;
        if let Some(character) = char::from_u32(u32::from(unit)) {
            return text.push(character);
        }
        let low = (self.bytes.get(self.at..self.at + 2) == Some(b"\\u")).then(|| self.hex4(self.at + 2)).flatten();
        if let Some(Ok(character)) = low.map(|low| char::decode_utf16([unit, low]).next().unwrap_or(Ok('\u{fffd}'))) {
            self.at += 6;
            return text.push(character);
        }
        self.parsed.repairs.add(Repair::TextSurrogate);
        text.push_str(&format!("\\u{unit:04x}"));
    }

    fn hex4(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..at + 4)?;
        digits.iter().try_fold(0, |number, &digit| Some(number << 4 | char::from(digit).to_digit(16)? as u16))
    }
}
