# SPDX-License-Identifier: Apache-2.0
"""Score one embedding from its gallery and queries alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.feature_correlation import feature_correlation_from_moments
from lightning_monocon.functional.jackknife import grouped_moments, jackknife_interval
from lightning_monocon.functional.mean_cosine import mean_cosine_from_moments
from lightning_monocon.functional.moments import Moments, merge_all, moments
from lightning_monocon.functional.paired_mean import CONFIDENCE
from lightning_monocon.functional.quantisation import ROUNDED
from lightning_monocon.functional.reconstruction_error import reconstruction_from_moments
from lightning_monocon.functional.spectrum import (
    PrincipalComponents,
    components_from_moments,
    numerical_rank,
    variances_from_moments,
)
from lightning_monocon.functional.total_variance import total_variance_from_moments
from lightning_monocon.runs.memory import give_back
from lightning_monocon.scorecard.codes import CodeFrontier, CodesTried, code_frontiers
from lightning_monocon.scorecard.copies import Copies, Directions, copies_and_directions
from lightning_monocon.scorecard.embeddings import EmbeddingSet, Reading
from lightning_monocon.scorecard.frontier import (
    Frontier,
    Held,
    Measure,
    affordable_dims,
    measure_frontiers,
    measure_rounded_frontiers,
    principal_coordinates,
    single_precision,
)
from lightning_monocon.scorecard.truths import LabelTruth, NeighbourTruth, QrelsTruth, Truth

VARIANCE = 0.99
"""Share of the variance that the effective dimension n99 explains."""

Spectral: TypeAlias = tuple[dict[str, Any], PrincipalComponents]
"""Figures of a spectrum by their names in :class:`Score`, and its axes."""

GROUPS = 10
"""Groups of rows that are left out in turn, dealt by a hash of the rows: their order plays no part."""


@dataclass(frozen=True, eq=False)
class Score:
    """Hold the metrics and the frontier of one embedding, judged by one truth.

    The spectral figures are those of L2-normalised rows: spectrum, n99, rank, total variance, mean cosine and
    correlation of the gallery; RMSE and FVU fit the gallery's top-n99 subspace and judge the queries.

    Attributes:
        arm: Name of the model.
        seed: Seed of its training run.
        stage: Which checkpoint.
        reading: How its vectors are cut to fewer dimensions.
        n: Rows of the gallery. n99 grows with it, so n99 is compared at equal n only.
        n_query: Rows of the queries.
        dim: Width D of the vectors.
        distinct: Rows in the gallery of different directions; n99 counts repeated rows as evidence, wrongly.
        distinct_query: Queries of different directions; intervals over queries count repeated ones as evidence.
        leaked: Queries that point the same way as a row of the gallery that they find, and so find themselves.
        coded: Whether rows coincide because they hold few values, so that those three counts show no copies.
        chance: What an answer without skill reaches, such as always the gallery's most common label.
        n99: fewest principal components with 99 % of the variance; 0 if all rows are equal.
        n99_interval: its 95 % interval over other rows, as many (delete-group jackknife).
        rank: Principal directions with more than rounding error.
        rmse: Root mean square of what the top n99 components leave of the queries, per entry.
        fvu: The same as a fraction of the queries' variance. RMSE falls when all rows move together, FVU does not.
        total_variance: Sum of the spectrum, between 0 (all rows equal) and 1.
        mean_cosine: Mean cosine between different rows.
        feature_correlation: Root mean square correlation between different features.
        spectrum: ``(D,)`` float64 eigenvalues of the covariance, descending.
        frontier: The truth's measures against kept dimensions.
        rounded: The same when coordinates are kept as int8 and as single bits; empty if not asked for.
        codes: The same in the best code within each number of bytes; None if not asked for.
        truth: What it was judged by; scores of one truth are compared in pairs.
        reading: How vectors are cut to fewer dimensions.
    """

    arm: str
    seed: int
    stage: str
    n: int
    n_query: int
    dim: int
    distinct: int
    distinct_query: int
    leaked: int
    coded: bool
    chance: float
    n99: int
    n99_interval: tuple[float, float]
    rank: int
    rmse: float
    fvu: float
    total_variance: float
    mean_cosine: float
    feature_correlation: float
    spectrum: Tensor
    frontier: Frontier
    rounded: tuple[Frontier, ...]
    truth: Truth
    reading: Reading = "pca"
    codes: CodeFrontier | None = None

    def line(self, held: Held) -> Frontier | None:
        """Return the frontier in one storage type, or of codes; None if it was not measured."""
        lines = (self.frontier, *self.rounded, self.codes)
        return next((line for line in lines if line is not None and line.storage == held), None)

    @property
    def measure(self) -> Measure:
        """What arms are compared by: the first measure of the truth."""
        return self.truth.measures[0]

    @property
    def figures(self) -> dict[Measure, float]:
        """Every measure of the truth at full width."""
        return {name: self.frontier.means(name)[-1] for name in self.frontier.values}

    @property
    def value(self) -> float:
        """The first measure of the truth at full width."""
        return self.frontier.means()[-1]

    def value_at(self, budget: int) -> float:
        """Return the first measure of the truth with at most ``budget`` kept dimensions."""
        return self.frontier.means()[self.frontier.index(budget)]

    @property
    def constant(self) -> float:
        """What the best answer without skill reaches: of labels the best constant one on these queries."""
        return self.truth.constant if isinstance(self.truth, LabelTruth) else self.chance

    @property
    def thin(self) -> int:
        """Queries whose class has fewer gallery rows than a majority of the 5-NN vote; 0 without labels."""
        return self.truth.thin if isinstance(self.truth, LabelTruth) else 0

    @property
    def classes(self) -> int:
        """Different labels in the gallery; 0 without labels."""
        return len(set(self.truth.gallery.tolist())) if isinstance(self.truth, LabelTruth) else 0

    @property
    def query_labels(self) -> Tensor | None:
        """``(Q,)`` labels of the queries; None without labels."""
        return self.truth.query if isinstance(self.truth, LabelTruth) else None

    @property
    def knn_accuracy(self) -> float:
        """5-NN accuracy at full width by cosine. Of labels only, as all that follow."""
        return self.frontier.knn_accuracy[-1]

    @property
    def balanced_accuracy(self) -> float:
        """5-NN accuracy at full width as a mean over the classes of the queries, each of which counts as much."""
        _, place = torch.unique(self.query_labels, return_inverse=True)
        hits = self.frontier.hits("knn_accuracy")[-1]
        right = torch.zeros(int(place.max()) + 1, dtype=torch.float64).index_add(0, place, hits)
        return float((right / place.bincount()).mean())

    @property
    def recall(self) -> dict[int, float]:
        """Share of queries with a right label among the k nearest, by k, at full width by cosine."""
        return self.frontier.recall[-1]

    @property
    def recall_at_1(self) -> float:
        """Share of queries whose nearest neighbour has their label."""
        return self.recall[1]

    @property
    def recall_at_5(self) -> float:
        """Share of queries with their label among the five nearest neighbours."""
        return self.recall[5]

    def knn_accuracy_at(self, budget: int) -> float:
        """Return the 5-NN accuracy with at most ``budget`` kept dimensions."""
        return self.frontier.knn_accuracy[self.frontier.index(budget)]


def measure(
    data: EmbeddingSet, dims: Iterable[int] | None = None, extra: Iterable[int] = (), rounded: bool = False
) -> Score:
    """Score a checked set of embeddings by the first thing that is known of it; see `measure_all`."""
    return measure_all(data, dims, extra, rounded)[0]


def spectrum_of(data: EmbeddingSet) -> Spectral:
    """Return the figures of a set's spectrum and its axes."""
    return spectral_figures(grouped_moments(data.gallery, GROUPS, normalize=True), data.query)


