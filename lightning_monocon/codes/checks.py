# SPDX-License-Identifier: Apache-2.0
"""Check what a codec is given."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.functional.checks import finite_rows


def check_finite(rows: Tensor, name: str) -> None:
    """Raise ValueError, naming the first row, if one of rows ``(N, D)`` holds NaN or infinity."""
    finite = finite_rows(rows, "ignore", name)
    if finite is None or bool(finite.all()):
        return
    first = int((~finite).nonzero()[0])
    raise ValueError(
        f"`{name}` must be finite; {int((~finite).sum())} of {len(rows)} rows hold NaN or infinity, the first of them "
        f"row {first}: leave them out, or embed them again."
    )
