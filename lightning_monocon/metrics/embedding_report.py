# SPDX-License-Identifier: Apache-2.0
"""Report all figures of an embedding together, with the reasons to distrust them."""

from __future__ import annotations

from typing import Any, NamedTuple

from torchmetrics import Metric, MetricCollection

from lightning_monocon.functional.red_flags import RedFlag, red_flags
from lightning_monocon.metrics.distinct_rows import DistinctRows
from lightning_monocon.metrics.effective_dimension import EffectiveDimension
from lightning_monocon.metrics.feature_correlation import FeatureCorrelation
from lightning_monocon.metrics.mean_cosine import MeanCosine
from lightning_monocon.metrics.neighbour_scores import NeighbourScores
from lightning_monocon.metrics.participation_ratio import ParticipationRatio
from lightning_monocon.metrics.reconstruction_error import ReconstructionError
from lightning_monocon.metrics.total_variance import TotalVariance


class Report(NamedTuple):
    """Hold figures and flags.

    Attributes:
        figures: Name to value.
        flags: Reasons to distrust them; empty for a healthy embedding.
    """

    figures: dict[str, float]
    flags: list[RedFlag]

    def __str__(self) -> str:
        """Return one line a figure, then one a flag."""
        width = max(len(name) for name in self.figures)
        lines = [f"{name:<{width}}  {value:.5g}" for name, value in self.figures.items()]
        return "\n".join([*lines, *(f"! {flag.name}: {flag.message}" for flag in self.flags)])


class EmbeddingReport(MetricCollection):
    """Collect the figures that belong together in a ``MetricCollection``; `report` adds the red flags.

    Effective dimension, participation ratio, correlation, total variance and mean cosine of the gallery, the query's
    reconstruction error, distinct rows, and with ``labelled`` k-NN accuracy and Recall@k. One Gram matrix a batch.

    Call ``update(embeddings=..., role="gallery" | "query")``, with ``labelled`` also ``labels=...``.

    Args:
        variance: The share of the variance that fixes the effective dimension.
        labelled: Whether labels are given, for the neighbour scores.
        k: How many neighbours vote.
        prefix: Put before the name of each figure.
        postfix: Put after it.
        compute_groups: Whether, or which, metrics share one state; see `torchmetrics.MetricCollection`.

    Example:
        >>> import torch
        >>> report = EmbeddingReport()
        >>> rows = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
        >>> report.update(embeddings=rows + 20.0, role="gallery")
        >>> report.update(embeddings=rows + 20.0, role="query")
        >>> [flag.name for flag in report.report().flags]
        ['narrow_cone']
    """

    def __init__(
        self,
        variance: float = 0.99,
        labelled: bool = False,
        k: int = 5,
        prefix: str | None = None,
        postfix: str | None = None,
        compute_groups: bool | list[list[str]] = True,
    ) -> None:
        metrics: dict[str, Metric | MetricCollection] = {
            "effective_dimension": EffectiveDimension(variance, small_sample="ignore"),
            "participation_ratio": ParticipationRatio(small_sample="ignore"),
            "correlation": FeatureCorrelation(small_sample="ignore"),
            "total_variance": TotalVariance(),
            "mean_cosine": MeanCosine(),
            "reconstruction": ReconstructionError(variance, small_sample="ignore"),
            "distinct": DistinctRows(),
        }
        if labelled:
            metrics["neighbours"] = NeighbourScores(k)
        super().__init__(metrics, prefix=prefix, postfix=postfix, compute_groups=compute_groups)

    def report(self) -> Report:
        """Return figures and flags over all ranks; every rank must call it.

        Raises:
            RuntimeError: If no row was added before.
        """
        spectral = dict(self.items(keep_base=True))["effective_dimension"]
        assert isinstance(spectral, EffectiveDimension)
        features = spectral.features()
        if not features:
            raise RuntimeError('No gallery row yet; call `update(embeddings=..., role="gallery")` first.')
        figures = {name: float(value) for name, value in self._plain().items()}
        return Report(figures, red_flags(figures, features))

    def _plain(self) -> dict[str, Any]:
        """Return the values under their own names, whatever prefix and postfix the collection has."""
        values: dict[str, Any] = {}
        for name, metric in self.items(keep_base=True):
            value = metric.compute()
            values |= value if isinstance(value, dict) else {name: value}
        return values
