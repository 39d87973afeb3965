//! What each change does to a text, a number, a name or a row.

use super::columns::Column;
use super::row::{Field, Row, number_json, quoted};
use super::scene::Scene;
use crate::hash;

/// What pipelines call a category that a release brought. Any text that no training data has would do.
const NEW_CATEGORY: &str = "Brand-new";
/// Characters that are left of a text that is cut short. Chosen: the width of many fixed codes, and short enough to merge categories.
const KEPT_CHARACTERS: usize = 4;
/// Inches in a foot: a change of unit that keeps the order of magnitude.
const UNIT: f64 = 12.0;
/// Share of the rows whose value is filled with the mean. Chosen: an outage of one source among several.
const IMPUTED: f64 = 0.3;
/// Largest relative error of the noise: a sensor of another make.
const JITTER: f64 = 0.01;

/// A number uniform from 0 to 1 of a row's chance and a place within the row.
#[expect(clippy::cast_precision_loss, reason = "53 bits, which a float holds")]
fn uniform(chance: u64, place: usize) -> f64 {
    (hash::mix2(chance, place as u64) >> 11) as f64 / (1_u64 << 53) as f64
}

// Text.

pub fn space_before(text: &str, _: &Column) -> Option<String> {
    Some(format!(" {text}"))
}

pub fn space_after(text: &str, _: &Column) -> Option<String> {
    Some(format!("{text} "))
}

pub fn lower(text: &str, _: &Column) -> Option<String> {
    Some(text.to_lowercase())
}

pub fn upper(text: &str, _: &Column) -> Option<String> {
    Some(text.to_uppercase())
}

pub fn title(text: &str, _: &Column) -> Option<String> {
    let mut start = true;
    let cased = text.chars().map(|letter| {
        let first = std::mem::replace(&mut start, !letter.is_alphanumeric());
        if first { letter.to_uppercase().to_string() } else { letter.to_lowercase().to_string() }
    });
    Some(cased.collect())
}

pub fn quotes(text: &str, _: &Column) -> Option<String> {
    Some(format!("\"{text}\""))
}

pub fn prefix(text: &str, _: &Column) -> Option<String> {
    Some(format!("cat_{text}"))
}

pub fn cut(text: &str, _: &Column) -> Option<String> {
    Some(text.chars().take(KEPT_CHARACTERS).collect())
}

pub fn hashed(text: &str, _: &Column) -> Option<String> {
    // Eight hexadecimal digits, as feature hashing and pseudonyms write them.
    Some(format!("{:08x}", hash::text(text) >> 32))
}

/// The same text in another Unicode spelling: accents as characters of their own (normalisation form D, for Latin letters with
/// one accent), and typographic hyphens, apostrophes and spaces.
pub fn unicode(text: &str, _: &Column) -> Option<String> {
    const PLAIN: &str = "AEIOUaeiouNnCcAOaoAEIOUaeiouAEIOUaeiouAEIOUaeiouYyy";
    const ACCENTED: &str = "ÁÉÍÓÚáéíóúÑñÇçÃÕãõÀÈÌÒÙàèìòùÂÊÎÔÛâêîôûÄËÏÖÜäëïöüÝýÿ";
    const ACCENTS: [(usize, char); 8] = [
        (10, '\u{301}'),
        (12, '\u{303}'),
        (14, '\u{327}'),
        (18, '\u{303}'),
        (28, '\u{300}'),
        (38, '\u{302}'),
        (48, '\u{308}'),
        (50, '\u{301}'),
    ];
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '-' => out.push('\u{2010}'),
            '\'' => out.push('\u{2019}'),
            ' ' => out.push('\u{a0}'),
            _ => match ACCENTED.chars().zip(PLAIN.chars()).enumerate().find(|(_, (accented, _))| *accented == letter) {
                Some((at, (_, plain))) => {
                    out.push(plain);
                    out.push(ACCENTS.iter().find(|(end, _)| at < *end).map_or('\u{308}', |(_, accent)| *accent));
                }
                None => out.push(letter),
            },
        }
    }
    Some(out)
}

pub fn merged(text: &str, column: &Column) -> Option<String> {
    (column.common(0) != Some(text)).then(|| "Other".to_owned())
}

pub fn renamed(text: &str, column: &Column) -> Option<String> {
    (column.common(0) == Some(text)).then(|| format!("{text} (new)"))
}

/// The commonest category and the rarest: two that are about equally common could be exchanged without a trace.
pub fn exchanged(text: &str, column: &Column) -> Option<String> {
    let (first, last) = (column.common(0)?, column.common(column.categories.len() - 1)?);
    if text == first {
        Some(last.to_owned())
    } else if text == last {
        Some(first.to_owned())
    } else {
        None
    }
}

/// The rank of a text in the alphabet of its column, as an encoder of labels gives it.
pub fn codes(row: &mut Row, scene: &mut Scene<'_>) {
    for &at in scene.targets {
        let Some(text) = row.field(at).and_then(Field::text) else { continue };
        let code = scene.columns.all[at].categories.iter().filter(|known| **known < text).count();
        row.set_json(at, &code.to_string());
    }
}

// Names of fields.

pub fn dashes(name: &str) -> String {
    name.replace('_', "-")
}

