# SPDX-License-Identifier: Apache-2.0
"""Fit scalar codes: every number of a vector in equally many bits, or as float16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.families.transform import lloyd_max
from lightning_monocon.codes.fitting import FittingRows, check_size, check_varying
from lightning_monocon.codes.half import HalfQuantiser
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.quantiser import Quantiser
from lightning_monocon.codes.space import Scoring, Space
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.spectrum import PrincipalComponents, components_from_moments

Bits = Literal[1, 2, 4, 8, 16]
"""Bits of a number; 16 are a float16."""
Projection = Literal["pca", "none"]
"""Principal components, or the first numbers as they are."""
Rotation = Literal["none", "random", "itq"]
"""What turns the projected numbers: nothing, a random rotation, or iterative quantisation."""
Step = Literal["common", "own"]
"""Whether all numbers share their levels, or each has its own."""
Levels = Literal["uniform", "lloyd-max"]
"""Levels at equal distances between the extremes, or those of least squared error.

With 8 bits and one common step, uniform levels are the multiples of the step by -128 to 127."""

_ITQ_ROUNDS = 50  # Gong and Lazebnik 2011, section 3.2


@dataclass(frozen=True)
class ScalarOptions:
    """Choose a scalar code.

    Attributes:
        bits: Bits of a number.
        centre: Whether the mean is subtracted; without, the projection is that of the uncentred second moment.
        projection: What the numbers are.
        rotation: What turns them; ``"itq"`` fits the rotation to signs, whatever ``bits``.
        step: Whether they share their levels.
        levels: Where the levels lie. Of one bit they are the mean of each half of the numbers, or their extremes.
    """

    bits: Bits = 8
    centre: bool = True
    projection: Projection = "pca"
    rotation: Rotation = "none"
    step: Step = "own"
    levels: Levels = "lloyd-max"

    def __post_init__(self) -> None:
        check_choice("bits", self.bits, get_args(Bits))
        check_choice("projection", self.projection, get_args(Projection))
        check_choice("rotation", self.rotation, get_args(Rotation))
        check_choice("step", self.step, get_args(Step))
        check_choice("levels", self.levels, get_args(Levels))

    @property
    def name(self) -> str:
        """Name of the variant, by which every report and command knows its codes, such as ``"scalar1"``.

        Those that have no name of their own are named after the nearest, such as ``"scalar1-itq"``.
        """
        if self in _OWN_NAMES:
            return _OWN_NAMES[self]
        usual = ScalarOptions(self.bits, rotation=_TURNED.get(self.bits, "none"))
        parts = [_BASES[self.bits]]
        parts += ["uncentred"] if not self.centre else []
        parts += ["unprojected"] if self.projection == "none" else []
        if self.rotation != usual.rotation:
            parts += ["unturned" if self.rotation == "none" else self.rotation]
        parts += [self.levels] if self.levels != usual.levels else []
        return "-".join(parts + (["common"] if self.step == "common" else []))


_BASES: dict[Bits, str] = {1: "scalar1", 2: "scalar2", 4: "scalar4", 8: "int8", 16: "float16"}
_TURNED: dict[Bits, Rotation] = {1: "random", 2: "random", 4: "random"}
_OWN_NAMES = {
    ScalarOptions(8, centre=False, step="common", levels="uniform"): "bytes",
    ScalarOptions(16, centre=False): "half",
}


SCALARS: tuple[ScalarOptions, ...] = (
    *(ScalarOptions(1, centre, rotation=turn) for centre in (True, False) for turn in ("random", "itq")),
    *(ScalarOptions(bits, centre, rotation="random") for centre in (True, False) for bits in (2, 4)),
    ScalarOptions(8),
    ScalarOptions(8, centre=False),
    ScalarOptions(8, rotation="random", step="common", levels="uniform"),
    ScalarOptions(16),
    ScalarOptions(16, centre=False),
)
"""Variants that win somewhere, and int8 with one step, which stores rank by themselves."""


def fit_scalar(
    rows: FittingRows, size: int, options: ScalarOptions = ScalarOptions(), scoring: Scoring = "whole"
) -> Codec:
    """Fit a scalar code of at most ``size`` bytes.

    Args:
        rows: What to fit on.
        size: Bytes of a code: it holds the first ``8 * size // bits`` numbers, or as many as vary.
        options: Which code.
        scoring: What a score estimates.

    Raises:
        ValueError: If ``size`` is below 1 or holds no number, or no number varies.
    """
    check_size(size)
    check_varying(rows)
    wanted = 8 * size // options.bits
    if not wanted:
        raise ValueError(f"`size` must be at least 2 bytes for float16; got {size}. Ask for fewer `bits`.")
    mean, matrix = _projection(rows, wanted, options)
    plain = Space(mean, matrix, rows.similarity, scoring)
    matrix = _rotation(rows, plain, options) @ matrix.double()
    space = Space(mean, matrix.float(), rows.similarity, scoring)
    coordinates = rows.sample.double() @ space.matrix.double().T - space.offset
    quantiser = _quantiser(coordinates, options)
    return Codec(f"{options.name}-{quantiser.bytes}", "scalar", space, quantiser)


def _projection(rows: FittingRows, wanted: int, options: ScalarOptions) -> tuple[Tensor, Tensor]:
    """Return the mean ``(D,)`` and at most ``wanted`` orthonormal rows ``(k, D)``, float32."""
    mean = rows.statistics.mean if options.centre else torch.zeros_like(rows.statistics.mean)
    if options.projection == "none":
        return mean.float(), torch.eye(rows.dim)[:wanted]
    found = rows.components if options.centre else _uncentred_components(rows.statistics)
    rounding = found.variances.amax() * torch.finfo(torch.float64).eps * rows.dim
    kept = min(wanted, int((found.variances > rounding).sum()))
    return mean.float(), found.components[:kept].float()


def _uncentred_components(moments: Moments) -> PrincipalComponents:
    """Return the axes of the second moments: those of the rows without their mean subtracted."""
    second = moments.comoment + moments.rows * torch.outer(moments.mean, moments.mean)
    return components_from_moments(Moments(moments.rows, torch.zeros_like(moments.mean), second))


def random_rotation(width: int, seed: int = 0) -> Tensor:
    """Return an orthogonal matrix ``(width, width)`` float64, drawn uniformly (Mezzadri 2007).

    That of seed 0 turns the numbers of which the scorecard measures, and an export ships, one bit each.
    """
    noise = torch.randn(width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    basis, triangle = torch.linalg.qr(noise)
    rotation: Tensor = basis * triangle.diagonal().sign()
    return rotation


def _rotation(rows: FittingRows, plain: Space, options: ScalarOptions) -> Tensor:
    """Return an orthogonal matrix ``(k, k)`` float64, of random directions and, for ITQ, fitted to signs from there."""
    width = len(plain.matrix)
    if options.rotation == "none":
        return torch.eye(width, dtype=torch.float64)
    rotation = random_rotation(width, rows.seed)
    if options.rotation == "itq":
        coordinates = rows.sample.double() @ plain.matrix.double().T - plain.offset
        for _ in range(_ITQ_ROUNDS):
            signs = torch.where(coordinates @ rotation.T > 0, 1.0, -1.0).double()
            left, _, right = torch.linalg.svd(signs.T @ coordinates)
            rotation = left @ right
    return rotation


def _quantiser(coordinates: Tensor, options: ScalarOptions) -> Quantiser:
    width = coordinates.shape[1]
    if options.bits == 16:
        return HalfQuantiser(width)
    columns = coordinates.reshape(-1, 1) if options.step == "common" else coordinates
    bits = torch.full((columns.shape[1],), options.bits)
    if options.levels == "uniform":
        levels = _uniform(columns, options)
    else:
        levels = lloyd_max(columns, bits)
    return LevelQuantiser(bits.expand(width).clone(), levels.expand(width, -1).clone())


def _uniform(columns: Tensor, options: ScalarOptions) -> Tensor:
    """Return levels at equal distances ``(k, levels)``; with one common step of 8 bits they are its multiples.

    Zero is a level then, so the bytes as signed numbers have the cosines of what they stand for: stores rank them.
    """
    count = 2**options.bits
    if options.step == "common" and options.bits == 8:
        step = columns.abs().amax() / (count // 2 - 1)
        return (step * torch.arange(-count // 2, count // 2, dtype=torch.float64)).float()[None]
    low, high = columns.amin(0)[:, None], columns.amax(0)[:, None]
    return (low + (high - low) * torch.linspace(0, 1, count, dtype=torch.float64)).float()
