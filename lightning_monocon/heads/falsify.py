# SPDX-License-Identifier: Apache-2.0
"""Try to falsify a claim of monotonicity."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class CounterExample(NamedTuple):
    """Hold two inputs that are ordered while an output is not."""

    lower: Tensor
    """An input ``(K,)``."""
    upper: Tensor
    """The same input ``(K,)``, moved in the claimed directions."""
    output: int
    """The output that fell."""
    drop: float
    """Amount by which it fell, greater than 0; NaN if an output is NaN."""


class NotMonotoneError(RuntimeError):
    """Report that a head which claims to be monotone is not; `counterexample` shows where."""

    def __init__(self, counterexample: CounterExample) -> None:
        super().__init__(
            f"the head is not monotone: output {counterexample.output} falls by {counterexample.drop:.3g} between "
            "two inputs that rise in the claimed directions; see `.counterexample`."
        )
        self.counterexample = counterexample


@torch.no_grad()
def find_counterexample(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    directions: Tensor,
    n: int = 1000,
    *,
    tolerance: float = 1e-9,
    generator: torch.Generator | None = None,
) -> CounterExample | None:
    """Try ``n`` ordered pairs and return the worst violation, or None if none was found.

    A pair starts at a row of ``x`` and moves a random share of the features (at least one) in their directions, by
    steps between 1e-3 and 10 times the batch's spread, so that both slopes and distant branches are tried. Finding
    nothing proves nothing; a head from this package is monotone by construction.

    Args:
        function: Function that maps (n, K) to (n, D).
        x: Rows to start from, (N, K) with N >= 1, finite.
        directions: Directions (K,) of +1, -1 and 0; features with 0 never move.
        n: Number of pairs.
        tolerance: Falls below this share of the largest output count as rounding.
        generator: Source of the trials, on the device of ``x``.

    Raises:
        ValueError: If ``x`` has a wrong shape, no row, or a number that is not finite; or if ``n`` < 1.
    """
    _check_rows("x", x, len(directions))
    if n < 1 or x.ndim != 2 or len(x) == 0:
        raise ValueError(f"`n` must be at least 1 and `x` (rows, features) with a row; got {n} and {tuple(x.shape)}.")

    uniform = _uniform(n, x, generator)
    lower = x[torch.arange(n, device=x.device) % len(x)]
    chosen = uniform(x.shape[1]) < uniform(1)
    chosen.scatter_(1, (uniform(1) * x.shape[1]).long(), True)
    size = 10 ** (4 * uniform(1) - 3) * x.std().nan_to_num(0).clamp_min(1e-3)
    upper = lower + directions * chosen * uniform(x.shape[1]) * size

    before, after = function(lower), function(upper)
    drop = before - after
    # NaN compares false: the negation counts it as a violation
    bad = ~(drop <= tolerance * before.abs().max().clamp_min(1))
    if not bool(bad.any()):
        return None

    index = int(torch.where(bad, drop, -torch.inf).nan_to_num(torch.inf).argmax())
    row, output = divmod(index, drop.shape[1])
    return CounterExample(lower[row], upper[row], output, float(drop[row, output]))


def box_corners(lower: Tensor, upper: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners of the box at which a function monotone in ``directions`` is least and greatest.

    Args:
        lower: Lower corner (..., K), finite.
        upper: Upper corner of the same shape, nowhere below ``lower``, and equal to it in features of direction 0.
        directions: Directions (K,) of +1, -1 and 0.

    Raises:
        ValueError: If a shape or a value breaks these rules.
    """
    check_box(lower, upper, len(directions))
    if bool(((directions == 0) & (lower != upper)).any()):
        raise ValueError("`lower` and `upper` must be equal in free features (`monotone` 0); fix those to a value.")
    rising = directions > 0
    return torch.where(rising, lower, upper), torch.where(rising, upper, lower)


def check_box(lower: Tensor, upper: Tensor, width: int) -> None:
    """Raise ValueError unless two corners ``(..., width)`` are finite and ordered."""
    _check_rows("lower", lower, width)
    _check_rows("upper", upper, width)
    if lower.shape != upper.shape or bool((lower > upper).any()):
        raise ValueError("`lower` and `upper` must have one shape, with `lower` nowhere above `upper`.")


def _check_rows(name: str, rows: Tensor, width: int) -> None:
    if rows.shape[-1:] != (width,):
        raise ValueError(f"`{name}` must have {width} features in its last dimension; got shape {tuple(rows.shape)}.")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError(f"`{name}` must be finite; got NaN or infinity.")


def _uniform(n: int, x: Tensor, generator: torch.Generator | None) -> Callable[[int], Tensor]:
    """Return a function that draws (n, columns) uniform numbers like ``x``."""
    return lambda columns: torch.rand(n, columns, dtype=x.dtype, device=x.device, generator=generator)
