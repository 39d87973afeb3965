#!/usr/bin/env python3
"""Print the values of SciPy and NumPy that tests compare the statistics with.

    pip install numpy scipy
    python3 scripts/reference_values.py

Each function belongs to the test that its first line names; the comment at the test names the function. Nothing reads the
output: whoever adds or changes such a test copies the digits that it needs.
"""

import numpy as np
from scipy import stats


def psi_index():
    """signal/psi.rs, agrees_with_a_calculation_by_hand: PSI of two histograms with half a row of prior in each bin."""
    rows = 1 / (1 / 100 + 1 / 1000)
    window = np.array([0.3, 0.5, 0.2]) * rows + 0.5
    reference = np.array([0.4, 0.4, 0.2]) * rows + 0.5
    share = (window - reference) / (rows + 1.5)
    return {"psi": (share * np.log(window / reference)).sum()}


def chi_square_points():
    """signal/psi.rs, with_large_bins_chance_is_chi_square: upper points of chi-square with 9 degrees of freedom."""
    return {f"isf({alpha})": stats.chi2.isf(alpha, 9) for alpha in (0.05, 1e-7)}


def poisson_bin_cumulants():
    """signal/psi.rs, cumulants_of_a_bin_are_those_of_the_poisson_sum: of (K - mu) ln((K + 1/2)/(mu + 1/2)), K Poisson."""
    values = {}
    for mu in (0.5, 5.0):
        counts = np.arange(60)
        weights = stats.poisson.pmf(counts, mu)
        contribution = (counts - mu) * np.log((counts + 0.5) / (mu + 0.5))
        mean = (weights * contribution).sum()
        for name, power in (("variance", 2), ("third cumulant", 3)):
            values[f"mu={mu} {name}"] = (weights * (contribution - mean) ** power).sum()
        values[f"mu={mu} mean"] = mean
    return values


def histogram_entropy():
    """signal/entropy.rs, agrees_with_scipy_and_miller: plug-in entropy, to which (K - 1)/2N = 3/200 is added."""
    return {"entropy": stats.entropy([10, 20, 30, 40]), "correction": 3 / 200}


def gap_moments():
    """signal/gap.rs, agrees_with_numpy: mean and coefficient of variation of four gaps."""
    gaps = np.array([1, 2, 4, 8.5])
    return {"mean": gaps.mean(), "variation": gaps.std(ddof=1) / gaps.mean()}


def poisson_tail():
    """signal/rate.rs, surprise_bounds_the_poisson_tail: P(20 or more) of a Poisson count of mean 5."""
    return {"sf": stats.poisson.sf(19, 5)}


def shares_of_trials():
    """drill/statistics.rs, shares_have_the_interval_of_clopper_and_pearson: exact 95% intervals of a share."""
    values = {}
    for hits, trials in ((8, 10), (5, 5), (0, 5), (35, 35)):
        interval = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
        values[f"{hits}/{trials} low"], values[f"{hits}/{trials} high"] = interval.low, interval.high
    return values


def rates_of_events():
    """drill/statistics.rs, rates_have_the_exact_interval_of_a_poisson_count: exact 95% intervals of a rate."""
    values = {}
    for events, exposure in ((0, 1.0), (3, 1.0), (3, 100.0)):
        low = stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
        values[f"{events} in {exposure} low"] = low / exposure
        values[f"{events} in {exposure} high"] = stats.chi2.isf(0.025, 2 * events + 2) / 2 / exposure
    return values


FUNCTIONS = (
    psi_index,
    chi_square_points,
    poisson_bin_cumulants,
    histogram_entropy,
    gap_moments,
    poisson_tail,
    shares_of_trials,
    rates_of_events,
)


def main():
    np.seterr(all="raise")
    for function in FUNCTIONS:
        print(f"{function.__name__}: {function.__doc__.split(':')[0]}")
        for name, value in function().items():
            print(f"    {name} = {value:.16g}")


if __name__ == "__main__":
    main()