def measure_all(
    data: EmbeddingSet,
    dims: Iterable[int] | None = None,
    extra: Iterable[int] = (),
    rounded: bool = False,
    codes: CodesTried = "fast",
) -> tuple[Score, ...]:
    """Score a checked set of embeddings by each of its truths; they share one search and one spectrum.

    Args:
        data: Gallery and queries of one model. If nothing is known of them, they are judged by their own neighbours at
            full width.
        dims: Kept dimensions of the frontier; by default 1, 2, 3, 4, 6, 8, 12, 16, ... up to the rank, and D.
        extra: Further kept dimensions, used as far as the embedding has them; n99 always is.
        rounded: Measure int8 and binary vectors and codes as well.
        codes: Families of codes that compete at each number of bytes: ``"fast"``, or ``"all"``, which takes minutes.

    Returns:
        One score for each of ``data.judges()``, in that order.

    Raises:
        ModuleNotFoundError: If all codes are asked for, and faiss is not installed.
        ValueError: If ``dims`` names dimensions that the embedding does not have, or ``codes`` is unknown.
    """
    return measure_spectrum(data, spectrum_of(data), dims, extra, rounded, codes)


def measure_spectrum(
    data: EmbeddingSet,
    spectrum: Spectral,
    dims: Iterable[int] | None,
    extra: Iterable[int],
    rounded: bool,
    codes: CodesTried = "fast",
) -> tuple[Score, ...]:
    """Return what `measure_all` does, from the `spectrum_of` the set."""
    truths = data.judges() or (NeighbourTruth.of(data),)
    figures, basis = spectrum
    rank, n99 = figures["rank"], figures["n99"]
    wanted = affordable_dims(rank, data.dim) if dims is None else tuple(dims)
    # Dimensions that the caller names are checked; those added here are used as far as the embedding has them.
    added = (k for k in (*extra, n99) if 1 <= k <= rank)
    sizes = {*wanted, *added, data.dim}
    # with all coordinates whole rows are searched by the pass that searches cut ones
    shared = data.reading == "pca" and (rounded or 2 * max((k for k in sizes if k < data.dim), default=0) > data.dim)
    coordinates = principal_coordinates(data, basis) if shared else None
    give_back()
    whole = measure_frontiers(data, truths, sizes, basis, coordinates)
    give_back()
    coordinates = single_precision(coordinates) if coordinates and rounded else None  # they take the most memory of all
    coded = measure_rounded_frontiers(data, truths, ROUNDED, basis, coordinates) if rounded else []
    del coordinates
    give_back()
    plain = [(whole[place], *(lines[place] for lines in coded)) for place in range(len(truths))]
    best = code_frontiers(data, truths, plain, codes) if rounded else (None,) * len(truths)
    give_back()
    copies, directions = copies_and_directions(data.gallery, data.query)
    facts = _facts(data, copies)
    return tuple(
        Score(
            **facts | leaks(directions, truth),
            **figures,
            truth=truth,
            chance=truth.chance,
            frontier=whole[place],
            rounded=plain[place][1:],
            codes=best[place],
        )
        for place, truth in enumerate(truths)
    )


