# SPDX-License-Identifier: Apache-2.0
"""Doubt whether a model is worth shipping: judge its head and its vectors against the encoder alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from lightning_monocon.export.lines import KNN, TRUTHS, Kind, Line, judging, loss
from lightning_monocon.export.measure import EMBEDDINGS, Judge, cut
from lightning_monocon.functional.checks import DegenerateSampleWarning
from lightning_monocon.functional.effective_dimension import effective_dimension
from lightning_monocon.functional.red_flags import (
    ACCURACY_LOSS,
    ALL_EQUAL,
    COLLAPSED,
    COLLAPSED_SHARE,
    COMPACT_RATIO,
    LESS_ACCURATE,
    NEIGHBOURS_LOST,
    NO_SKILL,
)

MARGINS: Mapping[Kind, float] = {
    "labels": ACCURACY_LOSS,
    "qrels": ACCURACY_LOSS,
    "graded": ACCURACY_LOSS,
    "neighbours": NEIGHBOURS_LOST,
}
"""Loss of the first figure that a warning tolerates, by kind of truth: the scorecard's margins."""

LESS_FOUND = "it finds less than the encoder does; possible causes: a short run, or too narrow a model"
LITTLE_HELD = "the dimensions that hold 99 % of the variance find little of what the whole output or the encoder finds"
OTHERS = "a change, which may be for the better or for the worse"
UNSKILLED = "say nothing of these vectors, since the encoder itself is not shown to find more than chance"
_HALF = (
    "The exported vectors keep less than half of what the encoder finds",
    "The exported vectors keep less than half of the encoder's neighbours that the head's whole output has",
)


class Doubt(NamedTuple):
    """State one reason against shipping a model.

    Attributes:
        sentence: The doubt, with its figures.
        refused: Whether such a model is exported only on demand. Less accuracy in fewer dimensions is a matter of
            degree and gets a warning; what has collapsed, or finds less than half, is not exported by accident.
    """

    sentence: str
    refused: bool


def doubts(judge: Judge, lines: Sequence[Line]) -> tuple[Doubt, ...]:
    """Return the reasons against shipping a model, by every truth that tells right from wrong.

    Without one the neighbours are asked: that they changed is a warning, and nothing is refused unless hardly any of
    the encoder's are left, or less than half of those that the head's whole output has.

    Args:
        judge: What is searched, and what is known.
        lines: Encoder, its PCA, the head's whole output, the exported vectors and, where there are some, their codes.
    """
    n99, before = (_n99(rows) for rows in (judge.searched.embeddings, judge.searched.features))
    if judging(lines[0]) == ("neighbours",) and before <= 1:
        return ()  # the encoder has collapsed, and its neighbours mean nothing
    kept = lines[2]
    if 0 < n99 < kept.dims:
        kept = judge.line(cut("head, cut", judge.searched, EMBEDDINGS, n99))
    return tuple(
        doubt for kind in judging(lines[0]) for doubt in _Asked(judge, kind, lines, kept, n99, before).doubts()
    )


def refusal(found: Sequence[Doubt]) -> str:
    """Return the sentence that refuses an export for its doubts."""
    against = " ".join(doubt.sentence for doubt in found)
    return (
        f"`model` must make vectors that are worth shipping. {against} Train longer or differently, export the encoder "
        "alone (`head='none'`), keep more numbers (`--dim`), or pass `--even-so` (`even_so=True`)."
    )


