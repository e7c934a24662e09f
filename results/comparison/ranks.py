# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics of two samples by their ranks, and the correction for multiple tests.

Small and without a library: importing scipy.stats takes a second, which is the time allowed for a
comparison. The project's tests compare these functions with scipy's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement, pairwise
from math import exp, lgamma, log, pi, sqrt
from statistics import NormalDist, median

EXACT_MAX = 12
"""Observations of each sample up to which the distribution of U is counted exactly."""


def shift(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the Hodges-Lehmann estimate of the shift from ``before`` to ``after``."""
    return median(late - early for early in before for late in after)


def cliffs_delta(before: Sequence[float], after: Sequence[float]) -> float:
    """Return Cliff's delta (1993): -1 to 1, positive when ``after`` is more often greater."""
    signs = sum((late > early) - (late < early) for early in before for late in after)
    return signs / (len(before) * len(after))


def mann_whitney(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test.

    Exact for small samples without ties, else by the normal approximation, corrected for ties and
    continuity.
    """
    one, two = len(before), len(after)
    greater = sum((late > early) + (late == early) / 2 for early in before for late in after)
    smaller = min(greater, one * two - greater)
    ties = [count for count in Counter([*before, *after]).values() if count > 1]
    if not ties and max(one, two) <= EXACT_MAX:
        below = sum(_ways(one, two, u) for u in range(int(smaller) + 1))
        return min(1.0, 2 * below / sum(_ways(one, two, u) for u in range(one * two + 1)))
    total = one + two
    spread = one * two / 12 * (
        total + 1 - sum(tie ** 3 - tie for tie in ties) / (total * (total - 1)))
    if spread <= 0:  # all are equal
        return 1.0
    distance = one * two / 2 - smaller - 0.5
    return min(1.0, 2 * NormalDist().cdf(-distance / sqrt(spread)))


@cache
def _ways(one: int, two: int, u: int) -> int:
    """Return the number of orders of the observations with this value of U (Mann, Whitney 1947)."""
    if u < 0 or u > one * two:
        return 0
    if one == 0 or two == 0:
        return int(u == 0)
    return _ways(one - 1, two, u - two) + _ways(one, two - 1, u)


def tail(score: float, freedom: float | None = None) -> float:
    """Return the probability of a score as high or higher: of Student's t, or of the normal.

    ``freedom``: degrees of freedom; None: the spread is known, not estimated.
    """
    if freedom is None or score <= 0:
        return NormalDist().cdf(-score) if freedom is None else 0.5
    # The density, summed by Simpson's rule over a variable in which its tail is finite.
    steps = 400
    scale = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(freedom * pi)

    def density(part: float) -> float:  # t = score / part, part from 0 to 1
        return 0.0 if part == 0 else exp(
            -(freedom + 1) / 2 * log(1 + (score / part) ** 2 / freedom)) * score / part ** 2

    weights = (4 if step % 2 else 2 for step in range(1, steps))
    inner = sum(weight * density(step / steps) for step, weight in enumerate(weights, 1))
    return scale * (inner + density(1.0)) / (3 * steps)


def corrected(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Benjamini and Hochberg's method (1995)."""
    order = sorted(range(len(values)), key=lambda place: values[place], reverse=True)
    found, least = [0.0] * len(values), 1.0
    for rank, place in zip(range(len(values), 0, -1), order, strict=True):
        least = min(least, values[place] * len(values) / rank)
        found[place] = least
    assert all(found[late] <= found[early] for early, late in pairwise(order))
    return found


def robust_spread(values: Sequence[float]) -> float:
    """Return the standard deviation estimated from the median absolute deviation."""
    if len(values) < 2:
        return 0.0
    middle = median(values)
    return NORMAL_MAD * median(abs(value - middle) for value in values)


def centre(values: Sequence[float]) -> float:
    """Return the Hodges-Lehmann estimate of the values' centre; of very many, their median."""
    if len(values) > WALSH_MAX:
        return median(values)
    return median((one + two) / 2 for one, two in combinations_with_replacement(values, 2))


WALSH_MAX = 300
"""Number of values up to which all their averages in pairs are formed."""

MEDIAN_COST = 1.2533
"""Standard error of a median as a multiple of a mean's, for normal data: the root of pi/2."""

CENTRE_COST = 1.0233
"""The same for the Hodges-Lehmann estimate: the root of pi/3."""

NORMAL_MAD = 1.4826
"""A normal distribution's standard deviation as a multiple of its median absolute deviation."""