pub fn camel(name: &str) -> String {
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        let mut letters = word.chars();
        all.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        all.push_str(letters.as_str());
        all
    })
}

pub fn key_prefix(name: &str) -> String {
    format!("f_{name}")
}

pub fn key_upper(name: &str) -> String {
    name.to_uppercase()
}

// Categories.

fn newcomer(row: &mut Row, scene: &Scene<'_>, share: f64) {
    if uniform(scene.chance, 0) < share {
        scene.targets.iter().for_each(|&at| row.set_text(at, NEW_CATEGORY));
    }
}

pub fn newcomer_2(row: &mut Row, scene: &mut Scene<'_>) {
    newcomer(row, scene, 0.02);
}

pub fn newcomer_20(row: &mut Row, scene: &mut Scene<'_>) {
    newcomer(row, scene, 0.2);
}

// Numbers.

pub fn by_12(number: f64, _: &Column) -> Option<String> {
    number_json(number * UNIT)
}

pub fn by_thousandth(number: f64, _: &Column) -> Option<String> {
    number_json(number / 1000.0)
}

pub fn by_hundredth(number: f64, _: &Column) -> Option<String> {
    number_json(number / 100.0)
}

/// With the sign kept, since a column may be negative.
pub fn logarithm(number: f64, _: &Column) -> Option<String> {
    number_json(number.abs().ln_1p().copysign(number))
}

pub fn standardised(number: f64, column: &Column) -> Option<String> {
    if column.deviation > 0.0 { number_json((number - column.mean) / column.deviation) } else { None }
}

pub fn flipped(number: f64, _: &Column) -> Option<String> {
    number_json(-number)
}

pub fn offset(number: f64, column: &Column) -> Option<String> {
    let range = column.p99 - column.p01;
    number_json(number + if range > 0.0 { range } else { 1.0 })
}

pub fn two_digits(number: f64, _: &Column) -> Option<String> {
    format!("{number:.1e}").parse().ok().and_then(number_json)
}

/// A tenth in single precision, and back: what a scaler in a 32-bit model server does.
#[expect(clippy::cast_possible_truncation, reason = "the loss of digits is the change")]
pub fn single(number: f64, _: &Column) -> Option<String> {
    number_json(f64::from((number * 0.1) as f32) * 10.0)
}

pub fn integers(number: f64, _: &Column) -> Option<String> {
    number_json(number.trunc())
}

pub fn clipped(number: f64, column: &Column) -> Option<String> {
    if column.p01 < column.p99 { number_json(number.clamp(column.p01, column.p99)) } else { None }
}

pub fn as_text(number: f64, _: &Column) -> Option<String> {
    number_json(number).map(|json| quoted(&json))
}

pub fn comma(number: f64, _: &Column) -> Option<String> {
    number_json(number).map(|json| quoted(&json.replace('.', ",")))
}

pub fn min_max(number: f64, column: &Column) -> Option<String> {
    if column.min < column.max { number_json((number - column.min) / (column.max - column.min)) } else { None }
}

pub fn jitter(row: &mut Row, scene: &mut Scene<'_>) {
    for &at in scene.targets {
        if let Some(number) = row.field(at).and_then(Field::number) {
            row.set_number(at, number * (1.0 + JITTER * (2.0 * uniform(scene.chance, at) - 1.0)));
        }
    }
}

// Missing.

pub fn gone(row: &mut Row, scene: &mut Scene<'_>) {
    row.remove(scene.targets);
}

pub fn imputed(row: &mut Row, scene: &mut Scene<'_>) {
    if uniform(scene.chance, 0) < IMPUTED {
        scene.targets.iter().for_each(|&at| row.set_number(at, scene.columns.all[at].mean));
    }
}

// Shape.

/// Every column of the change gets the value of the one before, and the first that of the last: with two, they are exchanged.
pub fn shifted(row: &mut Row, scene: &mut Scene<'_>) {
    let values: Vec<Option<String>> = scene.targets.iter().map(|&at| row.field(at).map(|field| field.json().to_owned())).collect();
    let count = values.len();
    for (nth, &at) in scene.targets.iter().enumerate() {
        if let Some(json) = &values[(nth + count - 1) % count] {
            row.set_json(at, json);
        }
    }
}

pub fn duplicated(row: &mut Row, scene: &mut Scene<'_>) {
    let &[from, to] = scene.targets else { return };
    if let Some(json) = row.field(from).map(|field| field.json().to_owned()) {
        row.set_json(to, &json);
    }
}

pub fn extra(row: &mut Row, _: &mut Scene<'_>) {
    row.append("pipeline_release", "\"2\"");
}

// Stuck.

pub fn constant(row: &mut Row, scene: &mut Scene<'_>) {
    for (nth, &at) in scene.targets.iter().enumerate() {
        if let Some(Some(json)) = scene.memory.first.get(nth) {
            row.set_json(at, json);
        }
    }
}

pub fn stale(row: &mut Row, scene: &mut Scene<'_>) {
    for (nth, &at) in scene.targets.iter().enumerate() {
        if let Some(Some(json)) = scene.memory.before.get(nth) {
            row.set_json(at, json);
        }
    }
}
