# SPDX-License-Identifier: Apache-2.0
r"""Certify on queries of their own that codes keep enough.

**Statement.** The certifying queries are independent draws from those to come, and the codes and their order were fixed
without them. Then, with probability of at least the confidence, both hold:

1. every code that passed has a mean quality of at least ``keep`` times that of the whole vectors;
2. the mean quality of the code that was chosen, whichever it is, is at least ``low``.

**Proof.** Let the error be one minus the confidence. Codes are tested from large to small at four fifths of the error
until one fails. If one passes wrongly, the first in the order that does not keep enough has passed, which is one fixed
code and so has a chance of at most four fifths of the error, however many follow (fixed-sequence testing; Angelopoulos
et al. 2021, "Learn then Test"). The last fifth is shared equally by the lower bounds of all codes in the order, so that
all of them hold at once, and with them that of the last that passed. Where the whole vectors have quality 1 by
definition, the first statement says that the quality is at least ``keep``, and ``low`` is the larger of the two.

Every test and bound is valid for any number of queries if their qualities lie in [0, 1]
(`lightning_monocon.shrink.betting`). A correlation has no such values; its bound is an infinitesimal jackknife, and
holds approximately.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, stdtrit

from lightning_monocon.shrink.betting import Array, exceeds, mean_low

_TESTS = 0.8
"""Share of the error that the tests may use."""


class Certificate(NamedTuple):
    """Hold what was shown.

    Attributes:
        passed: How many codes passed, from the first on.
        low: Lower bound of the quality of the last that passed; of the first if none did.
        tested: How many codes were in the order.
    """

    passed: int
    low: float
    tested: int


def certify(
    codes: Sequence[Array],
    whole: Array,
    keep: float,
    confidence: float,
    *,
    bounded: bool = True,
    whole_is_perfect: bool = False,
) -> Certificate:
    """Test codes in the order given until one fails, and bound the quality of the last that passed.

    Args:
        codes: Qualities ``(U,)`` of the same queries for each code, in random order of the queries.
        whole: ``(U,)`` those of the whole vectors.
        keep: Share of their mean that is asked for.
        confidence: Of both statements of this module together.
        bounded: Whether qualities lie in [0, 1]; else they are values of which a correlation is the mean.
        whole_is_perfect: Whether whole vectors have quality 1 by definition.
    """
    error = 1 - confidence
    shown = keeps(np.stack(codes, 1), whole, keep, _TESTS * error, bounded=bounded)
    passed = int(np.cumprod(shown).sum())
    chosen = codes[max(passed - 1, 0)]
    low = (mean_low if bounded else correlation_low)(chosen, (1 - _TESTS) * error / len(codes))
    return Certificate(passed, max(low, keep) if passed and whole_is_perfect else low, len(codes))


def keeps(codes: Array, whole: Array, keep: float, error: float, *, bounded: bool = True) -> NDArray[np.bool_]:
    """Return for each code whether the mean of ``code - keep * whole`` is shown to be at least 0.

    The difference is never below ``-keep``, and a bet that it is positive on average wins if it is: there is no need to
    scale it to [0, 1].

    Args:
        codes: ``(U, M)`` qualities, one row a query.
        whole: ``(U,)``.
        keep: Share that is asked for.
        error: Chance of each code to be shown although it is not so, at most.
        bounded: As in `certify`.

    Returns:
        ``(M,)``.
    """
    difference = codes - keep * whole[:, None]
    if not bounded:
        return np.array([correlation_low(column, error) > 0 for column in difference.T])
    return exceeds(difference, np.zeros(codes.shape[1]), -keep, error)


def check_reach(whole: Array, keep: float, confidence: float) -> None:
    """Raise ValueError if no code could be shown to keep enough on so few queries, not even one of quality 1 on each.

    Args:
        whole: ``(U,)`` qualities of the whole vectors, in [0, 1], in random order of the queries.
        keep: Share of their mean that is asked for.
        confidence: As in `certify`.
    """
    error = _TESTS * (1 - confidence)

    def shown(share: float, count: int) -> bool:
        drawn = np.resize(whole, count)  # as if more queries were like these
        return bool(keeps(np.ones((count, 1)), drawn, share, error)[0])

    count = len(whole)
    if shown(keep, count):
        return
    shares = range(1, _SHARES)
    most = bisect_left(shares, True, key=lambda share: not shown(share / _SHARES, count))
    needed = bisect_left(range(_QUERIES), True, lo=count, key=lambda more: shown(keep, more))
    more = f", or give {2 * needed} queries, half of which certify" if needed < _QUERIES else ""
    raise ValueError(
        f"`--keep` must be at most {most / _SHARES:g} where {count} queries certify, which show no more even of a code "
        f"that answers all of them as well as can be (confidence {confidence:.15g}); got {keep:.15g}: ask for "
        f"less{more}."
    )


_SHARES = 1000
"""Parts of 1 in which `check_reach` says what can be asked for."""

_QUERIES = 10_000
"""Certifying queries up to which `check_reach` looks for how many would do."""


def correlation_low(values: Array, error: float) -> float:
    r"""Return an approximate lower bound of a correlation, or of a difference of two, from its influence values.

    .. math:: \bar v - T \frac{s}{\sqrt n},\qquad
        T = \frac{3\sqrt n}{g}\Bigl[\bigl(1 + \tfrac{g}{\sqrt n}(t - \tfrac{g}{6\sqrt n})\bigr)^{1/3} - 1\Bigr]

    with the quantile t of Student's distribution and the skewness g of the values: an infinitesimal jackknife
    (`lightning_monocon.functional.correlation_values`, where equal numbers share their ranks) with Hall's correction of
    the skewness (1992), which is used where it makes the bound lower.

    Args:
        values: ``(U,)`` whose mean is the correlation.
        error: Chance that the bound is too high.
    """
    count, deviation = len(values), float(values.std(ddof=1))
    quantile = float(stdtrit(count - 1, 1 - error))
    if deviation == 0:
        return float(values.mean())
    from scipy.stats import skew  # slow to import, and needed only here

    tilt = float(skew(values)) / math.sqrt(count)
    if tilt < -_LEAST_TILT:
        quantile = max(quantile, 3 / tilt * (float(np.cbrt(1 + tilt * (quantile - tilt / 6))) - 1))
    return float(values.mean()) - quantile * deviation / math.sqrt(count)


_LEAST_TILT = 1e-6
"""Skewness over the root of the count above which it matters; the correction divides by it."""


def quantile_high(values: Array, probability: float, error: float) -> float | None:
    """Return an upper bound of a quantile of values ``(U,)``: an order statistic, exact by the binomial.

    Returns:
        None if even the largest value is none, because there are fewer than `fewest_values`.
    """
    ranks = np.arange(1, len(values) + 1)
    enough = bdtr(ranks - 1, len(values), probability) >= 1 - error
    return float(np.sort(values)[int(enough.argmax())]) if enough.any() else None


def fewest_values(probability: float, error: float) -> int:
    """Return how many values bound a quantile from above.

    Example:
        >>> fewest_values(0.95, 0.05)
        59
    """
    return math.ceil(math.log(error) / math.log(probability))