class _Asked(NamedTuple):
    """Hold what one truth is asked: the measured lines, and the head's output in the dimensions that hold it."""

    judge: Judge
    kind: Kind
    lines: Sequence[Line]
    kept: Line
    n99: int
    before: int

    def doubts(self) -> list[Doubt]:
        encoder, whole, shipped = self.lines[0], self.lines[2], self.lines[-1]
        if self.kind in ("qrels", "graded") and self.n99 and not self._is_skilled(encoder):
            return [
                Doubt(f"{TRUTHS[self.kind].capitalize()} {UNSKILLED}: {_figures(self.kind, encoder, whole)}.", False)
            ]
        found = []
        word, reason = self._verdict()
        if word:
            sentence = f"The head's output {word} ({reason}): {_figures(self.kind, encoder, whole)}."
            found.append(Doubt(sentence, refused=word == "is collapsed"))
        if self._is_skilled(encoder) and self._skill(shipped) < self._least():
            fault = _HALF[self.kind == "neighbours"]
            found.append(Doubt(f"{fault}: {_figures(self.kind, encoder, shipped)}.", refused=True))
        return found

    def _verdict(self) -> tuple[str, str]:
        """Return the word and the reason for a head that has collapsed or lost something; empty ones for any other."""
        encoder, whole = self.lines[0], self.lines[2]
        if self.kind == "labels" and encoder.first("labels") != KNN:
            return self._by_partners()
        if self.n99 == 0:
            return "is collapsed", ALL_EQUAL

        reached, own, before = (self._skill(line) for line in (self.kept, whole, encoder))
        if own <= 0 or reached < COLLAPSED_SHARE * own or reached < NO_SKILL * before:
            return "is collapsed", COLLAPSED if self.kind == "labels" else LITTLE_HELD
        fewer = self.n99 <= COMPACT_RATIO * self.before
        if not self._loses(self.kept if fewer else whole):
            return "", ""
        if self.kind == "neighbours":
            return "finds other neighbours", OTHERS
        return ("is compact, but less accurate", LESS_ACCURATE) if fewer else ("is less accurate", LESS_FOUND)

    def _by_partners(self) -> tuple[str, str]:
        """Judge rows that have one partner each, so that there is no vote."""
        encoder, whole = self.lines[0], self.lines[2]
        if self._skill(whole) < COLLAPSED_SHARE * self._skill(encoder):
            return "is collapsed", "it keeps less than half of what the encoder finds"
        return ("is less accurate", LESS_FOUND) if self._loses(whole) else ("", "")

    def _least(self) -> float:
        """Return the skill below which the exported vectors are refused."""
        encoder, whole = (self._skill(self.lines[place]) for place in (0, 2))
        return COLLAPSED_SHARE * (whole if self.kind == "neighbours" else encoder)

    def _skill(self, line: Line) -> float:
        """Return what a line reaches of the first figure, above chance."""
        return line.figure(self.kind, line.first(self.kind)) - self.judge.truths[self.kind].chance

    def _is_skilled(self, line: Line) -> bool:
        """Return whether a line is above chance by twice the deviation of its mean."""
        values = line.values[self.kind][line.first(self.kind)]
        return self._skill(line) > 2 * math.sqrt(float(values.var(correction=0)) / len(values))

    def _loses(self, after: Line) -> bool:
        lost = loss(self.lines[0], after, self.kind)
        return lost.low > 0 and lost.points > 100 * MARGINS[self.kind]


def _n99(rows: Tensor) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateSampleWarning)  # of equal rows, which are a doubt of their own
        return int(effective_dimension(rows).nan_to_num(0.0))


def _figures(kind: Kind, encoder: Line, other: Line) -> str:
    """Return the first two figures of a truth, after and before."""
    if kind == "labels":
        deepest = max(encoder.values[kind], key=lambda name: int(name.partition("@")[2] or 0))
        names = dict.fromkeys((encoder.first(kind), deepest))
    else:
        names = dict.fromkeys([*encoder.values[kind]][:2])
    return ", ".join(
        f"{name} is {_hundredths(other, kind, name)} and was {_hundredths(encoder, kind, name)} for the encoder alone"
        for name in names
    )


def _hundredths(line: Line, kind: Kind, name: str) -> str:
    return f"{line.figure(kind, name):.3f}" if kind == "graded" else f"{100 * line.figure(kind, name):.1f} %"
