# SPDX-License-Identifier: Apache-2.0
"""Draw a scorecard as Matplotlib ``Figure`` objects; nothing here touches pyplot or a display."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.render.figures.certificates import certificates_figure
from lightning_monocon.scorecard.render.figures.correlation import correlation_figure
from lightning_monocon.scorecard.render.figures.dynamics import dynamics_figure
from lightning_monocon.scorecard.render.figures.frontier import frontier_figure
from lightning_monocon.scorecard.render.figures.limit import limit_figure
from lightning_monocon.scorecard.render.figures.recall import recall_figure
from lightning_monocon.scorecard.render.figures.spectrum import spectrum_figure
from lightning_monocon.scorecard.render.figures.storage import storage_figure
from lightning_monocon.scorecard.render.figures.style import save
from lightning_monocon.scorecard.render.figures.training import training_figure
from lightning_monocon.scorecard.render.words import noun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CAPTIONS", "caption", "draw", "save", "training_figure"]

CAPTIONS = {
    "frontier.png": "{} against kept dimensions. Every arm is cut by PCA, or to a prefix where its label "
    "says so. Bands span the seeds, and rings mark each arm's n99.",
    "storage.png": "{} against bytes per vector, with coordinates kept as float32 or int8, or in the best code, which "
    "is named for the winner. The last panel, where codes were fitted, is the share of variance that the best of them "
    "leaves, and dotted the limit for Gaussian vectors of the same covariance.",
    "recall.png": "Share of {} among the r nearest neighbours.",
    "spectrum.png": "Variance that the first k principal components leave unexplained (the grey line is the 1 % that "
    "defines n99), and the variance along each component.",
    "correlation.png": "Absolute correlation between features, ordered by clustering, for the first seed of each arm.",
    "limit.png": "Rows of which free vectors of k numbers can be trained to put any two first, by the fit of Weller et "
    "al. (2025), and for each arm the numbers to keep of it and the rows of its gallery.",
    "certificates.png": "Share of the queries whose 5-NN label is right and provably stays (left), and is right under "
    "an attack (right), against the change of each feature that enters the head. Means over the seeds.",
    "training.png": "Validation accuracy and training loss by epoch, as the runs recorded them. A run whose curves "
    "still move at its end stopped too early. Losses of different kinds have no common scale. Bands span the seeds.",
    "dynamics.png": "Effective dimension n99, effective rank (RankMe) and alpha-ReQ by epoch, as far as the runs "
    "recorded them, at the output of the encoder below each head, and at the embedding. An arm without a head has only "
    "the latter. Bands span the seeds. Triangles: where a rise of a tenth or more (a twentieth, of alpha-ReQ) turns "
    "into a fall (downwards) or a fall into a rise, with the epochs at which noise may hide the turn. Strips, from the "
    "first arm at the bottom to the last: warm-up, entropy-seeking and compression-seeking phases (Li et al. 2025).",
}
"""What each figure of a scorecard shows, by file name."""

_FOUND = {"labels": "queries that have their label", "qrels": "relevant rows", "neighbours": "the reference's rows"}


def caption(name: str, card: Scorecard) -> str:
    """Return what a figure of a card shows, as `draw` names it."""
    for place, judged in enumerate((card, *card.others)):
        for file, text in CAPTIONS.items():
            if name == _file(file, place):
                truth = judged.truth
                shown = _FOUND.get(truth.kind, "") if file == "recall.png" else noun(truth.measures[0])
                by = f" Judged by {truth.name}." if place else ""
                return text.format(shown) + by
    raise ValueError(f"`name` must be that of a figure, such as {', '.join(CAPTIONS)}; got {name!r}.")


def _file(name: str, place: int) -> str:
    """Return the name of a figure of the card's truth at that place, the first of which has no number."""
    return name.replace(".png", f"-{place + 1}.png") if place else name


def draw(card: Scorecard, sets: Iterable[EmbeddingSet] | None) -> dict[str, Figure]:
    """Return all figures by file name, for files and for loggers.

    Args:
        card: The scorecard.
        sets: One set of embeddings per arm, in the order of the card; None if they are not in memory, and the figure
            of correlations is left out.
    """
    named = None if sets is None else dict(zip((arm.name for arm in card.arms), sets, strict=True))
    drawn = {
        "frontier.png": frontier_figure(card),
        "storage.png": storage_figure(card),
        "recall.png": recall_figure(card),
        "spectrum.png": spectrum_figure(card),
        "correlation.png": None if named is None else correlation_figure(named),
        "limit.png": limit_figure(card),
        "certificates.png": certificates_figure(card),
        "training.png": training_figure({arm.name: arm.histories for arm in card.arms}),
        "dynamics.png": dynamics_figure(card),
    }
    for place, other in enumerate(card.others, start=1):
        makers = (("frontier.png", frontier_figure), ("storage.png", storage_figure), ("recall.png", recall_figure))
        drawn |= {_file(name, place): make(other) for name, make in makers}
    return {name: figure for name, figure in drawn.items() if figure is not None}
