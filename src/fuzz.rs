//! Changes valid inputs at random, for tests of everything that reads foreign bytes. Only tests have it.
//!
//! cargo-fuzz needs a nightly compiler, and a test that runs in CI needs bounds and the same result every time. So the changes are made
//! here: of structure (a value becomes another, a name another name, a level is added or taken away), which keeps JSON valid and
//! reaches deep into the readers; and of bytes, which does not. A case is a number, and a failure names it. `TRIPLINE_FUZZ_CASES` runs more
//! of them.

#[cfg(feature = "runtime")]
mod readers;

use serde_json::{Map, Value, json};

use crate::hash::mix2;

/// Cases of each fuzzer unless the environment says otherwise. Chosen: some seconds each.
const CASES: u64 = 20_000;
/// Changes of one case at most. Chosen: with more, hardly a record is read any more.
const MOST_CHANGES: u64 = 2;

/// How many cases to run.
pub fn cases() -> u64 {
    std::env::var("TRIPLINE_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// Random numbers that depend on the fuzzer and the case alone.
pub struct Random {
    seed: u64,
    drawn: u64,
}

// === impl Random ===

impl Random {
    /// The numbers of a case.
    pub fn of(fuzzer: u64, case: u64) -> Self {
        Self { seed: mix2(fuzzer, case), drawn: 0 }
    }

    /// A number below `limit` (0 for a limit of 0).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        mix2(self.seed, self.drawn).checked_rem(limit).unwrap_or_default()
    }

    /// A position below `limit`.
    pub fn at(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or_default()
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.at(all.len())]
    }
}

/// Values on which readers have failed before.
fn strange(random: &mut Random) -> Value {
    let number = i64::try_from(random.below(1 << 40)).unwrap_or_default();
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-0.0),
        json!(-1),
        json!(0.5),
        json!(1e308),
        json!(-1e-308),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(9_007_199_254_740_993_i64),
        json!(number),
        json!(1_772_442_900),
        json!(1_772_442_900_123_i64),
        json!(""),
        json!(" "),
        json!("0"),
        json!("007"),
        json!("1e3"),
        json!("NaN"),
        json!("inf"),
        json!("true"),
        json!("TRUE"),
        json!("State"),
        json!("m"),
        json!("unknown"),
        json!("-"),
        json!("203.0.113.7:80"),
        json!("fe80::1%eth0"),
        json!("2026-12-31T23:59:60Z"),
        json!("2026-03-02T09:15:00.123456789+05:45"),
        json!("0001-01-01T00:00:00Z"),
        json!("é\u{0}\u{202e}\"\\"),
        json!("x".repeat(600)),
        json!([]),
        json!({}),
        json!([[]]),
        json!([1, "a", null]),
        json!({"age": 1}),
        json!([{"age": 1}, [1, "State", true]]),
        json!({"columns": ["age"], "data": [[1]]}),
    ];
    random.pick(&values).clone()
}

/// Changes a tree in one or two places. `names` are those that mean something.
pub fn change(value: &mut Value, names: &[&str], random: &mut Random) {
    for _ in 0..=random.below(MOST_CHANGES) {
        let mut places = Vec::new();
        pointers(value, String::new(), &mut places);
        let place = random.pick::<String>(&places).clone();
        let donor = value.pointer(random.pick::<String>(&places)).cloned().unwrap_or_default();
        if let Some(node) = value.pointer_mut(&place) {
            change_node(node, donor, names, random);
        }
    }
}

fn change_node(node: &mut Value, donor: Value, names: &[&str], random: &mut Random) {
    match random.below(7) {
        0 => *node = strange(random),
        1 => *node = donor,
        2 => *node = Value::Array(vec![node.take()]),
        3 => *node = json!({ *random.pick(names): node.take() }),
        _ => match node {
            Value::Object(map) if !map.is_empty() => change_object(map, names, random),
            Value::Array(elements) if !elements.is_empty() => {
                let at = random.at(elements.len());
                match random.below(3) {
                    0 => drop(elements.remove(at)),
                    1 => elements.insert(at, strange(random)),
                    _ => elements.push(elements[at].clone()),
                }
            }
            Value::String(text) if !text.is_empty() && random.once_in(2) => {
                let cut = text.char_indices().map(|(at, _)| at).nth(random.at(text.chars().count())).unwrap_or_default();
                text.insert(cut, *random.pick(&['0', '.', ':', '-', ' ', ',', 'T', 'Z', '9', '"']));
            }
            node => *node = strange(random),
        },
    }
}

fn change_object(map: &mut Map<String, Value>, names: &[&str], random: &mut Random) {
    let name = map.keys().nth(random.at(map.len())).cloned().unwrap_or_default();
    match random.below(3) {
        0 => drop(map.remove(&name)),
        1 => drop(map.insert((*random.pick(names)).to_owned(), strange(random))),
        _ => {
            let value = map.remove(&name).unwrap_or_default();
            map.insert((*random.pick(names)).to_owned(), value);
        }
    }
}

fn pointers(value: &Value, here: String, all: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => map.iter().for_each(|(name, inner)| pointers(inner, format!("{here}/{}", escaped(name)), all)),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(nth, inner)| pointers(inner, format!("{here}/{nth}"), all))
        }
        _ => {}
    }
    all.push(here);
}

/// Changes bytes in one or two places.
pub fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: [&[u8]; 16] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"NaN",
        b"\\ud800",
        b"\\u0041",
        b"\xff",
        b"\0",
        b"1e999",
        b"\n",
        b"\xef\xbb\xbf",
    ];
    for _ in 0..=random.below(MOST_CHANGES) {
        let at = random.at(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 => {
                let end = (at + random.at(20)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.at(bytes.len() + 1);
                drop(bytes.splice(to..to, copy));
            }
            _ => drop(bytes.splice(at..at, random.pick(&PIECES).iter().copied())),
        }
    }
}
