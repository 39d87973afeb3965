//! The one integer mixer that hashing, sampling and salting share: cheap, deterministic, the same on every machine.

/// Finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit flips every output bit with probability near ½.
#[inline]
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Mixes two values; not symmetric.
#[inline]
pub const fn mix2(a: u64, b: u64) -> u64 {
    mix(mix(a) ^ b.rotate_left(32))
}

/// Mixes a row of codes into a (secret) start, at one multiplication a code; [`mix`] only at the end. Every second code goes into
/// a second hash, so that neither waits for the other.
#[inline]
pub fn codes(start: u64, codes: &[u16]) -> u64 {
    let one = |hash: u64, code: u16| (hash ^ u64::from(code)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let (pairs, last) = codes.as_chunks();
    let (a, b) = pairs.iter().fold((start, !start), |(a, b), &[even, odd]| (one(a, even), one(b, odd)));
    mix2(last.iter().fold(a, |a, &code| one(a, code)), b)
}

/// A text as 64 bits, for ids and map keys within one process (FNV-1a, then [`mix`]).
pub const fn text(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    mix(hash)
}
