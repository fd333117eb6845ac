# SPDX-License-Identifier: Apache-2.0
"""Fit what is kept of a vector, centred or not, and let held-out queries choose where that is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

from torch import nn

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.candidates import NAMED, named
from lightning_monocon.codes.families import random_rotation
from lightning_monocon.codes.names import CENTRED, current_name
from lightning_monocon.export.calibration import Calibration, Coded, Stored
from lightning_monocon.export.gallery import Embedded
from lightning_monocon.export.lines import judging
from lightning_monocon.export.measure import Judge, shipped
from lightning_monocon.export.projection import Projection, fit_projection
from lightning_monocon.export.stack import vector_stack
from lightning_monocon.export.stamp import NORMALISATION, UNCENTRED, WHOLE
from lightning_monocon.functional.quantisation import Storage

Centre: TypeAlias = bool | Literal["auto"]
"""Whether the mean is subtracted; ``"auto"`` lets held-out queries choose."""

_SEED = 0  # of the fit of a code


@dataclass(frozen=True, eq=False)
class Kept:
    """Hold one way to keep vectors.

    Attributes:
        projection: What is kept of the head's unit output.
        stack: Features to vectors.
        calibration: Vectors to what is stored.
        normalisation: The steps behind the head.
    """

    projection: Projection
    stack: nn.Sequential
    calibration: Stored
    normalisation: str


def check_code(code: str, dim: float | None) -> None:
    """Raise ValueError unless a code is a storage type, or begins with a family's name and goes without ``dim``."""
    families = [family.name for family in NAMED]
    if code not in get_args(Storage) and current_name(code).partition("-")[0] not in families:
        raise ValueError(
            f"`code` must be {', '.join(get_args(Storage))}, or one of {', '.join(families)} with its bytes, such as "
            f"transform-32; got {code!r}."
        )
    if code not in get_args(Storage) and dim is not None:
        raise ValueError(f"`dim` must be left out with the code {code}, which chooses its own components; got {dim}.")


def ways(
    head: Sequence[nn.Module], gallery: Embedded, dim: float | None, code: str, centre: Centre | None, old: int = 0
) -> list[Kept]:
    """Fit what was asked for on the gallery, twice where held-out queries are to choose: centred first.

    Args:
        head: Stock layers.
        gallery: What is fitted on.
        dim: Share of the variance, or number of dimensions; 0.99 by default. A code takes the whole vector.
        code: Storage type of a number, or name of a code.
        centre: Whether the mean is subtracted; by default of numbers, not of codes.
        old: Leading numbers of the head's output that stay as they are; a code takes the whole output anyway.

    Raises:
        ValueError: If ``dim`` exceeds the gallery's rank, or there is no such code.
    """
    if code not in get_args(Storage):
        return _coded(head, gallery, code, centre or False)
    storage, share = cast("Storage", code), 0.99 if dim is None else dim
    centres = (True, False) if centre == "auto" else (centre is not False,)
    return [_cut(head, gallery, share, storage, each, old) for each in centres]


def choose(kept: Sequence[Kept], judge: Callable[[], Judge]) -> Kept:
    """Return the way by which the judge finds most, by the first truth that tells right from wrong.

    Args:
        kept: One way, or several.
        judge: Makes the judge; it is not called for one way.
    """
    if len(kept) == 1:
        return kept[0]
    judged = judge()
    lines = [judged.line(shipped(each.stack, each.calibration)) for each in kept]
    kind = judging(lines[0])[0]
    found = [line.figure(kind, line.first(kind)) for line in lines]
    return kept[found.index(max(found))]


def _cut(head: Sequence[nn.Module], gallery: Embedded, dim: float, storage: Storage, centre: bool, old: int) -> Kept:
    projection = fit_projection(gallery.moments, dim, centre, old)
    if storage == "binary":
        # the leading components carry most: turned at random, every bit tells as much
        projection = projection.turned(random_rotation(len(projection.basis) - old))
    stack = vector_stack(head, projection)
    calibration = Calibration.fit(stack(gallery.features), storage)
    return Kept(projection, stack, calibration, NORMALISATION if centre else UNCENTRED)


def _coded(head: Sequence[nn.Module], gallery: Embedded, code: str, centre: Centre) -> list[Kept]:
    projection, stack = Projection.whole(gallery.moments), vector_stack(head, None)
    vectors = stack(gallery.features)
    candidate = named(code, vectors.shape[1])
    codecs = candidate.fitted(FittingRows.of(vectors, seed=_SEED))
    if centre != "auto":
        codecs = codecs[-1:] if centre else codecs[:1]
    # both ways to score have the same bytes, and one name
    named_alike = [replace(codec, name=codec.name.removesuffix(CENTRED)) for codec in reversed(codecs)]
    return [Kept(projection, stack, Coded(codec, len(vectors)), WHOLE) for codec in named_alike]
