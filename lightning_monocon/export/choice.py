# SPDX-License-Identifier: Apache-2.0
"""Fit what is kept of a vector, centred or not, and let held-out queries choose where that is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from torch import nn

from lightning_monocon import codes
from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.candidates import NAMED, named
from lightning_monocon.codes.families import random_rotation
from lightning_monocon.codes.names import CENTRED, current_name
from lightning_monocon.codes.space import Scoring
from lightning_monocon.export.calibration import Calibration, Coded, Stored
from lightning_monocon.export.gallery import Embedded
from lightning_monocon.export.lines import judging
from lightning_monocon.export.measure import Judge, shipped
from lightning_monocon.export.projection import Projection, fit_projection
from lightning_monocon.export.stack import vector_stack
from lightning_monocon.export.stamp import NORMALISATION, UNCENTRED, WHOLE
from lightning_monocon.functional import named_argument
from lightning_monocon.functional.quantisation import Storage

Centre: TypeAlias = bool | Literal["auto"]
"""Whether the mean is subtracted; ``"auto"`` lets held-out queries choose."""

Code: TypeAlias = str | Codec
"""Storage type of a number, name of a code such as ``"transform-32"``, folder of a fitted codec, or the codec."""

UNCODED = "float32"
"""What is stored where nothing else is asked for."""

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


def one_code(code: Code, dtype: str | None) -> Code:
    """Return what was asked for by ``code`` or by its former name.

    Raises:
        ValueError: If it was asked for by both, and differently.
    """
    if dtype is None or dtype == code:
        return code
    if code != UNCODED:
        name = code.name if isinstance(code, Codec) else code
        raise ValueError(
            f"`dtype` is the former name of `code` and must not ask for anything else; got {dtype} beside {name}: give "
            "`code` alone."
        )
    return dtype


def read_code(code: Code, dim: float | None, width: int | None) -> Code:
    """Return a code that an export can ship: a storage type, the name of a code, or a fitted codec.

    Args:
        code: The same, or the folder of a codec.
        dim: Asked numbers of dimensions, which go with a storage type alone.
        width: Numbers of the head's output, if they are known.

    Raises:
        ValueError: If it is none of these, a codec is damaged or does not fit the head's output, or ``dim`` is given
            with a code.
    """
    families = [family.name for family in NAMED]
    if isinstance(code, str) and (Path(code) / codes.FILES[0]).is_file():
        with named_argument.named("code", "folder"):
            code = codes.load(code)
    if isinstance(code, Codec):
        _check_codec(code, width)
    elif code not in get_args(Storage) and current_name(code).partition("-")[0] not in families:
        raise ValueError(
            f"`code` must be {', '.join(get_args(Storage))}, one of {', '.join(families)} with its bytes, such as "
            f"transform-32, or a folder with {codes.FILES[0]}, such as `monocon shrink` writes; got {code!r}."
        )
    if code not in get_args(Storage) and dim is not None:
        name = code.name if isinstance(code, Codec) else code
        raise ValueError(f"`dim` must be left out with the code {name}, which chooses its own components; got {dim}.")
    return code


def _check_codec(codec: Codec, width: int | None) -> None:
    """Raise ValueError unless a codec was fitted on vectors such as the head makes."""
    if width is not None and codec.dim != width:
        raise ValueError(
            f"`code` must be fitted on vectors of {width} numbers, which the head makes; {codec.name} was fitted on "
            f"vectors of {codec.dim}: give `monocon shrink` the vectors that `monocon predict` writes of this model."
        )
    if codec.space.similarity != "cosine":
        raise ValueError(
            f"`code` must rank by cosine, for an export makes vectors of unit length; {codec.name} ranks by inner "
            'product: fit it with similarity="cosine".'
        )


def ways(
    head: Sequence[nn.Module], gallery: Embedded, dim: float | None, code: Code, centre: Centre | None, old: int = 0
) -> list[Kept]:
    """Fit what was asked for on the gallery, twice where held-out queries are to choose: centred first.

    Args:
        head: Stock layers.
        gallery: What is fitted on.
        dim: Share of the variance, or number of dimensions; 0.99 by default. A code takes the whole vector.
        code: Storage type of a number, name of a code, or a fitted codec, which is taken as it is.
        centre: Whether the mean is subtracted; by default of numbers, not of codes. A fitted codec scores as it did.
        old: Leading numbers of the head's output that stay as they are; a code takes the whole output anyway.

    Raises:
        ValueError: If ``dim`` exceeds the gallery's rank, or there is no such code.
    """
    if isinstance(code, Codec):
        _check_codec(code, len(gallery.moments.mean))
        return _kept(head, gallery, _scored(code, centre))
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
    vectors = vector_stack(head, None)(gallery.features)
    codecs = named(code, vectors.shape[1]).fitted(FittingRows.of(vectors, seed=_SEED))
    if centre != "auto":
        codecs = codecs[-1:] if centre else codecs[:1]
    return _kept(head, gallery, codecs[::-1])


def _scored(codec: Codec, centre: Centre | None) -> tuple[Codec, ...]:
    """Return a fitted codec in the ways to score that are asked for, about the mean first; by default in its own."""
    if centre is None or not codec.space.mean.any():
        return (codec,)
    wanted: tuple[Scoring, ...] = ("centred", "whole") if centre == "auto" else ("centred" if centre else "whole",)
    return tuple(replace(codec, space=replace(codec.space, scoring=scoring)) for scoring in wanted)


def _kept(head: Sequence[nn.Module], gallery: Embedded, codecs: Sequence[Codec]) -> list[Kept]:
    projection, stack, rows = Projection.whole(gallery.moments), vector_stack(head, None), len(gallery.features)
    # all ways to score have the same bytes, and one name
    alike = [replace(codec, name=codec.name.removesuffix(CENTRED)) for codec in codecs]
    return [Kept(projection, stack, Coded(codec, rows), WHOLE) for codec in alike]
