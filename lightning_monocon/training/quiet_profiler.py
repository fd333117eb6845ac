# SPDX-License-Identifier: Apache-2.0
"""Measure nothing, at less cost than Lightning's own profiler that measures nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch.profilers import PassThroughProfiler

_NOTHING = nullcontext()


class QuietProfiler(PassThroughProfiler):
    """Enter one and the same empty context around each hook of each callback.

    Lightning's makes a generator each time: about 70 in a step, which is a twentieth of a step of 5 ms.
    """

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]  # needs no generator
        """Return a context that does nothing."""
        return _NOTHING
