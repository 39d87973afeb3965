//! The integer mixer of hashing, sampling and salting: cheap, deterministic, the same on every machine. No hash here withstands an
//! attacker who knows the start value; where that matters the start is a secret salt. Beside it, how a digest is written.

/// 2^64 divided by the golden ratio, made odd: the increment of SplitMix64. Odd numbers keep a multiplication reversible.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// Start and factor of FNV-1a for 64 bits (Fowler, Noll and Vo 1991).
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_FACTOR: u64 = 0x0000_0100_0000_01b3;
/// Bits by which a hash is rotated after each code. Chosen: it brings the well-mixed high bits down to where the next code enters; other
/// numbers near the middle would do.
const ROTATION: u32 = 29;

/// One step of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 17): every input bit
/// flips every output bit with probability near ½.
#[inline]
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Mixes two values; not symmetric.
#[inline]
pub const fn mix2(a: u64, b: u64) -> u64 {
    mix(mix(a) ^ b.rotate_left(32))
}

/// Hashes a row of codes from a (secret) start, with one multiplication a code and [`mix2`] at the end. Even and odd places go into
/// two hashes, so that the processor computes both at a time.
#[inline]
pub fn codes(start: u64, codes: &[u16]) -> u64 {
    let one = |hash: u64, code: u16| (hash ^ u64::from(code)).wrapping_mul(GOLDEN).rotate_left(ROTATION);
    let (pairs, last) = codes.as_chunks();
    let (a, b) = pairs.iter().fold((start, !start), |(a, b), &[even, odd]| (one(a, even), one(b, odd)));
    mix2(last.iter().fold(a, |a, &code| one(a, code)), b)
}

/// A text as 64 bits, for ids and map keys within one process (FNV-1a, then [`mix`]).
pub const fn text(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = FNV_START;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(FNV_FACTOR);
        i += 1;
    }
    mix(hash)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_gives_the_published_sequence() {
        // The first three outputs of SplitMix64 from the state 0; the state grows by GOLDEN.
        let outputs = [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        for (i, output) in (0_u64..).zip(outputs) {
            assert_eq!(mix(GOLDEN.wrapping_mul(i)), output, "{i}");
        }
    }

    #[test]
    fn one_input_bit_flips_about_half_of_the_output() {
        let flips: u32 = (0..64).map(|bit| (mix(0x1234_5678) ^ mix(0x1234_5678 ^ (1 << bit))).count_ones()).sum();
        // 64 · 64 fair bits: 2048 ± 32; five standard deviations.
        assert!(flips.abs_diff(2048) < 160, "{flips}");
    }

    #[test]
    fn order_and_every_code_matter() {
        assert_ne!(mix2(1, 2), mix2(2, 1));
        let row = [3, 1, 4, 1, 5];
        let other = |at: usize| {
            let mut changed = row;
            changed[at] += 1;
            codes(7, &changed)
        };
        assert!((0..row.len()).all(|at| other(at) != codes(7, &row)));
        assert_ne!(codes(7, &row), codes(8, &row), "the start is part of the hash");
        assert_ne!(codes(7, &[1, 3, 4, 1, 5]), codes(7, &row));
    }
}
