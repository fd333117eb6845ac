# SPDX-License-Identifier: Apache-2.0
"""Decide how far apart two correct forms of one model may be: as far as the rounding of float32 explains.

An error of the head's output stays what it is at unit length, but centring takes away what the rows have in common, and
the second unit length stretches what is left: a row whose centred part has length r carries its error 1 / r times.
"""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_monocon.export.gallery import Inputs
from lightning_monocon.export.prepare import Prepared

_EPS = torch.finfo(torch.float32).eps
_LEAST = 8 * _EPS
"""Relative error of the head's output below which no form can be expected to stay: a few roundings a layer."""

_UNKNOWN = 64 * _EPS
"""The same where the encoder does not run in float64 and its own rounding cannot be measured."""

_FORMS_APART = 8.0
"""Two forms add the same numbers in another order: the errors of both count, and neither is the one measured."""

_MOST = 1 / 254
"""Half a step of int8. Beyond it rounding alone changes codes."""


class Rounding(NamedTuple):
    """Hold what the rounding of float32 does to the vectors of a few rows.

    Attributes:
        measured: Largest difference of any number between the model in float32 and in float64.
        explained: How far apart two correct forms may be.
    """

    measured: float
    explained: float


@torch.no_grad()
def rounding(prepared: Prepared) -> Rounding:
    """Measure the rounding of the trained model on the example rows."""
    example, projection = prepared.gallery.example, prepared.projection
    rows = prepared.head(prepared.encoder(example)).double()
    exact = _in_float64(prepared, example)
    reference = rows if exact is None else exact
    centred = (normalize(reference) - projection.mean) @ projection.basis.T
    stretch = 1 / centred.norm(dim=1)
    if exact is None:
        error = torch.full_like(stretch, _UNKNOWN)
        measured = float((error * stretch).max())
    else:
        error = (normalize(rows) - normalize(exact)).norm(dim=1)
        measured = float((prepared.native(example) - normalize(centred)).abs().max())
    return Rounding(measured, _FORMS_APART * float((error.clamp_min(_LEAST) * stretch).max()))


def checked_tolerance(found: Rounding, tolerance: float | None) -> float:
    """Return the tolerance for the forms, by default what rounding explains.

    Raise RuntimeError, before a form is written, if rounding alone exceeds it or would change codes.
    """
    if tolerance is not None and found.measured > tolerance:
        raise RuntimeError(
            f"`--tolerance` (`tolerance=`) is {tolerance:g}, but the rounding of float32 alone moves a number of a "
            f"vector by {found.measured:.1e}: leave it out, or pass {1.1 * found.explained:.1e}."
        )
    if tolerance is None and not found.explained <= _MOST:
        raise RuntimeError(
            f"The rounding of float32 alone moves a number of a vector by up to {found.explained:.1e}, so that codes "
            "would differ from machine to machine: the embeddings lie in a very narrow cone. Train without such a "
            f"collapse, or pass `--tolerance` (`tolerance=`) {1.1 * found.explained:.1e} if that will do."
        )
    return found.explained if tolerance is None else tolerance


def _in_float64(prepared: Prepared, inputs: Inputs) -> Tensor | None:
    """Return the head's output in float64; None where the encoder insists on another type."""
    encoder, head = deepcopy(prepared.encoder).double(), deepcopy(prepared.head).double()
    exact = _double(inputs) if isinstance(inputs, Tensor) else {name: _double(value) for name, value in inputs.items()}
    try:
        found: Tensor = head(encoder(exact))
    except (RuntimeError, TypeError):  # torch on operands of two types
        return None
    return found if found.dtype == torch.float64 else None


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
