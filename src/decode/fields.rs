//! Single values of an event: times, addresses, ids, numbers. What a value may look like is decided here, once, for the streaming
//! reader and for the mapped one.
//!
//! A row cannot do without its time, so a time that cannot be read is a fault. Every other value of this file is repaired: the row
//! does without it, and the repair is noted.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use super::token::Token;
use super::{MAX_TEXT_BYTES, RejectReason, Rejection, tree};
use crate::event::{Address, EventTime, Repair, Repairs, TimeError, Zone};
use crate::hash;

/// Event time: one of the forms of [`timestamp`](crate::event::timestamp); a time that states no zone is in `zone`.
pub(super) fn time(token: Token<'_>, zone: Option<&Zone>) -> Result<EventTime, Rejection> {
    let parsed = match token {
        Token::Null => return Err(Rejection::new(RejectReason::MissingField, "timestamp is null")),
        Token::Text(text) => rfc3339_in_utc(text).map_or_else(|| EventTime::parse_in(text, zone), Ok),
        Token::Boolean(_) => Err(TimeError::Syntax),
        number => number.number().map_or(Err(TimeError::Syntax), EventTime::from_epoch),
    };
    parsed.map_err(|error| {
        let reason = match error {
            TimeError::Syntax | TimeError::DayOrMonth => RejectReason::BadTimestamp,
            TimeError::Range => RejectReason::TimestampOutOfRange,
            TimeError::NoZone => RejectReason::TimestampWithoutZone,
        };
        Rejection::new(reason, format_args!("timestamp {token} {error}"))
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

/// The caller's address. `null` is unknown, and so is what is no address.
pub(super) fn address(token: Option<Token<'_>>, trusted_proxies: usize, repairs: &mut Repairs) -> Address {
    // Nearly every log has one bare address, and no list reads as one.
    if trusted_proxies == 0
        && let Some(Token::Text(text)) = token
        && let Ok(ip) = text.parse::<IpAddr>()
    {
        return Address::Ip(ip.to_canonical());
    }
    match token {
        Some(Token::Null) => Address::Unknown,
        Some(Token::Text(text)) if !text.contains(',') => match hop(text) {
            Some(address) => {
                if trusted_proxies > 0 && address != Address::Unknown {
                    repairs.add(Repair::AddressListShort);
                }
                address
            }
            None => {
                repairs.add(Repair::AddressUnreadable);
                Address::Unknown
            }
        },
        Some(Token::Text(text)) => {
            let hops = text.split(',').map(str::trim).filter(|hop| !hop.is_empty());
            behind_proxies(hops.clone().count(), hops.map(hop), trusted_proxies, repairs)
        }
        _ => {
            repairs.add(Repair::AddressType);
            Address::Unknown
        }
    }
}

/// The caller's address in a tree, where it may also be an array of texts, each an address or a list of addresses.
pub(super) fn address_of(value: Option<&Value>, trusted_proxies: usize, repairs: &mut Repairs) -> Address {
    let Some(value) = value else { return Address::Unknown };
    let Value::Array(elements) = value else { return address(tree::token(value), trusted_proxies, repairs) };
    let hops = elements.iter().flat_map(|element| element.as_str().unwrap_or(NO_ADDRESS).split(',')).map(str::trim);
    let hops = hops.filter(|hop| !hop.is_empty());
    behind_proxies(hops.clone().count(), hops.map(hop), trusted_proxies, repairs)
}

/// Stands in a list of addresses for an element that is no text.
const NO_ADDRESS: &str = "(no text)";

/// The address before the trusted proxies, which are the last in the list. Whoever is further away than they are can only put
/// addresses in front. If the list is shorter, the request did not come through all of them, and its first address is the caller's.
fn behind_proxies(
    count: usize,
    mut hops: impl DoubleEndedIterator<Item = Option<Address>>,
    trusted_proxies: usize,
    repairs: &mut Repairs,
) -> Address {
    let found = if count > trusted_proxies { hops.nth_back(trusted_proxies) } else { hops.next() };
    if count > 1 && trusted_proxies == 0 {
        repairs.add(Repair::AddressList);
    }
    if count <= trusted_proxies && count > 0 {
        repairs.add(Repair::AddressListShort);
    }
    found.flatten().unwrap_or_else(|| {
        repairs.add(Repair::AddressUnreadable);
        Address::Unknown
    })
}

/// One address of a list, also in the form of RFC 7239 (`for="[2001:db8::1]:47011";proto=http`), where a name that begins with an
/// underscore hides an address. `None` if it is none.
fn hop(text: &str) -> Option<Address> {
    if let Some(address) = Address::parse(text) {
        return Some(address);
    }
    let named =
        |part: &str| part.split_at_checked(4).filter(|(name, _)| name.eq_ignore_ascii_case("for=")).map(|(_, value)| value.len());
    let value = text.split(';').map(str::trim).find_map(|part| named(part).map(|length| &part[part.len() - length..]));
    let bare = value.unwrap_or(text).trim().trim_matches('"');
    if bare.starts_with('_') { Some(Address::Unknown) } else { Address::parse(bare) }
}

/// How a text that a row can do without is repaired.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextField {
    wrong_type: Repair,
    too_long: Repair,
}

/// The caller's account.
pub(super) const ACCOUNT: TextField = TextField { wrong_type: Repair::AccountType, too_long: Repair::AccountLong };
/// The request id.
pub(super) const REQUEST_ID: TextField = TextField { wrong_type: Repair::RequestIdType, too_long: Repair::RequestIdLong };
/// The model's version.
pub(super) const VERSION: TextField = TextField { wrong_type: Repair::VersionType, too_long: Repair::VersionLong };
/// The ground truth.
pub(super) const LABEL: TextField = TextField { wrong_type: Repair::LabelType, too_long: Repair::LabelLong };

/// An id or name, into a buffer; `None` is an object or an array. Numbers and booleans are written as text; `null` is none.
pub(super) fn text(token: Option<Token<'_>>, field: TextField, into: &mut String, repairs: &mut Repairs) {
    into.clear();
    if let Some(Token::Text(text)) = token
        && text.len() <= MAX_TEXT_BYTES
    {
        return into.push_str(text);
    }
    let Some(token) = token else { return repairs.add(field.wrong_type) };
    write(token, into);
    if into.len() > MAX_TEXT_BYTES {
        repairs.add(field.too_long);
        shorten(into);
    }
}

/// The model's name, into a buffer. A row needs it, so a name that is too long stays as it is: no reference has it.
pub(super) fn model(token: Token<'_>, into: &mut String) {
    into.clear();
    match token {
        Token::Text(text) => into.push_str(text),
        _ => write(token, into),
    }
}

fn write(token: Token<'_>, into: &mut String) {
    use fmt::Write as _;
    // Writing to a text cannot fail.
    let _ = match token {
        Token::Null => Ok(()),
        Token::Text(text) => into.write_str(text),
        Token::Boolean(flag) => write!(into, "{flag}"),
        Token::Signed(number) => write!(into, "{number}"),
        Token::Unsigned(number) => write!(into, "{number}"),
        Token::Float(number) => write!(into, "{number}"),
    };
}

/// Cuts a text to [`MAX_TEXT_BYTES`]: its beginning, and a hash of the whole, so that two long ids stay two.
fn shorten(text: &mut String) {
    use fmt::Write as _;
    let hash = hash::text(text);
    let mut end = MAX_TEXT_BYTES - HASH_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let _ = write!(text, "~{hash:016x}");
}

/// Bytes of the hash at the end of a shortened text: a tilde and sixteen hexadecimal digits.
const HASH_BYTES: usize = 17;

/// A latency in milliseconds: a number, or text that holds one; `null` is none.
pub(super) fn latency(token: Option<Token<'_>>, repairs: &mut Repairs) -> Option<f64> {
    let number = match token {
        Some(Token::Null) => return None,
        Some(token) => token.number(),
        None => None,
    };
    match number {
        Some(latency) if latency >= 0.0 => return number,
        Some(_) => repairs.add(Repair::LatencyNegative),
        None => repairs.add(Repair::LatencyType),
    }
    None
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
