# SPDX-License-Identifier: Apache-2.0
"""Choose the code that answers the question, and certify it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from lightning_monocon.codes.names import in_bytes
from lightning_monocon.scorecard.truths import GradedTruth, NeighbourTruth, Truth
from lightning_monocon.shrink.certificate import Certificate, certify
from lightning_monocon.shrink.question import Question
from lightning_monocon.shrink.result import Line
from lightning_monocon.shrink.split import Parts


def chosen(
    best: Sequence[Line], whole: Tensor, truth: Truth, parts: Parts, question: Question
) -> tuple[Line, Certificate]:
    """Return the smallest code that is shown to keep enough, or the best of those that fit the budget.

    Args:
        best: At most one code of each number of bytes, chosen without the certifying queries.
        whole: ``(U,)`` quality of the whole vectors.
        truth: What the quality was measured by.
        parts: Which queries certify.
        question: What is asked.

    Raises:
        ValueError: If no code is shown to keep enough, and no budget was given.
    """
    tested = sorted(best, key=lambda line: -line.budget)
    certificate = certify(
        [line.values[parts.certify].double().numpy() for line in tested],
        whole[parts.certify].double().numpy(),
        question.keep,
        question.confidence,
        bounded=not isinstance(truth, GradedTruth),
        whole_is_perfect=isinstance(truth, NeighbourTruth) and bool((whole == 1).all()),
    )
    if certificate.passed or question.budget is not None:
        return tested[max(certificate.passed - 1, 0)], certificate
    raise ValueError(_unreachable(tested, whole[parts.certify], parts, question, units_of(truth)))


def surer_than_smaller(lines: Sequence[Line], whole: Tensor, choose: Tensor, keep: float) -> list[Line]:
    """Return the codes of which the choosing queries show more surely than of any smaller one that they keep enough.

    A code that is better but less sure is no use in a sequence of tests: it may fail, and end the sequence, before a
    smaller one is tested. By neighbours the surest code is the largest. By labels and other answers a small code may be
    the best on some queries by luck, where a larger one gives nearly all answers that the whole vectors give.

    Args:
        lines: All codes; the best of each number of bytes are marked.
        whole: ``(U,)`` quality of the whole vectors.
        choose: Numbers of the choosing queries.
        keep: Share of the quality that is asked for.

    Returns:
        At most one code of each number of bytes, from few bytes to many.
    """

    def sureness(line: Line) -> float:
        difference = (line.values - keep * whole)[choose].double()
        return float(difference.mean() / difference.std().clamp_min(_EVEN))

    found, most = [], -math.inf
    for line in sorted((line for line in lines if line.best), key=lambda line: line.budget):
        if (own := sureness(line)) > most:
            found.append(line)
            most = own
    return found


_EVEN = 1e-12
"""Deviation of equal qualities, by which a mean cannot be divided."""


def units_of(truth: Truth) -> str:
    """Return what a truth judges, in the plural."""
    return "queries" if truth.unit == "query" else "pairs"


def _unreachable(tested: Sequence[Line], whole: Tensor, parts: Parts, question: Question, units: str) -> str:
    surest = tested[0]  # the largest
    share = float(surest.values[parts.certify].mean() / whole.mean())
    return (
        f"`--keep` must be shown of a code; the surest by the choosing {units}, {surest.name} of "
        f"{in_bytes(surest.bytes)}, keeps {share:.3f} of the whole vectors' quality on {len(whole)} certifying "
        f"{units}, which does not show {question.keep:.15g} with confidence {question.confidence:.15g}. Ask for less, "
        f"or give more {units}; judged codes are kept for that."
    )
