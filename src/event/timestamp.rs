//! Times as logs write them: RFC 3339, the same with a space, a decimal comma or the suffix `UTC`, RFC 2822, the form of web servers,
//! and epoch numbers from seconds to nanoseconds.
//!
//! A time without a zone is not guessed: an hour of shift would put queries into other windows, and two instances with other clocks
//! would disagree. A [`Zone`] that the configuration names is used for such times, and for no others.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::{EventTime, TimeError};

/// Longest text of a time, in bytes. Chosen: twice the longest form that is read.
const MAX_TEXT: usize = 64;
/// Most digits of a fraction that a time can hold: nanoseconds.
const MAX_FRACTION: usize = 9;

/// The time zone of times that state none.
#[derive(Clone, PartialEq, Debug)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// A text that names no time zone.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is no time zone; write UTC, an offset such as +02:00, or a name such as Europe/Berlin")]
pub struct ZoneError(String);

// === impl Zone ===

impl std::str::FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let name = text.trim();
        let wrong = || ZoneError(text.chars().take(MAX_TEXT).collect());
        let zone = if ["utc", "gmt", "z"].contains(&name.to_ascii_lowercase().as_str()) {
            TimeZone::UTC
        } else if name.starts_with(['+', '-']) {
            TimeZone::fixed(offset(name).ok_or_else(wrong)?)
        } else {
            TimeZoneDatabase::bundled().get(name).map_err(|_| wrong())?
        };
        Ok(Self { name: name.to_owned(), zone })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl serde::Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> serde::Deserialize<'de> for Zone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `+02:00`, `+0200` or `+02`.
fn offset(text: &str) -> Option<Offset> {
    let negative = text.starts_with('-');
    let digits: Vec<i32> =
        text[1..].bytes().filter(|&b| b != b':').map(|b| (b as char).to_digit(10)?.try_into().ok()).collect::<Option<_>>()?;
    let (hours, minutes) = match digits[..] {
        [h, i] => (h * 10 + i, 0),
        [h, i, m, n] => (h * 10 + i, m * 10 + n),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok()
}

/// Reads a time in any of the forms; one without a zone is in `zone`.
pub(super) fn parse(text: &str, zone: Option<&Zone>) -> Result<EventTime, TimeError> {
    let text = text.trim();
    if let Some(number) = epoch(text) {
        return EventTime::from_epoch(number);
    }
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return EventTime(stamp.as_microsecond()).in_range();
    }
    let mut buffer = [0; MAX_TEXT];
    let (plain, utc) = plain_form(text, &mut buffer).ok_or(TimeError::Syntax)?;
    if let Ok(stamp) = plain.parse::<jiff::Timestamp>() {
        return EventTime(stamp.as_microsecond()).in_range();
    }
    let Some(civil) = civil(plain).or_else(|| civil(&day_first(plain)?)) else { return other_form(text) };
    if !(2000..2100).contains(&civil.year()) {
        return Err(TimeError::Range);
    }
    let zone = match zone {
        _ if utc => &TimeZone::UTC,
        Some(zone) => &zone.zone,
        None => return Err(TimeError::NoZone),
    };
    // Of an hour that a clock shows twice, the first is taken; a time that no clock shows is moved behind the gap.
    let stamp = zone.to_timestamp(civil).map_err(|_| TimeError::Range)?;
    EventTime(stamp.as_microsecond()).in_range()
}

/// An epoch number as text, with a point or a comma.
fn epoch(text: &str) -> Option<f64> {
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'-' | b'+' | b'e' | b'E')) {
        return None;
    }
    match text.split_once(',') {
        None => text.parse().ok(),
        Some((whole, part)) => {
            let number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            (number(whole) && number(part)).then(|| format!("{whole}.{part}").parse().ok()).flatten()
        }
    }
}

/// A date with a time and no zone. A date alone is no time.
fn civil(text: &str) -> Option<DateTime> {
    let has_time = text.as_bytes().get(10).is_some_and(|separator| matches!(separator, b'T' | b't' | b' '));
    if has_time { text.parse().ok() } else { None }
}

/// A date with points, which has the day first: `02.03.2026 09:15:00` as `2026-03-02 09:15:00`. With slashes it could be either.
fn day_first(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    let [d0, d1, b'.', m0, m1, b'.', year @ ..] = date.as_bytes() else { return None };
    let digits = [*d0, *d1, *m0, *m1].iter().chain(year).all(u8::is_ascii_digit);
    digits.then(|| format!("{}-{}-{}{rest}", &date[6..], &date[3..5], &date[..2]))
}

