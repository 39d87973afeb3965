//! A reader of JSON that does not stop at a fault: it notes the fault, and goes on where the next name begins.
//!
//! Only records that the strict reader refused come here, so speed matters less than saving what can be saved. Of a name that stands
//! twice the last value counts, as in nearly every JSON library, so the value is the one that the model saw. Whatever is damaged is
//! remembered by its JSON pointer, so the caller can tell a damaged remark from damaged features.

mod text;

use serde_json::{Map, Number, Value};

use crate::decode::{RejectReason, Rejection};
use crate::event::{Repair, Repairs};

/// Levels that are read; deeper values are skipped. Chosen: half of the strict reader's 127, since each level is a call on the stack.
const MAX_DEPTH: usize = 64;
/// Damaged places that are remembered; beyond that the whole record counts as damaged. Chosen: a log with one fault in its writer damages
/// one or two places a record.
const MAX_DAMAGED: usize = 8;

/// Earlier values that are kept, in case that the last one cannot be used. Chosen: a row needs three fields.
const MAX_REPEATED: usize = 3;

/// What could be read of a record.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The members of the outermost object.
    pub root: Map<String, Value>,
    /// What was repaired on the way.
    pub repairs: Repairs,
    /// Earlier values of names that stand twice, by JSON pointer, at most [`MAX_REPEATED`].
    pub repeated: Vec<(String, Value)>,
    /// JSON pointers of what is damaged or incomplete.
    damaged: Vec<String>,
    /// Whether the record is more, or something else, than one object.
    other: bool,
    /// The first fault that damaged the structure; `None` if the record could be read to its end.
    pub fault: Option<Rejection>,
}

/// Reads bytes into a [`Parsed`].
struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    /// JSON pointer of what is being read.
    path: String,
    /// Whether the bytes have ended within a value.
    cut: bool,
    parsed: Parsed,
}

/// Reads the first object in `bytes`; nothing if there is none.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut parser = Parser { bytes, at: 0, path: String::new(), cut: false, parsed: Parsed::default() };
    let Some(start) = bytes.iter().position(|&byte| byte == b'{') else {
        parser.damage(RejectReason::NotJson, "there is no JSON object");
        return parser.parsed;
    };
    let before = bytes[..start].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes[..start]);
    parser.at = start + 1;
    if !before.iter().all(|&byte| is_blank(byte)) {
        // What stands before the object may be anything, such as the bracket of an array of events.
        parser.parsed.other = true;
        parser.damage(RejectReason::NotAnObject, "something stands before the object");
    } else if start > 0 && !bytes[..start].trim_ascii().is_empty() {
        parser.parsed.repairs.add(Repair::RecordSurrounded);
    }
    let root = parser.object(0);
    parser.parsed.root = root;
    parser.behind();
    parser.parsed
}

/// The object of a text whose faults cost no more than values; `None` if they cost more.
pub(in crate::decode) fn object_of(text: &str) -> Option<(Map<String, Value>, Repairs)> {
    let parsed = parse(text.as_bytes());
    (parsed.fault.is_none() && !parsed.is_damaged("")).then_some((parsed.root, parsed.repairs))
}

