# SPDX-License-Identifier: Apache-2.0
"""Hold what was found, and tell it as JSON and as text."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.candidates import Candidate
from lightning_monocon.functional.rate_distortion import rate_distortion
from lightning_monocon.scorecard.render.words import noun
from lightning_monocon.scorecard.truths import LabelTruth
from lightning_monocon.shrink.certificate import Certificate
from lightning_monocon.shrink.question import Question
from lightning_monocon.shrink.split import Parts
from lightning_monocon.shrink.task import Task

_DEVIATIONS = 1.96


class Shortlist(NamedTuple):
    """Hold how many rows a search over codes must return.

    Attributes:
        length: Rows; None if too few queries certify any number.
        probability: Share of queries whose true neighbours all lie among them.
        needs: Certifying queries that show any number.
    """

    length: int | None
    probability: float
    needs: int


@dataclass(eq=False)
class Line:
    """Hold one code that was judged.

    Attributes:
        name: Such as ``"transform-32"``.
        candidate: What it was fitted by.
        values: ``(U,)`` quality of each query.
        bytes: Bytes of a vector: fewer than the candidate's where the rows leave nothing for more.
        quality: Mean over the queries that codes are chosen on.
        second: ``(U',)`` quality of each query of the second corpus; None without one.
        error: Mean squared error of decoded rows that it was not fitted on.
        best: Whether it is the best of its budget.
        front: Whether no code of as many or fewer bytes is as good.
        fitted: The code itself; None if it was judged in an earlier run, or another of its size is better.
    """

    name: str
    candidate: Candidate = field(repr=False)
    values: Tensor = field(repr=False)
    bytes: int
    quality: float
    second: Tensor | None = field(default=None, repr=False)
    error: float = math.nan
    best: bool = False
    front: bool = False
    fitted: Codec | None = field(default=None, repr=False)

    @property
    def family(self) -> str:
        """Name of its family, such as ``"transform"``."""
        return self.candidate.name.rpartition("-")[0]

    @property
    def budget(self) -> int:
        """Bytes that the code was given; codes of one budget are rivals."""
        return self.candidate.bytes

    def codec(self, rows: FittingRows) -> Codec:
        """Return the code itself, fitted once more if it is not at hand."""
        return self.fitted or next(codec for codec in self.candidate.fitted(rows) if codec.name == self.name)


@dataclass(frozen=True, eq=False)
class Result:
    """Hold the answer of `lightning_monocon.shrink.shrink`.

    Attributes:
        task: Rows, queries and answers.
        question: What was asked.
        parts: What was fitted, chosen and certified on.
        whole: ``(U,)`` quality of the whole vectors.
        lines: All codes.
        chosen: The one that was chosen.
        certificate: What was shown of it.
        shortlist: Rows that a search must return; None without true neighbours.
        by_fit: Its quality among the rows that it was fitted on, and among as many others; None without neighbours.
        missing: Codes that were left out, and why.
        compared: Rows on which all codes were compared; fewer than the gallery's if that is large.
        variances: ``(D,)`` variances of the rows on which the codes' errors were measured.
    """

    task: Task
    question: Question
    parts: Parts
    whole: Tensor
    lines: list[Line]
    chosen: Line
    certificate: Certificate
    shortlist: Shortlist | None
    by_fit: tuple[float, float] | None
    missing: tuple[str, ...]
    compared: int
    variances: Tensor

    @property
    def certified(self) -> bool:
        """Whether the chosen code is shown to keep what was asked."""
        return self.certificate.passed > 0

    @property
    def unskilled(self) -> str:
        """That whole vectors are not above a guess by two standard errors; empty if they are."""
        truth, whole = self.task.truth, self.whole[self.parts.certify]
        guess, found = "a random order", truth.chance
        if isinstance(truth, LabelTruth):
            guess, found = "the commonest label", truth.constant
        quality = float(whole.mean())
        if quality - 2 * float(whole.std()) / math.sqrt(len(whole)) > found:
            return ""
        return f"whole vectors ({noun(truth.measures[0])} {quality:.3f}) are no better than {guess} ({found:.3f})"

    @property
    def front(self) -> list[Line]:
        """Return the codes that no smaller one equals, from few bytes to many."""
        return sorted((line for line in self.lines if line.front), key=lambda line: line.bytes)

    @property
    def best(self) -> list[Line]:
        """Return the best code of each number of bytes, from few to many."""
        return sorted((line for line in self.lines if line.best), key=lambda line: line.budget)

    @property
    def families(self) -> list[str]:
        """Return the families that were compared, in the order of the candidates."""
        return list(dict.fromkeys(line.family for line in self.lines))

    def rivals(self, line: Line) -> list[Line]:
        """Return all codes of a code's budget, and itself."""
        return [rival for rival in self.lines if rival.budget == line.budget]

    def is_behind(self, line: Line, other: Line) -> bool:
        """Return whether a code is worse than another by more than noise; a code is behind itself."""
        return line is other or _interval((other.values - line.values)[self.parts.certify])[1] > 0

    def estimate(self, line: Line) -> tuple[float, float, float]:
        """Return the mean of a code over the certifying queries and its 95 % interval."""
        return _interval(line.values[self.parts.certify])

    def runner_up(self, line: Line) -> tuple[Line, float, float] | None:
        """Return the next best code of as many bytes, how far it is behind and the half-width of that; None if alone.

        Both were chosen on the other queries.
        """
        rivals = [rival for rival in self.rivals(line) if rival is not line]
        if not rivals:
            return None
        rival = max(rivals, key=lambda rival: rival.quality)
        lead, low, _ = _interval((line.values - rival.values)[self.parts.certify])
        return rival, lead, lead - low

    def above_limit(self, line: Line) -> float | None:
        """Return the bits of a vector beyond the Gaussian limit at the code's error; None if it has no error.

        See `lightning_monocon.functional.rate_distortion`.
        """
        if not line.error > 0:
            return None
        return 8 * line.bytes - float(rate_distortion(self.variances, line.error))

    def loses_elsewhere(self, line: Line) -> str:
        """Return the code of as many bytes that beats it on the second corpus by more than noise; empty if none."""
        for rival in sorted(self.rivals(line), key=lambda rival: -rival.quality):
            if rival.second is not None and line.second is not None:
                if _interval(rival.second - line.second)[1] > 0:
                    return rival.name
        return ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values for ``shrink.json``."""
        chosen, question, truth = self.chosen, self.question, self.task.truth
        width = 4 * self.task.gallery.shape[1]
        return {
            "format": "lightning-monocon/shrink/1",
            "chosen": {"name": chosen.name, "bytes_per_vector": chosen.bytes},
            "quality": {
                "estimate": self.estimate(chosen)[0],
                "low": self.certificate.low,
                "confidence": question.confidence,
                "truth": truth.name,
                "k": _k(truth.measures[0]),
                "measure": truth.measures[0],
                "whole": float(self.whole[self.parts.certify].mean()),
                "keep": question.keep,
                "certified": self.certified,
                "tested": self.certificate.tested,
                "among_fitted": self.by_fit and self.by_fit[0],
                "among_unseen": self.by_fit and self.by_fit[1],
            },
            "shortlist": self._shortlist(),
            "front": [self._plain(line) for line in self.front],
            "codes": [self._plain(line) for line in self.lines],
            "second": self._second(),
            "rows": {
                "gallery": len(self.task.gallery),
                "compared": self.compared,
                "fit": len(self.parts.fit),
                "bytes_per_vector": width,
            },
            "units": {"unit": truth.unit, "choose": len(self.parts.choose), "certify": len(self.parts.certify)},
            "notes": [
                *self.task.notes,
                *filter(None, [self.unskilled]),
                *(f"left out: {name}" for name in self.missing),
            ],
            "seed": question.seed,
        }

    def _plain(self, line: Line) -> dict[str, Any]:
        mean, low, high = self.estimate(line)
        quality = {"estimate": mean, "low": low, "high": high}
        above = self.above_limit(line)
        return {"name": line.name, "bytes": line.bytes, "quality": quality, "bits_above_limit": above}

    def _shortlist(self) -> dict[str, Any] | None:
        found = self.shortlist
        if found is None or found.length is None:
            return None
        return {"length": found.length, "probability": found.probability}

    def _second(self) -> list[dict[str, Any]] | None:
        if self.chosen.second is None:
            return None
        found = []
        for line in self.front:
            if line.second is not None:
                mean, low, high = _interval(line.second)
                quality = {"estimate": mean, "low": low, "high": high}
                found.append(
                    {
                        "name": line.name,
                        "bytes": line.bytes,
                        "quality": quality,
                        "beaten_by": self.loses_elsewhere(line) or None,
                    }
                )
        return found


def _interval(values: Tensor) -> tuple[float, float, float]:
    mean, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
    return mean, mean - _DEVIATIONS * error, mean + _DEVIATIONS * error


def _k(measure: str) -> int | None:
    return int(measure.partition("@")[2]) if "@" in measure else None