def leaks(directions: Directions, truth: Truth) -> dict[str, int]:
    """Return the count of leaks, without those that the truth excludes."""
    return {"leaked": directions.leaked(truth.excluded)} if isinstance(truth, QrelsTruth) else {}


def _facts(data: EmbeddingSet, copies: Copies) -> dict[str, Any]:
    """Return what a score says of the rows themselves."""
    return {
        "arm": data.arm,
        "seed": data.seed,
        "stage": data.stage,
        "n": len(data.gallery),
        "n_query": len(data.query),
        "dim": data.dim,
        **copies._asdict(),
        "reading": data.reading,
    }


def spectral_figures(groups: Sequence[Moments], query: Tensor) -> Spectral:
    """Return the figures of the spectrum and its axes; of rows that are all equal most figures are NaN.

    Args:
        groups: Moments of the gallery's unit rows, one entry for each group of the jackknife.
        query: ``(Q, D)``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateSampleWarning)  # the verdict says it, once and in words
        gallery = merge_all(groups)
        basis = components_from_moments(gallery)
        error = reconstruction_from_moments(gallery, moments(query), VARIANCE)
        figures = {
            "spectrum": basis.variances,
            "rank": numerical_rank(basis.variances),
            "n99": int(error.dimension.nan_to_num(0.0)),
            "n99_interval": dimension_interval(groups),
            "rmse": float(error.rmse),
            "fvu": float(error.fvu),
            "total_variance": float(total_variance_from_moments(gallery)),
            "mean_cosine": float(mean_cosine_from_moments(gallery)),
            "feature_correlation": float(feature_correlation_from_moments(gallery).rms),
        }
    return figures, basis


def dimension_interval(groups: Sequence[Moments]) -> tuple[float, float]:
    """Return the 95 % interval of n99 over other samples of as many rows: a delete-group jackknife.

    n99 moves in whole steps, which a jackknife cannot follow, so the reach is that of the fractional dimension, where
    the cumulative share, drawn as straight lines between whole k, crosses 99 %. It says nothing about larger samples:
    n99 grows with the rows. Where a group that is left out takes all variance with it, nothing is known: 1 to D.

    Args:
        groups: Moments of at least two groups of unit rows.
    """
    variances = variances_from_moments(merge_all(groups))
    centre = float(components_for(variances, VARIANCE).nan_to_num(0.0))
    if centre == 0:  # all rows are equal
        return 0.0, 0.0
    _, low, high = jackknife_interval(groups, _fractional, CONFIDENCE)
    reach = float((high - low).nan_to_num(torch.inf)) / 2
    return max(1.0, centre - reach), min(float(len(variances)), centre + reach)


def _fractional(statistics: Moments) -> Tensor:
    """Return where the cumulative share of the variance crosses 99 %, between whole k; NaN without variance."""
    share = pad(variances_from_moments(statistics).cumsum(0), (1, 0))
    if share[-1].isnan():
        return share[-1]
    share = share / share[-1]
    above = int(torch.searchsorted(share, VARIANCE).clamp(1, len(share) - 1))
    below = share[above - 1]
    step = (share[above] - below).clamp_min(torch.finfo(share.dtype).tiny)
    return above - 1 + (VARIANCE - below) / step
