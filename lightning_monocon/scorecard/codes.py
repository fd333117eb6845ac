# SPDX-License-Identifier: Apache-2.0
"""Measure an embedding in the best code for each number of bytes, chosen on half of the units and judged on the others.

Codes are fitted on the gallery, as an export fits them, and float queries search among them. For each number of bytes
the family that keeps most neighbours of some gallery rows is measured; no query has a say in that. Each half of the
queries (or pairs) is then judged in what the other half found best, so no unit has a say in the code that it judges,
and every unit is judged. Beside the codes stand plain numbers of 4 bytes, 1 byte and 1 bit, as the frontiers measured
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from tqdm import tqdm

from lightning_monocon.codes import Codec, FittingRows, squared_error
from lightning_monocon.codes.candidates import FAMILIES, STORED, Family
from lightning_monocon.codes.fitting import SAMPLE_ROWS
from lightning_monocon.codes.side_by_side import side_by_side
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.frontier import Frontier, Measure
from lightning_monocon.scorecard.truths import Found, Truth

FEWEST_ROWS = 1024
"""Rows that a gallery needs: four for each of the 256 levels of 8 bits; codes of fewer rows learn them by heart."""

MOST_BYTES = 64
"""Codes of more bytes are tried where more than labels is known; for a vote plain numbers are then as good."""

CodesTried = Literal["fast", "all"]
"""Families that compete at each number of bytes: those that are fitted in a tenth of a second, or all of `FAMILIES`."""

_CHEAP = ("transform", "scalar1", "scalar2", "scalar4")
"""Families that are fitted in a tenth of a second; product codes take a hundred times as long."""

_SAMPLE = {"fast": 4096, "all": SAMPLE_ROWS}
"""Rows that levels and centroids are fitted on; moments are of all rows. Centroids gain by more rows, as levels do not,
and then are those that an export fits."""

_ASKED, _AMONG, _NEAREST = 256, 2048, 10  # gallery rows that search, those they search among, and how many they find
_HALVES = slice(0, None, 2), slice(1, None, 2)


class Tried(NamedTuple):
    """Hold one way to store vectors: name, bytes, its values by measure ``(U,)``, and its squared error if known."""

    name: str
    bytes: int
    values: Mapping[Measure, Tensor]
    error: float | None = None


@dataclass(frozen=True, eq=False)
class CodeFrontier(Frontier):
    """Hold what a truth finds with the best code within each number of bytes; ``dims`` are bytes.

    Attributes:
        names: For each number of bytes the code that all units together find best, which is the one to ship.
        errors: For each number of bytes the least squared error of a code of unit rows; NaN where none was fitted.
    """

    names: tuple[str, ...] = ()
    errors: tuple[float, ...] = ()

    @property
    def fitted(self) -> bool:
        """Whether codes were fitted, and not plain numbers alone compared."""
        return not all(map(math.isnan, self.errors))


def byte_budgets(width: int) -> tuple[int, ...]:
    """Return the bytes per vector of the tables: powers of two from 1 up to ``width`` float32 numbers.

    Example:
        >>> byte_budgets(6)
        (1, 2, 4, 8, 16)
    """
    return tuple(1 << i for i in range((4 * width).bit_length()))


def code_frontiers(
    data: EmbeddingSet, truths: Sequence[Truth], lines: Sequence[Sequence[Frontier]], codes: CodesTried = "fast"
) -> tuple[CodeFrontier, ...]:
    """Return the best codes by each truth.

    Args:
        data: Gallery and queries.
        truths: What is known of them.
        lines: For each truth its frontiers of plain numbers.
        codes: Which families compete.

    Raises:
        ModuleNotFoundError: If a family that is asked for needs a package that is not installed.
        ValueError: If ``codes`` is unknown.
    """
    check_codes(codes)
    tried = [[each for line in own for each in _plain(line)] for own in lines]
    if contest := _Contest.of(data.gallery, codes):
        for codec in contest.small(codes):
            _append(tried, _coded(data, truths, codec))
        # the same codes for every arm of a card: what its own few bytes lose must not decide what else it may try
        for size in contest.larger_sizes() if any(truth.kind != "labels" for truth in truths) else ():
            _append(tried, _coded(data, truths, contest.large(size)))
    return tuple(best_codes(own, byte_budgets(data.dim)) for own in tried)


def best_plain(lines: Sequence[Frontier], width: int) -> CodeFrontier:
    """Return the best plain numbers by one truth, where rows are not in memory to fit a code on."""
    return best_codes([each for line in lines for each in _plain(line)], byte_budgets(width))


def best_codes(tried: Sequence[Tried], budgets: Sequence[int]) -> CodeFrontier:
    """Return the best of what was tried within each budget, chosen on one half of the units and judged on the other.

    Args:
        tried: Ways to store the vectors, measured on the same units.
        budgets: Bytes per vector; those in which nothing fits are left out.
    """
    kept, names, errors = list[int](), list[str](), list[float]()
    lines: list[dict[Measure, Tensor]] = []
    first = next(iter(tried[0].values))
    for budget in budgets:
        inside = [each for each in tried if each.bytes <= budget]
        if not inside:
            continue
        scores = torch.stack([each.values[first] for each in inside]).double()
        line = {name: found.clone() for name, found in inside[0].values.items()}
        for choosing, judging in (_HALVES, _HALVES[::-1]):
            chosen = inside[_best(scores[:, choosing])]
            for name, found in line.items():
                found[judging] = chosen.values[name][judging]
        kept.append(budget)
        names.append(inside[_best(scores)].name)
        errors.append(min((each.error for each in inside if each.error is not None), default=math.nan))
        lines.append(line)
    values = {name: torch.stack([line[name] for line in lines]) for name in tried[0].values}
    return CodeFrontier(tuple(kept), values, "code", tuple(names), tuple(errors))


def _best(scores: Tensor) -> int:
    """Return the row of the greatest mean, the first of equals; that of a half without units is any."""
    return int(scores.mean(1).nan_to_num(0.0).argmax())


def _plain(line: Frontier) -> Iterator[Tried]:
    for place, (k, size) in enumerate(zip(line.dims, line.bytes, strict=True)):
        unit = "dimension" if k == 1 else "dimensions"
        yield Tried(f"{line.storage} in {k} {unit}", size, {name: rows[place] for name, rows in line.values.items()})


def check_codes(codes: CodesTried, argument: str = "codes") -> None:
    """Check, before anything is trained or measured, that codes can be fitted.

    Args:
        codes: Which families compete.
        argument: What the caller calls it.

    Raises:
        ModuleNotFoundError: If a family needs a package that is not installed.
        ValueError: If ``codes`` is unknown.
    """
    check_choice(argument, codes, get_args(CodesTried))
    for package in sorted({family.package for family in _families(codes)} - {""}):
        if find_spec(package) is None:
            names = ", ".join(family.name for family in _families(codes) if family.package == package)
            raise ModuleNotFoundError(
                f"`{argument}` all needs the package {package}, which fits {names} codes; it is missing: pip install "
                "'lightning-monocon[search]', or choose fast, which needs none."
            )


def _families(codes: CodesTried) -> list[Family]:
    """Return the families that compete, without those that are tried at no number of bytes."""
    return [each for each in FAMILIES if each.name in _CHEAP or (codes == "all" and any(each.sizes(MOST_BYTES)))]


@dataclass(frozen=True)
class _Contest:
    """Fit codes on a gallery, and ask which of equal bytes keeps most neighbours of some of its rows.

    Attributes:
        rows: What codes are fitted on.
        asked: Gallery rows that search.
        among: Those they search among.
        near: ``(A, k)`` what they find by whole vectors.
    """

    rows: FittingRows
    asked: Tensor
    among: Tensor
    near: Tensor

    @classmethod
    def of(cls, gallery: Tensor, codes: CodesTried) -> _Contest | None:
        """Return the contest among the rows of a gallery; None if they are too few, or equal."""
        if len(gallery) < FEWEST_ROWS:
            return None
        rows = FittingRows.of(gallery, sample_rows=_SAMPLE[codes])
        if not rows.statistics.comoment.any():
            return None
        asking = torch.arange(0, len(gallery), max(8, len(gallery) // _ASKED))[:_ASKED]
        others = torch.ones(len(gallery), dtype=torch.bool)
        others[asking] = False
        asked, rest = gallery[asking].float(), gallery[others][:: max(1, len(gallery) // _AMONG)].float()
        near = (unit_rows(asked) @ unit_rows(rest).T).topk(_NEAREST).indices
        return cls(rows, asked, rest, near)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.asked.shape[1]

    def small(self, codes: CodesTried) -> Iterator[Codec]:
        """Yield for each of the few bytes the best code, by the name of an export."""
        sizes = [size for size in byte_budgets(self.width) if size <= MOST_BYTES]
        tasks = [(family, size) for size in sizes for family in _families(codes) if family.allows(self.width, size)]
        # what is fitted in a tenth of a second gains nothing by a thread of its own
        fitted = map(self._fit, tasks) if codes == "fast" else _shown(side_by_side(self._fit, tasks), len(tasks))
        for _, group in groupby(zip(tasks, fitted, strict=True), key=lambda each: each[0][1]):
            yield max((found for _, found in group), key=itemgetter(1))[0]

    def larger_sizes(self) -> list[int]:
        """Return the larger sizes to try, ascending; the last is that of all numbers as float16."""
        sizes = {size for size in byte_budgets(self.width) if MOST_BYTES < size <= self.width}
        return sorted(sizes | {2 * self.width})

    def large(self, size: int) -> Codec:
        """Return the best code of many bytes."""
        half = STORED["half"]
        families = [half] if size == 2 * self.width else [each for each in FAMILIES if each.name in _CHEAP]
        tasks = [(family, size) for family in families if family.allows(self.width, size)]
        return max(map(self._fit, tasks), key=itemgetter(1))[0]

    def _fit(self, task: tuple[Family, int]) -> tuple[Codec, float]:
        """Return a code and the share of neighbours that rows find among its codes."""
        family, size = task
        codec = family.fit(self.rows, size)
        found = codec.score(self.asked, codec.encode(self.among)).topk(self.near.shape[1]).indices
        kept = float((found[:, :, None] == self.near[:, None]).any(1).double().mean())
        return replace(codec, name=f"{family.name}-{codec.bytes_per_vector}"), kept


def _shown(fitted: Iterator[tuple[Codec, float]], total: int) -> Iterator[tuple[Codec, float]]:
    yield from tqdm(fitted, total=total, desc="codes", unit="code", leave=False)


def _append(tried: Sequence[list[Tried]], found: Sequence[Tried]) -> None:
    for own, one in zip(tried, found, strict=True):
        own.append(one)


def _coded(data: EmbeddingSet, truths: Sequence[Truth], codec: Codec) -> list[Tried]:
    """Return what each truth finds with float queries among the codes; pairs are compared code by code."""
    depth = max(truth.depth(len(data.gallery)) for truth in truths)
    decoded = {name: codec.decode(codec.encode(rows)) for name, rows in data.sides.items()}
    gallery, query = codec.decode(codec.encode(data.gallery)), codec.space.queries(data.query)
    nearest = data.ties.nearest(gallery, query, depth, "cosine") if depth else torch.empty(0, 0).long()
    asked = Found(gallery, query, decoded, nearest=nearest)
    error = squared_error(codec, data.gallery[:: max(1, len(data.gallery) // _AMONG)])
    found = []
    for truth in truths:
        form = asked
        if not truth.depth(len(data.gallery)):
            form = Found(gallery, codec.decode(codec.encode(data.query)), decoded)
        found.append(Tried(codec.name, codec.bytes_per_vector, truth.judge(form), error))
    return found
