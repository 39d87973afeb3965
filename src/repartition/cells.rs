//! Values of a row in few bytes: most are small whole numbers or categories, and take one byte or three.
//!
//! | first byte | value |
//! |---|---|
//! | 0 to 249 | the number itself |
//! | 250 | two bytes, a whole number |
//! | 251 | four bytes, a number that fits `f32` exactly |
//! | 252 | eight bytes, any other |
//! | 253 | missing |
//! | 254 | of the wrong kind |

use crate::event::Cell;

const TWO: u8 = 250;
const FOUR: u8 = 251;
const EIGHT: u8 = 252;
const MISSING: u8 = 253;
const UNREADABLE: u8 = 254;

/// Packs the values of a row.
pub fn packed(row: &[Cell]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(row.len() * 2);
    for cell in row {
        pack(cell.value(), &mut bytes);
    }
    bytes
}

#[expect(clippy::float_cmp, reason = "packing must be exact")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the comparison behind it")]
fn pack(value: f64, bytes: &mut Vec<u8>) {
    let (whole, short) = (value as u16, value as f32);
    if value.is_nan() {
        bytes.push(MISSING);
    } else if value.is_infinite() {
        bytes.push(UNREADABLE);
    } else if f64::from(whole) == value {
        match u8::try_from(whole) {
            Ok(small) if small < TWO => bytes.push(small),
            _ => {
                bytes.push(TWO);
                bytes.extend_from_slice(&whole.to_le_bytes());
            }
        }
    } else if f64::from(short) == value {
        bytes.push(FOUR);
        bytes.extend_from_slice(&short.to_le_bytes());
    } else {
        bytes.push(EIGHT);
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

/// The values; `None` if the bytes are not such a row.
pub fn unpacked(mut bytes: &[u8]) -> Option<Vec<Cell>> {
    let mut row = Vec::with_capacity(bytes.len());
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = rest;
        row.push(match first {
            TWO => Cell::number(f64::from(u16::from_le_bytes(take(&mut bytes)?))),
            FOUR => cell(f64::from(f32::from_le_bytes(take(&mut bytes)?))),
            EIGHT => cell(f64::from_le_bytes(take(&mut bytes)?)),
            MISSING => Cell::MISSING,
            UNREADABLE => Cell::UNREADABLE,
            u8::MAX => return None,
            small => Cell::number(f64::from(small)),
        });
    }
    Some(row)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// The cell of a raw value, as [`Cell::value`] gives it.
pub fn cell(value: f64) -> Cell {
    if value.is_nan() { Cell::MISSING } else { Cell::number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_bit_by_bit() {
        let numbers = [0.0, 1.0, 249.0, 250.0, 255.0, 256.0, 65_535.0, 65_536.0, -1.0, 0.5, 0.1, 1e300, -4e9, 16_777_217.0];
        let mut row: Vec<Cell> = numbers.into_iter().map(Cell::number).collect();
        row.extend([Cell::MISSING, Cell::UNREADABLE, Cell::category(3), Cell::category(70_000), Cell::unseen("Martian")]);
        let back = unpacked(&packed(&row)).unwrap();
        let bits = |row: &[Cell]| row.iter().map(|cell| cell.bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&row));
        assert!(packed(&row[..3]).len() == 3, "small numbers take a byte");
    }

    #[test]
    fn what_is_cut_or_foreign_is_refused() {
        assert!(unpacked(&[TWO, 1]).is_none() && unpacked(&[FOUR, 1, 2]).is_none() && unpacked(&[EIGHT]).is_none());
        assert!(unpacked(&[u8::MAX]).is_none());
    }
}
