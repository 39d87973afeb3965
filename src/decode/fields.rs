//! Single values of an event: times, addresses, ids, numbers. What a value may look like is decided here, once, for the streaming
//! reader and for the mapped one.

use std::fmt;

use super::token::Token;
use super::{MAX_TEXT_BYTES, RejectReason, Rejection};
use crate::event::{Address, EventTime, TimeError};

/// Event time: RFC 3339 or an epoch number.
pub(super) fn time(token: Token<'_>) -> Result<EventTime, Rejection> {
    let parsed = match token {
        Token::Null => return Err(Rejection::new(RejectReason::MissingField, "timestamp is null")),
        Token::Text(text) => rfc3339_in_utc(text).map_or_else(|| EventTime::parse(text), Ok),
        Token::Boolean(_) => Err(TimeError::Syntax),
        number => number.number().map_or(Err(TimeError::Syntax), EventTime::from_epoch),
    };
    parsed.map_err(|error| {
        let reason = match error {
            TimeError::Syntax => RejectReason::BadTimestamp,
            TimeError::Range => RejectReason::TimestampOutOfRange,
        };
        Rejection::new(reason, format_args!("timestamp {token} is {error}"))
    })
}

/// Reads by position the form that nearly every log uses, `2026-03-02T09:15:00.123Z`. `None` for every other form; the general parser
/// decides about those. Measured by `cargo bench --bench decode`.
fn rfc3339_in_utc(text: &str) -> Option<EventTime> {
    let bytes = text.as_bytes();
    let (&[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1], rest) =
        bytes.split_first_chunk()?
    else {
        return None;
    };
    let two = |a: u8, b: u8| (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'));
    let fraction = match rest {
        b"Z" => b"".as_slice(),
        [b'.', digits @ .., b'Z'] if (1..=6).contains(&digits.len()) => digits,
        _ => return None,
    };
    let mut micros = 0;
    for place in 0..6 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        micros = micros * 10 + i64::from(digit - b'0');
    }
    let (year, month, day) = (two(y0, y1)? * 100 + two(y2, y3)?, two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
    // The 29th to 31st of a month, leap seconds and years outside the accepted ones are left to the general parser.
    if !(2000..2100).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=28).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days since 1970 by Hinnant's arithmetic (Howard Hinnant, "chrono-compatible low-level date algorithms", 2013, days_from_civil):
    // years begin in March, so that the leap day is the last day of a year. Each group of five months from March on has 153 days,
    // and 719468 days lie between March of the year 0 and 1970.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(EventTime::from_micros(((days * 24 + hour) * 3600 + minute * 60 + second) * 1_000_000 + micros))
}

/// The caller's address; `null` is unknown.
pub(super) fn address(token: Token<'_>) -> Result<Address, Rejection> {
    match token {
        Token::Null => Ok(Address::Unknown),
        Token::Text(text) => Address::parse(text).ok_or_else(|| {
            let hint = if text.contains(',') { "; log the one address that you trust, not a list" } else { "" };
            Rejection::new(RejectReason::BadAddress, format_args!("source_ip {token} is neither an address nor 'unknown'{hint}"))
        }),
        _ => Err(Rejection::new(RejectReason::BadAddress, format_args!("source_ip {token} is not text"))),
    }
}

/// An id or name, into a buffer. Numbers and booleans are written as text; `null` is none.
pub(super) fn text(token: Token<'_>, name: &str, into: &mut String) -> Result<(), Rejection> {
    use fmt::Write as _;
    into.clear();
    match token {
        Token::Null => return Ok(()),
        Token::Text(text) if text.len() > MAX_TEXT_BYTES => {
            return Err(Rejection::new(
                RejectReason::BadField,
                format_args!("{name} is {} bytes long; {MAX_TEXT_BYTES} are allowed", text.len()),
            ));
        }
        Token::Text(text) => {
            into.push_str(text);
            return Ok(());
        }
        Token::Boolean(flag) => write!(into, "{flag}"),
        Token::Signed(number) => write!(into, "{number}"),
        Token::Unsigned(number) => write!(into, "{number}"),
        Token::Float(number) => write!(into, "{number}"),
    }
    .map_err(|_| Rejection::new(RejectReason::BadField, format_args!("{name} cannot be written as text")))
}

/// A number, or text that holds one; `null` is none.
pub(super) fn number(token: Token<'_>, name: &str) -> Result<Option<f64>, Rejection> {
    match token {
        Token::Null => Ok(None),
        _ => token
            .number()
            .map(Some)
            .ok_or_else(|| Rejection::new(RejectReason::BadField, format_args!("{name} {token} is not a number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_and_the_general_way_read_the_same_time() {
        for text in ["2026-03-02T09:15:00.123Z", "2000-02-28T23:59:59Z", "2099-12-01T00:00:00.123456Z", "2024-03-01T12:00:00.5Z"] {
            assert_eq!(rfc3339_in_utc(text), EventTime::parse(text).ok(), "{text}");
            assert!(rfc3339_in_utc(text).is_some(), "{text}");
        }
    }

    #[test]
    fn whatever_is_slightly_different_goes_the_general_way() {
        for text in [
            "2026-02-29T00:00:00Z",
            "2026-13-02T09:15:00Z",
            "2026-03-02T24:15:00Z",
            "2026-03-02 09:15:00Z",
            "2026-03-02T09:15:00+01:00",
            "2026-03-02T09:15:00.Z",
            "2026-03-02T09:15:00.1x3Z",
            "1999-03-02T09:15:00Z",
            "+026-03-02T09:15:00Z",
            "",
        ] {
            assert_eq!(rfc3339_in_utc(text), None, "{text}");
        }
    }
}
