# SPDX-License-Identifier: Apache-2.0
"""Build the tables of the scorecard, and print a table as plain text or as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.render.words import heading
from lightning_monocon.scorecard.scores import Score

BEST, TIED = "*", "="
"""Marks in the frontier: the best arm at a size, and arms within the noise of it."""

SCIENTIFIC = 1e-4
"""Figures below this are written with an exponent."""


@dataclass(frozen=True)
class Marked:
    """Hold the text of a cell and the mark that follows it, which is a space where others of its row have one."""

    text: str
    mark: str

    def __str__(self) -> str:
        return self.text + self.mark


@dataclass(frozen=True)
class Table:
    """Hold a header and rows of cells; the first column and those of words are aligned left, the others right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str | Marked, ...], ...]

    @cached_property
    def words(self) -> tuple[bool, ...]:
        """Whether each column holds words: it is the first, or none of its cells begins with a number.

        Example:
            >>> Table(("code", "bytes", "found by"), (("transform-8", "8", "ours"), ("pq-8", "8", "faiss"))).words
            (True, False, True)
        """
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return tuple(not place or not any(map(_is_number, column)) for place, column in enumerate(columns))

    def as_text(self) -> str:
        """Return aligned columns, two spaces apart."""
        lines = [self.header, *(tuple(map(str, row)) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        rule = "  ".join("-" * width for width in widths)
        first, *others = [_aligned(line, widths, self.words) for line in lines]
        return "\n".join([first, rule, *others])

    def as_markdown(self) -> str:
        """Return a GitHub table."""
        rule = tuple("---" if word else "---:" for word in self.words)
        return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (self.header, rule, *self.rows))


def accuracy_table(card: Scorecard) -> Table:
    """Return one row per arm: n99 beside the figure in as many dimensions, the rival's, and all at full width.

    The figures of the other truths follow, the first measure of each.
    """
    unit = heading(card.truth.measures[0]).partition(" ")[2]
    measures = [heading(measure) for measure in _columns(card)]
    balanced = ["balanced %"] if card.truth.kind == "labels" else []
    others = [f"{other.truth.name}: {heading(other.truth.measures[0])}" for other in card.others]
    header = ("arm", "D", "n99", f"at n99 {unit}", f"PCA rival {unit}", *measures, *balanced, *others)
    return Table(header, tuple(_accuracy_row(card, arm) for arm in card.arms))


def shape_table(card: Scorecard) -> Table:
    """Return one row per arm: the errors, spread and correlation of its vectors, and its verdict."""
    header = ("arm", "RMSE", "FVU %", "total variance", "mean cosine", "RMS corr.", "verdict")
    return Table(header, tuple(_shape_row(arm) for arm in card.arms))


def frontier_table(card: Scorecard) -> Table:
    """Return the first measure in per cent by kept dimensions: a row per arm, a column per size, the best marked."""
    header = (f"{heading(card.truth.measures[0])} at k =", *(str(k) for k in card.dims))
    return Table(header, tuple((arm.label, *_frontier_cells(card, arm)) for arm in card.arms))


def _frontier_cells(card: Scorecard, arm: Arm) -> tuple[str | Marked, ...]:
    marks = (BEST if arm.name == best.arm else TIED if arm.name in best.ties else " " for best in card.winners)
    shares = (f"{100 * arm.accuracy(best.k)[0]:.1f}" for best in card.winners)
    return tuple(map(Marked, shares, marks))


def _accuracy_row(card: Scorecard, arm: Arm) -> tuple[str, ...]:
    k = max(1, *(score.n99 for score in arm.scores))
    accuracies = (
        arm.accuracy(k),
        card.arm(card.baseline).accuracy(k),
        *(arm.accuracy(arm.width, measure) for measure in _columns(card)),
        *([arm.spread("balanced_accuracy")] if card.truth.kind == "labels" else []),
        *(other.arm(arm.name).accuracy(arm.width) for other in card.others),
    )
    shares = (spread(*figure, digits=1, scale=100) for figure in accuracies)
    return (arm.name, str(arm.width), _dimension(arm), *shares)


def _columns(card: Scorecard) -> list[str]:
    """Return what stands in the columns at full width: of labels the 5-NN vote and two recalls, else every measure."""
    measures = card.truth.measures
    chosen = ("knn_accuracy", "recall@1", "recall@5") if card.truth.kind == "labels" else measures
    return [measure for measure in chosen if measure in measures]


def _dimension(arm: Arm) -> str:
    """Return n99 over seeds, or that of a single seed with its interval over rows."""
    score, *more = arm.scores
    if more:
        return spread(*arm.spread("n99"), digits=1)
    low, high = score.n99_interval
    return f"{score.n99} [{math.floor(low)}, {math.ceil(high)}]"


def _shape_row(arm: Arm) -> tuple[str, ...]:
    return (
        arm.name,
        *_errors(arm),
        significant(*arm.spread("total_variance")),
        spread(*arm.spread("mean_cosine"), digits=3),
        spread(*arm.spread("feature_correlation"), digits=2),
        arm.verdict.word,
    )


def _errors(arm: Arm) -> tuple[str, str]:
    """Return RMSE and FVU, in brackets where they are 0 by definition."""
    if nothing_left_out(arm.scores):
        return "(0)", "(0)"
    return significant(*arm.spread("rmse")), spread(*arm.spread("fvu"), digits=2, scale=100)


def nothing_left_out(scores: Sequence[Score]) -> bool:
    """Return whether n99 is the whole width for every seed, so that RMSE and FVU are 0 by definition."""
    return all(score.n99 == score.dim for score in scores)


def spread(mean: float, deviation: float, *, digits: int, scale: float = 1.0) -> str:
    """Write a mean and its standard deviation over seeds.

    Example:
        >>> spread(0.9876, 0.0021, digits=1, scale=100)
        '98.8 ± 0.2'
        >>> spread(16.0, float("nan"), digits=1), spread(float("nan"), float("nan"), digits=1)
        ('16.0', 'n/a')
    """
    if math.isnan(mean):
        return "n/a"
    text = f"{scale * mean:.{digits}f}"
    return text if math.isnan(deviation) else f"{text} ± {scale * deviation:.{digits}f}"


def signed(value: float) -> str:
    """Write a difference with its sign and one digit after the point.

    Example:
        >>> signed(0.25), signed(-3.0), signed(-0.01)
        ('+0.2', '-3.0', '0.0')
    """
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def significant(mean: float, deviation: float) -> str:
    """Write a mean of any magnitude with three significant digits, and its standard deviation to the same place.

    Example:
        >>> significant(0.00672, 0.0004), significant(0.0, float("nan"))
        ('0.00672 ± 0.00040', '0')
        >>> significant(2.17e-9, 1e-10)
        '2.2e-09 ± 1e-10'
    """
    if math.isnan(mean):
        return "n/a"
    if mean == 0:
        return "0"
    if abs(mean) < SCIENTIFIC:
        return f"{mean:.1e}" if math.isnan(deviation) else f"{mean:.1e} ± {deviation:.0e}"
    return spread(mean, deviation, digits=max(0, 2 - math.floor(math.log10(abs(mean)))))


def _is_number(cell: str | Marked) -> bool:
    """Return whether a cell begins with a number, whatever its sign, or stands for a missing one."""
    return str(cell).lstrip("+-~<>(. ")[:1].isdigit() or str(cell).strip() in ("", "n/a", "inf")


def _aligned(cells: Sequence[str], widths: Sequence[int], words: Sequence[bool]) -> str:
    aligned = zip(cells, widths, words, strict=True)
    return "  ".join(cell.ljust(width) if word else cell.rjust(width) for cell, width, word in aligned).rstrip()
