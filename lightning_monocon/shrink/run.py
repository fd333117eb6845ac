# SPDX-License-Identifier: Apache-2.0
"""Fit and judge all codes, choose on one half of the queries and certify on the other.

The codes that the first half shows more surely than any smaller one are tested on the second from large to small until
one fails; see `lightning_monocon.shrink.certificate` for what that shows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.candidates import (
    BUDGETS,
    Candidate,
    candidates,
    larger_candidates,
    stored_candidates,
)
from lightning_monocon.codes.error import squared_error
from lightning_monocon.codes.side_by_side import side_by_side
from lightning_monocon.functional.spectrum import explained_variance
from lightning_monocon.scorecard.render.words import noun
from lightning_monocon.scorecard.truths import GradedTruth, NeighbourTruth, Truth
from lightning_monocon.shrink.all_rows import CHOOSING_ROWS, AllRows
from lightning_monocon.shrink.certificate import check_reach, fewest_values, keeps, quantile_high
from lightning_monocon.shrink.choice import chosen, surer_than_smaller
from lightning_monocon.shrink.engine import Engine, fitting_rows, in_process
from lightning_monocon.shrink.judge import encoded, qualities, shortlists
from lightning_monocon.shrink.parts import JudgedCodes
from lightning_monocon.shrink.question import Question
from lightning_monocon.shrink.result import Line, Result, Shortlist
from lightning_monocon.shrink.split import Parts, split, unseen_rows
from lightning_monocon.shrink.task import Task

SHORTLIST = 0.95
"""Share of queries whose true neighbours all lie in the shortlist."""

_ROUNDING = 1e-12  # largest variance of equal rows, which are rounded when they are scaled to length 1
_LAYOUT = "shrink/4"
_BYTES, _ERROR, _SECOND = "bytes", "error", "second"
_DOUBT = 1e-3  # chance that larger codes are left out although the best smaller one does not keep enough
_SCORED = 1_000  # choosing queries that choose how to score a code


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
    tried, missing = _tried(task.gallery.shape[1], len(parts.fit), question)
    kept = JudgedCodes(out, f"{_LAYOUT} {question.seed} {task.stamp} {'' if second is None else second.stamp}")
    few = task if len(task.gallery) <= CHOOSING_ROWS else task.sampled(CHOOSING_ROWS, question.seed)
    whole = _whole(task, few, kept, parts, question)
    fitting = fitting_rows(task.gallery, parts.fit, question.seed, engine)
    unseen = task.gallery[unseen_rows(parts, len(task.gallery))]
    kept.write("whole", {"values": whole})
    judge = partial(_judged, few, second, fitting=fitting, kept=kept, parts=parts, unseen=unseen)
    sought = question.keep if few is task else (1 + question.keep) / 2  # fewer rows are easier to tell apart
    suffice = partial(_suffice, whole=whole, truth=few.truth, choose=parts.choose, keep=sought)
    lines, left_out = _compared(tried, larger_candidates(task.gallery.shape[1]), question, judge, suffice)
    best, everything = _best(lines, whole, parts, question), AllRows(task, fitting, kept, engine)
    if few is not task:
        best, whole = _tested(everything, best, whole, parts, question), everything.whole()
    print(f"Certifying the choice and encoding {len(task.gallery):,} rows.", file=sys.stderr)
    line, certificate = chosen(best, whole, task.truth, parts, question)
    codec = line.codec(fitting)
    codes = encoded(codec, task.gallery) if few is task else everything.codes(codec)
    result = Result(
        task=_doubted(task, second),
        question=question,
        parts=parts,
        whole=whole,
        lines=lines,
        chosen=line,
        certificate=certificate,
        shortlist=_shortlist(task, codec, codes, parts, (1 - question.confidence) / certificate.tested),
        by_fit=_by_fit(task, codec, codes, parts),
        missing=(*missing, *left_out),
        compared=len(few.gallery),
        variances=_variances(unseen, fitting),
    )
    return result, codec, codes


def _doubted(task: Task, second: Task | None) -> Task:
    """Return the task with what puts the second corpus in doubt among its notes."""
    doubts = () if second is None else second.notes
    return replace(task, notes=(*task.notes, *(f"second corpus: {note}" for note in doubts)))


def _tried(dim: int, rows: int, question: Question) -> tuple[list[Candidate], list[str]]:
    """Return the codes to compare, and what was left out and why."""
    tried, missing = stored_candidates(dim, rows, question.kinds) if question.kinds else candidates(dim, rows)
    if question.budget is None:
        return tried, missing
    least = min(candidate.bytes for candidate in tried)
    if question.budget < least:
        raise ValueError(
            f"`--budget` must be at least {least} bytes, which the smallest code takes; got {question.budget}."
        )
    tried += [] if question.kinds else larger_candidates(dim)
    return [candidate for candidate in tried if candidate.bytes <= question.budget], missing


def _compared(
    tried: Sequence[Candidate],
    larger: Sequence[Candidate],
    question: Question,
    judge: Callable[[Sequence[Candidate]], list[Line]],
    suffice: Callable[[Sequence[Line]], bool],
) -> tuple[list[Line], list[str]]:
    """Return all codes, fitted and judged, and what was left out and why.

    Args:
        tried: The codes to compare first.
        larger: Those that are tried where none of these keeps enough.
        question: What is asked.
        judge: Fits and judges codes.
        suffice: Returns whether one of them surely keeps enough.
    """
    lines = judge(tried)
    if question.budget is not None or question.kinds:
        return lines, []
    if suffice(lines):
        top = max(lines, key=lambda line: (line.quality, -line.budget))
        is_largest = top.budget == max(line.budget for line in lines)
        surest = [] if is_largest else judge(larger[-1:])  # see `surer_than_smaller`
        return [*lines, *surest], [
            f"{'other ' * bool(surest)}codes of more than {BUDGETS[-1]} bytes, as fewer keep enough"
        ]
    return [*lines, *judge(larger)], []


def _suffice(lines: Sequence[Line], whole: Tensor, truth: Truth, choose: Tensor, keep: float) -> bool:
    """Return whether the choosing queries show that some code keeps enough, so surely that the others will, too."""
    best = max(lines, key=lambda line: line.quality).values[choose].double().numpy()
    bounded = not isinstance(truth, GradedTruth)
    return bool(keeps(best[:, None], whole[choose].double().numpy(), keep, _DOUBT, bounded=bounded)[0])


def _judged(
    task: Task,
    second: Task | None,
    tried: Sequence[Candidate],
    fitting: FittingRows,
    kept: JudgedCodes,
    parts: Parts,
    unseen: Tensor,
) -> list[Line]:
    """Return codes with their quality, each judged once."""
    lines: list[Line] = []
    known = {candidate.name: kept.read(candidate.name) for candidate in tried}

    def judge(candidate: Candidate) -> tuple[tuple[Codec, ...], dict[str, Tensor]]:
        forms = candidate.fitted(fitting)
        values = _values(task, second, forms, unseen, parts.choose)
        kept.write(candidate.name, values)
        return forms, values

    fresh = side_by_side(judge, [candidate for candidate in tried if known[candidate.name] is None])
    with closing(fresh), tqdm(tried, desc="codes", unit="code") as bar:
        for candidate in bar:
            values = known[candidate.name]
            forms, values = next(fresh) if values is None else ((), values)
            lines.append(_line(candidate, forms, values, parts.choose))
            _keep_best(lines)
    return lines


def _line(candidate: Candidate, forms: Sequence[Codec], values: dict[str, Tensor], choose: Tensor) -> Line:
    """Return a code from what was kept of it, with the codec itself if it was just fitted."""
    size, error, second = int(values.pop(_BYTES)), float(values.pop(_ERROR)), values.pop(_SECOND, None)
    ((name, own),) = values.items()
    codec = next((form for form in forms if form.name == name), None)
    return Line(name, candidate, own, size, float(own[choose].mean()), second, error, fitted=codec)


def _keep_best(lines: Sequence[Line]) -> None:
    """Forget the codecs of all codes that the last one beats, or its own if it is beaten: of each size one is kept."""
    rivals = [line for line in lines if line.budget == lines[-1].budget]
    best = max(rivals, key=lambda line: line.quality)
    for line in rivals:
        line.fitted = line.fitted if line is best else None


def _whole(task: Task, few: Task, kept: JudgedCodes, parts: Parts, question: Question) -> Tensor:
    """Return the quality ``(U,)`` of the whole vectors on the rows that codes are compared on.

    Raises:
        ValueError: If they answer nothing, or so few queries cannot show of any code that it keeps enough.
    """
    found = kept.read("whole")
    whole = qualities(few, None) if found is None else found["values"]
    _check_answers(whole, few)
    as_on_all = few is task or isinstance(task.truth, NeighbourTruth)  # other answers are easier on fewer rows
    if as_on_all and question.budget is None and not isinstance(task.truth, GradedTruth):
        check_reach(whole[parts.certify].double().numpy(), question.keep, question.confidence)
    return whole


def _check_answers(whole: Tensor, task: Task) -> None:
    """Raise ValueError if whole vectors answer nothing, so that there is nothing to keep."""
    if (quality := float(whole.mean())) <= 0:
        measure = noun(task.truth.measures[0])
        raise ValueError(
            f"`VECTORS` must answer some queries, or there is nothing to keep; the {measure} of whole vectors is "
            f"{quality:.3f}: check that rows, queries and answers belong together."
        )


def _values(
    task: Task, second: Task | None, forms: Sequence[Codec], unseen: Tensor, choose: Tensor
) -> dict[str, Tensor]:
    """Return the values of a code under the name of the better way to score, which is part of the choice."""
    codes = encoded(forms[0], task.gallery)  # both ways to score read the same bytes
    chosen, quality = _better(task, forms, codes, choose[:_SCORED])
    found = {chosen.name: quality}
    found[_BYTES] = torch.tensor(chosen.bytes_per_vector)
    found[_ERROR] = torch.tensor(squared_error(chosen, unseen), dtype=torch.float64)
    if second is not None:
        found[_SECOND] = qualities(second, chosen, encoded(chosen, second.gallery))
    return found


def _better(task: Task, forms: Sequence[Codec], codes: Tensor, asked: Tensor) -> tuple[Codec, Tensor]:
    """Return the way to score that is better on the queries or pairs ``asked``, and its quality ``(U,)`` on all."""
    few = task.asking(asked)
    if few is None or len(forms) == 1:
        judged = [(codec, qualities(task, codec, codes)) for codec in forms]
        return max(judged, key=lambda pair: (float(pair[1][asked].mean()), pair[0].name))

    judged = [(codec, qualities(few, codec, codes)) for codec in forms]
    chosen, known = max(judged, key=lambda pair: (float(pair[1].mean()), pair[0].name))
    others = torch.ones(task.truth.units, dtype=torch.bool)
    others[asked] = False
    rest = task.asking(others.nonzero().flatten())
    assert rest is not None  # as some may be asked alone, so may the others
    quality = known.new_empty(task.truth.units)
    quality[~others], quality[others] = known[asked.argsort()], qualities(rest, chosen, codes)
    return chosen, quality


def _tested(everything: AllRows, best: Sequence[Line], whole: Tensor, parts: Parts, question: Question) -> list[Line]:
    """Return the codes to be certified, judged on all rows.

    Args:
        everything: Judges them.
        best: Codes from few bytes to many, judged on a sample.
        whole: ``(U,)`` quality of the whole vectors on that sample.
        parts: Which queries choose.
        question: What is asked.
    """
    if question.budget is not None:
        return [everything.judged(line) for line in best]
    least = question.keep * float(whole[parts.choose].mean())
    guess = next((place for place, line in enumerate(best) if line.quality >= least), len(best) - 1)
    return everything.bordering(best, guess, question.keep, 1 - question.confidence, parts.choose)


def _best(lines: Sequence[Line], whole: Tensor, parts: Parts, question: Question) -> list[Line]:
    """Mark the best codes and the front, and return what is to be certified; with a budget, the best of all.

    Args:
        lines: All codes.
        whole: ``(U,)`` quality of the whole vectors.
        parts: Which queries choose.
        question: What is asked.
    """
    _mark(lines)
    if question.budget is not None:
        return [max(lines, key=lambda line: line.quality)]
    return surer_than_smaller(lines, whole, parts.choose, question.keep)


def _mark(lines: Sequence[Line]) -> None:
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


def _shortlist(task: Task, codec: Codec, codes: Tensor, parts: Parts, error: float) -> Shortlist | None:
    """Return how many rows a search must return, or why too few queries show it; None without true neighbours.

    The error is that of one code among all that might have been chosen.
    """
    if not isinstance(task.truth, NeighbourTruth):
        return None
    asked = replace(task, query=task.query[parts.certify])
    counts = shortlists(asked, codec, codes, task.truth.nearest[parts.certify])
    length = quantile_high(counts.double().numpy(), SHORTLIST, error)
    return Shortlist(None if length is None else int(length), SHORTLIST, fewest_values(SHORTLIST, error))


def _variances(unseen: Tensor, fitting: FittingRows) -> Tensor:
    """Return the variances ``(D,)`` of the rows on which errors are measured, scaled as the codes scale them.

    Raises:
        ValueError: If there are none, because all rows are one.
    """
    found = explained_variance(unseen, normalize=fitting.similarity == "cosine")
    if not found.max() > _ROUNDING:
        raise ValueError(
            f"`VECTORS` must hold rows that differ; {len(unseen):,} of them have one direction: check how they were "
            "embedded."
        )
    return found


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