/// White space and control characters, which logs have around a record.
const fn is_blank(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

/// Whether a word is a number as JSON spells it.
fn is_json_number(word: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(word).is_ok()
}

// === impl Parsed ===

impl Parsed {
    /// Whether what a JSON pointer means is damaged or incomplete, in whole or in part.
    pub(super) fn is_damaged(&self, pointer: &str) -> bool {
        let within = |path: &String| path.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.other || self.damaged.len() > MAX_DAMAGED || self.damaged.iter().any(within)
    }
}

// === impl Parser ===

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Notes that the value at the current path is damaged.
    fn damage(&mut self, reason: RejectReason, what: &str) {
        if self.parsed.fault.is_none() {
            self.parsed.fault = Some(Rejection::new(reason, format_args!("{what}, at byte {}", self.at + 1)));
        }
        if self.parsed.damaged.len() <= MAX_DAMAGED {
            self.parsed.damaged.push(self.path.clone());
        }
    }

    /// The bytes end within the value at the current path.
    fn cut_here(&mut self) {
        if !self.cut {
            self.cut = true;
            self.parsed.repairs.add(Repair::RecordCut);
            self.damage(RejectReason::Truncated, "the JSON ends in the middle");
        }
    }

    /// Goes on behind the next comma, or at the next closing bracket.
    fn resync(&mut self) {
        self.parsed.repairs.add(Repair::RecordDamaged);
        self.damage(RejectReason::NotJson, "not JSON");
        while let Some(byte) = self.peek() {
            match byte {
                b'}' | b']' => return,
                b',' => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
        self.cut_here();
    }

    /// Looks at what stands behind the object.
    fn behind(&mut self) {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        if rest.iter().all(|&byte| is_blank(byte)) {
            return;
        }
        if rest.contains(&b'{') {
            // A second event would be lost in silence.
            self.parsed.other = true;
            self.damage(RejectReason::NotJson, "trailing characters that may be another event");
        } else {
            self.parsed.repairs.add(Repair::RecordSurrounded);
        }
    }

    /// The members of an object whose bracket was read.
    fn object(&mut self, depth: usize) -> Map<String, Value> {
        let mut members = Map::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None => {
                    self.cut_here();
                    return members;
                }
                Some(b'}') => {
                    self.at += 1;
                    return members;
                }
                Some(b',') => {
                    self.parsed.repairs.add(Repair::RecordDamaged);
                    self.at += 1;
                }
                Some(quote @ (b'"' | b'\'')) => {
                    let name = self.text(quote);
                    if !self.cut {
                        self.member(name, depth, &mut members);
                    }
                    if self.cut {
                        return members;
                    }
                }
                Some(byte) => {
                    if byte == b']' {
                        self.at += 1;
                    }
                    self.resync();
                    if self.cut {
                        return members;
                    }
                }
            }
        }
    }

    /// The value behind a name, and the comma behind it.
    fn member(&mut self, name: String, depth: usize, members: &mut Map<String, Value>) {
        let outer = self.path.len();
        self.path.push('/');
        self.path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        self.skip_blanks();
        match self.peek() {
            Some(b':') => {
                self.at += 1;
                let value = self.value(depth + 1);
                // Of a text or a number that is cut, nobody knows how it went on.
                if (!self.cut || value.is_object() || value.is_array())
                    && let Some(earlier) = members.insert(name, value)
                {
                    self.parsed.repairs.add(Repair::NameRepeated);
                    if self.parsed.repeated.len() < MAX_REPEATED {
                        self.parsed.repeated.push((self.path.clone(), earlier));
                    }
                }
                self.path.truncate(outer);
                self.comma(b'}');
            }
            None => self.cut_here(),
            Some(_) => self.resync(),
        }
        self.path.truncate(outer);
    }

    /// The comma behind a value, unless the bracket `close` ends what it is in.
    fn comma(&mut self, close: u8) {
        if self.cut {
            return;
        }
        self.skip_blanks();
        match self.peek() {
            Some(b',') => self.at += 1,
            Some(byte) if byte == close => {}
            None => self.cut_here(),
            Some(_) => self.resync(),
        }
    }

    fn array(&mut self, depth: usize) -> Vec<Value> {
        let mut elements = Vec::new();
        let outer = self.path.len();
        loop {
            self.skip_blanks();
            match self.peek() {
                None => self.cut_here(),
                Some(b']') => {
                    self.at += 1;
                    return elements;
                }
                Some(b'}') => {
                    self.parsed.repairs.add(Repair::RecordDamaged);
                    self.damage(RejectReason::NotJson, "not JSON: an array without its end");
                    return elements;
                }
                Some(_) => {
                    self.path.push_str(&format!("/{}", elements.len()));
                    let value = self.value(depth + 1);
                    if !self.cut || value.is_object() || value.is_array() {
                        elements.push(value);
                    }
                    self.comma(b']');
                    self.path.truncate(outer);
                }
            }
            if self.cut {
                return elements;
            }
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        self.skip_blanks();
        match self.peek() {
            None => {
                self.cut_here();
                Value::Null
            }
            Some(b'{' | b'[') if depth > MAX_DEPTH => {
                self.skip_nested();
                Value::Array(Vec::new())
            }
            Some(b'{') => {
                self.at += 1;
                Value::Object(self.object(depth))
            }
            Some(b'[') => {
                self.at += 1;
                Value::Array(self.array(depth))
            }
            Some(quote @ (b'"' | b'\'')) => Value::String(self.text(quote)),
            Some(_) => self.word(),
        }
    }

    /// Passes over an object or an array without reading it.
    fn skip_nested(&mut self) {
        self.parsed.repairs.add(Repair::ValueTooDeep);
        let (mut open, mut quoted) = (0_usize, false);
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' if quoted => self.at += 1,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => open += 1,
                b'}' | b']' if !quoted => {
                    open -= 1;
                    if open == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
        self.cut_here();
    }

    /// A number, `true`, `false`, `null`, or a word that is none of JSON's.
    fn word(&mut self) -> Value {
        let start = self.at;
        let ends = |byte: u8| is_blank(byte) || matches!(byte, b',' | b'}' | b']' | b':' | b'"' | b'{' | b'[');
        while self.peek().is_some_and(|byte| !ends(byte)) {
            self.at += 1;
        }
        if self.at == self.bytes.len() {
            self.cut_here();
            return Value::Null;
        }
        let word = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        let spelled = match word.as_str() {
            "true" => return Value::Bool(true),
            "false" => return Value::Bool(false),
            "null" => return Value::Null,
            // A name without a value.
            "" | "None" | "undefined" | "nil" | "Null" | "NULL" => Value::Null,
            "True" | "TRUE" => Value::Bool(true),
            "False" | "FALSE" => Value::Bool(false),
            _ => return self.number(word),
        };
        self.parsed.repairs.add(Repair::ValueNotJson);
        spelled
    }

    fn number(&mut self, word: String) -> Value {
        let magnitude = word.trim_start_matches(['-', '+']);
        if magnitude.eq_ignore_ascii_case("nan") {
            self.parsed.repairs.add(Repair::NumberNan);
            return Value::Null;
        }
        if ["infinity", "inf"].iter().any(|name| magnitude.eq_ignore_ascii_case(name)) {
            self.parsed.repairs.add(Repair::NumberInfinite);
            return Value::String(word);
        }
        if !is_json_number(&word) {
            self.parsed.repairs.add(Repair::ValueNotJson);
        }
        if !magnitude.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return Value::String(word);
        }
        let exact = word.parse().map(|whole: i64| whole.into()).or_else(|_| word.parse().map(|whole: u64| whole.into()));
        let number = exact.ok().or_else(|| word.parse().ok().and_then(Number::from_f64));
        number.map_or_else(
            || {
                if word.parse::<f64>().is_ok() {
                    self.parsed.repairs.add(Repair::NumberOutOfRange);
                }
                Value::String(word)
            },
            Value::Number,
        )
    }
}

#[cfg(test)]
mod tests;
