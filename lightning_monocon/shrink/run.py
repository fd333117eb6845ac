# SPDX-License-Identifier: Apache-2.0
"""Fit and judge all codes, choose on one half of the queries and certify on the other.

The codes that are best at their number of bytes on the first half are tested on the second from large to small, each at
the full level, until one fails. That order does not depend on the second half, so the chance that any code passes that
should not is at most one minus the confidence, however many were tried (fixed-sequence testing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.scorecard.truths import NeighbourTruth
from lightning_monocon.shrink.all_rows import CHOOSING_ROWS, AllRows
from lightning_monocon.shrink.bounds import keeps, mean_low, quantile_high
from lightning_monocon.shrink.candidates import Candidate, candidates
from lightning_monocon.shrink.engine import Engine, fitting_rows, in_process
from lightning_monocon.shrink.judge import encoded, qualities, shortlists
from lightning_monocon.shrink.parts import JudgedCodes
from lightning_monocon.shrink.result import Line, Result, Shortlist
from lightning_monocon.shrink.split import Parts, split
from lightning_monocon.shrink.task import Task

SHORTLIST = 0.95
"""Share of queries whose true neighbours all lie in the shortlist."""

_LAYOUT = "shrink/1"
_BYTES = "bytes"


@dataclass(frozen=True)
class Question:
    """Say what is asked.

    Attributes:
        keep: Share of the whole vectors' quality that must be kept.
        budget: Bytes of a vector at most; None asks for the fewest.
        confidence: Of the certificate.
        seed: Decides the parts and the fits.
    """

    keep: float = 0.95
    budget: int | None = None
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("keep", "confidence"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"`--{name}` must lie between 0 and 1, such as 0.95; got {value}.")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"`--budget` must be at least 1 byte; got {self.budget}.")


def shrink(
    task: Task, question: Question, out: Path, second: Task | None = None, engine: Engine = in_process
) -> tuple[Result, Codec, Tensor]:
    """Return the answer, the code that was chosen, and the codes ``(N, bytes)`` of all rows.

    Args:
        task: Rows, queries and answers.
        question: What is asked.
        out: Folder in which judged codes are kept until the caller has written the result.
        second: A second corpus.
        engine: Where rows are fitted on and encoded.

    Raises:
        FileExistsError: If the folder holds something else.
        ValueError: If there are too few rows, or no code keeps enough or is small enough.
    """
    parts = split(len(task.gallery), task.truth.units, question.seed)
    fitting = fitting_rows(task.gallery, parts.fit, question.seed, engine)
    tried, missing = candidates(task.gallery.shape[1], fitting.count)
    if question.budget is not None:
        tried = _within(tried, question.budget)
    stamp = f"{_LAYOUT} {question.seed} {task.stamp} {'' if second is None else second.stamp}"
    kept = JudgedCodes(out, stamp)
    few = task if len(task.gallery) <= CHOOSING_ROWS else task.sampled(CHOOSING_ROWS, question.seed)
    whole, lines = _judged(few, second, tried, fitting, kept, parts)

    tested = [line for line in lines if line.best]
    everything = AllRows(task, fitting, kept, engine)
    if few is not task:
        tested = _tested(everything, tested, whole, parts, question)
        whole = everything.whole()
    line, certified = _chosen(tested, whole[parts.certify], parts, question)
    codec = line.codec(fitting)
    codes = encoded(codec, task.gallery) if few is task else everything.codes(codec)
    result = Result(
        task=task,
        question=question,
        parts=parts,
        whole=whole,
        lines=lines,
        chosen=line,
        certified=certified,
        low=mean_low(line.values[parts.certify], question.confidence),
        shortlist=_shortlist(task, codec, codes, parts, question.confidence),
        by_fit=_by_fit(task, codec, codes, parts),
        missing=tuple(missing),
        compared=len(few.gallery),
    )
    return result, codec, codes


def _within(tried: Sequence[Candidate], budget: int) -> list[Candidate]:
    found = [candidate for candidate in tried if candidate.bytes <= budget]
    if not found:
        least = min(candidate.bytes for candidate in tried)
        raise ValueError(f"`--budget` must be at least {least} bytes, which the smallest code takes; got {budget}.")
    return found


def _judged(
    task: Task, second: Task | None, tried: Sequence[Candidate], fitting: FittingRows, kept: JudgedCodes, parts: Parts
) -> tuple[Tensor, list[Line]]:
    """Return the quality of the whole vectors and of all codes, each judged once."""
    found = kept.read("whole") or {"values": qualities(task, None)}
    kept.write("whole", found)
    lines: list[Line] = []
    for candidate in tqdm(tried, desc="codes", unit="code"):
        values = kept.read(candidate.name)
        if values is None:
            values = _values(task, second, candidate.fitted(fitting))
            kept.write(candidate.name, values)
        # how to score is part of the choice
        size = int(values.pop(_BYTES))
        means = {key: float(each[parts.choose].mean()) for key, each in values.items() if not key.startswith("second:")}
        quality, name = max((mean, key) for key, mean in means.items())
        lines.append(Line(name, candidate, values[name], size, quality, values.get(f"second:{name}")))
    return found["values"], _marked(lines)


def _values(task: Task, second: Task | None, forms: Sequence[Codec]) -> dict[str, Tensor]:
    codes = encoded(forms[0], task.gallery)  # both ways to score read the same bytes
    found = {codec.name: qualities(task, codec, codes) for codec in forms}
    found[_BYTES] = torch.tensor(forms[0].bytes_per_vector)
    if second is not None:
        codes = encoded(forms[0], second.gallery)
        found |= {f"second:{codec.name}": qualities(second, codec, codes) for codec in forms}
    return found


def _tested(everything: AllRows, best: Sequence[Line], whole: Tensor, parts: Parts, question: Question) -> list[Line]:
    """Return the codes to be certified, judged on all rows.

    Args:
        everything: Judges them.
        best: The best code of each budget, judged on a sample.
        whole: ``(U,)`` quality of the whole vectors on that sample.
        parts: Which queries choose.
        question: What is asked.
    """
    if question.budget is not None:
        return [everything.judged(max(best, key=lambda line: line.quality))]
    ordered = sorted(best, key=lambda line: line.budget)
    least = question.keep * float(whole[parts.choose].mean())
    guess = next((place for place, line in enumerate(ordered) if line.quality >= least), len(ordered) - 1)
    return everything.bordering(ordered, guess, question.keep, question.confidence, parts.choose)


def _marked(lines: Sequence[Line]) -> list[Line]:
    """Mark the best code of each budget, and of these the Pareto front."""
    best: dict[int, Line] = {}
    for line in lines:
        rival = best.get(line.budget)
        if rival is None or line.quality > rival.quality:
            best[line.budget] = line
    top = float("-inf")
    for budget in sorted(best):
        line = best[budget]
        line.best = True
        line.front = line.quality > top
        top = max(top, line.quality)
    return list(lines)


def _chosen(best: Sequence[Line], whole: Tensor, parts: Parts, question: Question) -> tuple[Line, bool]:
    """Return the code that answers the question, and whether it is shown to keep enough."""
    ordered = sorted(best, key=lambda line: -line.budget)
    if question.budget is not None:
        line = max(ordered, key=lambda line: line.quality)
        return line, keeps(line.values[parts.certify], whole, question.keep, question.confidence)
    passed = None
    for line in ordered:
        if not keeps(line.values[parts.certify], whole, question.keep, question.confidence):
            break
        passed = line
    if passed is not None:
        return passed, True
    top = max(ordered, key=lambda line: line.quality)
    share = float(top.values[parts.certify].mean() / whole.mean())
    raise ValueError(
        f"`--keep` must be within reach of a code; the best, {top.name} of {top.bytes} bytes, keeps {share:.3f} of the "
        f"whole vectors' quality on {len(whole)} queries, which does not show {question.keep:g} with confidence "
        f"{question.confidence:g}. Ask for less, or give more queries; judged codes are kept for that."
    )


def _shortlist(task: Task, codec: Codec, codes: Tensor, parts: Parts, confidence: float) -> Shortlist | None:
    if not isinstance(task.truth, NeighbourTruth):
        return None
    counts = shortlists(task, codec, codes, task.truth.nearest)[parts.certify]
    length = quantile_high(counts, SHORTLIST, confidence)
    return None if length is None else Shortlist(int(length), SHORTLIST)


def _by_fit(task: Task, codec: Codec, codes: Tensor, parts: Parts) -> tuple[float, float] | None:
    """Return the quality among the rows that the code was fitted on, and among as many others; None without either."""
    if not isinstance(task.truth, NeighbourTruth):
        return None
    rest = torch.ones(len(task.gallery), dtype=torch.bool)
    rest[parts.fit] = False
    unseen = rest.nonzero().flatten()[: min(len(parts.fit), CHOOSING_ROWS)]
    seen = parts.fit[: len(unseen)]
    first, second = (
        float(qualities(task.among(rows), codec, codes[rows])[parts.certify].mean()) for rows in (seen, unseen)
    )
    return first, second
