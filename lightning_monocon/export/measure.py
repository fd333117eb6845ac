# SPDX-License-Identifier: Apache-2.0
"""Measure what the cut and the codes cost: the same queries and pairs before and after, beside encoder and its PCA."""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

from torch import Tensor, nn

from lightning_monocon.export.calibration import Calibration
from lightning_monocon.export.gallery import Embedded
from lightning_monocon.export.lines import Kind, Line
from lightning_monocon.export.truths import (
    NEAREST,
    AnswerTruth,
    GradedPairs,
    GradedTruth,
    LabelTruth,
    NeighbourTruth,
    RowsOf,
    Truth,
)
from lightning_monocon.functional.neighbours import DistanceName
from lightning_monocon.functional.quantisation import Storage
from lightning_monocon.functional.relevance import Relevance
from lightning_monocon.functional.spectrum import numerical_rank, principal_components
from lightning_monocon.functional.truncation_curve import projected, ties_of

FEATURES: RowsOf = attrgetter("features")
EMBEDDINGS: RowsOf = attrgetter("embeddings")


class Form(NamedTuple):
    """Describe one way to store rows: its name, what it makes of embedded rows, how a number is kept and compared."""

    name: str
    rows: RowsOf
    storage: Storage = "float32"
    metric: DistanceName = "cosine"


def measure_lines(judge: Judge, stack: nn.Module, calibration: Calibration) -> list[Line]:
    """Judge encoder, encoder with PCA, whole output, cut output and codes on the same queries and pairs.

    Args:
        judge: What is searched, and what is known; the searched rows fit the encoder's own PCA.
        stack: Features to vectors.
        calibration: Vectors to codes.
    """
    k, dtype = len(calibration.step), calibration.storage

    def vectors(part: Embedded) -> Tensor:
        return stack(part.features)  # type: ignore[no-any-return]  # a module returns anything

    def decoded(part: Embedded) -> Tensor:
        return calibration.decode(calibration.codes(vectors(part)))

    forms = [
        Form("encoder", FEATURES),
        cut(f"encoder, PCA to {k}", judge.searched, FEATURES, k),
        Form("head, whole", EMBEDDINGS),
        Form("exported", vectors),
    ]
    if dtype != "float32":
        forms.append(Form(f"exported, {dtype}", decoded, dtype, calibration.metric))
    return [judge.line(form) for form in forms]


class Judge:
    """Measure what is found in the gallery, stored in one way or another, by every truth that there is.

    Args:
        searched: Its sample is searched.
        query: Its sample searches.
        relevance: Known answers, by the places in the two samples.
        pairs: Graded pairs.
    """

    def __init__(
        self,
        searched: Embedded,
        query: Embedded,
        relevance: Relevance | None = None,
        pairs: GradedPairs | None = None,
    ) -> None:
        self.searched, self.query = searched, query
        rows, queries = len(searched.labels), len(query.labels)
        self._count = min(NEAREST, rows)
        self._ties = ties_of(searched.embeddings, searched.labels, query.embeddings)

        self.truths: dict[Kind, Truth] = {}
        labels = LabelTruth(searched.labels, query.labels)
        if labels.known:
            self.truths["labels"] = labels
        if relevance is not None:
            self.truths["qrels"] = AnswerTruth(relevance, queries, rows)
        if pairs is not None:
            self.truths["graded"] = GradedTruth(pairs)
        self.truths["neighbours"] = NeighbourTruth(self._found(FEATURES), self._found(EMBEDDINGS), rows)

    def line(self, form: Form) -> Line:
        """Return what is found when gallery, queries and pairs are stored in that form."""
        found = self._found(form.rows, form.metric)
        values: dict[Kind, dict[str, Tensor]] = {
            kind: truth.judge(found, form.rows) for kind, truth in self.truths.items()
        }
        return Line(form.name, form.rows(self.searched).shape[1], form.storage, values)

    def _found(self, rows: RowsOf, metric: DistanceName = "cosine") -> Tensor:
        return self._ties.nearest(rows(self.searched), rows(self.query), self._count, metric)


def cut(name: str, searched: Embedded, rows: RowsOf, k: int) -> Form:
    """Return the form of unit rows on the searched rows' leading components: at most ``k``, and at most their rank."""
    axes = principal_components(rows(searched))
    kept = max(1, min(k, numerical_rank(axes.variances)))
    return Form(name, lambda part: projected(rows(part), axes, kept).float())
