# SPDX-License-Identifier: Apache-2.0
r"""Tell rows that a code serves badly, because they are unlike those that it was fitted for.

What a code loses of a row x is the share of its squared distance from the codec's mean m that the code does not give
back,

.. math:: \ell(x) = \lVert x - m - a\, W^{+} \hat y \rVert^2 / \lVert x - m \rVert^2

with the pseudo-inverse of the codec's matrix, the decoded coordinates and one factor a for all rows, as in
`squared_error`. A row is *far*
if the code loses more of it than of 999 in 1 000 rows of the domain that it was not fitted on: of such rows at most one
in 1 000 is far by chance (one in n + 1 where fewer than 999 rows were measured). Moments alone would not do: most
directions are nearer to the mean in the leading axes than the rows of the domain are, and what the axes leave out is
what the code loses.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.error import back_to_rows
from lightning_monocon.functional.checks import check_embeddings, finite_rows
from lightning_monocon.functional.unit_rows import unit_rows
from lightning_monocon.runs.files import write_text

FILE = "domain.json"
"""File of a domain in the folder of its codec."""

USUAL = 0.999
"""Share of the rows of the domain of which a code loses less than of a far row."""

_BLOCK = 4096  # rows that are encoded and decoded at a time


@dataclass(frozen=True)
class Domain:
    """Hold how much a code loses of the rows of its domain.

    Attributes:
        limit: Largest share of a row that is usually lost: a row of which the code loses more is far.
        factor: What decoded coordinates are scaled by.
        rows: Number of rows that the limit was measured on.
    """

    limit: float
    factor: float
    rows: int

    @classmethod
    def of(cls, codec: Codec, rows: Tensor) -> Domain:
        """Measure the losses of rows ``(N, D)`` of the domain, best ones that the codec was not fitted on.

        Raises:
            TypeError: If ``rows`` is not a floating-point tensor.
            ValueError: If there is no row, the width is not the codec's, or a row is not finite.
        """
        _check(codec, rows)
        if not len(rows):
            raise ValueError("`rows` must hold at least one row to measure a domain; got 0.")
        back = back_to_rows(codec.space)
        pairs = [_pair(codec, back, block) for block in torch.split(rows, _BLOCK)]
        length = sum(float(decoded.square().sum()) for _, decoded in pairs)
        factor = sum(float((target * decoded).sum()) for target, decoded in pairs) / length if length > 0 else 0.0
        lost = torch.cat([_lost(target, decoded, factor) for target, decoded in pairs]).sort().values
        place = min(math.ceil((len(lost) + 1) * USUAL), len(lost)) - 1
        return cls(float(lost[place]), factor, len(lost))

    def losses(self, codec: Codec, rows: Tensor) -> Tensor:
        """Return the share ``(N,)`` float64 of each row ``(N, D)`` that the code loses; 1 for a row on the mean.

        Raises:
            TypeError: If ``rows`` is not a floating-point tensor.
            ValueError: If the width is not the codec's, or a row is not finite.
        """
        _check(codec, rows)
        back = back_to_rows(codec.space)
        return torch.cat([_lost(*_pair(codec, back, block), self.factor) for block in torch.split(rows, _BLOCK)])

    def far(self, codec: Codec, rows: Tensor) -> Tensor:
        """Return which rows ``(N,)`` bool are far."""
        return self.losses(codec, rows) > self.limit


def save(domain: Domain, stamp: str, folder: Path) -> None:
    """Write ``domain.json`` beside the codec of a stamp."""
    write_text(folder / FILE, json.dumps({"stamp": stamp, **asdict(domain)}, indent=1) + "\n")


def load(folder: Path, stamp: str) -> Domain | None:
    """Read the domain beside the codec of a stamp; None if the folder has none.

    Raises:
        ValueError: If the file is damaged, or belongs to another codec.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
        found = Domain(float(values["limit"]), float(values["factor"]), int(values["rows"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"`folder` must hold a whole {FILE}; that of {folder} is damaged: write the folder again with "
            "`monocon shrink`."
        ) from error
    if values.get("stamp") != stamp:
        raise ValueError(f"`folder` must hold the {FILE} of its own codec; that of {folder} is of another: remove it.")
    return found


def _check(codec: Codec, rows: Tensor) -> None:
    check_embeddings(rows, "rows", codec.dim)
    finite_rows(rows, "error", "rows")


def _pair(codec: Codec, back: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows about the codec's mean, and what their codes give back of that, both ``(N, D)`` float64."""
    scaled = unit_rows(rows.double()) if codec.space.similarity == "cosine" else rows.double()
    return scaled - codec.space.mean.double(), codec.quantiser.decode(codec.encode(rows)).double() @ back


def _lost(target: Tensor, decoded: Tensor, factor: float) -> Tensor:
    whole = target.square().sum(1)
    return torch.where(whole > 0, (target - factor * decoded).square().sum(1) / whole, 1.0)
