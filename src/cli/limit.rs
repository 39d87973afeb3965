//! Limits that a person gives on the command line: how many records of a kind are tolerated, and how much memory a sort may take.

/// How many records of a kind are tolerated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Limit {
    Number(u64),
    /// Part of the records, 0 to 1.
    Share(f64),
}

/// A size in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size(pub usize);

/// A share of bad data is taken of at least this many records. Chosen: of ten lines, one bad line says nothing about the log; a
/// thousand lines at the default of 1% tolerate ten.
pub(super) const SHARE_FLOOR: u64 = 1_000;

// === impl Limit ===

impl std::str::FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is neither a number of records nor a share such as 1%");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Number).map_err(|_| wrong()),
            Some(share) => {
                let percent = share.trim().parse().ok().filter(|share: &f64| (0.0..=100.0).contains(share));
                percent.map(|percent| Self::Share(percent / 100.0)).ok_or_else(wrong)
            }
        }
    }
}

impl Limit {
    /// Records tolerated among so many.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of lines")]
    pub(super) fn allows(self, records: u64) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Share(share) => (share * records as f64) as u64,
        }
    }

    /// Records tolerated while a log is read: a share is taken of [`SHARE_FLOOR`] records at least.
    pub(super) fn allows_so_far(self, records: u64) -> u64 {
        self.allows(records.max(SHARE_FLOOR))
    }
}

// === impl Size ===

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no size; write bytes, or a number with K, M or G, such as 512M");
        let units = [("K", 10), ("M", 20), ("G", 30)];
        let plain = text.trim().trim_end_matches('B').trim_end_matches('i');
        let (number, shift) =
            units.iter().find_map(|(unit, shift)| Some((plain.strip_suffix(unit)?, *shift))).unwrap_or((plain, 0));
        let number: usize = number.trim().parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_share() {
        let limit = |text: &str| text.parse::<Limit>();
        assert_eq!((limit("7").unwrap().allows(100), limit("50%").unwrap().allows(100)), (7, 50));
        assert_eq!(limit("1%").unwrap().allows_so_far(10), 10, "a share of at least a thousand");
        for wrong in ["", "many", "101%", "-1%", "-1"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_has_a_unit() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!((size("512M"), size("2GiB"), size("64KB"), size("1000")), (Ok(512 << 20), Ok(2 << 30), Ok(64 << 10), Ok(1000)));
        for wrong in ["", "0", "M", "-1M", "9999999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
