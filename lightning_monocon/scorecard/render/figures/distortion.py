# SPDX-License-Identifier: Apache-2.0
"""Draw how near codes come to the fewest bytes that any code of Gaussian vectors needs for the same error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from lightning_monocon.functional.rate_distortion import distortion_rate, rate_distortion
from lightning_monocon.scorecard.render.figures.style import (
    dimension_axis,
    legend_above,
    line_style,
    lowest_point,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class CodeError(NamedTuple):
    """Hold what one code costs and loses.

    Attributes:
        name: Its family; codes of one name are joined by a line.
        bytes_per_vector: Bytes of one code.
        squared_error: Mean squared error of a whole vector, in the unit of the variances that it is compared with.
    """

    name: str
    bytes_per_vector: int
    squared_error: float


class DistortionFigure(NamedTuple):
    """Hold the figure, and how far each code is from the limit.

    Attributes:
        figure: Two panels: the unexplained share of variance, and the bits above the limit, against bytes.
        bits_above: Bits per vector that each code takes beyond the limit at its error, in the order given.
    """

    figure: Figure
    bits_above: list[float]


def distortion_figure(variances: np.ndarray, codes: Sequence[CodeError]) -> DistortionFigure:
    """Draw each code's error against its bytes beside the limit, and its distance to the limit in bits.

    The limit is the rate of a Gaussian source with the same covariance, by reverse water-filling; see
    `lightning_monocon.functional.rate_distortion`. Of all sources with that covariance the Gaussian needs the most
    bits, so a code that knows more than the covariance may lie below the limit, at a negative distance.

    Args:
        variances: ``(D,)``, eigenvalues of the covariance of the rows *on which the errors were measured*: those of
            other rows would move the limit.
        codes: The codes, at least one; of one byte or more, and with a positive error.

    Raises:
        ValueError: If ``codes`` is empty or has no bytes or no error, or a variance is negative or not finite.
    """
    from matplotlib.ticker import StrMethodFormatter

    _check(codes)
    spectrum = torch.as_tensor(np.asarray(variances, dtype=np.float64))
    errors = torch.tensor([code.squared_error for code in codes], dtype=torch.float64)
    bits = torch.tensor([8.0 * code.bytes_per_vector for code in codes], dtype=torch.float64)
    above = bits - rate_distortion(spectrum, errors)
    shares = errors / spectrum.sum()

    figure, (left, right) = new_figure(columns=2, width=9.0, height=4.2)
    names = list(dict.fromkeys(code.name for code in codes))
    for index, name in enumerate(names):
        # The order of the bytes, so that a line goes from left to right.
        own = sorted((i for i, code in enumerate(codes) if code.name == name), key=lambda i: float(bits[i]))
        left.plot(bits[own] / 8, shares[own], label=name, **line_style(index))
        right.plot(bits[own] / 8, above[own], **line_style(index))
    left.set_yscale("log")
    _draw_limit(left, right, spectrum, bits / 8)
    left.set_ylabel("unexplained share of variance")
    # Distances span a few bits to thousands, and may be negative.
    right.set_yscale("symlog", linthresh=10.0, linscale=0.7)
    right.set_ylim(min(-5.0, 1.5 * float(above.min())), max(5.0, 1.5 * float(above.max())))
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    right.set_ylabel("bits per vector above the limit")
    legend_above(figure, left)
    return DistortionFigure(figure, above.tolist())


def _draw_limit(left: Axes, right: Axes, spectrum: torch.Tensor, sizes: torch.Tensor) -> None:
    """Draw the limit in both panels, over the range of the codes' sizes, and set the axis of bytes."""
    few, many = float(sizes.min()), float(sizes.max())
    curve = torch.logspace(np.log2(few / 1.15), np.log2(many * 1.15), 200, base=2.0, dtype=torch.float64)
    limit = distortion_rate(spectrum, 8 * curve) / spectrum.sum()
    # The limit may fall far below every code, whose differences must stay visible.
    lowest = max(float(limit.min()), lowest_point([left]) / 10)
    left.plot(curve, limit, color="0.45", linewidth=2.5, zorder=1, label="limit for Gaussian vectors")
    left.set_ylim(bottom=lowest / 1.5)
    right.axhline(0.0, color="0.45", linewidth=2.5, zorder=1)
    for panel in (left, right):
        ticks = [1 << i for i in range(int(few).bit_length() - 1, int(many).bit_length() + 1)]
        dimension_axis(panel, ticks, "bytes per vector")
        panel.set_xlim(few / 1.15, many * 1.15)


def _check(codes: Sequence[CodeError]) -> None:
    """Raise ValueError unless there are codes, each of at least one byte and with a positive error."""
    if not codes:
        raise ValueError("`codes` must hold at least one code; got none. Pass those whose error was measured.")
    for code in codes:
        if code.bytes_per_vector < 1:
            raise ValueError(
                f"`codes` must be of at least 1 byte; {code.name!r} has {code.bytes_per_vector}. Leave it out."
            )
        if not 0.0 < code.squared_error < float("inf"):
            raise ValueError(
                f"`codes` must have a positive, finite squared error; that of {code.name!r} is"
                f" {code.squared_error!r}. Leave a code without loss out."
            )