/// Whether a text begins with a date of which nobody knows whether the day or the month is first: `02/03/2026`.
fn has_slashes(text: &str) -> bool {
    let mut parts = text.split([' ', ',', 'T']).next().unwrap_or_default().split('/');
    let digits = |part: Option<&str>, lengths: std::ops::RangeInclusive<usize>| {
        part.is_some_and(|part| lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    };
    digits(parts.next(), 1..=2) && digits(parts.next(), 1..=2) && digits(parts.next(), 2..=4) && parts.next().is_none()
}

/// The text in the form that the parser of RFC 3339 takes, and whether it says UTC: the suffixes `UTC`, `GMT` and `[UTC]` are taken
/// away, a decimal comma and slashes are replaced, a space before the offset is removed, and a long fraction is cut.
fn plain_form<'b>(text: &str, buffer: &'b mut [u8; MAX_TEXT]) -> Option<(&'b str, bool)> {
    if text.len() > MAX_TEXT || !text.is_ascii() {
        return None;
    }
    let (text, utc) = without_zone_name(text);
    let mut length = 0;
    let mut fraction = None;
    for (at, byte) in text.bytes().enumerate() {
        let digit = byte.is_ascii_digit();
        if let Some(digits) = fraction {
            fraction = digit.then_some(digits + 1);
            if digit && digits >= MAX_FRACTION {
                continue;
            }
        }
        let byte = match byte {
            b'/' if at == 4 || at == 7 => b'-',
            b',' | b'.' if at == 19 => {
                fraction = Some(0);
                b'.'
            }
            // The space between date and time stays; the one before an offset goes.
            b' ' if at > 10 => continue,
            byte => byte,
        };
        buffer[length] = byte;
        length += 1;
    }
    std::str::from_utf8(&buffer[..length]).ok().map(|text| (text, utc))
}

/// A text without the name of the zone behind it, and whether that is UTC.
fn without_zone_name(text: &str) -> (&str, bool) {
    for name in ["[UTC]", "[GMT]", "UTC", "GMT", "Z"] {
        let cut = text.len().wrapping_sub(name.len());
        if let Some((before, end)) = text.split_at_checked(cut)
            && end.eq_ignore_ascii_case(name)
        {
            return (before.trim_end().trim_end_matches(['Z', 'z']).trim_end(), true);
        }
    }
    (text, false)
}

