# SPDX-License-Identifier: Apache-2.0
"""Numbers that travel from a GPU to the host behind the work, so that nobody waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.watching.finite import Place


class _Sign(NamedTuple):
    what: str
    value: Tensor  # in pinned memory
    copied: torch.cuda.Event
    place: Place


class Arrivals:
    """Values on their way, in the order in which they were sent."""

    def __init__(self) -> None:
        self._signs: deque[_Sign] = deque()

    def send(self, what: str, value: Tensor, place: Place) -> None:
        """Start the copy of a 0-d value.

        Args:
            what: What it is the largest of.
            value: On a CUDA device.
            place: The step it belongs to.
        """
        host = torch.empty((), dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        copied.record()
        self._signs.append(_Sign(what, host, copied, place))

    def bad(self, wait: bool = False) -> Iterator[tuple[str, Place]]:
        """Yield what has arrived and is not finite; with ``wait`` everything that was sent is waited for."""
        while self._signs and (wait or self._signs[0].copied.query()):  # type: ignore[no-untyped-call]
            sign = self._signs.popleft()
            sign.copied.synchronize()
            if not sign.value.isfinite():
                yield sign.what, sign.place

    def clear(self) -> None:
        """Forget what is on its way."""
        self._signs.clear()
