//! How much honest clients differ: bounds on what one of them, or the newcomers together, may show, learned during the warm-up.
//!
//! A client's share of votes with p ≤ cut is taken to be beta distributed over clients, with the mean and the spread that the warm-up
//! showed (method of moments). The bound is the distribution's 99% point.

use statrs::distribution::{Beta, ContinuousCDF as _};

use crate::judge::client::votes::ClientDistribution;
use crate::judge::evidence::Bounds;
use crate::signal::cuts::CUTS;
use crate::signal::density::statistic::{DensityStatistic, PerStatistic};

/// Floor of the bound on P(p ≤ cut): 25 times nominal at the smallest cut. Chosen: clients of the recordings with sub-populations of their own
/// stay under it, and it costs probers a query or two.
const FLOOR: [f64; CUTS.len()] = [0.025, 0.05, 0.18, 0.45];
/// The same for the pool of newcomers. Chosen lower: the pool averages over clients and needs less room.
const NEWCOMER_FLOOR: [f64; CUTS.len()] = [0.004, 0.0125, 0.05, 0.22];
/// No client, however unusual during warm-up, raises the bound beyond this. Chosen: an attacker that is there from the start may at most
/// make evidence a few times as slow.
const CAP: [f64; CUTS.len()] = [0.15, 0.2, 0.3, 0.5];
/// The same for the pool of newcomers.
const NEWCOMER_CAP: [f64; CUTS.len()] = [0.05, 0.1, 0.2, 0.4];
/// Votes of a client from which its shares are counted.
const LEAST_VOTES: u32 = 5;
/// Clients from which a spread is learned: with fewer, the floor is all that is known.
const LEAST_CLIENTS: usize = 20;
/// Clients' worth of belief that clients do not differ, towards which the spread is shrunk. Chosen: with fewer clients than this the
/// spread is mostly noise.
const PRIOR_CLIENTS: f64 = 50.0;
/// Range of the correlation of one client's votes: never quite none and never half or more, which would make the beta distribution
/// U-shaped.
const CORRELATION: (f64, f64) = (1e-4, 0.5);
/// Keeps the parameters of the beta distribution, and a variance that is divided by, above 0.
const LEAST_PARAMETER: f64 = 1e-3;
const LEAST_VARIANCE: f64 = 1e-9;
/// Point of the distribution of clients that is the bound: one honest client in a hundred is more unusual.
const BOUND_AT: f64 = 0.99;
/// Newcomers together may show this multiple of the mean of the warm-up: the pool averages over clients, but newcomers are not a
/// random sample of them.
const NEWCOMER_MARGIN: f64 = 2.5;
/// Peers raise the newcomers' bound only where their share is this multiple of it: by less, sampling error would.
const PEER_MARGIN: f64 = 3.0;

/// The most that honest clients may show.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Heterogeneity {
    /// One client.
    pub(super) client: Bounds,
    /// All newcomers together.
    pub(super) newcomers: Bounds,
}

// === impl Heterogeneity ===

impl Default for Heterogeneity {
    fn default() -> Self {
        Self { client: PerStatistic::all(FLOOR), newcomers: PerStatistic::all(NEWCOMER_FLOOR) }
    }
}

impl Heterogeneity {
    /// Learns from the unflagged clients of the warm-up.
    pub(super) fn learn<'a>(&mut self, unflagged: impl Iterator<Item = &'a ClientDistribution>) {
        let known: Vec<(f64, &PerStatistic<[u16; CUTS.len()]>)> = unflagged
            .filter(|client| client.votes >= LEAST_VOTES)
            .map(|client| (f64::from(client.votes), &client.exceeded))
            .collect();
        if known.len() < LEAST_CLIENTS {
            return;
        }
        let votes: f64 = known.iter().map(|k| k.0).sum();
        for statistic in DensityStatistic::ALL {
            for cut in 0..CUTS.len() {
                let shares: Vec<(f64, f64)> = known.iter().map(|k| (k.0, f64::from(k.1[statistic][cut]))).collect();
                let mean = shares.iter().map(|(_, exceeded)| exceeded).sum::<f64>() / votes;
                let bound = &mut self.client[statistic][cut];
                *bound = bound.max(upper(&shares, votes, mean).min(CAP[cut]));
                let bound = &mut self.newcomers[statistic][cut];
                *bound = bound.max((NEWCOMER_MARGIN * mean).min(NEWCOMER_CAP[cut]));
            }
        }
        self.client.iter_mut().for_each(ascend);
        self.newcomers.iter_mut().for_each(ascend);
    }

    /// What honest clients may show when peers show this: (shares, the largest shares that they speak for).
    pub(super) fn raised(&self, peers: Option<(Bounds, Bounds)>) -> Self {
        let mut raised = self.clone();
        let Some((shares, upper)) = peers else { return raised };
        for statistic in DensityStatistic::ALL {
            for cut in 0..CUTS.len() {
                let (share, upper) = (shares[statistic][cut], upper[statistic][cut]);
                let client = &mut raised.client[statistic][cut];
                *client = client.max(upper);
                let newcomers = &mut raised.newcomers[statistic][cut];
                if share > PEER_MARGIN * *newcomers {
                    *newcomers = newcomers.max(upper);
                }
            }
        }
        raised.newcomers.iter_mut().for_each(ascend);
        raised
    }
}

/// The 99% point over clients of the share of votes, of (votes, votes with p ≤ cut) by client.
fn upper(shares: &[(f64, f64)], votes: f64, mean: f64) -> f64 {
    let clients = shares.len() as f64;
    let spread = shares.iter().map(|(own, exceeded)| (exceeded / own - mean).powi(2) * own).sum::<f64>() / votes;
    let within = mean * (1.0 - mean);
    let between = spread - within * clients / votes;
    let shrunk = between / within.max(LEAST_VARIANCE) * clients / (clients + PRIOR_CLIENTS);
    let correlation = shrunk.clamp(CORRELATION.0, CORRELATION.1);
    let concentration = 1.0 / correlation - 1.0;
    let (a, b) = (mean * concentration + LEAST_PARAMETER, ((1.0 - mean) * concentration).max(LEAST_PARAMETER));
    Beta::new(a, b).map_or(0.0, |beta| beta.inverse_cdf(BOUND_AT))
}

/// Bounds on nested events must not descend.
fn ascend(bounds: &mut [f64; CUTS.len()]) {
    for cut in 1..CUTS.len() {
        bounds[cut] = bounds[cut].max(bounds[cut - 1]);
    }
}
