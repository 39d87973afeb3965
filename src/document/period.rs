//! Durations as people write them: `250ms`, `5s`, `2m`, `2h`, `1d`.
//!
//! A bare number is refused, because `30` may mean seconds or milliseconds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration with a unit in its text form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Period(pub Duration);

/// Most milliseconds of a duration: ten years. A larger number was meant in another unit.
const MAX_MILLIS: f64 = 3.2e11;

/// Units with their milliseconds, largest first, so that printing takes the largest that divides.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

// === impl Period ===

impl Period {
    /// A whole number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A whole number of milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Reads `250ms`, `5s`, `1.5h` and so on. The error is a lower-case fragment that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("'{text}' is no duration; write a number and a unit, such as 250ms, 5s, 2m, 2h or 1d");
        let text = text.trim();
        let digits = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(fault)?;
        let (number, unit) = text.split_at(digits);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fault)?;
        let number: f64 = number.trim().parse().map_err(|_| fault())?;
        #[expect(clippy::cast_precision_loss, reason = "a day has far fewer milliseconds than 2^53")]
        let total = number * *millis as f64;
        if !(0.0..=MAX_MILLIS).contains(&total) {
            return Err(fault());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within range just above")]
        Ok(Self::millis(total.round() as u64))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let unit = UNITS.iter().find(|(_, size)| millis >= *size && millis % *size == 0);
        let (name, size) = unit.copied().unwrap_or(("ms", 1));
        write!(f, "{}{name}", millis / size)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["250ms", "5s", "2m", "2h", "1d", "90s"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Period::parse("1.5h").unwrap(), Period::seconds(5_400));
    }

    #[test]
    fn a_number_without_unit_is_refused() {
        for text in ["30", "", "s", "-5s", "5 parsecs", "nans", "1e99d"] {
            assert!(Period::parse(text).is_err(), "{text}");
        }
    }
}
