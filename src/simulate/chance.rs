//! Random numbers in the two shapes that callers, attacks and answers need, and the streams of one seed.
//!
//! Every part of a simulation has a generator of its own, seeded by the seed and a tag of the part. So what one part draws does
//! not depend on how much another part draws.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

/// A standard normal number.
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// An exponential number with mean 1.
pub fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    Exp1.sample(rng)
}

/// Tags that separate the random streams of one seed. The values are arbitrary but must differ from each other, and must stay: another
/// value gives other simulated bytes and other drills.
pub mod stream {
    /// Latencies of the model, and the rows that a comparison of versions repeats.
    pub const EVENTS: u64 = 0x5151;
    /// Honest callers that look like attackers.
    pub const LOOK_ALIKES: u64 = 0x100c;
    /// First attack; the next one has the next number.
    pub const ATTACK: u64 = 0xa77a_c000;
    /// Senders, cover and gaps of an attack.
    pub const ATTACK_DELIVERY: u64 = 1;
    /// Draws of an attack's cover rows, to which the attack's number is added bitwise.
    pub const COVER_DRAW: u64 = 0xc0fe;
    /// Versions of sample rows.
    pub const ROW_VERSIONS: u64 = 0xb1e4;
    /// Orderings of the sample.
    pub const ORDERINGS: u64 = 0x0e0e;
    /// Rows on which the surrogate is calibrated.
    pub const CALIBRATION: u64 = 0xca1b;
    /// Chances of a drift, to which its kind is added bitwise.
    pub const DRIFT: u64 = 0xd71f;
    /// Instants at which a drill injects.
    pub const INJECTION_INSTANT: u64 = 0x9142;
    /// Senders, cover and gaps of a drill's attack.
    pub const INJECTION: u64 = 0xde11;
    /// Chances of a change of a pipeline, and the callers that make it.
    pub const CHANGE: u64 = 0xc4a6;
}