/// The forms of mail and of web servers: `Mon, 02 Mar 2026 09:15:00 GMT` and `02/Mar/2026:09:15:00 +0000`.
fn other_form(text: &str) -> Result<EventTime, TimeError> {
    let stamp = jiff::fmt::rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(text)
        .or_else(|_| jiff::Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", text.trim_matches(['[', ']'])));
    match stamp {
        Ok(stamp) => EventTime(stamp.as_microsecond()).in_range(),
        // 9999-12-31 is a frequent default value. It is a date, and past what an instant can hold.
        Err(_) => {
            if has_slashes(text) {
                return Err(TimeError::DayOrMonth);
            }
            let date = text.get(..19).and_then(|date| date.parse::<DateTime>().ok());
            Err(date.map_or(TimeError::Syntax, |_| TimeError::Range))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated() -> EventTime {
        EventTime::parse("2026-03-02T09:15:00.123Z").unwrap()
    }

    #[test]
    fn every_form_with_a_zone_means_the_same_instant() {
        for text in [
            "2026-03-02T09:15:00.123Z",
            "2026-03-02 09:15:00.123Z",
            "2026-03-02 09:15:00,123Z",
            "2026-03-02T09:15:00.123000000Z",
            "2026-03-02T09:15:00.123000000000Z",
            "2026-03-02T10:15:00.123+01:00",
            "2026-03-02 10:15:00,123+0100",
            "2026-03-02 10:15:00.123 +01:00",
            "2026-03-02 10:15:00.123+01",
            "2026-03-02 09:15:00.123 UTC",
            "2026-03-02 09:15:00,123 utc",
            "2026-03-02T09:15:00.123UTC",
            "2026-03-02 09:15:00.123 GMT",
            "2026-03-02 09:15:00.123 +0000 UTC",
            "2026-03-02T09:15:00.123Z[UTC]",
            "2026/03/02 09:15:00.123 UTC",
            "  2026-03-02T09:15:00.123z ",
        ] {
            assert_eq!(parse(text, None), Ok(stated()), "{text}");
        }
        let second = EventTime::parse("2026-03-02T09:15:00Z");
        for text in ["Mon, 02 Mar 2026 09:15:00 GMT", "02/Mar/2026:10:15:00 +0100", "[02/Mar/2026:09:15:00 +0000]"] {
            assert_eq!(parse(text, None), second, "{text}");
        }
    }

    #[test]
    fn epoch_numbers_of_every_unit_are_read_as_text() {
        for text in
            ["1772442900.123", "1772442900,123", "1772442900123", "1772442900123000", "1772442900123000000", "1.772442900123e9"]
        {
            assert_eq!(parse(text, None), Ok(stated()), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_needs_one_and_takes_the_one_that_is_assumed() {
        let zone = |name: &str| name.parse::<Zone>().unwrap();
        for text in ["2026-03-02T09:15:00.123", "2026-03-02 09:15:00.123000", "2026-03-02 09:15:00,123", "2026/03/02 09:15:00.123"]
        {
            assert_eq!(parse(text, None), Err(TimeError::NoZone), "{text}");
            assert_eq!(parse(text, Some(&zone("UTC"))), Ok(stated()), "{text}");
            assert_eq!(parse(text, Some(&zone("+02:00"))), Ok(stated().plus_seconds(-7200)), "{text}");
            assert_eq!(parse(text, Some(&zone("America/New_York"))), Ok(stated().plus_seconds(5 * 3600)), "{text}");
        }
        assert_eq!(parse("2026-03-02 09:15:00", Some(&zone("-0330"))), EventTime::parse("2026-03-02T12:45:00Z"));
        // What states its zone keeps it.
        assert_eq!(parse("2026-03-02 09:15:00.123 UTC", Some(&zone("+02:00"))), Ok(stated()));
        // Summer time.
        assert_eq!(parse("2026-07-02 09:15:00", Some(&zone("Europe/Berlin"))), EventTime::parse("2026-07-02T07:15:00Z"));
    }

    #[test]
    fn a_date_with_points_has_the_day_first_and_one_with_slashes_is_not_guessed() {
        let zone = "UTC".parse::<Zone>().unwrap();
        for text in ["02.03.2026 09:15:00.123", "02.03.2026 09:15:00,123", "02.03.2026T09:15:00.123"] {
            assert_eq!(parse(text, Some(&zone)), Ok(stated()), "{text}");
            assert_eq!(parse(text, None), Err(TimeError::NoZone), "{text}");
        }
        assert_eq!(parse("02.03.2026 09:15:00.123 UTC", None), Ok(stated()));
        for text in ["03/02/2026 09:15:00", "3/2/2026 9:15", "03/02/26, 09:15:00 AM"] {
            assert_eq!(parse(text, Some(&zone)), Err(TimeError::DayOrMonth), "{text}");
        }
        for text in ["02.03.2026", "2.3.2026 09:15:00", "32.13.2026 09:15:00", "1/2/3/4 5"] {
            assert_eq!(parse(text, Some(&zone)), Err(TimeError::Syntax), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_and_what_is_out_of_range_are_told_apart() {
        for text in [
            "yesterday",
            "2026-03-02",
            "09:15:00",
            "",
            "2026-13-02 09:15:00",
            "UTC",
            "1,2,3",
            "2026-03-02Tx",
            "é2026-03-02 09:15:00",
        ] {
            assert_eq!(parse(text, None), Err(TimeError::Syntax), "{text}");
        }
        for text in ["0001-01-01T00:00:00", "9999-12-31 23:59:59", "9999-12-31T23:59:59Z", "0", "1"] {
            assert_eq!(parse(text, None), Err(TimeError::Range), "{text}");
        }
    }

    #[test]
    fn a_zone_is_utc_an_offset_or_a_name() {
        for (text, shown) in [("UTC", "UTC"), (" utc ", "utc"), ("+02:00", "+02:00"), ("Europe/Berlin", "Europe/Berlin")] {
            assert_eq!(text.parse::<Zone>().unwrap().to_string(), shown);
        }
        for text in ["", "+", "+99:00", "Mars/Base", "local", "+é1"] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
    }
}
