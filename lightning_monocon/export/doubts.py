# SPDX-License-Identifier: Apache-2.0
"""Doubt whether a model is worth shipping: judge its head and its vectors against the encoder alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.export.gallery import Embedded
from lightning_monocon.export.measure import Judge, Line, cut, loss
from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.effective_dimension import effective_dimension
from lightning_monocon.functional.red_flags import (
    ACCURACY_LOSS,
    ALL_EQUAL,
    COLLAPSED,
    COLLAPSED_SHARE,
    COMPACT_RATIO,
    LESS_ACCURATE,
    NO_SKILL,
)

LESS_FOUND = "it finds less than the encoder does; possible causes: a short run, or too narrow a model"


class Doubt(NamedTuple):
    """State one reason against shipping a model.

    Attributes:
        sentence: The doubt, with its figures.
        refused: Whether such a model is exported only on demand. Less accuracy in fewer dimensions is a matter of
            degree and gets a warning; what has collapsed, or finds less than half, is not exported by accident.
    """

    sentence: str
    refused: bool


def doubts(searched: Embedded, query: Embedded, lines: Sequence[Line]) -> tuple[Doubt, ...]:
    """Return the reasons against shipping a model; none without labels that both sides share.

    Args:
        searched: Rows that the queries search.
        query: The queries.
        lines: Encoder, its PCA, the head's whole output, the exported vectors and, where there are some, their codes.
    """
    encoder, whole, shipped = lines[0], lines[2], lines[-1]
    if encoder.recall_hits is None:
        return ()
    found = []
    word, reason = _verdict(searched, query, encoder, whole)
    if word:
        sentence = f"The head's output is {word} ({reason}): {_figures(encoder, whole)}."
        found.append(Doubt(sentence, refused=word == "collapsed"))
    if _skill(shipped, searched, query) < COLLAPSED_SHARE * _skill(encoder, searched, query):
        sentence = f"The exported vectors keep less than half of what the encoder finds: {_figures(encoder, shipped)}."
        found.append(Doubt(sentence, refused=True))
    return tuple(found)


def refusal(found: Sequence[Doubt]) -> str:
    """Return the sentence that refuses an export for its doubts."""
    against = " ".join(doubt.sentence for doubt in found)
    return (
        f"`model` must make vectors that are worth shipping. {against} Train longer or differently, export the encoder "
        "alone (`head='none'`), keep more numbers (`--dim`), or pass `--even-so` (`even_so=True`)."
    )


def _verdict(searched: Embedded, query: Embedded, encoder: Line, whole: Line) -> tuple[str, str]:
    """Return the word and the reason for a head that has collapsed or lost accuracy; empty ones for any other."""
    if encoder.knn_hits is None:
        if _skill(whole, searched, query) < COLLAPSED_SHARE * _skill(encoder, searched, query):
            return "collapsed", "it keeps less than half of what the encoder finds"
        return ("less accurate", LESS_FOUND) if _loses(encoder, whole) else ("", "")

    n99, before = _n99(searched.embeddings), _n99(searched.features)
    if n99 == 0:
        return "collapsed", ALL_EQUAL
    kept = whole
    if n99 < whole.dims:
        rows = cut(searched.embeddings, query.embeddings, n99)
        kept = Judge(searched, query).line("head, cut", rows, "float32")

    reached, own, before_it = (_skill(line, searched, query) for line in (kept, whole, encoder))
    if own <= 0 or reached < COLLAPSED_SHARE * own or reached < NO_SKILL * before_it:
        return "collapsed", COLLAPSED
    if n99 <= COMPACT_RATIO * before and _loses(encoder, kept):
        return "compact, but less accurate", LESS_ACCURATE
    return "", ""


def _loses(encoder: Line, kept: Line) -> bool:
    lost = loss(encoder, kept)
    return lost.low > 0 and lost.points > 100 * ACCURACY_LOSS


def _n99(rows: Tensor) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateSampleWarning)  # of equal rows, which are a doubt of their own
        return int(effective_dimension(rows).nan_to_num(0.0))


def _skill(line: Line, searched: Embedded, query: Embedded) -> float:
    """Return the share of queries that are answered, above chance or the best constant answer."""
    if line.knn_hits is None:
        return line.recall(_nearest(line)) - min(1.0, _nearest(line) / len(searched.labels))
    commonest = torch.unique(query.labels, return_counts=True)[1].max()
    return line.knn_accuracy - float(commonest) / len(query.labels)


def _figures(encoder: Line, other: Line) -> str:
    count = _nearest(encoder)
    pairs = [("5-NN accuracy", encoder.knn_accuracy, other.knn_accuracy)]
    pairs.append((f"Recall@{count}", encoder.recall(count), other.recall(count)))
    return ", ".join(
        f"{name} is {100 * after:.1f} % and was {100 * before:.1f} % for the encoder alone"
        for name, before, after in pairs
        if not math.isnan(before)
    )


def _nearest(line: Line) -> int:
    return 0 if line.recall_hits is None else line.recall_hits.shape[1]
