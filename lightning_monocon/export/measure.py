# SPDX-License-Identifier: Apache-2.0
"""Measure what the cut and the codes cost: the same queries and pairs before and after, beside encoder and its PCA."""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

from torch import Tensor, nn

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.candidates import NAMED, named
from lightning_monocon.export.calibration import Calibration, Coded, Stored
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
from lightning_monocon.functional.quantisation import vector_bytes
from lightning_monocon.functional.relevance import Relevance
from lightning_monocon.functional.spectrum import numerical_rank, principal_components
from lightning_monocon.functional.truncation_curve import projected, ties_of

FEATURES: RowsOf = attrgetter("features")
EMBEDDINGS: RowsOf = attrgetter("embeddings")


ALL, CHOOSING, JUDGING = slice(None), slice(0, None, 2), slice(1, None, 2)
"""All queries and pairs; or those that choose between two ways to store, and those that then judge."""


class Form(NamedTuple):
    """Describe one way to store rows: its name, what it makes of embedded rows, and how they are kept and compared.

    ``bytes`` are those of a stored row, 0 for float32 numbers; ``asked`` makes the queries where they are kept
    otherwise than the rows.
    """

    name: str
    rows: RowsOf
    bytes: int = 0
    metric: DistanceName = "cosine"
    asked: RowsOf | None = None


def measure_lines(judge: Judge, stack: nn.Module, calibration: Stored) -> list[Line]:
    """Judge encoder, its own cut or code, whole output, cut output and codes on the same queries and pairs.

    Args:
        judge: What is searched, and what is known; the searched rows fit the encoder's own PCA or code.
        stack: Features to vectors.
        calibration: Vectors to codes.
    """
    if isinstance(calibration, Calibration):
        k = len(calibration.step)
        rival = cut(f"encoder, PCA to {k}", judge.searched, FEATURES, k)
    else:
        rival = _encoder_coded(judge.searched, calibration)
    forms = [Form("encoder", FEATURES), rival, Form("head, whole", EMBEDDINGS), _vectors(stack)]
    if calibration.storage != "float32":
        forms.append(shipped(stack, calibration))
    return [judge.line(form) for form in forms]


def shipped(stack: nn.Module, calibration: Stored) -> Form:
    """Return the form that an export ships: codes of vectors, or vectors where those are stored."""
    vectors = _vectors(stack)
    if calibration.storage == "float32":
        return vectors
    return _coded(f"exported, {calibration.storage}", vectors.rows, calibration)


def _vectors(stack: nn.Module) -> Form:
    return Form("exported", lambda part: stack(part.features))


def _coded(name: str, rows: RowsOf, calibration: Stored) -> Form:
    return Form(
        name,
        lambda part: calibration.decode(calibration.codes(rows(part))),
        calibration.bytes,
        calibration.metric,
        lambda part: calibration.queries(rows(part)),
    )


def _encoder_coded(searched: Embedded, calibration: Coded) -> Form:
    """Return the encoder's own output in a code of the same family, and of as many bytes as far as it has them.

    A family that is not fitted here, such as a learnt code, or takes long at so many bytes, has a product code for a
    rival, or else a transform code.
    """
    width, size = searched.features.shape[1], calibration.bytes
    most = {each.name: max((own for own in each.all_sizes(width) if own <= size), default=0) for each in NAMED}
    quick = {each.name for each in NAMED if most[each.name] in each.sizes(width)}
    own = calibration.storage.rpartition("-")[0]
    name = next(each for each in (own, "product", "transform") if each in quick)
    rival = named(f"{name}-{most[name]}", width)
    codec = rival.fitted(FittingRows.of(searched.features))[0]
    return _coded(f"encoder, {rival.name}", FEATURES, Coded(codec, len(searched.labels)))


class Judge:
    """Measure what is found in the gallery, stored in one way or another, by every truth that there is.

    Args:
        searched: Its sample is searched.
        query: Its sample searches.
        relevance: Known answers, by the places in the two samples.
        pairs: Graded pairs.
        units: Which of the queries, and of the pairs, judge.
    """

    def __init__(
        self,
        searched: Embedded,
        query: Embedded,
        relevance: Relevance | None = None,
        pairs: GradedPairs | None = None,
        units: slice = ALL,
    ) -> None:
        self.searched, self.query, self._units = searched, query, units
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
        stored = form.rows(self.searched)
        asked = (form.asked or form.rows)(self.query)
        found = self._ties.nearest(stored, asked, self._count, form.metric)
        values: dict[Kind, dict[str, Tensor]] = {
            kind: {name: each[self._units] for name, each in truth.judge(found, form.rows).items()}
            for kind, truth in self.truths.items()
        }
        return Line(form.name, stored.shape[1], form.bytes or vector_bytes(stored.shape[1], "float32"), values)

    def _found(self, rows: RowsOf) -> Tensor:
        return self._ties.nearest(rows(self.searched), rows(self.query), self._count)


def cut(name: str, searched: Embedded, rows: RowsOf, k: int) -> Form:
    """Return the form of unit rows on the searched rows' leading components: at most ``k``, and at most their rank."""
    axes = principal_components(rows(searched))
    kept = max(1, min(k, numerical_rank(axes.variances)))
    return Form(name, lambda part: projected(rows(part), axes, kept).float())
