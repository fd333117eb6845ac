# SPDX-License-Identifier: Apache-2.0
"""Find the reasons to distrust the headline figures of an embedding.

Effective dimension and reconstruction error are won by collapse, by a constant shift and by a small or padded sample.
Each rule of `red_flags` looks at one of these ways, needs no baseline, and gives its figures. Thresholds that several
of the metrics, callbacks, verdicts of the scorecard and doubts of an export share are here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

CONE_COSINE = 0.95
"""Mean cosine above which all rows point the same way within 18 degrees."""

ROWS_PER_FEATURE = 10
"""Distinct rows per feature below which the effective dimension still grows with the sample."""

REPEATED_SHARE = 0.05
"""Share of repeated rows that is worth a word.

`EmbeddingReport` estimates the distinct rows of a large sample with a standard error of 1.6 %, the scorecard counts
them. At three standard errors both say the same, and no sample without repeats is accused.
"""

LEAKED_SHARE = 0.01
"""Share of queries that are rows of the gallery which is worth a word; they are counted, and each finds itself."""

OUTSIDE_SHARE = 0.1
"""Share of the queries' variance outside the dimensions that hold 99 % of the gallery's: ten times what those leave."""

NO_SKILL = 0.1
"""Of the baseline's accuracy above chance, the share below which an embedding has learnt nothing to speak of."""

COLLAPSED_SHARE = 0.5
"""Of an embedding's own accuracy above chance, the share that must survive in its effective dimension."""

COMPACT_RATIO = 0.8
"""An effective dimension must fall below this share of the baseline's: another seed moves it by a tenth."""

ACCURACY_LOSS = 0.01
"""Accuracy that a compact embedding may lose, one point.

More is a trade of accuracy for size, and not compactness. Less could hardly be shown: of equal embeddings that disagree
on 5 % of the queries, one point takes 4000 queries and half a point 16 000.
"""

NEIGHBOURS_LOST = 0.05
"""Nearest rows that a compact embedding may exchange: approximate indexes are run at a recall of 95 %, so a search
loses as many anyway."""

COLLAPSED = (
    "the dimensions that hold 99 % of the variance find too little of what the baseline or the whole vectors find"
)
LESS_ACCURATE = (
    "fewer dimensions, but less accuracy; possible causes: a short run, too narrow a model, or no more than a cut such "
    "as PCA makes"
)
ALL_EQUAL = "all rows of the gallery are equal"


class RedFlag(NamedTuple):
    """Name a reason to distrust the figures.

    Attributes:
        name: ``"undefined"``, ``"one_direction"``, ``"narrow_cone"``, ``"small_sample"`` or ``"repeated_rows"``.
        message: One sentence with the figures behind it.
    """

    name: str
    message: str


def red_flags(figures: Mapping[str, float], features: int) -> list[RedFlag]:
    """Return the red flags of an embedding, none for a healthy one.

    Args:
        figures: ``effective_dimension``, ``mean_cosine``, ``total_variance`` (of unit rows), ``rows`` and
            ``distinct_rows``; others are ignored, those that are missing are not judged.
        features: D.

    Raises:
        ValueError: If ``features`` is not positive.

    Example:
        >>> figures = {"mean_cosine": 0.999, "total_variance": 0.001, "rows": 9000.0, "distinct_rows": 9000.0}
        >>> [flag.name for flag in red_flags(figures, features=64)]
        ['narrow_cone']
    """
    if features < 1:
        raise ValueError(f"`features` must be positive, the width of the embeddings; got {features!r}.")
    judged = ("effective_dimension", "mean_cosine", "total_variance", "rows", "distinct_rows")
    known = {name: float(figures[name]) for name in judged if name in figures}
    undefined = sorted(name for name, value in known.items() if not math.isfinite(value))
    rules = (_one_direction(known, features), _narrow_cone(known), _small_sample(known, features), _repeated(known))
    flags = [flag for flag in rules if flag is not None]
    if undefined:
        text = f"{', '.join(undefined)} is undefined: fewer than two rows, or no variance."
        flags.insert(0, RedFlag("undefined", text))
    return flags


def _one_direction(known: Mapping[str, float], features: int) -> RedFlag | None:
    if features < 2 or known.get("effective_dimension") != 1.0:
        return None
    return RedFlag("one_direction", f"One of {features} directions holds the variance: the embedding has collapsed.")


def _narrow_cone(known: Mapping[str, float]) -> RedFlag | None:
    cosine = known.get("mean_cosine", 0.0)
    if not cosine > CONE_COSINE:
        return None
    spread = known.get("total_variance", 1.0 - cosine)
    return RedFlag(
        "narrow_cone",
        f"All rows point one way (mean cosine {cosine:.4f}, total variance {spread:.2g}): a constant direction makes"
        f" the RMSE about {max(spread, 1e-30) ** -0.5:.0f} times smaller than on a spread embedding; compare the FVU.",
    )


def _small_sample(known: Mapping[str, float], features: int) -> RedFlag | None:
    rows = known.get("distinct_rows", known.get("rows", math.inf))
    if not rows < ROWS_PER_FEATURE * features:
        return None
    return RedFlag(
        "small_sample",
        f"{rows:.0f} distinct rows in {features} dimensions: below {ROWS_PER_FEATURE * features} the effective"
        " dimension is that of the sample; compare only at equal numbers of rows.",
    )


def _repeated(known: Mapping[str, float]) -> RedFlag | None:
    rows, distinct = known.get("rows", 0.0), known.get("distinct_rows", math.inf)
    if not distinct < (1.0 - REPEATED_SHARE) * rows:
        return None
    return RedFlag(
        "repeated_rows",
        f"Only about {distinct:.0f} of {rows:.0f} rows are distinct: intervals are too narrow, and copies find"
        " each other in a neighbour search.",
    )
