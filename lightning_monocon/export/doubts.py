# SPDX-License-Identifier: Apache-2.0
"""Whether a model is worth shipping: its head and its vectors against the encoder alone, in the scorecard's words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.export.gallery import Embedded
from lightning_monocon.export.measure import Line, loss
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.scores import measure
from lightning_monocon.scorecard.verdict import ACCURACY_LOSS, COLLAPSED_SHARE, RULES, RULES_BY_WORD, judge

_DOUBTFUL = ("collapsed", "under-trained")
_JUDGED = 5_000
"""Queries that the verdict is given on; more would change it no more."""


class Doubt(NamedTuple):
    """What speaks against shipping a model.

    Attributes:
        sentence: The doubt, with its figures.
        refused: Whether such a model is exported only on demand. An under-trained one is a matter of degree and gets a
            warning; what has collapsed, or finds less than half, serves nobody by accident.
    """

    sentence: str
    refused: bool


def doubts(searched: Embedded, query: Embedded, lines: Sequence[Line]) -> tuple[Doubt, ...]:
    """Say what speaks against shipping a model; nothing if nothing does, or without labels that both sides share.

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
    if word in _DOUBTFUL:
        sentence = f"The head's output is {word} ({reason}): {_figures(encoder, whole)}."
        found.append(Doubt(sentence, refused=word == "collapsed"))
    if _skill(shipped, searched) < COLLAPSED_SHARE * _skill(encoder, searched):
        sentence = f"The exported vectors keep less than half of what the encoder finds: {_figures(encoder, shipped)}."
        found.append(Doubt(sentence, refused=True))
    return tuple(found)


def refusal(found: Sequence[Doubt]) -> str:
    """Return the sentence that refuses an export for its doubts."""
    against = " ".join(doubt.sentence for doubt in found)
    return (
        f"`model` must make vectors that are worth shipping. {against} Train longer or otherwise, export the encoder "
        "alone (`head='none'`), keep more numbers (`--dim`), or pass `--even-so` (`even_so=True`)."
    )


def _verdict(searched: Embedded, query: Embedded, encoder: Line, whole: Line) -> tuple[str, str]:
    if encoder.knn_hits is not None:
        arms = [_set(searched, query, name) for name in ("embeddings", "features")]
        arm = measure(arms[0], dims=(1,))
        found = judge([arm], [measure(arms[1], dims=(1,), extra=(arm.n99,))])
        if found.facts is None:
            return found.word, found.reason
        # both embed the same rows: if fewer of them differ under the head, it has made them equal
        rules = (rule for rule in RULES if rule.word != "smaller sample" and rule.applies(found.facts))
        rule = next(rules)
        return rule.word, rule.reason
    lost = loss(encoder, whole)
    if _skill(whole, searched) < COLLAPSED_SHARE * _skill(encoder, searched):
        return "collapsed", "it keeps less than half of what the encoder finds"
    if lost.low > 0 and lost.points > 100 * ACCURACY_LOSS:
        return "under-trained", RULES_BY_WORD["under-trained"].reason
    return "", ""


def _set(searched: Embedded, query: Embedded, name: str) -> EmbeddingSet:
    rows: Tensor = getattr(query, name)[:_JUDGED]
    return EmbeddingSet(getattr(searched, name), searched.labels, rows, query.labels[:_JUDGED], arm=name)


def _skill(line: Line, searched: Embedded) -> float:
    """Return the share of queries that are answered, above chance."""
    if line.knn_hits is None:
        return line.recall(_nearest(line)) - min(1.0, _nearest(line) / len(searched.labels))
    commonest = torch.unique(searched.labels, return_counts=True)[1].max()
    return line.knn_accuracy - float(commonest) / len(searched.labels)


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
