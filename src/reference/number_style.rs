//! How a text file writes its numbers: with a decimal point, with a decimal comma, or with signs between the thousands.
//!
//! `1,234` is 1234 in one country and 1.234 in another, so nothing is converted unless the user says which is meant. What a column of
//! texts may be is recognised all the same, so that a message can name the option.

/// Signs that some countries put between thousands, besides comma and point.
const SPACES: [char; 4] = [' ', '\u{a0}', '\u{202f}', '\''];

/// How numbers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NumberStyle {
    /// `1234.5`.
    #[default]
    Plain,
    /// `1234,5` or `1.234,5`.
    DecimalComma,
    /// `1,234.5`.
    Thousands,
}

// === impl NumberStyle ===

impl NumberStyle {
    /// The number that a text spells in this style; `None` if it spells none. Thousands are groups of three digits, and the same sign
    /// stands between all of them.
    pub fn read(self, text: &str) -> Option<f64> {
        let plain = match self {
            Self::Plain => return text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Self::DecimalComma => plain_form(text.trim(), ',', '.')?,
            Self::Thousands => plain_form(text.trim(), '.', ',')?,
        };
        plain.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

/// The text as `1234.5`.
fn plain_form(text: &str, decimal: char, group: char) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let negative = whole.starts_with('-');
    let whole = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let between = whole.chars().find(|c| *c == group || SPACES.contains(c));
    let joined = match between {
        None => whole.to_owned(),
        Some(sign) => {
            let mut groups = whole.split(sign);
            let first = groups.next().filter(|first| digits(first) && first.len() <= 3)?;
            let rest: Vec<&str> = groups.collect();
            if !rest.iter().all(|part| digits(part) && part.len() == 3) {
                return None;
            }
            first.to_owned() + &rest.concat()
        }
    };
    let sound = digits(&joined) && fraction.is_none_or(digits);
    let exponent = match exponent {
        Some(text) => format!("e{}", text.parse::<i32>().ok()?),
        None => String::new(),
    };
    sound.then(|| format!("{}{joined}.{}{exponent}", if negative { "-" } else { "" }, fraction.unwrap_or("0")))
}

/// A text that is a number dressed up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dressed {
    /// In one of the two styles, and in no other.
    In(NumberStyle),
    /// In either of the two styles: `1,234`.
    Either,
    /// With a currency or a per cent sign.
    WithSign,
}

/// What dress a text has; `None` for a plain number, and for what is none.
pub fn dressed(text: &str) -> Option<Dressed> {
    let text = text.trim();
    if NumberStyle::Plain.read(text).is_some() {
        return None;
    }
    match [NumberStyle::DecimalComma, NumberStyle::Thousands].map(|style| style.read(text).is_some()) {
        [true, true] => return Some(Dressed::Either),
        [true, false] => return Some(Dressed::In(NumberStyle::DecimalComma)),
        [false, true] => return Some(Dressed::In(NumberStyle::Thousands)),
        [false, false] => {}
    }
    let bare = text.trim_matches(['$', '€', '£', '¥', '%']).trim();
    let is_number = NumberStyle::Plain.read(bare).is_some() || dressed_bare(bare);
    (bare.len() < text.len() && bare.starts_with(|c: char| c.is_ascii_digit() || c == '-') && is_number)
        .then_some(Dressed::WithSign)
}

fn dressed_bare(bare: &str) -> bool {
    NumberStyle::DecimalComma.read(bare).is_some() || NumberStyle::Thousands.read(bare).is_some()
}

/// What to do about texts that are numbers dressed up, by all of them: the option that reads them. `None` if no option does.
pub fn option_for<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let has = |wanted: Dressed| texts.clone().any(|text| dressed(text) == Some(wanted));
    let comma = has(Dressed::In(NumberStyle::DecimalComma));
    let thousands = has(Dressed::In(NumberStyle::Thousands));
    match (comma, thousands, has(Dressed::Either), has(Dressed::WithSign)) {
        (true, false, _, false) => Some("read them with --decimal-comma"),
        (false, true, _, false) => Some("read them with --thousands"),
        (false, false, true, false) => {
            Some("read them with --thousands if 1,234 means 1234, or with --decimal-comma if it means 1.234")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_the_style_of_its_file_and_in_no_other() {
        use NumberStyle::{DecimalComma, Plain, Thousands};
        for (text, comma, thousands) in [
            ("1234", Some(1234.0), Some(1234.0)),
            ("3,5", Some(3.5), None),
            ("1.234,5", Some(1234.5), None),
            ("1.234.567", Some(1_234_567.0), None),
            ("1,234.5", None, Some(1234.5)),
            ("1,234", Some(1.234), Some(1234.0)),
            ("1 234,5", Some(1234.5), None),
            ("1\u{a0}234", Some(1234.0), Some(1234.0)),
            ("-1'234.5", None, Some(-1234.5)),
            ("1,5E+03", Some(1500.0), None),
            ("1.23", None, Some(1.23)),
            ("12,34,567", None, None),
            ("1.234'567", None, None),
            (",5", None, None),
            ("5,", None, None),
            ("1,2,3", None, None),
            ("--1", None, None),
            ("", None, None),
            ("1e999", None, None),
        ] {
            assert_eq!((DecimalComma.read(text), Thousands.read(text)), (comma, thousands), "{text}");
        }
        assert_eq!((Plain.read(" 3.5 "), Plain.read("3,5"), Plain.read("nan")), (Some(3.5), None, None));
    }

    #[test]
    fn the_option_is_named_that_reads_all_texts() {
        let option = |texts: &[&str]| option_for(texts.iter().copied());
        assert!(option(&["3", "3,5", "1,234"]).unwrap().contains("--decimal-comma"));
        assert!(option(&["1,234", "1,234.50"]).unwrap().contains("--thousands"));
        let either = option(&["1,234", "7"]).unwrap();
        assert!(either.contains("--thousands") && either.contains("--decimal-comma"));
        assert_eq!((option(&["$1,234"]), option(&["3,5", "1,234.5"]), option(&["3"])), (None, None, None));
    }
}
